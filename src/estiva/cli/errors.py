"""Failures as the command line shows them: one line on stderr, and the exit code Podman's users know."""

from __future__ import annotations

import sys

from estiva.errors import CommandNotExecutable, CommandNotFound, EstivaError

ENGINE_FAILED = 125  # podman-run(1) "Exit Status"
EXIT_CODES: dict[type[BaseException], int] = {CommandNotExecutable: 126, CommandNotFound: 127}


def exit_code(error: BaseException) -> int:
    """125, or 126 or 127 where the container's program is to blame."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return ENGINE_FAILED


def describe(error: BaseException) -> str:
    """One line about *error*, without a prefix."""
    if isinstance(error, EstivaError):
        text = str(error)
    elif isinstance(error, OSError):
        text = _describe_os_error(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return " ".join(text.split("\n")).strip()


def _describe_os_error(error: OSError) -> str:
    """``path: cause`` in lower case as the C library words it, without Python's ``[Errno 2]``."""
    cause = error.strerror or str(error)
    cause = cause[:1].lower() + cause[1:]
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    if not files:
        return cause
    return f"{' -> '.join(files)}: {cause}"


def report(error: BaseException) -> int:
    """Print *error* to stderr as one ``Error:`` line and return the exit code it means."""
    complain(describe(error))
    return exit_code(error)


def report_bug(error: Exception, trace: bool) -> int:
    """One line about an error nobody foresaw, and where it was raised; with *trace*, the whole way there."""
    import traceback

    if trace:
        traceback.print_exception(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/estiva/')[2]}:{place.lineno}"
    complain(f"internal error: {describe(error)} (at {where}); please report it with the output of --log-level debug")
    return ENGINE_FAILED


def complain(text: str) -> None:
    """Print one ``Error:`` line to stderr; a stderr that is gone is not worth another failure."""
    try:
        sys.stderr.write(f"Error: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass
