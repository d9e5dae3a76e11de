"""``python -m estiva.runtime``, and what the installed command ``estiva-runtime`` runs."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_streams()
    gc.set_threshold(50_000)  # a command ends before there is anything to collect
    if __package__ in (None, ""):
        # Started by the path of this file (with -I and -S), Python knows nothing of the folder the package is in.
        sys.path.insert(0, __file__.rsplit("/", 3)[0])
    if not sys.flags.no_site:
        from estiva.runtime.cli.main import main as run

        return run(sys.argv[1:])
    from estiva.quickload import install

    bundle = install()
    from estiva.runtime.cli.main import main as run

    code = run(sys.argv[1:])
    bundle.renew()
    return code


def _open_streams() -> None:
    """Let nothing that is opened later become a standard stream that we were started without.

    What is written to such an output fails, as it would have.
    """
    import os

    modes = (("stdin", "r", os.O_RDWR), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_RDWR))
    for number, (name, mode, how) in enumerate(modes):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, how)
            if fd == number:
                os.set_inheritable(fd, True)
            else:
                os.dup2(fd, number)
                os.close(fd)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    code = main()
    if sys.flags.no_site:
        # Our own short-lived process: everything that matters was closed and flushed.
        import os

        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
