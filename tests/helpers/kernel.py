"""The few system calls the test session itself needs; kept apart from the code under test on purpose."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import socket
import struct

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWNET = 0x4000_0000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
MS_RDONLY = 1
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MNT_DETACH = 2
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

#: of the running kernel, as (6, 12)
RELEASE = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by *flags* for new ones.  unshare(2)"""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)"""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    extra = None if data is None else data.encode()
    _check(_libc.mount(*words, ctypes.c_ulong(flags), extra), f"mount({source}, {target}, {kind}, {data})")


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)"""
    _check(_libc.umount2(os.fsencode(target), flags), f"umount2({target})")


def show(source: str, target: str) -> None:
    """Make the directory *source* also visible at *target*, read-only: nothing can be removed through it."""
    mount(source, target, None, MS_BIND)
    mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def bring_up(interface: str) -> None:
    """Set *interface* of the current network namespace up.  netdevice(7)"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH22x", interface.encode(), 0))
        flags = struct.unpack("16sH22x", answer)[1] | _IFF_UP
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", interface.encode(), flags))


def mounts(pid: int | str = "self") -> list[tuple[str, str, str]]:
    """(mount point, type, super options) of each mount of a process, oldest first.  proc_pid_mountinfo(5)"""
    found = []
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields, _, tail = line.partition(" - ")
            kind, _source, options = tail.split(" ", 2)
            found.append((fields.split(" ")[4].replace("\\040", " "), kind, options.strip()))
    return found


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove a directory and all below it, after unmounting what is mounted there; a missing one is no failure.

    What cannot be unmounted is not walked into: the tree then stays, and OSError says so.  (os.path.ismount does not
    know a bind mount of the same file system; mountinfo does.)
    """
    below = os.path.realpath(path) + "/"
    for point in reversed(_mounted(below)):
        unmount(point)
    if left := _mounted(below):
        raise OSError(errno.EBUSY, "still mounted", left[0])
    shutil.rmtree(path, ignore_errors=True)


def _mounted(below: str) -> list[str]:
    return [point for point, _, _ in mounts() if f"{point}/".startswith(below)]


def write(path: str, text: str, dir_fd: int | None = None) -> None:
    """Write to a file of the kernel, errors included."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
