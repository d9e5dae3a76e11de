"""``estiva-runtime``: the command line that runc and crun speak, so that other engines can use this runtime."""

from __future__ import annotations

import json
import os
import sys

from estiva.errors import CommandNotExecutable, CommandNotFound, EstivaError, Invalid
from estiva.runtime.cli.options import SWITCH, VALUE, VALUES, Options, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Handler = Callable[[str, Options], int]

GLOBAL = {
    "root": VALUE,
    "log": VALUE,
    "log-format": VALUE,
    "debug": SWITCH,
    "systemd-cgroup": SWITCH,
    "cgroup-manager": VALUE,
    "rootless": VALUE,
    "version": SWITCH,
    "help": SWITCH,
}
_START = {
    "bundle": VALUE,
    "console-socket": VALUE,
    "pid-file": VALUE,
    "preserve-fds": VALUE,
    "no-pivot": SWITCH,
    "no-new-keyring": SWITCH,
    "help": SWITCH,
}
_LIMITS = (
    "resources cpu-period cpu-quota cpu-share cpuset-cpus cpuset-mems memory memory-swap memory-reservation pids-limit"
)
HELP = """Usage: estiva-runtime [global options] COMMAND [options] [ID] [...]

Run containers from OCI bundles.

  create [-b BUNDLE] [--console-socket PATH] [--pid-file PATH] [--preserve-fds N] ID
  start ID               run the program of a created container
  run [-d] [--keep] [options of create] ID
                         create, start, wait, delete
  exec [-d] [-p PROCESS.json] [-t] [-u UID[:GID]] [-e NAME=VALUE] [--cwd DIR] [--cap CAP] ID COMMAND [ARG...]
  state ID               its state as JSON
  list [-q] [-f table|json]
  kill [-a] ID [SIGNAL]
  delete [-f] ID
  pause ID / resume ID
  update [-r FILE] [--memory N] [--pids-limit N] [--cpu-quota N] [...] ID
  spec [-b BUNDLE] [--rootless]
  features

Global options:
  --root DIR             where the state of containers is kept (/run/estiva-runtime)
  --log FILE             write failures there too
  --log-format FORMAT    text or json
"""


def main(argv: Sequence[str]) -> int:
    """Carry out one command; returns the exit code.  Failures are one line on stderr, and in the log."""
    options = Options({}, [])
    try:
        options = parse(argv, GLOBAL, {"v": "version", "h": "help"})
        if options.switch("version"):
            return _version()
        name, *rest = options.operands or ["help"]
        if name == "help" or options.switch("help"):
            sys.stdout.write(HELP)
            return 0
        if name not in COMMANDS:
            raise Invalid(f'unknown command "{name}"', 'see "estiva-runtime help"')
        table, short, handler = COMMANDS[name]
        parsed = parse(rest, {**table, "help": SWITCH}, {**short, "h": "help"})
        if parsed.switch("help"):
            sys.stdout.write(HELP)
            return 0
        return handler(_root(options), parsed)
    except (EstivaError, OSError) as error:
        return _fail(options, error)


def _root(options: Options) -> str:
    from estiva.runtime.cli.records import default_root

    return os.path.abspath(options.text("root") or default_root())


def _fail(options: Options, error: EstivaError | OSError) -> int:
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or text
    if options.text("log"):
        _log(options.text("log"), options.text("log-format", "text"), text)
    sys.stderr.write(f"estiva-runtime: {text}\n")
    if isinstance(error, CommandNotFound):
        return 127
    return 126 if isinstance(error, CommandNotExecutable) else 1


def _log(path: str, log_format: str, text: str) -> None:
    """Append the failure in the format that engines read back."""
    import time

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = f'time="{now}" level=error msg={json.dumps(text)}\n'
    if log_format == "json":
        line = json.dumps({"level": "error", "msg": text, "time": now}) + "\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
    except OSError as error:
        sys.stderr.write(f"estiva-runtime: writing the log {path}: {error.strerror}\n")


def _version() -> int:
    from estiva import __version__
    from estiva.runtime.cli.bundle import OCI_VERSION

    sys.stdout.write(f"estiva-runtime version {__version__}\nspec: {OCI_VERSION}\n")
    return 0


def _operands(options: Options, least: int, most: int) -> list[str]:
    if not least <= len(options.operands) <= most:
        raise Invalid(
            f"expected {least if least == most else f'{least} to {most}'} operands", 'see "estiva-runtime help"'
        )
    return options.operands


def _create(root: str, options: Options) -> int:
    from estiva.runtime.cli import bundle
    from estiva.runtime.cli.create import create, lower_rlimits

    (container_id,) = _operands(options, 1, 1)
    directory = os.path.abspath(options.text("bundle") or ".")
    spec = bundle.load(directory)
    lower_rlimits(spec.get("process") or {})
    record = create(
        root,
        container_id,
        directory,
        spec,
        console=options.text("console-socket"),
        preserve_fds=options.number("preserve-fds") or 0,
        no_pivot=options.switch("no-pivot"),
    )
    _pid_file(options, record.pid)
    return 0


def _pid_file(options: Options, pid: int) -> None:
    if options.text("pid-file"):
        from estiva.runtime.cli.records import write_whole

        write_whole(os.path.abspath(options.text("pid-file")), str(pid))


def _start(root: str, options: Options) -> int:
    from estiva.runtime.cli import records
    from estiva.runtime.cli.create import start

    start(records.find(root, _operands(options, 1, 1)[0]))
    return 0


def _run(root: str, options: Options) -> int:
    from estiva.runtime.cli.run import run

    return run(root, _operands(options, 1, 1)[0], options)


def _exec(root: str, options: Options) -> int:
    from estiva.runtime.cli.run import run_exec

    return run_exec(root, options)


def _state(root: str, options: Options) -> int:
    from estiva.runtime.cli import records

    state = records.find(root, _operands(options, 1, 1)[0]).state()
    sys.stdout.write(json.dumps(state, indent=2) + "\n")
    return 0


def _list(root: str, options: Options) -> int:
    from estiva.runtime.cli.control import listing

    _operands(options, 0, 0)
    sys.stdout.write(listing(root, options))
    return 0


def _kill(root: str, options: Options) -> int:
    from estiva.runtime.cli import control, records

    container_id, *rest = _operands(options, 1, 2)
    control.kill(records.find(root, container_id), rest[0] if rest else "SIGTERM", options.switch("all"))
    return 0


def _delete(root: str, options: Options) -> int:
    from estiva.runtime.cli.control import delete

    delete(root, _operands(options, 1, 1)[0], options.switch("force"))
    return 0


def _pause(root: str, options: Options) -> int:
    from estiva.runtime.cli import control, records

    control.pause(records.find(root, _operands(options, 1, 1)[0]), True)
    return 0


def _resume(root: str, options: Options) -> int:
    from estiva.runtime.cli import control, records

    control.pause(records.find(root, _operands(options, 1, 1)[0]), False)
    return 0


def _update(root: str, options: Options) -> int:
    from estiva.runtime.cli import control, records

    control.update(records.find(root, _operands(options, 1, 1)[0]), options)
    return 0


def _spec(root: str, options: Options) -> int:
    from estiva.runtime.cli.information import write_spec

    write_spec(options.text("bundle"), options.switch("rootless"))
    return 0


def _features(root: str, options: Options) -> int:
    from estiva.runtime.cli.information import features

    sys.stdout.write(json.dumps(features(), indent=2) + "\n")
    return 0


COMMANDS: dict[str, tuple[dict[str, str], dict[str, str], Handler]] = {
    "create": (_START, {"b": "bundle"}, _create),
    "start": ({}, {}, _start),
    "run": (
        {**_START, "detach": SWITCH, "keep": SWITCH, "no-subreaper": SWITCH},
        {"b": "bundle", "d": "detach"},
        _run,
    ),
    "exec": (
        {
            "console-socket": VALUE,
            "pid-file": VALUE,
            "preserve-fds": VALUE,
            "process": VALUE,
            "detach": SWITCH,
            "tty": SWITCH,
            "user": VALUE,
            "cwd": VALUE,
            "env": VALUES,
            "cap": VALUES,
            "additional-gids": VALUES,
            "no-new-privs": SWITCH,
        },
        {"d": "detach", "t": "tty", "p": "process", "u": "user", "e": "env", "c": "cap", "g": "additional-gids"},
        _exec,
    ),
    "state": ({}, {}, _state),
    "list": ({"quiet": SWITCH, "format": VALUE}, {"q": "quiet", "f": "format"}, _list),
    "kill": ({"all": SWITCH, "regex": SWITCH}, {"a": "all"}, _kill),
    "delete": ({"force": SWITCH, "regex": SWITCH}, {"f": "force"}, _delete),
    "pause": ({}, {}, _pause),
    "resume": ({}, {}, _resume),
    "update": (dict.fromkeys(_LIMITS.split(), VALUE), {"r": "resources"}, _update),
    "spec": ({"bundle": VALUE, "rootless": SWITCH}, {"b": "bundle"}, _spec),
    "features": ({}, {}, _features),
}
