"""Files of containers that map ids: given to the ids that the container's are here."""

from __future__ import annotations

import os

from estiva.engine.spec.mountmaps import idmap_word
from estiva.errors import Denied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.container import Container
    from estiva.engine.engine import Engine
    from estiva.engine.options import MountOption
    from estiva.engine.spec.context import Context

    Maps = list[tuple[int, int, int]]


def host_id(maps: Maps, ctr_id: int) -> int:
    """Our id of the container's *ctr_id*, or ours itself if it is not mapped."""
    for ctr, host, size in maps:
        if ctr <= ctr_id < ctr + size:
            return host + ctr_id - ctr
    return ctr_id


def make_accessible(engine: Engine, bundle: str, volumes: list[str], uid_maps: Maps) -> None:
    """Let a root that is none on the host reach its bundle, the place of its root file system and its volumes.

    The directories above those get search permission for all, as Podman's; their contents cannot be listed.
    """
    settings = engine.settings
    os.makedirs(f"{settings.run_root}/rootfs", 0o700, exist_ok=True)
    for top, path in (
        (settings.root, bundle),
        (settings.run_root, f"{settings.run_root}/rootfs"),
        *((settings.root, os.path.dirname(volume)) for volume in volumes),
    ):
        while path.startswith(top):
            mode = os.stat(path).st_mode & 0o7777
            if not mode & 0o001:
                os.chmod(path, mode | 0o011)
            path = os.path.dirname(path)
    _check_passable(engine, uid_maps)


def _check_passable(engine: Engine, uid_maps: Maps) -> None:
    """Raise Denied if the container's root cannot get to the store: what is above it, nobody but its owner changes."""
    settings = engine.settings
    if settings.rootless and host_id_is_mapped(uid_maps, 0):
        return  # the user is in the container, whose root has power over the user's directories
    for path in (os.path.dirname(settings.root), os.path.dirname(settings.run_root)):
        while path != "/":
            if not os.stat(path).st_mode & 0o001:
                raise Denied(f"user namespace: {path} lets nobody but its owner pass", f"chmod o+x {path}")
            path = os.path.dirname(path)


def host_id_is_mapped(maps: Maps, host_id: int) -> bool:
    """Whether the container has our *host_id*."""
    return any(host <= host_id < host + size for _, host, size in maps)


def prepare_mapped(engine: Engine, container: Container, context: Context) -> None:
    """Make the root file system of a container that maps ids.

    Its writable layer's top is given to the container's root.  What is below has the container's ids because the
    mount maps them (root's overlays), or because it is a copy that has: one for all containers with the same maps, or
    where there are no overlays, of this container alone.
    """
    diff_ids, shifted = container.details["diff_ids"], container.details["shifted"]
    maps: dict[str, Any] = {"uid_maps": context.uid_maps, "gid_maps": context.gid_maps}
    if shifted is True:
        engine.inside("estiva.engine.userfiles:copy_inside", container_id=container.id, diff_ids=diff_ids, **maps)
        return
    if shifted:
        engine.inside("estiva.engine.shifted:ensure_inside", key=shifted, diff_ids=diff_ids, **maps)
    engine.store.snapshots.prepare(container.id, diff_ids)
    engine.inside("estiva.engine.userfiles:give_inside", container_id=container.id, **maps)


def give_inside(root: str, run_root: str, driver: str, container_id: str, uid_maps: Maps, gid_maps: Maps) -> None:
    """Give the writable layer's directories to the container's root."""
    for name in ("upper", "work"):
        path = f"{root}/containers/{container_id}/{name}"
        status = os.stat(path)
        os.chown(path, host_id(uid_maps, status.st_uid), host_id(gid_maps, status.st_gid))


def copy_inside(
    root: str, run_root: str, driver: str, container_id: str, diff_ids: list[str], uid_maps: Maps, gid_maps: Maps
) -> None:
    """Copy the image to the bundle's ``rootfs``, with the container's ids."""
    from estiva.engine.engine import Engine
    from estiva.engine.shifted import make_copy

    with Engine(root, run_root, storage_driver=driver) as engine:
        make_copy(engine, f"{root}/containers/{container_id}/rootfs", diff_ids, uid_maps, gid_maps)


def give_volumes(engine: Engine, mounts: list[MountOption], context: Context) -> None:
    """Give the new volumes behind the *mounts* to the container's user; those that the image has files for get their
    owner with the files."""
    for mount in mounts:
        engine.inside(
            "estiva.engine.userfiles:give_inside_one", path=mount.source, owner=_owner(mount, context), tree=False
        )


def give_sources(engine: Engine, mounts: list[MountOption], context: Context) -> None:
    """Give the sources of the *mounts* that ask for it by ``U`` to the container's user."""
    for mount in mounts:
        if "U" in mount.options and mount.kind == "bind":
            engine.inside(
                "estiva.engine.userfiles:give_inside_one", path=mount.source, owner=_owner(mount, context), tree=True
            )


def _owner(mount: MountOption, context: Context) -> list[int]:
    """The ids here of the container's user, for files of this mount: with ``idmap`` they are its own."""
    user = context.user
    if idmap_word(mount.options):
        return [user.uid, user.gid]
    return [host_id(context.uid_maps, user.uid), host_id(context.gid_maps, user.gid)]


def give_inside_one(root: str, run_root: str, driver: str, path: str, owner: list[int], tree: bool) -> None:
    """Give *path*, with *tree* all below it, no link followed, to *owner*; called in the user's namespace."""
    at = path
    try:
        os.chown(path, *owner)
        if tree and os.path.isdir(path):
            for directory, names, files, fd in os.fwalk(path):
                for name in (*names, *files):
                    at = f"{directory}/{name}"
                    os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)
    except PermissionError as error:
        raise Denied(
            f"giving {at} to the container's user: {(error.strerror or '').lower()}", "mount it without U"
        ) from error
