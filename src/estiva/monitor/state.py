"""What a container's monitor has written down: whether it runs, as which process, how it ended.

Three files tell it, so that no command need ask anybody: ``lock`` (flock'ed as long as the monitor lives), ``status``
(written at each start, removed at the end) in the run directory, and ``exit`` in the container's own directory, which
survives a reboot.
"""

from __future__ import annotations

import fcntl
import os


class MonitorState:
    """``running``: its process lives · ``monitored``: so does its monitor · ``pid`` (0: none) and ``starttime`` (clock
    ticks since boot) · times in Unix nanoseconds (0: never) · ``exit_code`` of the last end (None: it has not ended) ·
    ``oom``: killed for memory · ``restarts`` by policy."""

    __slots__ = (
        "exit_code",
        "finished_ns",
        "monitored",
        "oom",
        "pid",
        "restarts",
        "running",
        "started_ns",
        "starttime",
    )

    def __init__(self) -> None:
        self.running = self.monitored = self.oom = False
        self.pid = self.starttime = self.restarts = 0
        self.started_ns = self.finished_ns = 0
        self.exit_code: int | None = None


def read_state(run_dir: str, ctr_dir: str) -> MonitorState:
    """The state told by files in *run_dir* and *ctr_dir*: ``containers/<id>`` of the run directory and of the root."""
    state = MonitorState()
    ended = _read(f"{ctr_dir}/exit")
    if ended:
        state.exit_code = ended.get("code", 0)
        state.started_ns = ended.get("started", 0)
        state.finished_ns = ended.get("finished", 0)
        state.oom = bool(ended.get("oom"))
    status = _read(f"{run_dir}/status")
    if not status:
        return state
    state.restarts = status.get("restarts", 0)
    state.monitored = is_locked(f"{run_dir}/lock")
    pid, starttime = status.get("pid", 0), status.get("starttime", 0)
    if is_alive(pid, starttime):
        state.running = True
        state.pid, state.starttime = pid, starttime
        state.started_ns = status.get("started", 0)
    return state


def is_alive(pid: int, starttime: int) -> bool:
    """Whether process *pid* is still the one that started at *starttime* (clock ticks since boot), and no zombie."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return False
    try:
        text = os.read(fd, 1024)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    fields = text[text.rindex(b")") + 2 :].split()
    return int(fields[19]) == starttime and fields[0] not in (b"Z", b"X")


def start_time(pid: int) -> int:
    """When *pid* started, in clock ticks since boot: with the number, what names a process.  proc_pid_stat(5)"""
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, 1024)
    finally:
        os.close(fd)
    return int(text[text.rindex(b")") + 2 :].split()[19])


def is_locked(path: str) -> bool:
    """Whether some process holds the flock on *path*."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _read(path: str) -> dict[str, int]:
    """The ``name=number`` lines of a file; empty if there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    try:
        text = os.read(fd, 4096).decode("ascii", "replace")
    finally:
        os.close(fd)
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: int(value) for name, _, value in pairs if value.lstrip("-").isdigit()}
