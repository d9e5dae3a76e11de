"""Paths that stay where they belong, names that are exchanged, and what is on disk when."""

from __future__ import annotations

import ctypes
import os
import struct

from estiva.linux.libc import check, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    Path = str | bytes

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

RENAME_NOREPLACE = 0x1
RENAME_EXCHANGE = 0x2

SYNC_FILE_RANGE_WRITE = 0x2

FS_IOC_GETFLAGS = 0x80086601 if ctypes.sizeof(ctypes.c_long) == 8 else 0x80046601
FS_IOC_SETFLAGS = 0x40086602 if ctypes.sizeof(ctypes.c_long) == 8 else 0x40046602
FS_TOPDIR_FL = 0x20000

_NR_openat2 = 437
_RACES = 100
_AT_FDCWD = -100

libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
libc.syncfs.argtypes = (ctypes.c_int,)
libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def openat2(dirfd: int, path: Path, flags: int, mode: int = 0, resolve: int = RESOLVE_IN_ROOT) -> int:
    """A close-on-exec descriptor of *path*, resolved from *dirfd* under the rules *resolve*.  openat2(2)

    With ``RESOLVE_IN_ROOT`` (the default) *dirfd* is the root for absolute paths, symbolic links and ``..`` alike.
    """
    how = ctypes.c_char_p(struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve))
    name = ctypes.c_char_p(os.fsencode(path))
    for _ in range(_RACES):
        try:
            return syscall("openat2", _NR_openat2, dirfd, name, how, 24, about=(path,))
        except BlockingIOError:  # EAGAIN: some rename or mount, anywhere, came between; nothing is known to be wrong
            continue
    return syscall("openat2", _NR_openat2, dirfd, name, how, 24, about=(path,))


def renameat2(old: Path, new: Path, flags: int, old_dirfd: int = _AT_FDCWD, new_dirfd: int = _AT_FDCWD) -> None:
    """Rename with ``RENAME_NOREPLACE`` or ``RENAME_EXCHANGE``.  renameat2(2)"""
    check(
        libc.renameat2(old_dirfd, os.fsencode(old), new_dirfd, os.fsencode(new), flags),
        "renameat2",
        old,
        new,
    )


def syncfs(fd: int) -> None:
    """Write everything of the file system *fd* is on to its disk.  syncfs(2)"""
    check(libc.syncfs(fd), "syncfs", fd)


def start_writeback(fd: int, offset: int, count: int) -> None:
    """Begin to write these bytes of *fd* to disk, without waiting; nothing becomes durable.  sync_file_range(2)"""
    check(libc.sync_file_range(fd, offset, count, SYNC_FILE_RANGE_WRITE), "sync_file_range", fd)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable.  fsync(2)"""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def add_inode_flags(path: Path, flags: int) -> None:
    """Set ``FS_…_FL`` of a file or directory, where its file system has them.  ioctl_iflags(2), chattr(1)"""
    import fcntl

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        (now,) = struct.unpack("=i", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(4)))
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=i", now | flags))
    finally:
        os.close(fd)
