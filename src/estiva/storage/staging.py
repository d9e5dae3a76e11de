"""Where blobs and layers are made before they get their names: ``<root>/staging``.

Whoever makes something there holds a lock on it while alive, so what a killed process left behind can be told from
work in progress and swept away.
"""

from __future__ import annotations

import errno
import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SELINUX = "/sys/fs/selinux/enforce"  # there where SELinux is
# Of the files of images.  The overlay has the container's own label, but mprotect(2) asks for that of the file below.
LABEL = b"system_u:object_r:container_ro_file_t:s0\0"


class Staging:
    """The staging directory of the store at *root*; it is made at the first use."""

    def __init__(self, root: str) -> None:
        self.path = f"{root}/staging"
        self._swept = False

    def file(self) -> Staged:
        """A new empty file, open for reading and writing."""
        return self._make(os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def directory(self) -> Staged:
        """A new empty directory."""
        return self._make(os.O_RDONLY | os.O_DIRECTORY)

    def _make(self, flags: int) -> Staged:
        if not self._swept:
            if not os.path.isdir(self.path):
                self._create()
            self._swept = True  # only now: other threads then believe that it is there
            self.sweep()
        while True:
            path = f"{self.path}/{os.urandom(8).hex()}"
            if flags & os.O_DIRECTORY:
                os.mkdir(path, 0o700)
            try:
                fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.stat(path).st_ino == os.fstat(fd).st_ino:
                    return Staged(path, fd)
                os.close(fd)
            except FileNotFoundError:  # a sweep came between the making and the locking
                continue
            except BlockingIOError:
                os.close(fd)

    def sweep(self) -> None:
        """Remove what processes that are gone left behind."""
        if not os.path.isdir(self.path):
            self._create()
        for path in self._abandoned():
            from estiva.linux.tree import rmtree

            try:
                if os.path.ismount(f"{path}/lower"):  # of a trial of storage drivers that was killed
                    from estiva.linux.mount import MNT_DETACH, umount2

                    umount2(f"{path}/lower", MNT_DETACH)
                rmtree(path)
            except OSError:  # files of ids this process may not touch, a mount: for the sweep of one that may
                pass

    def _create(self) -> None:
        """Make the directory, with a label for what containers may read, which all that is made in it gets, too.

        And let ext4 put each layer into a part of the disk of its own: among inodes freed a moment ago, finding one
        takes it a third of a millisecond, and pulling after a removal would take ten times as long.
        """
        from estiva.linux.path import FS_TOPDIR_FL, add_inode_flags

        os.makedirs(self.path, 0o700, exist_ok=True)
        if os.path.exists(SELINUX):
            try:
                os.setxattr(self.path, "security.selinux", LABEL)
            except OSError:  # no labels here, or no such thing in the policy
                pass
        try:
            add_inode_flags(self.path, FS_TOPDIR_FL)
        except OSError:  # only a hint, and not every file system takes it
            pass

    def _abandoned(self) -> Iterator[str]:
        for name in os.listdir(self.path):
            path = f"{self.path}/{name}"
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EACCES):
                    continue
                raise
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path
            except BlockingIOError:
                pass
            finally:
                os.close(fd)


class Staged:
    """A file or directory in the making: ``path`` and the locked descriptor ``fd``."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    def publish(self, final: str) -> None:
        """Give it its name *final*, durably; what it holds must be on disk already.

        A file takes the place of one that is there.  Raises FileExistsError or ENOTEMPTY for a directory.
        """
        from estiva.linux.path import fsync_directory

        parent = os.path.dirname(final)
        os.makedirs(parent, 0o700, exist_ok=True)
        os.rename(self.path, final)
        os.close(self.fd)
        self.fd = -1
        fsync_directory(parent)

    def discard(self) -> None:
        """Remove it, unless it was published."""
        if self.fd == -1:
            return
        from estiva.linux.tree import rmtree

        try:
            rmtree(self.path)
        finally:
            os.close(self.fd)
            self.fd = -1
