"""Unix sequenced-packet sockets as plain descriptors; os.read and os.write move one message each.

The ``socket`` module costs more to import than a container needs to start, and on the way of ``run`` and ``exec`` no
more than a pair and a connection are wanted.
"""

from __future__ import annotations

import ctypes
import os
import struct

from estiva.linux.libc import check, libc

AF_UNIX = 1
SOCK_STREAM = 1
SOCK_SEQPACKET = 5
SOCK_CLOEXEC = 0o2000000

libc.socketpair.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int))
libc.connect.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def socketpair(kind: int = SOCK_SEQPACKET) -> tuple[int, int]:
    """Two connected close-on-exec descriptors.  socketpair(2)"""
    pair = (ctypes.c_int * 2)()
    check(libc.socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, pair), "socketpair")
    return pair[0], pair[1]


def connect(path: str, kind: int = SOCK_SEQPACKET) -> int:
    """A close-on-exec descriptor connected to the socket at *path*, which may be longer than the 107 bytes of a
    ``sun_path``: its directory is named by a descriptor.  Raises OSError.  unix(7)"""
    directory, name = os.path.split(path)
    dir_fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = check(libc.socket(AF_UNIX, kind | SOCK_CLOEXEC, 0), "socket", path)
        try:
            address = struct.pack("=H", AF_UNIX) + os.fsencode(f"/proc/self/fd/{dir_fd}/{name}") + b"\0"
            check(libc.connect(fd, address, len(address)), "connect", path)
        except OSError:
            os.close(fd)
            raise
        return fd
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
