"""User namespaces of containers: which ids they map, and files given to those ids."""

from __future__ import annotations

import os

from estiva.errors import Denied, Invalid
from estiva.runtime.idmap import AUTO_USER, IdMap, UserNamespace, container_maps, subordinate_ids
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.container import Container
    from estiva.engine.engine import Engine
    from estiva.engine.images import ImageRecord
    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context

    Maps = list[tuple[int, int, int]]


def choose_maps(engine: Engine, options: ContainerOptions, context: Context, image: ImageRecord | None) -> str:
    """Set the maps of *context* as the options ask; the user that keep-id suggests, or ``""``."""
    mode = options.userns or str(context.conf.get("userns") or "")
    if options.uidmap or options.gidmap or options.subuidname or options.subgidname:
        if mode not in ("", "private"):
            raise Invalid(f"options --uidmap and --gidmap: cannot be combined with --userns {mode}")
        uids, gids = _explicit(options)
        for asked, ours in zip((uids, gids), engine.id_maps(), strict=True):
            _check_ours(asked, ours)
        context.uid_maps, context.gid_maps = _tuples(uids), _tuples(gids)
        return ""
    namespace = UserNamespace.parse(mode)
    automatic = namespace.kind == "auto"
    maps = container_maps(
        namespace,
        engine.id_maps(),
        rootless=engine.settings.rootless,
        uid=os.getuid(),
        gid=os.getgid(),
        needed=_highest_id(engine, image) + 1 if automatic and not namespace.size else 0,
        used=_used(engine) if automatic else (),
        user_ranges=(
            subordinate_ids("/etc/subuid", AUTO_USER, -1), subordinate_ids("/etc/subgid", AUTO_USER, -1)
        ) if automatic else ((), ()),
    )  # fmt: skip
    if maps is None:
        return ""
    context.uid_maps, context.gid_maps = _tuples(maps.uids), _tuples(maps.gids)
    return maps.user


def _explicit(options: ContainerOptions) -> tuple[list[IdMap], list[IdMap]]:
    """What --uidmap and --gidmap (each stands in for the other) or the names in /etc/sub[ug]id say."""
    uids, gids = list(map(IdMap.parse, options.uidmap)), list(map(IdMap.parse, options.gidmap))
    if options.subuidname or options.subgidname:
        uids = uids or _of_name("/etc/subuid", options.subuidname or options.subgidname)
        gids = gids or _of_name("/etc/subgid", options.subgidname or options.subuidname)
    return uids or gids, gids or uids


def _check_ours(maps: list[IdMap], ours: list[IdMap]) -> None:
    """Raise Invalid for ids outside that this engine's own namespace does not have."""
    most = max((entry.ctr + entry.size for entry in ours), default=0)
    for entry in maps:
        if entry.host + entry.size > most:
            raise Invalid(
                f"id map {str(entry)!r}: there are only {most} ids to map to",
                "for users, 1 is the first subordinate one",
            )


def _of_name(file: str, name: str) -> list[IdMap]:
    maps: list[IdMap] = []
    for first, count in subordinate_ids(file, name, -1):
        maps.append(IdMap(maps[-1].ctr + maps[-1].size if maps else 0, first, count))
    if not maps:
        raise Invalid(f"user {name!r}: has no ids in {file}")
    return maps


def _highest_id(engine: Engine, image: ImageRecord | None) -> int:
    """The highest user or group id the image's user database names."""
    if image is None:
        return 0
    from estiva.engine.identity import image_databases

    numbers = [0]
    for text in image_databases(engine, image.diff_ids):
        for line in text.splitlines():
            numbers += [int(field) for field in line.split(":")[2:4] if field.isdigit()]
    return max(numbers)


def _used(engine: Engine) -> list[tuple[int, int]]:
    """The (first, count) ranges that containers have."""
    rows = engine.database.query("SELECT details FROM containers")
    maps = [entry for (details,) in rows for entry in json.loads(details).get("uid_maps", [])]
    return [(host, size) for _, host, size in maps]


def _tuples(maps: list[IdMap]) -> Maps:
    return [(entry.ctr, entry.host, entry.size) for entry in maps]


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

    Where mounts can map ids (root's overlays), the writable layer's top is given to the container's root, and the rest
    follows when it is mounted; elsewhere the image is copied and every file given to the id it has in the container.
    """
    function = "shift_inside" if container.details["shifted"] else "give_inside"
    if function == "give_inside":
        engine.store.snapshots.prepare(container.id, container.details["diff_ids"])
    engine.inside(
        f"estiva.engine.usermaps:{function}",
        container_id=container.id,
        diff_ids=container.details["diff_ids"],
        uid_maps=context.uid_maps,
        gid_maps=context.gid_maps,
    )


def give_inside(
    root: str, run_root: str, driver: str, container_id: str, diff_ids: list[str], uid_maps: Maps, gid_maps: Maps
) -> None:
    """Give the writable layer's directories to the container's root."""
    for name in ("upper", "work"):
        path = f"{root}/containers/{container_id}/{name}"
        status = os.stat(path)
        os.chown(path, host_id(uid_maps, status.st_uid), host_id(gid_maps, status.st_gid))


def shift_inside(
    root: str, run_root: str, driver: str, container_id: str, diff_ids: list[str], uid_maps: Maps, gid_maps: Maps
) -> None:
    """Copy the image to the bundle's ``rootfs`` and give each file to the id that the container's id is here."""
    from estiva.engine.engine import Engine
    from estiva.storage.copying import copy_layers

    path = f"{root}/containers/{container_id}/rootfs"
    with Engine(root, run_root, storage_driver=driver) as engine, engine.store.layers.acquire(diff_ids) as lease:
        copy_layers(lease.lowerdirs[::-1], path, engine.store.layers.top_directory(diff_ids))
    _shift(path, uid_maps, gid_maps)
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            _shift(f"{directory}/{name}", uid_maps, gid_maps)


def _shift(path: str, uid_maps: Maps, gid_maps: Maps) -> None:
    """Change the owner; the mode is set again, because a change of owner takes the set-user-id bit."""
    status = os.lstat(path)
    os.chown(path, host_id(uid_maps, status.st_uid), host_id(gid_maps, status.st_gid), follow_symlinks=False)
    if status.st_mode & 0o6000 and status.st_mode & 0o170000 == 0o100000:
        os.chmod(path, status.st_mode & 0o7777)


def give_volumes(engine: Engine, paths: list[str], context: Context) -> None:
    """Give new volumes to the container's user; those that the image has files for get their owner with the files."""
    user = context.user
    owner = [host_id(context.uid_maps, user.uid), host_id(context.gid_maps, user.gid)]
    engine.inside("estiva.engine.usermaps:give_volumes_inside", paths=paths, owner=owner)


def give_volumes_inside(root: str, run_root: str, driver: str, paths: list[str], owner: list[int]) -> None:
    """The same, called in the user's namespace."""
    for path in paths:
        os.chown(path, *owner)
