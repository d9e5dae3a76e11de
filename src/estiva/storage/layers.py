"""Layers: immutable, kept once under the digest of their uncompressed tar (diff_id), independent of one another.

What ``<root>/layers/<hex>`` holds depends on the driver that made it:

    tree/                     the files, whiteouts and opaque directories as overlayfs has them    erofs, overlay
    layer.tar, layer.erofs    the tar and an index, which the kernel mounts together               erofs
    files/                    the files, whiteouts as the tar has them (``.wh.`` names)            copy
    about                     a symbolic link to "<bytes of the tar> <mode:uid:gid of the top directory, or ->"

**Locks.**  Who uses a layer holds a shared ``flock`` on ``<run>/layers/<hex>.lock``.  Who wants to unmount or delete
it takes the exclusive lock without waiting, and gives up if it is held.  An EROFS layer is mounted by the first user,
under the shared lock and a lock on the layer's directory, which keeps two first users apart.
"""

from __future__ import annotations

import errno
import fcntl
import os

from estiva.errors import Conflict, NotFound, Unsupported
from estiva.storage.blobs import split_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from estiva.storage.ingest import LayerIngest
    from estiva.storage.store import Store

    Digests = list[str]  # inside the class, ``list`` is a method
    Descriptors = list[int]

MOST_LAYERS = 400  # overlayfs refuses more than 500 lower directories
TREE = "tree"
FILES = "files"
INDEX = "layer.erofs"
TAR = "layer.tar"
ABOUT = "about"

FORMS = {"erofs": (INDEX, TREE), "overlay": (TREE,), "copy": (FILES, TREE)}
"""What each driver can use of a layer's directory."""


class LayerStore:
    """The layers of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.root = f"{store.root}/layers"
        self.run = f"{store.run_root}/layers"

    def path(self, diff_id: str) -> str:
        """The layer's directory, which need not exist; raises Invalid for what is not a digest."""
        return f"{self.root}/{split_digest(diff_id)[1]}"

    def has(self, diff_id: str) -> bool:
        """Whether the layer is there in a form the store's driver can use."""
        return self.form(diff_id) is not None

    def form(self, diff_id: str) -> str | None:
        """Which of the driver's :data:`FORMS` the layer has: the name of an entry of its directory, or None."""
        path = self.path(diff_id)
        for form in FORMS[self.store.driver]:
            if os.path.exists(f"{path}/{form}"):
                return form
        return None

    def ingest(self, media_type: str, digest: str, size: int, diff_id: str) -> LayerIngest:
        """A writer that takes the bytes of the blob *digest* and makes the blob and the layer of them, in one pass."""
        from estiva.storage.ingest import LayerIngest  # only pulls need it

        return LayerIngest(self.store, media_type, digest, size, diff_id)

    def unpack(self, media_type: str, digest: str, diff_id: str) -> None:
        """Make the layer, anew if it is there, of its blob; raises NotFound, Invalid, and Conflict if it is in use."""
        from estiva.storage.ingest import unpack_blob

        unpack_blob(self.store, media_type, digest, diff_id)

    def delete(self, diff_id: str) -> None:
        """Remove the layer; raises Conflict if a container holds it.  That it is not there is fine."""
        self.alone(diff_id, self._delete)

    def alone(self, diff_id: str, action: Callable[[str], None]) -> None:
        """Call *action(diff_id)* while nobody holds the layer; raises Conflict if somebody does."""
        fd = self._try_exclusive(diff_id)
        if fd == -1:
            raise Conflict(f"changing layer {diff_id}: a container is using it")
        try:
            self._unmount(diff_id)
            action(diff_id)
        finally:
            os.close(fd)

    def _delete(self, diff_id: str) -> None:
        from estiva.linux.tree import rmtree

        staged = self.store.blobs.staging.directory()
        try:
            os.rename(self.path(diff_id), f"{staged.path}/layer")  # whole or gone, never half
        except FileNotFoundError:
            pass
        finally:
            staged.discard()
        rmtree(f"{self.run}/{split_digest(diff_id)[1]}")
        rmtree(self._lock_path(diff_id))

    def list(self) -> Digests:
        """The diff_ids of all layers, in any form."""
        algorithms = {64: "sha256", 128: "sha512"}
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return []
        return [f"{algorithms[len(name)]}:{name}" for name in sorted(names) if len(name) in algorithms]

    def size(self, diff_id: str) -> int:
        """Bytes of the uncompressed tar; raises NotFound."""
        about = self.about(diff_id)
        if about is None:
            raise NotFound(f"layer {diff_id}: not in the store", "pull the image again")
        return int(about.split()[0])

    def about(self, diff_id: str) -> str | None:
        """What was recorded about the layer (see the top of this module), or None."""
        try:
            return os.readlink(f"{self.path(diff_id)}/{ABOUT}")
        except FileNotFoundError:
            return None

    def top_directory(self, diff_ids: Digests) -> tuple[int, int, int]:
        """Mode, user and group that an image of these layers (bottom first) gives its top directory."""
        for diff_id in reversed(diff_ids):
            about = self.about(diff_id)
            if about is not None and not about.endswith("-"):
                mode, uid, gid = about.split()[1].split(":")
                return int(mode, 8), int(uid), int(gid)
        return 0o755, 0, 0

    def acquire(self, diff_ids: Digests, *, mount: bool = True) -> LayerLease:
        """Hold layers (bottom first) and make them reachable; raises NotFound if one is missing.

        EROFS layers get mounted in the calling process's mount namespace, once for all containers; without *mount*,
        ``lease.unmounted`` says which are left for the caller to mount, by the same protocol.
        """
        unique = list(dict.fromkeys(reversed(diff_ids)))  # a layer that comes again hides its first coming
        if len(unique) > MOST_LAYERS:
            raise Unsupported(f"image of {len(unique)} layers: more than {MOST_LAYERS}", "flatten the image")
        lease = LayerLease()
        try:
            for diff_id in unique:
                lease.lowerdirs.append(self._hold(diff_id, lease, mount))
        except BaseException:
            lease.close()
            raise
        return lease

    def release_unused(self, diff_ids: Digests) -> None:
        """Unmount those of the layers that nobody holds."""
        for diff_id in set(diff_ids):
            if not self._is_mounted(f"{self.run}/{split_digest(diff_id)[1]}"):
                continue
            fd = self._try_exclusive(diff_id)
            if fd == -1:
                continue
            try:
                self._unmount(diff_id)
            finally:
                os.close(fd)

    def _hold(self, diff_id: str, lease: LayerLease, mount: bool) -> str:
        """Lock the layer and return the directory that shows its files."""
        name = split_digest(diff_id)[1]
        lease.lock_fds.append(self._lock(diff_id, fcntl.LOCK_SH))
        mount_point = f"{self.run}/{name}"
        if mount and self.store.driver == "erofs" and self._is_mounted(mount_point):
            return mount_point
        form = self.form(diff_id)
        if form is None:
            raise NotFound(f"layer {diff_id}: not in the store", "pull the image again")
        if form != INDEX:
            return f"{self.root}/{name}/{form}"
        directory = f"{self.root}/{name}"
        if mount:
            self._mount(directory, mount_point)
        else:
            paths = (directory, f"{directory}/{INDEX}", f"{directory}/{TAR}", mount_point)
            lease.unmounted.append((len(lease.lock_fds) - 1, *paths))
        return mount_point

    def _mount(self, directory: str, mount_point: str) -> None:
        from estiva.storage.erofs_mount import mount_index  # ctypes: only for the first container of a layer

        os.makedirs(mount_point, 0o700, exist_ok=True)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not self._is_mounted(mount_point):
                mount_index(f"{directory}/{INDEX}", f"{directory}/{TAR}", mount_point)
        except OSError as error:
            raise Unsupported(
                f"mounting layer {directory}: {error.strerror}", "use the overlay storage driver"
            ) from error
        finally:
            os.close(fd)

    def _is_mounted(self, mount_point: str) -> bool:
        try:
            return os.stat(mount_point).st_dev != os.stat(self.run).st_dev
        except FileNotFoundError:
            return False

    def _unmount(self, diff_id: str) -> None:
        """Take the mount off, if there is one; the exclusive lock is held."""
        mount_point = f"{self.run}/{split_digest(diff_id)[1]}"
        if not self._is_mounted(mount_point):
            return
        from estiva.linux.mount import MNT_DETACH, UMOUNT_NOFOLLOW, umount2

        umount2(mount_point, UMOUNT_NOFOLLOW | MNT_DETACH)
        os.rmdir(mount_point)

    def _lock_path(self, diff_id: str) -> str:
        return f"{self.run}/{split_digest(diff_id)[1]}.lock"

    def _lock(self, diff_id: str, operation: int) -> int:
        """A descriptor that holds the layer's lock; raises BlockingIOError if *operation* says not to wait."""
        path = self._lock_path(diff_id)
        while True:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                os.makedirs(self.run, 0o700, exist_ok=True)
                continue
            try:
                fcntl.flock(fd, operation)
                if os.fstat(fd).st_nlink:  # else it was deleted with its layer while we waited
                    return fd
            except OSError:
                os.close(fd)
                raise
            os.close(fd)

    def _try_exclusive(self, diff_id: str) -> int:
        try:
            return self._lock(diff_id, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                return -1
            raise


class LayerLease:
    """Layers that are held: ``lowerdirs`` top first, and ``lock_fds``, close-on-exec; ``unmounted`` has (index of its
    lock, directory, index file, tar, mount point) of each EROFS layer the caller is to mount if nobody has.

    A process that inherits duplicates of the descriptors holds the layers too.
    """

    __slots__ = ("lock_fds", "lowerdirs", "unmounted")

    def __init__(self) -> None:
        self.unmounted: list[tuple[int, str, str, str, str]] = []
        self.lowerdirs: list[str] = []
        self.lock_fds: list[int] = []

    def close(self) -> None:
        """Let go; mounts stay for the next container until ``release_unused``."""
        while self.lock_fds:
            os.close(self.lock_fds.pop())

    def __enter__(self) -> LayerLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
