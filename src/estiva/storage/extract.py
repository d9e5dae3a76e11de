"""Unpacking a layer's tar below a directory, whatever the tar says.

Everything is done by descriptor and by the last component's name; parents are opened with ``RESOLVE_IN_ROOT``, so that
neither a link in the archive nor ``..`` leads out.  A later member replaces an earlier one of the same path; only a
directory stays when a directory comes again.
"""

from __future__ import annotations

import errno
import os
import stat

from estiva.errors import Invalid
from estiva.linux.path import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2
from estiva.linux.tree import rmtree_at
from estiva.storage.attributes import META, NOT_HERE, OPAQUE, WHITEOUT, is_meta, kept, opaque_name, refuse_whiteout
from estiva.storage.tarread import BLOCK, CHARACTER, DIRECTORY, FIFO, HARD_LINK, REGULAR, SYMLINK, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.storage.tarread import Member
    from estiva.storage.tarstream import ChunkStream

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PARENT = os.O_PATH | os.O_DIRECTORY
_NO_LINKS = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS
_HOSTILE = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR, errno.EXDEV)
_NODES = {CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO}


class Extractor:
    """Writes members into the directory *root_fd*, which stays the caller's.

    :param in_userns: ids without a mapping stay root's, devices and attributes that need real root are left out
    :param plain_whiteouts: keep ``.wh.`` files as they are, instead of what overlayfs knows

    ``top`` becomes (mode, uid, gid) of the top directory if the archive has it.
    """

    def __init__(self, root_fd: int, *, in_userns: bool, plain_whiteouts: bool = False) -> None:
        self.root_fd = root_fd
        self.in_userns = in_userns
        self.plain_whiteouts = plain_whiteouts
        self.top: tuple[int, int, int] | None = None
        self._opaque = opaque_name(in_userns)
        self._times: dict[bytes, int] = {b"": 0}  # of directories: writing into them would change them
        self._parent = b""  # as the archive calls the directory of the last member
        self._real = b""  # the same without links
        self._parent_fd = root_fd
        self._stale = False
        self._make = {
            REGULAR: self._regular,
            DIRECTORY: self._directory,
            SYMLINK: self._symlink,
            HARD_LINK: self._hard_link,
            CHARACTER: self._node,
            BLOCK: self._node,
            FIFO: self._node,
        }

    def add(self, member: Member, stream: ChunkStream) -> None:
        """Make one member; its data is next in *stream*.  Raises Invalid for what no honest archive has."""
        parent, _, name = member.path.rpartition(b"/")
        try:
            if not name:
                self._top(member)
                return
            if META in member.path and is_meta(member.path):
                return
            if parent != self._parent or self._stale:
                self._enter(parent)
            if name.startswith(WHITEOUT) and not self.plain_whiteouts:
                self._whiteout(member, name)
            else:
                self._make[member.type](member, name, stream)
        except OSError as error:
            if error.errno in _HOSTILE:
                raise Invalid(f"unpacking {show(member.path)}: {os.strerror(error.errno)}") from error
            raise

    def finish(self) -> None:
        """Set the directories' times, once nothing more comes."""
        self.close()
        for path, mtime in self._times.items():
            fd = openat2(self.root_fd, path or b".", os.O_RDONLY | os.O_DIRECTORY, resolve=_NO_LINKS)
            try:
                os.utime(fd, ns=(mtime, mtime))
            finally:
                os.close(fd)

    def close(self) -> None:
        """Close what is open besides *root_fd*."""
        self._use(b"", b"", self.root_fd)

    def _use(self, path: bytes, real: bytes, fd: int) -> None:
        if self._parent_fd != self.root_fd:
            os.close(self._parent_fd)
        self._parent = path
        self._real = real
        self._parent_fd = fd

    def _enter(self, path: bytes) -> None:
        """Make *path* the directory members are put into; missing ones are made."""
        self._use(b"", b"", self.root_fd)
        self._stale = False
        if not path:
            return
        if WHITEOUT in path:
            refuse_whiteout(path)
        try:
            self._use(path, *self._open(path))
        except (FileNotFoundError, NotADirectoryError):
            self._make_parents(path)

    def _open(self, path: bytes) -> tuple[bytes, int]:
        """A directory's path without links, and a descriptor."""
        try:
            return path, openat2(self.root_fd, path, _PARENT, resolve=_NO_LINKS)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        fd = openat2(self.root_fd, path, _PARENT)
        top, found = (os.fsencode(os.readlink(f"/proc/self/fd/{fd}")) for fd in (self.root_fd, fd))
        return found[len(top) + 1 :], fd

    def _make_parents(self, path: bytes) -> None:
        """Make the directories the archive forgot; a link to nowhere is not filled."""
        at = 0
        while at != -1:
            at = path.find(b"/", at + 1)
            upto = path if at == -1 else path[:at]
            try:
                found = self._open(upto)
            except (FileNotFoundError, NotADirectoryError):
                found = self._make_parent(upto)
            self._use(upto, *found)

    def _make_parent(self, path: bytes) -> tuple[bytes, int]:
        name = path.rpartition(b"/")[2]
        opaque = self._is_whiteout(name) and self._clear(name)
        try:
            os.mkdir(name, 0o700, dir_fd=self._parent_fd)
        except FileExistsError:
            raise Invalid(f"unpacking a layer: {show(path)} is not a directory but has files in it") from None
        os.chmod(name, 0o755, dir_fd=self._parent_fd)
        self._times[self._below(name)] = 0
        if opaque:
            self._set_opaque(name)
        return self._below(name), os.open(name, _DIRECTORY, dir_fd=self._parent_fd)

    def _below(self, name: bytes) -> bytes:
        """The path without links of *name* in the present parent."""
        return self._real + b"/" + name if self._real else name

    def _is_whiteout(self, name: bytes) -> bool:
        try:
            status = os.lstat(name, dir_fd=self._parent_fd)
        except FileNotFoundError:
            return False
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def _clear(self, name: bytes) -> bool:
        """Remove what is at *name*; whether it was a whiteout."""
        try:
            status = os.lstat(name, dir_fd=self._parent_fd)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(status.st_mode):
            path = self._below(name)
            beneath = path + b"/"
            self._times = {key: at for key, at in self._times.items() if key != path and not key.startswith(beneath)}
        if stat.S_ISLNK(status.st_mode):
            self._stale = True  # the way to the present parent may have gone over it
        rmtree_at(self._parent_fd, name)
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def _top(self, member: Member) -> None:
        if member.type != DIRECTORY:
            raise Invalid("unpacking a layer: its top is not a directory")
        self.top = (member.mode, member.uid, member.gid)
        self._finish_directory(member, self.root_fd, b"")

    def _regular(self, member: Member, name: bytes, stream: ChunkStream) -> None:
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=self._parent_fd)
        except FileExistsError:
            self._clear(name)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=self._parent_fd)
        try:
            if member.sparse is not None:
                _write_sparse(fd, member, stream)
            else:
                for piece in stream.pieces(member.size):
                    written = os.write(fd, piece)
                    while written < len(piece):
                        written += os.write(fd, piece[written:])
            self._set(member, fd)
            os.utime(fd, ns=(member.mtime, member.mtime))
        finally:
            os.close(fd)

    def _directory(self, member: Member, name: bytes, stream: ChunkStream) -> None:
        opaque = False
        try:
            os.mkdir(name, 0o700, dir_fd=self._parent_fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=self._parent_fd).st_mode):
                opaque = self._clear(name)
                os.mkdir(name, 0o700, dir_fd=self._parent_fd)
        fd = os.open(name, _DIRECTORY, dir_fd=self._parent_fd)
        try:
            if opaque:
                os.setxattr(fd, self._opaque, b"y")
            self._finish_directory(member, fd, self._below(name))
        except BaseException:
            os.close(fd)
            raise
        self._use(member.path, self._below(name), fd)  # most likely its files come next

    def _finish_directory(self, member: Member, fd: int, path: bytes) -> None:
        self._set(member, fd)
        self._times[path] = member.mtime

    def _set(self, member: Member, fd: int) -> None:
        """Owner, then mode, which changing the owner may cut, then attributes, of which it removes capabilities."""
        mode = member.mode
        if (member.uid or member.gid) and not self._own(fd, member):
            mode &= 0o1777  # set-user-id of somebody else must not become set-user-id of root
        os.fchmod(fd, mode)
        if member.xattrs:
            self._set_xattrs(member, fd)

    def _own(self, target: int | bytes, member: Member) -> bool:
        """Give *target* to its owner; whether that owner exists here."""
        try:
            if isinstance(target, int):
                os.fchown(target, member.uid, member.gid)
            else:
                os.chown(target, member.uid, member.gid, dir_fd=self._parent_fd, follow_symlinks=False)
        except OSError as error:
            if self.in_userns and error.errno in (errno.EINVAL, errno.EPERM):
                return False
            raise
        return True

    def _set_xattrs(self, member: Member, target: int | bytes) -> None:
        """Attributes that the file system, or a user namespace, does not have are left out."""
        for name, value in kept(member.xattrs or {}):
            try:
                if isinstance(target, int):
                    os.setxattr(target, name, value)
                else:
                    path = b"/proc/self/fd/%d/%s" % (self._parent_fd, target)
                    os.setxattr(path, name, value, follow_symlinks=False)
            except OSError as error:
                if error.errno == errno.ENOTSUP or (self.in_userns and error.errno in NOT_HERE):
                    continue
                if error.errno == errno.EPERM and member.type == SYMLINK:  # user.* belongs to files and directories
                    continue
                raise

    def _symlink(self, member: Member, name: bytes, stream: ChunkStream) -> None:
        try:
            os.symlink(member.link, name, dir_fd=self._parent_fd)
        except FileExistsError:
            self._clear(name)
            os.symlink(member.link, name, dir_fd=self._parent_fd)
        if member.uid or member.gid:
            self._own(name, member)
        if member.xattrs:
            self._set_xattrs(member, name)
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=self._parent_fd, follow_symlinks=False)

    def _hard_link(self, member: Member, name: bytes, stream: ChunkStream) -> None:
        if member.link == member.path:
            return
        directory, _, target = member.link.rpartition(b"/")
        if not target or (target.startswith(WHITEOUT) and not self.plain_whiteouts):
            raise Invalid(f"unpacking {show(member.path)}: a hard link to {show(member.link)}")
        try:
            fd = openat2(self.root_fd, directory or b".", _PARENT)
        except FileNotFoundError:
            raise _no_target(member) from None
        try:
            self._link(fd, target, member, name)
        finally:
            os.close(fd)

    def _link(self, target_fd: int, target: bytes, member: Member, name: bytes) -> None:
        try:
            status = os.lstat(target, dir_fd=target_fd)
        except FileNotFoundError:
            raise _no_target(member) from None
        if stat.S_ISDIR(status.st_mode):
            raise Invalid(f"unpacking {show(member.path)}: a hard link to the directory {show(member.link)}")
        try:
            os.link(target, name, src_dir_fd=target_fd, dst_dir_fd=self._parent_fd, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(status, os.lstat(name, dir_fd=self._parent_fd)):
                return
            self._clear(name)
            os.link(target, name, src_dir_fd=target_fd, dst_dir_fd=self._parent_fd, follow_symlinks=False)

    def _node(self, member: Member, name: bytes, stream: ChunkStream) -> None:
        self._clear(name)
        try:
            os.mknod(name, 0o600 | _NODES[member.type], member.device, dir_fd=self._parent_fd)
        except PermissionError:
            if not self.in_userns:
                raise
            return
        if member.uid or member.gid:
            self._own(name, member)
        os.chmod(name, member.mode, dir_fd=self._parent_fd)
        if member.xattrs:
            self._set_xattrs(member, name)
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=self._parent_fd, follow_symlinks=False)

    def _whiteout(self, member: Member, name: bytes) -> None:
        """Hide what lower layers have; what this layer has of the same name stays, but hides the lower's."""
        if name == OPAQUE:
            self._set_opaque(b".")
            return
        hidden = name[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise Invalid(f"unpacking {show(member.path)}: a whiteout of no name")
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=self._parent_fd)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(hidden, dir_fd=self._parent_fd).st_mode):
                self._set_opaque(hidden)

    def _set_opaque(self, name: bytes) -> None:
        fd = os.open(name, _DIRECTORY, dir_fd=self._parent_fd)
        try:
            os.setxattr(fd, self._opaque, b"y")
        finally:
            os.close(fd)


def _write_sparse(fd: int, member: Member, stream: ChunkStream) -> None:
    assert member.sparse is not None
    os.ftruncate(fd, member.sparse.size)
    for offset, length in member.sparse.segments:
        for piece in stream.pieces(length):
            while piece:
                written = os.pwrite(fd, piece, offset)
                piece = piece[written:]
                offset += written


def _no_target(member: Member) -> Invalid:
    return Invalid(f"unpacking {show(member.path)}: a hard link to {show(member.link)}, which the layer does not have")
