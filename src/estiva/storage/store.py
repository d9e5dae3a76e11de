"""The store: blobs, layers and the writable layers of containers, and which driver unites them.

    erofs     layers are tars with an EROFS index, united by overlayfs: root on Linux 6.12 and newer
    overlay   layers are unpacked, united by overlayfs: root, and ordinary users in their user namespace
    copy      layers are unpacked, each container gets a copy of them: everywhere else

Storage code runs as user 0 of some user namespace, except what starting a container needs: ``layers.acquire`` of
unpacked layers, ``snapshots.prepare`` (not the copy driver's) and ``snapshots.rootfs`` only need the store's owner.
"""

from __future__ import annotations

import os

from estiva.errors import Unsupported
from estiva.storage.blobs import BlobStore
from estiva.storage.layers import LayerStore
from estiva.storage.snapshots import Snapshots

DRIVERS = ("erofs", "overlay", "copy")


class Store:
    """The store of one user.  Making the object touches nothing; directories are made when something is written.

    :param root: the directory that survives a reboot
    :param run_root: a directory that does not
    :param driver: one of :data:`DRIVERS`, or "auto" for the first of them that works here
    :param in_userns: this store's owner is root in a user namespace only

    Raises Unsupported for a driver that cannot be had in a user namespace.
    """

    def __init__(self, root: str, run_root: str, *, driver: str = "auto", in_userns: bool) -> None:
        if driver == "erofs" and in_userns:
            raise Unsupported(
                "storage driver erofs: only root of the machine may mount layers", "leave it to be chosen"
            )
        self.root = root
        self.run_root = run_root
        self.in_userns = in_userns
        self._driver = "" if driver == "auto" else driver
        self.blobs = BlobStore(root)
        self.layers = LayerStore(self)
        self.snapshots = Snapshots(self)

    @property
    def driver(self) -> str:
        """One of :data:`DRIVERS`; what "auto" found is remembered until the next reboot."""
        if not self._driver:
            self._driver = self._remembered() or self._probe()
        return self._driver

    def _remembered(self) -> str:
        """What an earlier process found; an ordinary user outside the namespace may also believe what held before the
        reboot, since it cannot try."""
        places = [self.run_root] if os.geteuid() == 0 else [self.run_root, self.root]
        for place in places:
            try:
                fd = os.open(f"{place}/storage-driver", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                found = os.read(fd, 20).decode()
            finally:
                os.close(fd)
            if found in DRIVERS:
                return found
        return ""

    def _probe(self) -> str:
        if os.geteuid() != 0:
            return "overlay"
        from estiva.storage.probe import best_driver  # once after a reboot

        found: str = best_driver(self)
        for place in (self.run_root, self.root):
            os.makedirs(place, 0o700, exist_ok=True)
            temporary = f"{place}/.storage-driver-{os.urandom(8).hex()}"  # threads find out at the same time
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, found.encode())
            finally:
                os.close(fd)
            os.rename(temporary, f"{place}/storage-driver")
        return found
