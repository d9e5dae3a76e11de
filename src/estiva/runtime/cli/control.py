"""Commands on containers that exist: kill, delete, pause, resume."""

from __future__ import annotations

import os
import time

from estiva.errors import Conflict, Invalid, NotFound, Unavailable
from estiva.runtime.cli import records
from estiva.runtime.cli.create import SIGKILL, run_hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.options import Options
    from estiva.runtime.cli.records import Record

PATIENCE_S = 10.0


def command_kill(context: Context, options: Options) -> int:
    container_id, *rest = options.operands
    kill(records.find(context.root, container_id), rest[0] if rest else "SIGTERM", options.switch("all"))
    return 0


def command_delete(context: Context, options: Options) -> int:
    delete(context.root, options.operands[0], options.switch("force"))
    return 0


def command_pause(context: Context, options: Options) -> int:
    record = records.find(context.root, options.operands[0])
    status = record.status()
    if status not in ("running", "created"):
        why = "container not running" if status == "stopped" else f"it is {status}"
        raise Conflict(f'pausing container "{record.container_id}": {why}')
    record.cgroup().freeze()
    return 0


def command_resume(context: Context, options: Options) -> int:
    record = records.find(context.root, options.operands[0])
    if record.status() != "paused":
        raise Conflict(f'resuming container "{record.container_id}": container not paused')
    record.cgroup().thaw()
    return 0


def signal_number(text: str) -> int:
    """The number of ``9``, ``KILL``, ``SIGKILL`` or ``SIGRTMIN+3``.  Raises Invalid."""
    import signal

    if text.isdecimal() and 0 <= int(text) <= 64:
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else "SIG" + name
    if name.startswith(("SIGRTMIN", "SIGRTMAX")):
        base = signal.SIGRTMIN if name.startswith("SIGRTMIN") else signal.SIGRTMAX
        offset = name[8:] or "+0"
        if offset[0] in "+-" and offset[1:].isdecimal() and signal.SIGRTMIN <= base + int(offset) <= signal.SIGRTMAX:
            return int(base) + int(offset)
    try:
        return int(signal.Signals[name])
    except KeyError:
        raise Invalid(f'unknown signal "{text}"', "use a number, or a name such as KILL or SIGRTMIN+3") from None


def kill(record: Record, text: str, everyone: bool) -> None:
    """Send a signal to the container's process, or with *everyone* to all in its cgroup."""
    number = signal_number(text)
    if number == SIGKILL and record.alive() and not _has_pid_namespace(record):
        everyone = True  # else its first process would end and the others stay
    gone = Conflict(f'killing container "{record.container_id}": container not running')
    if everyone:
        handle = record.cgroup()
        if not record.alive() and not handle.pids():
            raise gone
        handle.kill(number)
        return
    if not record.alive():
        raise gone
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        raise gone from None
    try:
        if not record.alive():  # the number may have been given to another process before we held it
            raise gone
        import signal

        signal.pidfd_send_signal(pidfd, number)
        if number == SIGKILL and record.status() == "paused":
            record.cgroup().thaw()  # v1 delivers no signal, not even this one, to what is frozen
    except ProcessLookupError:
        raise gone from None
    finally:
        os.close(pidfd)


def _has_pid_namespace(record: Record) -> bool:
    """Whether the kernel ends the other processes with the first."""
    namespaces = (record.config().get("linux") or {}).get("namespaces") or ()
    return any(entry.get("type") == "pid" and not entry.get("path") for entry in namespaces)


def delete(root: str, container_id: str, force: bool) -> None:
    """Remove a stopped container and what belongs to it; with *force* any, and it is no failure if there is none."""
    try:
        record = _deletable(root, container_id, force)
        if record.status() == "creating":
            _kill_first(record)  # and whoever makes it gives up
    except NotFound:
        if not records.exists(root, container_id):
            if force:
                return
            raise
    held = records.Record(f"{root}/{container_id}", container_id, {})
    if not held.lock():
        return  # somebody else was quicker
    try:
        # Once more, now that nobody else changes it: what was being made may have been finished.
        record = _deletable(root, container_id, force, locked=True)
    except NotFound:
        held.remove()  # what a killed command left: nothing of the container exists
        return
    except BaseException:
        held.unlock()
        raise
    record.take_lock(held)
    end_and_remove(record, record.cgroup(), record.config())


def _deletable(root: str, container_id: str, force: bool, *, locked: bool = False) -> Record:
    """The container's record, if it may be deleted; with *force* one that is damaged, too.  *locked*: by us, so that
    nobody is making it any more."""
    try:
        record = records.find(root, container_id)
    except Unavailable:
        if not force:
            raise
        return records.salvage(root, container_id)
    status = record.status()
    allowed = ("stopped", "created", "creating") if locked else ("stopped", "created")
    if status not in allowed and not force:
        raise Conflict(f'cannot delete container "{container_id}" that is not stopped: {status}')
    return record


def end_and_remove(record: Record, handle: CgroupHandle, spec: dict[str, Any]) -> None:
    """End what runs in a container and remove all that belongs to it."""
    _end(record, handle)
    record.leave_resource_director()
    handle.remove(kill=record.may_have_processes)
    run_hooks(record, spec, ("poststop",), "stopped")  # before its record goes: a delete can be repeated
    record.remove()


def _kill_first(record: Record) -> None:
    if record.alive():
        os.kill(record.pid, SIGKILL)


def _end(record: Record, handle: CgroupHandle) -> None:
    if not record.alive():
        return
    _kill_first(record)
    if handle.dirs:
        handle.kill()
    deadline = time.monotonic() + PATIENCE_S
    pause = 0.0005
    while record.alive():
        if time.monotonic() > deadline:
            raise Conflict(
                f'deleting container "{record.container_id}": container still running: its process does not end'
            )
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
