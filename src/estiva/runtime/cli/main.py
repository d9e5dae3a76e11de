"""``estiva-runtime``: the command line that runc and crun speak, so that other engines can use this runtime."""

from __future__ import annotations

import errno
import os
import sys

from estiva.errors import EstivaError, Invalid
from estiva.runtime.cli.commands import COMMANDS, GLOBAL
from estiva.runtime.cli.log import Log
from estiva.runtime.cli.options import SWITCH, Options, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from estiva.runtime.cli.commands import Command

    Handler = Callable[["Context", Options], int]

_SIGPIPE = 13
_HELP = ("help", "h", SWITCH, "", "")


class Context:
    """What the global options say.  ``root``: absolute · ``cgroup_manager``: ``cgroupfs``, ``systemd`` or ``disabled``
    · ``rootless``: limits that may not be set are passed over; None: find out · ``criu``: program · ``learn``:
    file for a seccomp profile to be learned."""

    __slots__ = ("cgroup_manager", "criu", "learn", "log", "root", "rootless")

    def __init__(self, options: Options, log: Log) -> None:
        from estiva.runtime.cli.records import default_root

        self.root = os.path.abspath(options.text("root") or default_root())
        self.log = log
        self.criu = options.text("criu") or "criu"
        self.learn = os.path.abspath(options.text("learn-seccomp")) if options.text("learn-seccomp") else ""
        self.cgroup_manager = options.text("cgroup-manager") or "cgroupfs"
        if options.switch("systemd-cgroup"):
            self.cgroup_manager = "systemd"
        if self.cgroup_manager not in ("cgroupfs", "systemd", "disabled"):
            raise Invalid(
                f'option --cgroup-manager: "{self.cgroup_manager}" is none', "use cgroupfs, systemd or disabled"
            )
        word = options.text("rootless", "auto")
        if word not in ("true", "false", "auto"):
            raise Invalid(f'option --rootless: "{word}" is neither true, false nor auto')
        self.rootless = None if word == "auto" else word == "true"


def main(argv: Sequence[str]) -> int:
    """Carry out one command; returns the exit code.  Failures are one line on stderr, and in the log."""
    log = Log()
    code = _carry_out(argv, log)
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)  # where the rest goes
        if isinstance(error, BrokenPipeError):
            return 128 + _SIGPIPE  # as if we had not ignored it, for Python does
        log.error(f"writing to standard output: {error.strerror}")
        return code or 1
    return code


def _carry_out(argv: Sequence[str], log: Log) -> int:
    name = ""
    try:
        options = parse(argv, GLOBAL, see="estiva-runtime --help")
        _set_up(log, options)
        if options.switch("version"):
            return _version()
        name, *words = options.operands or ["help"]
        if options.switch("help") or name in ("help", "h"):
            return _help(words[0] if name in ("help", "h") and words else "")
        command = _command(name)
        see = f"estiva-runtime {name} --help"
        parsed = parse(words, (*command.rows, _HELP), interspersed=not command.foreign, see=see)
        if parsed.switch("help"):
            return _help(name)
        count = len(parsed.operands)
        if count < command.least or 0 <= command.most < count:
            wanted = command.operands or "none"
            raise Invalid(f'"{name}" takes other arguments than the {count} given: {wanted}', f'see "{see}"')
        log.given_away = name == "create" or parsed.switch("detach")
        log.debug(f"{name}: {' '.join(words)}")
        return _handler(command)(Context(options, log), parsed)
    except EstivaError as error:
        log.error(str(error))
    except OSError as error:
        text = error.strerror or str(error)
        if error.errno == errno.EMFILE:
            text += "; raise the limit, ulimit -n"
        log.error(f"{error.filename}: {text}" if error.filename else text)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # a mistake of ours: still one line, and with --debug where it is
        if log.verbose:
            raise
        log.error(f"unexpected {type(error).__name__}: {error}; this is a bug, --debug shows where")
    return 255 if name == "exec" else 1


def _set_up(log: Log, options: Options) -> None:
    if options.text("log"):
        log.to(os.path.abspath(options.text("log")))
    log.verbose = options.switch("debug")
    kind = options.text("log-format", "text")
    log.as_json = kind == "json"
    if kind not in ("text", "json"):
        raise Invalid(f'option --log-format: "{kind}" is neither text nor json')


def _command(name: str) -> Command:
    if name not in COMMANDS:
        raise Invalid(f'unknown command "{name}"', 'see "estiva-runtime --help"')
    return COMMANDS[name]


def _handler(command: Command) -> Handler:
    module, function = command.where
    found: Handler = getattr(__import__(f"estiva.runtime.cli.{module}", fromlist=(function,)), function)
    return found


def _help(name: str) -> int:
    from estiva.runtime.cli import help

    sys.stdout.write(help.of(_command(name)) if name else help.overview())
    return 0


def _version() -> int:
    from estiva import __version__
    from estiva.runtime.cli.version import OCI_VERSION

    sys.stdout.write(f"estiva-runtime version {__version__}\nspec: {OCI_VERSION}\n")
    return 0
