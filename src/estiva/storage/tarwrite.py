"""Tars that depend on nothing but the files: sorted, numeric owners, nothing of the host or the hour.

Members are in the POSIX format; what a header cannot hold goes into pax records.  pax(1)
"""

from __future__ import annotations

import os
import stat

from estiva.errors import Invalid
from estiva.linux import xattr
from estiva.storage.attributes import kept
from estiva.storage.tarread import BLOCK, CHARACTER, DIRECTORY, FIFO, HARD_LINK, REGULAR, SYMLINK, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: FIFO,
}
_CHUNK = 1 << 20
_NANOSECONDS = 1_000_000_000


def write_tree(
    directory: str,
    write: Callable[[bytes], object],
    *,
    latest: int | None = None,
    subsecond: bool = False,
    leave_out: Callable[[bytes], bool] | None = None,
) -> None:
    """Give a tar of what is in *directory* to *write*, piece by piece.

    :param latest: seconds since 1970 beyond which no file is dated (SOURCE_DATE_EPOCH)
    :param subsecond: keep the fractions of times
    :param leave_out: asked about each path, relative to *directory* and without a slash at the end
    """
    tar = TarWriter(write, latest=latest, subsecond=subsecond)
    fd = os.open(directory, _DIRECTORY)
    try:
        _write_directory(tar, fd, b"", leave_out or (lambda path: False))
    finally:
        os.close(fd)
    tar.close()


def _write_directory(tar: TarWriter, fd: int, path: bytes, leave_out: Callable[[bytes], bool]) -> None:
    tar.add(path, os.fstat(fd), xattrs=dict(kept(xattr.everything(fd))))
    for name in sorted(os.fsencode(name) for name in os.listdir(fd)):
        below = path + b"/" + name if path else name
        if leave_out(below):
            continue
        status = os.lstat(name, dir_fd=fd)
        if stat.S_ISDIR(status.st_mode):
            child = os.open(name, _DIRECTORY, dir_fd=fd)
            try:
                _write_directory(tar, child, below, leave_out)
            finally:
                os.close(child)
        else:
            _write_file(tar, fd, name, below, status)


def _write_file(tar: TarWriter, dirfd: int, name: bytes, path: bytes, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        fd = os.open(name, _READ_FILE, dir_fd=dirfd)
        try:
            tar.add(
                path, status, xattrs=dict(kept(xattr.everything(fd))), content=iter(lambda: os.read(fd, _CHUNK), b"")
            )
        finally:
            os.close(fd)
        return
    link = os.fsencode(os.readlink(name, dir_fd=dirfd)) if stat.S_ISLNK(status.st_mode) else b""
    xattrs = dict(kept(xattr.everything(b"/proc/self/fd/%d/%s" % (dirfd, name))))
    tar.add(path, status, xattrs=xattrs, link=link)


class TarWriter:
    """Writes members one by one; :meth:`close` ends the tar.  Hard links are found by inode."""

    def __init__(self, write: Callable[[bytes], object], *, latest: int | None = None, subsecond: bool = False) -> None:
        self._write = write
        self._latest = None if latest is None else latest * _NANOSECONDS
        self._subsecond = subsecond
        self._inodes: dict[tuple[int, int], bytes] = {}

    def add(
        self,
        path: bytes,
        status: os.stat_result,
        *,
        xattrs: dict[bytes, bytes] | None = None,
        link: bytes = b"",
        content: Iterator[bytes] | None = None,
    ) -> None:
        """Write the file *status* describes as *path*; sockets are left out.

        Raises Invalid if *content* turns out shorter than the status says; what is longer is cut.
        """
        kind = _TYPES.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        if kind != DIRECTORY and status.st_nlink > 1:
            first = self._inodes.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                kind, link, xattrs = HARD_LINK, first, None
        size = status.st_size if kind == REGULAR else 0
        name = (path or b".") + b"/" if kind == DIRECTORY else path
        device = status.st_rdev if kind in (CHARACTER, BLOCK) else 0
        mtime = self._time(status.st_mtime_ns)
        mode = 0o777 if kind == SYMLINK else stat.S_IMODE(status.st_mode)
        self._write(
            member_header(name, kind, mode, status.st_uid, status.st_gid, size, mtime, link, device, xattrs or {})
        )
        if kind == REGULAR:
            self._content(path, size, content or iter(()))

    def _time(self, nanoseconds: int) -> int:
        if self._latest is not None and nanoseconds > self._latest:
            return self._latest
        return nanoseconds if self._subsecond else nanoseconds - nanoseconds % _NANOSECONDS

    def _content(self, path: bytes, size: int, content: Iterator[bytes]) -> None:
        left = size
        for chunk in content:
            self._write(chunk[:left])
            left -= min(left, len(chunk))
            if not left:
                break
        if left:
            raise Invalid(f"writing a tar: {show(path)} became shorter meanwhile")
        if size % 512:
            self._write(bytes(-size % 512))

    def close(self) -> None:
        """Write the end mark."""
        self._write(bytes(1024))


def member_header(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes = b"",
    device: int = 0,
    xattrs: dict[bytes, bytes] | None = None,
) -> bytes:
    """The blocks before a member's data, pax records included; *mtime* is in nanoseconds, *device* as of makedev(3)."""
    records = {b"SCHILY.xattr." + key: value for key, value in (xattrs or {}).items()}
    if len(name) > 100:
        records[b"path"] = name
    if len(link) > 100:
        records[b"linkpath"] = link
    for key, value, most in ((b"uid", uid, 0o7777777), (b"gid", gid, 0o7777777), (b"size", size, 0o77777777777)):
        if value > most:
            records[key] = b"%d" % value
    if mtime < 0 or mtime % _NANOSECONDS or mtime > 0o77777777777 * _NANOSECONDS:
        records[b"mtime"] = _seconds(mtime)
    header = _header(name, kind, mode, uid, gid, size, mtime, link, device)
    if not records:
        return header
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    extended = _header(b"PaxHeaders/" + name[:80].rstrip(b"/"), b"x", 0o644, 0, 0, len(data), 0, b"", 0)
    return extended + data + bytes(-len(data) % 512) + header


def _header(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes, device: int
) -> bytes:
    """One block; numbers it cannot hold are 0, and told in pax records."""
    seconds = mtime // _NANOSECONDS
    fields = (
        name[:100].ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % (uid if uid <= 0o7777777 else 0),
        b"%07o\0" % (gid if gid <= 0o7777777 else 0),
        b"%011o\0" % (size if size <= 0o77777777777 else 0),
        b"%011o\0" % (seconds if 0 <= seconds <= 0o77777777777 else 0),
        b" " * 8,
        kind,
        link[:100].ljust(100, b"\0"),
        b"ustar\00000",
        bytes(64),
        b"%07o\0%07o\0" % (os.major(device), os.minor(device)),
        bytes(167),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """ "<length> <key>=<value>\\n", the length counting its own digits."""
    size = len(key) + len(value) + 3
    length = size + len(str(size))
    length = size + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _seconds(nanoseconds: int) -> bytes:
    sign, whole = (b"-", -nanoseconds) if nanoseconds < 0 else (b"", nanoseconds)
    seconds, part = divmod(whole, _NANOSECONDS)
    return sign + b"%d" % seconds + (b".%09d" % part).rstrip(b"0") if part else sign + b"%d" % seconds
