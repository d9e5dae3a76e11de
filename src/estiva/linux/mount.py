"""Mounting by descriptor: the mount API of Linux 5.2, and what is left of the old one.

Descriptors returned are close-on-exec and the caller's to close.  Paths may be ``str`` or ``bytes``.
"""

from __future__ import annotations

import ctypes
import os
import struct

from estiva.linux.libc import check, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    Path = str | bytes

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19

MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

FSOPEN_CLOEXEC = 0x1
FSMOUNT_CLOEXEC = 0x1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4

_NR_open_tree = 428
_NR_move_mount = 429
_NR_fsopen = 430
_NR_fsconfig = 431
_NR_fsmount = 432
_NR_mount_setattr = 442

libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


def mount(source: Path, target: Path, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """Mount *source* on *target*, or change a mount, by option string: cut at 4095 bytes by the kernel.  mount(2)"""
    check(
        libc.mount(os.fsencode(source), os.fsencode(target), _text(fstype), flags, _text(data)),
        "mount",
        source,
        target,
    )


def umount2(target: Path, flags: int = 0) -> None:
    """Take the topmost mount off *target*.  umount2(2)"""
    check(libc.umount2(os.fsencode(target), flags), "umount2", target)


def fsopen(fstype: str, flags: int = FSOPEN_CLOEXEC) -> int:
    """A descriptor of a file system to be configured.  fsopen(2)"""
    return syscall("fsopen", _NR_fsopen, _text(fstype), flags, about=(fstype,))


def fsconfig_set_flag(context_fd: int, key: str) -> None:
    """Set the option *key*, which takes no value.  fsconfig(2)"""
    _fsconfig(context_fd, FSCONFIG_SET_FLAG, key, None, 0)


def fsconfig_set_string(context_fd: int, key: str, value: Path) -> None:
    """Set the option *key* to *value*, at most 255 bytes.  fsconfig(2)"""
    _fsconfig(context_fd, FSCONFIG_SET_STRING, key, os.fsencode(value), 0)


def fsconfig_set_fd(context_fd: int, key: str, fd: int) -> None:
    """Set the option *key* to what *fd* is open on.  fsconfig(2)"""
    _fsconfig(context_fd, FSCONFIG_SET_FD, key, None, fd)


def fsconfig_create(context_fd: int) -> None:
    """Make the superblock.  fsconfig(2)"""
    _fsconfig(context_fd, FSCONFIG_CMD_CREATE, None, None, 0)


def _fsconfig(context_fd: int, command: int, key: str | None, value: bytes | None, aux: int) -> None:
    name = None if key is None else ctypes.c_char_p(key.encode())
    what = None if value is None else ctypes.c_char_p(value)
    try:
        syscall("fsconfig", _NR_fsconfig, context_fd, command, name, what, aux, about=(key or "create", value or aux))
    except OSError as error:
        said = context_message(context_fd)
        if not said:
            raise
        raise OSError(error.errno, f"{error.strerror} ({said})") from None


def context_message(context_fd: int) -> str:
    """What the kernel has to say about the last failure on a descriptor of fsopen(), or ``""``.  fsopen(2)"""
    messages = []
    while True:
        try:
            messages.append(os.read(context_fd, 4096).decode(errors="replace").strip())
        except OSError:  # ENODATA: no more of them
            return "; ".join(message[2:] for message in messages)


def fsmount(context_fd: int, attributes: int = 0, flags: int = FSMOUNT_CLOEXEC) -> int:
    """A descriptor of a new mount, attached nowhere, of the file system made on *context_fd*.  fsmount(2)"""
    return syscall("fsmount", _NR_fsmount, context_fd, flags, attributes, about=(context_fd,))


def move_mount(from_fd: int, target: Path, to_dirfd: int = AT_FDCWD) -> None:
    """Attach the mount *from_fd* at *target*.  move_mount(2)"""
    empty, where = ctypes.c_char_p(b""), ctypes.c_char_p(os.fsencode(target))
    syscall(
        "move_mount", _NR_move_mount, from_fd, empty, to_dirfd, where, MOVE_MOUNT_F_EMPTY_PATH, about=(from_fd, target)
    )


def open_tree(path: Path, flags: int = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, dirfd: int = AT_FDCWD) -> int:
    """A descriptor of the mount at *path*; with ``OPEN_TREE_CLONE`` of a detached copy of it.  open_tree(2)"""
    where = ctypes.c_char_p(os.fsencode(path))
    return syscall("open_tree", _NR_open_tree, dirfd, where, flags, about=(path,))


def mount_setattr(
    path: Path, attr_set: int, attr_clr: int = 0, *, dirfd: int = AT_FDCWD, flags: int = 0, userns_fd: int = 0
) -> None:
    """Change the attributes of the mount at *path*, or with ``AT_EMPTY_PATH`` of *dirfd*.  mount_setattr(2)"""
    attributes = struct.pack("=QQQQ", attr_set, attr_clr, 0, userns_fd)
    where = ctypes.c_char_p(os.fsencode(path))
    syscall(
        "mount_setattr", _NR_mount_setattr, dirfd, where, flags, ctypes.c_char_p(attributes), 32, about=(dirfd, path)
    )


def _text(value: str | None) -> ctypes.c_char_p | None:
    return None if value is None else ctypes.c_char_p(value.encode())
