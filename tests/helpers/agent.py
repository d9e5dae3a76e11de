"""A seccomp agent: it takes listeners at a socket and answers what they say, in a thread.

seccomp_unotify(2); runtime-spec config-linux.md "The Container Process State"
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
RECV = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
SEND = 0xC0182101
NOTIFICATION = struct.Struct("=QII iIQ6Q")  # id pid flags; struct seccomp_data
ANSWER = struct.Struct("=QqiI")  # id value error flags

#: what the agent says to a call: (value, errno or 0, flags); None lets the call go on
Answer = tuple[int, int, int] | None


def go_on(_number: int, _arguments: tuple[int, ...]) -> Answer:
    """Let every call happen."""
    return None


class Agent:
    """A context manager.  ``states``: the documents received; ``calls``: (number, arguments) of every notification."""

    def __init__(self, path: Path, answer: Callable[[int, tuple[int, ...]], Answer] = go_on) -> None:
        self.path = path
        self.answer = answer
        self.states: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.calls: list[tuple[int, tuple[int, ...]]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Agent:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopper)
        self._thread.join(10)
        os.close(self._stop)
        self._socket.close()

    def numbers(self) -> set[int]:
        """The numbers of the calls that were notified."""
        return {number for number, _ in self.calls}

    def _serve(self) -> None:
        listeners: set[int] = set()
        while True:
            ready = select.select([self._stop, self._socket, *listeners], [], [])[0]
            if self._stop in ready:
                break
            if self._socket in ready:
                listeners.add(self._accept())
            for listener in listeners & set(ready):
                if not self._notified(listener):
                    os.close(listener)
                    listeners.discard(listener)
        for listener in listeners:
            os.close(listener)

    def _accept(self) -> int:
        connection, _ = self._socket.accept()
        with connection:
            text, control, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(16))
            while piece := connection.recv(65536):
                text += piece
        fds = array.array("i")
        for _level, _type, data in control:
            fds.frombytes(data)
        assert len(fds) == 1
        self.states.append(json.loads(text))
        return fds[0]

    def _notified(self, listener: int) -> bool:
        """Answer one notification; false once no filtered process is left."""
        buffer = bytearray(NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, RECV, buffer)
            ident, _pid, _flags, number, _arch, _at, *arguments = NOTIFICATION.unpack(buffer)
            self.calls.append((number, tuple(arguments)))
            answer = self.answer(number, tuple(arguments))
            value, error, flags = (0, 0, CONTINUE) if answer is None else answer
            fcntl.ioctl(listener, SEND, ANSWER.pack(ident, value, -error, flags))
        except OSError as failure:
            return failure.errno == errno.EINTR or bool(select.select([listener], [], [], 0)[0]) is False
        return True
