"""``events``: what a container uses, at intervals, and that it ran out of memory, at once: one JSON object a line.

The objects are runc's, because monitoring programs read them.
"""

from __future__ import annotations

import errno
import os
import sys
import time

from estiva.errors import Conflict, Invalid, NotFound
from estiva.runtime.cgroup.detail import detail
from estiva.runtime.cli import records
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.options import Options
    from estiva.runtime.cli.records import Record

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def command_events(context: Context, options: Options) -> int:
    record = records.find(context.root, options.operands[0])
    interval = duration(options.text("interval", "5s"))
    if record.status() in ("stopped", "creating"):
        raise Conflict(f'container with id "{record.container_id}" is not running')
    if options.switch("stats"):
        _say(record, "stats", statistics(record))
        return 0
    try:
        _follow(record, interval)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that Python's own flush at the end does not complain
    return 0


def duration(text: str) -> float:
    """Seconds of Go's ``5s``, ``1m30s``, ``1.5h``, ``100ms``.  Raises Invalid, also for none."""
    import re

    parts = re.findall(r"([0-9]*\.?[0-9]+)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Invalid(f'option --interval: "{text}" is not a duration', "examples: 5s, 500ms, 1m30s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise Invalid("option --interval: duration interval must be greater than 0")
    return seconds


def statistics(record: Record) -> dict[str, Any]:
    """The ``data`` of a ``stats`` event."""
    found = detail(record.cgroup())
    found["intel_rdt"] = {}
    if record.fields.get("intel_rdt"):
        from estiva.runtime import intel_rdt

        found["intel_rdt"] = intel_rdt.statistics(intel_rdt.Group(**record.fields["intel_rdt"]))
    found["network_interfaces"] = _interfaces(record.pid)
    return found


def _interfaces(pid: int) -> list[dict[str, Any]] | None:
    """The network interfaces of the container but ``lo``; none if the network is not its own.  proc_pid_net(5)"""
    try:
        if os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            return None
        with open(f"/proc/{pid}/net/dev") as file:
            lines = file.read().splitlines()[2:]
    except OSError:
        return None
    found = []
    for line in lines:
        name, _, rest = line.partition(":")
        columns = [int(word) for word in rest.split()]
        if name.strip() != "lo":
            numbers = {
                f"{way}{what}": columns[start + position]
                for way, start in (("Rx", 0), ("Tx", 8))
                for position, what in enumerate(("Bytes", "Packets", "Errors", "Dropped"))
            }
            found.append({"Name": name.strip(), **numbers})
    return found or None


def _say(record: Record, kind: str, data: dict[str, Any] | None = None) -> None:
    event = {"type": kind, "id": record.container_id, **({} if data is None else {"data": data})}
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _follow(record: Record, interval: float) -> None:
    import select

    handle = record.cgroup()
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        raise Conflict(f'container with id "{record.container_id}" is not running') from None
    oom = OutOfMemory(handle)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if oom.fd >= 0:
        poll.register(oom.fd, oom.condition)
    due = time.monotonic() + interval
    look_again = 0  # v1 rings before it has counted
    try:
        while True:
            wait = min(due - time.monotonic(), 0.02 if look_again else interval)
            ready = dict(poll.poll(max(0.0, wait) * 1000))
            ended = pidfd in ready or (oom.fd in ready and not handle.exists())
            found = oom.news()
            for _ in range(found):
                _say(record, "oom")
            if ended:
                return
            look_again = 50 if oom.fd in ready and not found else max(0, look_again - 1) if not found else 0
            if time.monotonic() >= due:
                due = time.monotonic() + interval
                try:
                    _say(record, "stats", statistics(record))
                except (OSError, NotFound):
                    if handle.exists():
                        raise
                    return
    finally:
        oom.close()
        os.close(pidfd)


class OutOfMemory:
    """``fd`` becomes ready, by ``condition``, when processes may have been killed for want of memory; :meth:`news` then
    tells how many were.  ``fd`` is -1 where nothing counts them.

    v1 rings an eventfd, also when the cgroup is removed; v2 wakes who polls memory.events.  Either is only a hint: the
    number is in the file.  cgroup-v1/memory.rst "OOM Control", cgroup-v2.rst "memory.events"
    """

    __slots__ = ("_handle", "_opened", "_seen", "condition", "fd")

    def __init__(self, handle: CgroupHandle) -> None:
        self._handle = handle
        self._opened: list[int] = []
        self._seen = handle.oom_kills()
        self.fd = -1
        self.condition = 0
        source = handle.oom_source()
        if source is None:
            return
        try:
            fd = os.open(source[0], os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        self._opened.append(fd)
        memory = handle.v1_dir("memory")
        if memory:
            self._ring(fd, memory)
        else:
            os.read(fd, 4096)  # from now on
            self.fd, self.condition = fd, 2 | 8  # POLLPRI, POLLERR

    def _ring(self, control_fd: int, directory: str) -> None:
        from estiva.runtime.cgroup.files import write_text

        bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._opened.append(bell)
        write_text(f"{directory}/cgroup.event_control", f"{bell} {control_fd}")
        self.fd, self.condition = bell, 1  # POLLIN

    def news(self) -> int:
        """How many were killed since the last call."""
        try:
            if self.condition == 1:
                os.read(self.fd, 8)
            elif self.fd >= 0:
                os.pread(self.fd, 4096, 0)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENODEV):
                raise
        before, self._seen = self._seen, max(self._seen, self._handle.oom_kills())
        return self._seen - before

    def close(self) -> None:
        for fd in self._opened:
            os.close(fd)
