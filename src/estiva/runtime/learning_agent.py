"""The agent of :mod:`estiva.runtime.learning`; run by path, as a process of its own that ends with the container.

For every call it is told of it answers "go on", after writing the profile if the call is a new one.  It ends when no
process is left under any of the filters whose listeners it got, and nobody can start one: the lock it was told of is
free, or who started the container has gone.  seccomp_unotify(2), linux/seccomp.h
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.learned import Learned

RECEIVE, SEND, SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082104
CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
SYNC_WAKE_UP = 1  # SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6
PAUSE_MS = 20  # between looks at the lock, while there is no listener


class Notes:
    """Answers notifications and keeps the profile."""

    def __init__(self, learned: Learned, path: str) -> None:
        import fcntl
        import struct

        self._learned = learned
        self._path = path
        self._known: set[tuple[int, int]] = set()  # calls that can teach nothing more
        self._ioctl = fcntl.ioctl
        self._call = struct.Struct("=QIIiIQQ").unpack_from  # id pid flags; struct seccomp_data: nr arch ip first…
        self._answer = struct.Struct("=QqiI").pack  # id value error flags
        self._buffer = bytearray(80)
        self._empty = bytes(80)

    def take(self, listener: int) -> None:
        """One notification.  Raises OSError if the process has gone meanwhile."""
        buffer = self._buffer
        buffer[:] = self._empty
        self._ioctl(listener, RECEIVE, buffer)
        ident, _pid, _flags, number, arch, _at, first = self._call(buffer)
        if (arch, number) not in self._known:
            self._learn(arch, number & 0xFFFFFFFF, first)
        self._ioctl(listener, SEND, self._answer(ident, 0, 0, CONTINUE))

    def _learn(self, arch: int, number: int, first: int) -> None:
        learned = self._learned
        before = len(learned.names) + len(learned.archs) + sum(map(len, learned.values.values()))
        if learned.note(arch, number, first):
            self._known.add((arch, number))
        if len(learned.names) + len(learned.archs) + sum(map(len, learned.values.values())) > before:
            try:
                learned.save(self._path)
            except Exception:  # the container goes on; there is nobody here to tell
                pass


def serve(orders: dict[str, Any], listening: int, line: int, notes: Notes) -> None:
    """Until the end of the container."""
    import fcntl
    import select
    from _socket import socket
    from struct import pack

    from estiva.monitor.state import is_locked

    poll = select.poll()
    poll.register(listening, select.POLLIN)
    poll.register(line, 0)
    incoming = socket(fileno=listening)
    listeners: set[int] = set()
    starting = True
    while listeners or starting or (orders["lock"] and is_locked(orders["lock"])):
        for fd, events in poll.poll(None if listeners or starting else PAUSE_MS):
            if fd == line:
                poll.unregister(line)
                starting = False
            elif fd == listening:
                listener = _receive(incoming)
                if listener >= 0:
                    listeners.add(listener)
                    poll.register(listener, select.POLLIN)
                    try:
                        fcntl.ioctl(listener, SET_FLAGS, pack("=Q", SYNC_WAKE_UP))
                    except OSError:
                        pass  # an older kernel: slower
            elif events & select.POLLIN:
                try:
                    notes.take(fd)
                except OSError:
                    continue
            else:
                poll.unregister(fd)
                listeners.discard(fd)
                os.close(fd)


def _receive(incoming: Any) -> int:
    """The listener that a runtime sends with the state; -1 if none came."""
    from array import array

    connection = incoming._accept()[0]
    from _socket import socket

    with_state = socket(fileno=connection)
    fds = array("i")
    try:
        while True:
            data, control, _, _ = with_state.recvmsg(65536, 64)
            for _level, _kind, payload in control:
                fds.frombytes(payload[: len(payload) // 4 * 4])
            if not data:
                break
    except OSError:
        pass
    finally:
        with_state.close()
    for fd in fds[1:]:
        os.close(fd)
    if fds:
        os.set_inheritable(fds[0], False)
    return fds[0] if fds else -1


def main() -> int:
    """Become a process that nobody waits for, and serve.  This program has one thread and is nobody's module: it may
    fork."""
    if os.fork():
        os._exit(0)
    import json

    from estiva.runtime.learned import Learned
    from estiva.runtime.learning import LINE_FD, ORDERS_FD, SOCKET_FD

    os.chdir("/")
    with open(ORDERS_FD, "rb") as file:
        orders = json.loads(file.read())
    try:
        serve(orders, SOCKET_FD, LINE_FD, Notes(Learned(orders["base"], os.uname().machine), orders["file"]))
    finally:
        try:
            os.unlink(orders["socket"])
        except FileNotFoundError:
            pass
    return 0


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    raise SystemExit(main())
