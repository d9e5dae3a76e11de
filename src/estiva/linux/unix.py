"""Unix sequenced-packet sockets as plain descriptors; os.read and os.write move one message each.

``socket`` itself (and ctypes, the other way to these calls) costs more to import than a container needs to start; its C
part, which this uses, has all that is wanted here.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket
from _socket import socketpair as _socketpair


def socketpair() -> tuple[int, int]:
    """Two connected close-on-exec descriptors.  socketpair(2)"""
    first, second = _socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    return first.detach(), second.detach()


def connect(path: str) -> int:
    """A close-on-exec descriptor connected to the socket at *path*, which may be longer than the 107 bytes of a
    ``sun_path``: its directory is named by a descriptor.  Raises OSError.  unix(7)"""
    directory, name = os.path.split(path)
    dir_fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        line = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        try:
            line.connect(f"/proc/self/fd/{dir_fd}/{name}")
            return line.detach()
        finally:
            line.close()
    finally:
        os.close(dir_fd)


def receive(fd: int, size: int) -> bytes:
    """The next message, ``b""`` when the other side is gone and all it sent has been read.

    A peer that closes with something of ours unread has the kernel report ECONNRESET once, before what the peer itself
    had sent last; that is still there to be read.
    """
    try:
        return os.read(fd, size)
    except ConnectionResetError:
        return os.read(fd, size)
