"""A directory of the host as a container's root file system.  podman-run(1) "--rootfs" """

from __future__ import annotations

import os

from estiva.engine.spec.mountmaps import mount_maps
from estiva.engine.spec.rootfs import rootfs_path, rootfs_word
from estiva.errors import NotFound
from estiva.runtime.compile_mounts import id_map
from estiva.spec.rootfs import RootfsMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.container import Container
    from estiva.runtime.compile import Surroundings


def check_directory(container: Container) -> None:
    """Raise NotFound or Invalid for a root file system that cannot be had as it was asked for."""
    options, details = container.options, container.details
    path, word = rootfs_path(options), rootfs_word(options)
    if not os.path.isdir(path):
        raise NotFound(f"root file system {path}: no such directory")
    if word.startswith("idmap"):
        mount_maps(word, details["uid_maps"], details["gid_maps"])


def rootfs_mount(container: Container) -> RootfsMount:
    """What to mount: the directory itself, or with ``O`` an overlay on it, whose changes go when the container ends."""
    path = rootfs_path(container.options)
    if rootfs_word(container.options) != "O":
        return RootfsMount("bind", source=path)
    place = f"{container.bundle}/overlay/rootfs"
    if os.path.isdir(place):
        from estiva.engine.removal import remove_tree

        remove_tree(container.engine, place)
    status = os.stat(path)
    os.makedirs(f"{place}/work", 0o700)
    os.mkdir(f"{place}/upper")
    os.chmod(f"{place}/upper", status.st_mode & 0o7777)
    if not container.engine.settings.rootless:
        os.chown(f"{place}/upper", status.st_uid, status.st_gid)
    words = ["userxattr"] if container.engine.settings.in_userns else []
    return RootfsMount("overlay", lowerdirs=[path], upperdir=f"{place}/upper", workdir=f"{place}/work", options=words)


def set_maps(around: Surroundings, container: Container) -> None:
    """Have the ids of the directory mapped, where that was asked for."""
    word, details = rootfs_word(container.options), container.details
    if not word.startswith("idmap"):
        return
    around.idmap = True
    maps = mount_maps(word, details["uid_maps"], details["gid_maps"])
    if maps:
        around.root_maps = id_map(maps["uidMappings"], "rootfs"), id_map(maps["gidMappings"], "rootfs")
