"""Layers united by copying, where no overlay can be had: slow, but it works on any file system, for anybody."""

from __future__ import annotations

import errno
import os
import stat

from estiva.errors import Invalid
from estiva.linux import xattr
from estiva.linux.tree import rmtree_at
from estiva.storage.attributes import OPAQUE, WHITEOUT, kept

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 200  # two descriptors are open at each level
_CANNOT_CLONE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_NOT_SET = (errno.ENOTSUP, errno.EPERM, errno.EINVAL)
_CHUNK = 1 << 20


def copy_layers(layers: list[str], destination: str, top: tuple[int, int, int]) -> None:
    """Make *destination* the union of the unpacked *layers*, bottom first; *top* is its mode, user and group.

    Whiteouts may be overlayfs's or those of tars.  Files share their blocks with the layers where the file system can.
    """
    os.mkdir(destination, 0o700)
    destination_fd = os.open(destination, _DIRECTORY)
    try:
        for layer in layers:
            source_fd = os.open(layer, _DIRECTORY)
            try:
                _Copy(destination_fd).merge(source_fd, destination_fd, b"", 0)
            finally:
                os.close(source_fd)
        mode, uid, gid = top
        _own(destination_fd, uid, gid)
        os.fchmod(destination_fd, mode)
    finally:
        os.close(destination_fd)


class _Copy:
    """The copying of one layer; ``links`` remembers where its hard-linked files went."""

    def __init__(self, root_fd: int) -> None:
        self.root_fd = root_fd
        self.links: dict[int, bytes] = {}

    def merge(self, source: int, target: int, path: bytes, depth: int) -> None:
        """Put what the directory *source* has over what *target* has; both are at *path* from the top."""
        if depth > _DEEPEST:
            raise Invalid(f"copying a layer: more than {_DEEPEST} directories in one another")
        with os.scandir(source) as entries:
            found = [(os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries]
        names = [(name, status) for name, status in found if not _hides(name, status)]
        if len(names) != len(found):
            self._hide(target, found)
        if _is_opaque(source):
            _empty(target)
        for name, status in names:
            if stat.S_ISDIR(status.st_mode):
                self._directory(source, target, name, path + name + b"/", depth)
            else:
                rmtree_at(target, name)
                self._file(source, target, name, status, path + name)

    def _hide(self, target: int, found: list[tuple[bytes, os.stat_result]]) -> None:
        for name, status in found:
            if name == OPAQUE:
                _empty(target)
            elif _hides(name, status):
                rmtree_at(target, name.removeprefix(WHITEOUT))

    def _directory(self, source: int, target: int, name: bytes, path: bytes, depth: int) -> None:
        from_fd = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            to_fd = _make_directory(target, name)
            try:
                self.merge(from_fd, to_fd, path, depth + 1)
                _describe(from_fd, to_fd, os.fstat(from_fd))
            finally:
                os.close(to_fd)
        finally:
            os.close(from_fd)

    def _file(self, source: int, target: int, name: bytes, status: os.stat_result, path: bytes) -> None:
        first = self.links.get(status.st_ino) if status.st_nlink > 1 else None
        if first is not None:
            os.link(first, name, src_dir_fd=self.root_fd, dst_dir_fd=target, follow_symlinks=False)
            return
        if status.st_nlink > 1:
            self.links[status.st_ino] = path
        if stat.S_ISREG(status.st_mode):
            _copy_file(source, target, name, status)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        _describe_name(source, target, name, status)


def _hides(name: bytes, status: os.stat_result) -> bool:
    return name.startswith(WHITEOUT) or (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0)


def _is_opaque(fd: int) -> bool:
    return any(xattr.get(fd, f"{kind}.overlay.opaque") == b"y" for kind in ("trusted", "user"))


def _empty(fd: int) -> None:
    for name in os.listdir(fd):
        rmtree_at(fd, os.fsencode(name))


def _make_directory(target: int, name: bytes) -> int:
    """A descriptor of the directory *name*, made in the place of what else was there."""
    try:
        os.mkdir(name, 0o700, dir_fd=target)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=target).st_mode):
            rmtree_at(target, name)
            os.mkdir(name, 0o700, dir_fd=target)
    return os.open(name, _DIRECTORY, dir_fd=target)


def _copy_file(source: int, target: int, name: bytes, status: os.stat_result) -> None:
    from_fd = os.open(name, _READ_FILE, dir_fd=source)
    try:
        to_fd = os.open(name, _NEW_FILE, 0o600, dir_fd=target)
        try:
            _copy_bytes(from_fd, to_fd, status.st_size)
            _describe(from_fd, to_fd, status)
        finally:
            os.close(to_fd)
    finally:
        os.close(from_fd)


def _copy_bytes(from_fd: int, to_fd: int, size: int) -> None:
    """Copy the parts that are not holes, by reference where the file system can."""
    os.ftruncate(to_fd, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(from_fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        at = os.lseek(from_fd, start, os.SEEK_HOLE)
        _copy_range(from_fd, to_fd, start, at)


def _copy_range(from_fd: int, to_fd: int, start: int, end: int) -> None:
    while start < end:
        try:
            copied = os.copy_file_range(from_fd, to_fd, end - start, start, start)
        except OSError as error:
            if error.errno not in _CANNOT_CLONE:
                raise
            copied = os.pwrite(to_fd, os.pread(from_fd, min(_CHUNK, end - start), start), start)
        if copied == 0:
            return
        start += copied


def _describe(from_fd: int, to_fd: int, status: os.stat_result) -> None:
    """Owner, mode, attributes and times, in the order in which they do not undo each other."""
    _own(to_fd, status.st_uid, status.st_gid)
    os.fchmod(to_fd, stat.S_IMODE(status.st_mode))
    for name, value in kept(xattr.everything(from_fd)):
        _put(to_fd, name, value)
    os.utime(to_fd, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _describe_name(source: int, target: int, name: bytes, status: os.stat_result) -> None:
    """The same for what cannot be opened: links, devices, fifos."""
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
    for key, value in kept(xattr.everything(b"/proc/self/fd/%d/%s" % (source, name))):
        _put(b"/proc/self/fd/%d/%s" % (target, name), key, value)
    os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _own(fd: int, uid: int, gid: int) -> None:
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (uid, gid):
        try:
            os.fchown(fd, uid, gid)
        except OSError as error:
            if error.errno != errno.EINVAL:  # an id this user namespace does not have
                raise


def _put(target: int | bytes, name: bytes, value: bytes) -> None:
    try:
        xattr.put(target, name, value)
    except OSError as error:
        if error.errno not in _NOT_SET:
            raise
