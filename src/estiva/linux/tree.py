"""Removing and measuring directory trees, by descriptor.

Apart from the other calls on paths, because removing a container needs this and not ctypes.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    Path = str | bytes

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEP = 60  # descriptors rmtree() keeps open at most


def rmtree(path: Path) -> None:
    """Remove *path* and all below it; that it does not exist is fine, also if another removes it at the same time.
    Symbolic links are removed, never followed.

    Directories their owner cannot enter are opened up first (an overlay's work directory has mode 0).  Trees of any
    depth work with a bounded number of descriptors.  Raises PermissionError where files belong to other ids.
    """
    parent, name = os.path.split(os.fsencode(path).rstrip(b"/"))
    try:
        dirfd = os.open(parent or b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rmtree_at(dirfd, name)
    finally:
        os.close(dirfd)


def rmtree_at(dirfd: int, name: bytes) -> None:
    """Remove *name* in the directory *dirfd* as :func:`rmtree` does."""
    try:
        os.unlink(name, dir_fd=dirfd)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        _Removal(dirfd, name).run()


class _Removal:
    """One removal of a directory tree: what lies too deep is first moved up beside the tree's top entries."""

    def __init__(self, dirfd: int, name: bytes) -> None:
        self.dirfd = dirfd
        self.name = name
        self.moved = 0

    def run(self) -> None:
        try:
            top = _open_directory(self.dirfd, self.name)
        except FileNotFoundError:
            return
        try:
            before = -1
            while before != self.moved:
                before = self.moved
                self.empty(top, top, 0)
        finally:
            os.close(top)
        _rmdir(self.dirfd, self.name)

    def empty(self, top: int, fd: int, depth: int) -> None:
        """Remove all that *fd* holds."""
        with os.scandir(fd) as entries:
            names = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in names:
            try:
                if is_directory:
                    self.remove(top, fd, name, depth)
                else:
                    os.unlink(name, dir_fd=fd)
            except FileNotFoundError:
                continue

    def remove(self, top: int, fd: int, name: bytes, depth: int) -> None:
        if depth >= _DEEP:
            self.moved += 1
            os.rename(name, b".deep-%d-%d" % (os.getpid(), self.moved), src_dir_fd=fd, dst_dir_fd=top)
            return
        try:
            os.rmdir(name, dir_fd=fd)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        child = _open_directory(fd, name)
        try:
            self.empty(top, child, depth + 1)
        finally:
            os.close(child)
        os.rmdir(name, dir_fd=fd)


def _rmdir(dirfd: int, name: bytes) -> None:
    try:
        os.rmdir(name, dir_fd=dirfd)
    except FileNotFoundError:
        pass


def _open_directory(dirfd: int, name: bytes) -> int:
    """A descriptor of the directory *name*, which from now on its owner may read and change."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=dirfd)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=dirfd)  # nobody else is in a tree that is being removed
        return os.open(name, _DIRECTORY, dir_fd=dirfd)
    if not os.access(name, os.W_OK | os.X_OK, dir_fd=dirfd, effective_ids=True):
        os.fchmod(fd, 0o700)
    return fd


def disk_usage(path: Path) -> int:
    """Bytes that the files below *path* take on disk, each hard-linked one once; 0 if it does not exist."""
    total = 0
    seen = set()
    if not os.path.isdir(path):
        return 0
    for _, _, _, fd in os.fwalk(path):
        with os.scandir(fd) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if status.st_nlink == 1 or status.st_ino not in seen:
                    total += status.st_blocks * 512
                if status.st_nlink > 1:
                    seen.add(status.st_ino)
    return total
