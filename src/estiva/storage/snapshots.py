"""Containers' writable layers.  A driver says what to mount; it does not mount.

``<root>/containers/<key>`` gets ``upper`` and ``work`` for overlayfs, or with the copy driver the whole ``rootfs``.
"""

from __future__ import annotations

import os

from estiva.spec.rootfs import RootfsMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.storage.layers import LayerLease
    from estiva.storage.store import Store

PARTS = ("upper", "work", "rootfs", "empty")


class Snapshots:
    """The writable layers of a store's containers; *key* is the container's id."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def path(self, key: str) -> str:
        """The container's directory in the store."""
        return f"{self.store.root}/containers/{key}"

    def prepare(self, key: str, diff_ids: list[str]) -> None:
        """Make an empty writable layer over the layers *diff_ids*, bottom first.

        With the copy driver this takes a copy of everything and must run as user 0 of the namespace.
        """
        directory = self.path(key)
        if self.store.driver == "copy":
            from estiva.storage.copying import copy_layers

            os.makedirs(directory, 0o700, exist_ok=True)
            with self.store.layers.acquire(diff_ids) as lease:
                copy_layers(lease.lowerdirs[::-1], f"{directory}/rootfs", self.store.layers.top_directory(diff_ids))
            return
        try:
            os.mkdir(f"{directory}/work", 0o700)
        except FileNotFoundError:
            os.makedirs(f"{directory}/work", 0o700)
        self._make_upper(f"{directory}/upper", *self.store.layers.top_directory(diff_ids))

    def _make_upper(self, path: str, mode: int, uid: int, gid: int) -> None:
        """The upper directory, whose attributes are those of the container's ``/``."""
        os.mkdir(path, 0o755)
        os.chmod(path, mode)  # whatever the umask is
        if (uid or gid) and os.geteuid() == 0:
            try:
                os.chown(path, uid, gid)
            except OSError:
                if not self.store.in_userns:  # there, an id without a mapping stays root
                    raise

    def rootfs(self, key: str, lease: LayerLease, *, volatile: bool) -> RootfsMount:
        """What to mount for the container.

        :param volatile: never sync; for containers that are removed when they end
        """
        directory = self.path(key)
        if self.store.driver == "copy":
            return RootfsMount("bind", source=f"{directory}/rootfs")
        options = ["userxattr"] if self.store.in_userns else ["index=off", "metacopy=off", "redirect_dir=off"]
        lowerdirs = lease.lowerdirs or [self._empty(directory)]
        if volatile:
            options.append("volatile")
        return RootfsMount(
            "overlay",
            lowerdirs=lowerdirs,
            upperdir=f"{directory}/upper",
            workdir=f"{directory}/work",
            options=options,
        )

    def _empty(self, directory: str) -> str:
        """A lower directory for an image without layers: overlayfs wants one."""
        path = f"{directory}/empty"
        os.makedirs(path, 0o755, exist_ok=True)
        return path

    def remove(self, key: str) -> None:
        """Remove the writable layer, also a half-made one; that there is none is fine.

        Raises PermissionError if files in it belong to other ids than this process may remove: then this is to be
        called again inside the user's namespace.
        """
        directory = self.path(key)
        for part in PARTS:
            try:
                os.rmdir(f"{directory}/{part}")
            except FileNotFoundError:
                continue
            except OSError:
                from estiva.linux.tree import rmtree

                rmtree(f"{directory}/{part}")

    def usage(self, key: str) -> int:
        """Bytes that the writable layer takes on disk."""
        from estiva.linux.tree import disk_usage

        part = "rootfs" if self.store.driver == "copy" else "upper"
        return disk_usage(f"{self.path(key)}/{part}")
