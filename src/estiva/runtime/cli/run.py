"""``run`` and ``exec``: a program in the foreground, or left to itself."""

from __future__ import annotations

import os

from estiva.errors import Invalid
from estiva.runtime.cli import bundle, control, records
from estiva.runtime.cli.create import create, lower_rlimits, start
from estiva.runtime.cli.execute import execute, process_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.runtime.cli.foreground import Console
    from estiva.runtime.cli.options import Options


def run(root: str, container_id: str, options: Options) -> int:
    """Create and start a container; unless detached, wait for its program, delete it and return the exit code."""
    directory = os.path.abspath(options.text("bundle") or ".")
    spec = bundle.load(directory)
    process = spec.get("process") or {}
    lower_rlimits(process)
    detached = options.switch("detach")
    console = _console(root, container_id, bool(process.get("terminal")), detached)
    master = -1
    try:
        record = create(
            root,
            container_id,
            directory,
            spec,
            console=console.path if console else options.text("console-socket"),
            preserve_fds=options.number("preserve-fds") or 0,
            no_pivot=options.switch("no-pivot"),
        )
        master = console.receive() if console else -1
    finally:
        if console:
            console.close()
    _pid_file(options, record.pid)
    try:
        start(record)
        code = 0 if detached else _wait(record.pid, master)
    except BaseException:
        control.delete(root, container_id, force=True)
        raise
    if not detached and not options.switch("keep"):
        control.delete(root, container_id, force=True)
    return code


def run_exec(root: str, options: Options) -> int:
    """Run one more program in a container; unless detached, wait for it and return its exit code."""
    if not options.operands:
        raise Invalid("exec: no container named", 'see "estiva-runtime help"')
    record = records.find(root, options.operands[0])
    process = process_of(options, record.config(), options.operands[1:])
    if options.switch("tty"):
        process["terminal"] = True
    detached = options.switch("detach")
    terminal = bool(process.get("terminal"))
    console = _console(root, record.container_id, terminal and not options.text("console-socket"), detached)
    given = options.text("console-socket") if terminal else ""
    master = -1
    try:
        pid = execute(
            record,
            process,
            console=console.path if console else given,
            preserve_fds=options.number("preserve-fds") or 0,
        )
        master = console.receive() if console else -1
    finally:
        if console:
            console.close()
    _pid_file(options, pid)
    return 0 if detached else _wait(pid, master)


def _console(root: str, container_id: str, terminal: bool, detached: bool) -> Console | None:
    """Make this process the parent of what is started, and a socket for its terminal, if it is to wait for it."""
    if detached:
        return None
    from estiva.runtime.cli import foreground

    foreground.become_subreaper()
    if not terminal:
        return None
    os.makedirs(root, 0o700, exist_ok=True)
    return foreground.Console(f"{root}/.console-{bundle.check_id(container_id)}-{os.getpid()}")


def _wait(pid: int, master: int) -> int:
    from estiva.runtime.cli.foreground import wait

    try:
        return wait(pid, master)
    finally:
        if master >= 0:
            os.close(master)


def _pid_file(options: Options, pid: int) -> None:
    if options.text("pid-file"):
        records.write_whole(os.path.abspath(options.text("pid-file")), str(pid))
