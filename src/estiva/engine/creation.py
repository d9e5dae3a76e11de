"""Making a container: from options to a row in the database and a bundle on the disk.

The order makes every kill harmless.  First, under the container's lock, a row in phase ``configured`` claims the name;
then the directories and the bundle are made; then the phase becomes ``created``.  Whoever finds a row in another phase
whose lock is free removes what is left.  A ``--rm`` container spares the second step: it is ``created`` at once, and
whoever finds one without a bundle, or ended, with no lock on it removes it.
"""

from __future__ import annotations

import os
import time

from estiva.engine.cgroups import SYSTEMD, chosen_manager
from estiva.engine.container import COLUMNS, Container
from estiva.engine.database import IntegrityError
from estiva.engine.hostfacts import observe
from estiva.engine.identity import directory_user, image_user
from estiva.engine.locks import ContainerLock
from estiva.engine.names import check_name, random_id, random_name
from estiva.engine.options import ContainerOptions
from estiva.engine.signals import parse_signal
from estiva.engine.spec.bundle import bundle_config
from estiva.engine.spec.context import Context, User
from estiva.engine.spec.process import arguments
from estiva.engine.spec.security import security_options
from estiva.engine.spec.users import groups_to_add
from estiva.engine.volumes import check_sources, choose_mounts, enter_volumes
from estiva.errors import Conflict, Invalid, NotFound
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from estiva.engine.engine import Engine
    from estiva.engine.images import ImageRecord
    from estiva.engine.options import MountOption

LOG_DRIVERS = ("k8s-file", "json-file", "none")
SIGTERM = 15


def create(engine: Engine, options: ContainerOptions) -> Container:
    """Make the container; see :meth:`Containers.create`."""
    settings = engine.settings
    settings.make_dirs()
    image = None if options.rootfs else engine.images.find(options.image)
    if options.name:
        check_name(options.name)
    if options.replace:
        _remove_former(engine, options)
    container_id = random_id()
    context = _context(engine, options, image, container_id)
    mounts = choose_mounts(options, context.image, lambda name: engine.containers.get(name).mounts)
    check_sources(mounts)
    lock = ContainerLock(f"{settings.run_root}/containers/{container_id}")
    lock.acquire()
    try:
        return _make(engine, options, context, image, mounts)
    except BaseException:
        _unmake_run_dir(context.run_dir)
        raise
    finally:
        lock.release()


def _unmake_run_dir(path: str) -> None:
    """Remove the directory the lock was on, if it has nothing else; what was made in it, removal has removed."""
    try:
        os.rmdir(path)
    except OSError:
        pass


def _remove_former(engine: Engine, options: ContainerOptions) -> None:
    if not options.name:
        raise Invalid("cannot replace container without --name being set")
    try:
        former = engine.containers.get(options.name)
    except NotFound:
        return
    former.remove(force=True, timeout=0)


def _context(engine: Engine, options: ContainerOptions, image: ImageRecord | None, container_id: str) -> Context:
    """Everything the bundle depends on.  Reads, but changes nothing except what is remembered about the image."""
    settings = engine.settings
    context = Context(
        container_id,
        options.name or random_name(),
        f"{settings.root}/containers/{container_id}",
        image=(image.config.get("config") or {}) if image else {},
        conf=settings.conf.get("containers", {}),
        host=observe(settings.rootless),
        rootless=settings.rootless,
    )
    context.run_dir = f"{settings.run_root}/containers/{container_id}"
    if settings.rootless:
        context.gid_count = max((m.ctr + m.size for m in engine.id_maps()[1]), default=1)
    if (
        options.userns
        or settings.userns
        or options.uidmap
        or options.gidmap
        or options.subuidname
        or options.subgidname
    ):
        from estiva.engine.usermaps import choose_maps

        context.who = choose_maps(engine, options, context, image)
    context.who = options.user or context.who or context.image.get("User") or ""
    context.user = _user(engine, options, context, image)
    if context.host.apparmor:
        from estiva.engine.apparmor import choose_profile

        asked = security_options(options).get("apparmor", [""])[-1] or str(context.conf.get("apparmor_profile") or "")
        context.apparmor_profile = choose_profile(asked, rootless=settings.rootless, privileged=options.privileged)
    if context.user.uid and not context.user.name and image is not None:
        context.entries = _entries(options, context)
    return context


def _entries(options: ContainerOptions, context: Context) -> list[list[str]]:
    """Lines for a user whom the image does not know, and a home for them."""
    from estiva.engine.spec.entries import home_of, host_entries, number_entries
    from estiva.engine.spec.process import working_directory

    home = working_directory(options, context)
    entries = []
    if options.userns == "keep-id" and context.rootless:
        from estiva.engine.hostuser import calling_user

        caller = calling_user()
        if caller is not None:
            if caller.uid == context.user.uid:
                home = home_of(caller, home, [mount.target for mount in options.mount])
            entries = host_entries(caller, home)
    context.user.home = home
    return [*entries, *number_entries(context.user, home)]


def _user(engine: Engine, options: ContainerOptions, context: Context, image: ImageRecord | None) -> User:
    groups = groups_to_add(options.group_add)
    if image is None:
        from estiva.engine.spec.rootfs import rootfs_path

        return directory_user(rootfs_path(options), context.who, groups)
    return image_user(engine, image.id, image.diff_ids, context.who, groups)


def _make(
    engine: Engine, options: ContainerOptions, context: Context, image: ImageRecord | None, mounts: list[MountOption]
) -> Container:
    """Enter the container in the database, then make its files; removes it all again if that fails."""
    copies = engine.store.driver == "copy"
    now_ns = time.time_ns()
    claims = _claims(context)
    try:
        with engine.database.transaction() as change:
            if claims is not None:
                claims.choose(engine, change, options, context)
            details = _details(options, context, image, mounts, copies)
            if chosen_manager(engine.settings, engine.settings.cgroup_manager) == SYSTEMD:
                details["cgroup_manager"] = SYSTEMD
            row = _row(options, context, image, mounts, details, now_ns)
            change.execute(f"INSERT INTO containers ({COLUMNS}) VALUES ({','.join('?' * len(row))})", row)
            if claims is not None:
                claims.enter(change, context)
            resolved, fresh = enter_volumes(engine.volumes, change, context.id, mounts, now_ns)
    except IntegrityError:
        raise _name_in_use(engine, context.name) from None
    container = Container(engine, row)
    try:
        container.spec_in_memory = bundle_config(options, context, resolved)
        _write_bundle(container, context, details)
        if context.mount_label:
            from estiva.engine.relabel import relabel

            relabel(resolved, context.mount_label, list(map(engine.volumes.path, fresh)), engine.settings.environ)
        if context.uid_maps and any("U" in mount.options for mount in resolved):
            from estiva.engine.userfiles import give_sources

            give_sources(engine, resolved, context)
        if fresh and (context.uid_maps or context.user.uid):
            from estiva.engine.userfiles import give_volumes

            paths = set(map(engine.volumes.path, fresh))
            give_volumes(engine, [mount for mount in resolved if mount.source in paths], context)
        if fresh or not options.rm:
            _complete(engine, context.id, fresh, durable=not options.rm)
    except BaseException:
        from estiva.engine.removal import remove_locked

        remove_locked(container, volumes=True)
        raise
    container.phase = "created"
    return container


def _claims(context: Context) -> ModuleType | None:
    """The module that chooses what the container has to itself, if there is anything."""
    if not context.uid_maps and context.automatic is None and not context.host.selinux:
        return None
    from estiva.engine import claims

    return claims


def _complete(engine: Engine, container_id: str, fresh: list[str], durable: bool) -> None:
    """The container is whole, and the volumes *fresh* will be filled by its start."""
    with engine.database.transaction(durable) as change:
        change.execute("UPDATE containers SET phase='created' WHERE id=?", (container_id,))
        for name in fresh:
            change.execute("UPDATE volumes SET fresh=0 WHERE name=?", (name,))


def _row(
    options: ContainerOptions,
    context: Context,
    image: ImageRecord | None,
    mounts: list[MountOption],
    details: dict[str, Any],
    now_ns: int,
) -> tuple[Any, ...]:
    """The values for :data:`~estiva.engine.container.COLUMNS`."""
    labels = {**(context.image.get("Labels") or {}), **options.label}
    return (
        context.id,
        context.name,
        "created" if options.rm else "configured",
        now_ns,
        0,
        image.id if image else "",
        _image_name(options, image),
        "\0".join(arguments(options, context)),
        _dumps(labels),
        int(options.rm),
        options.restart,
        "\0".join(mount.target for mount in mounts if mount.kind != "tmpfs"),
        _dumps(options.to_json()),
        _dumps(details),
    )


def _details(
    options: ContainerOptions,
    context: Context,
    image: ImageRecord | None,
    mounts: list[MountOption],
    driver_copies: bool,
) -> dict[str, Any]:
    """What follows from the options once and for all."""
    signal = options.stop_signal or context.image.get("StopSignal") or ""
    driver = options.log_driver or str(context.conf.get("log_driver") or "")
    return {
        "diff_ids": image.diff_ids if image else [],
        "mounts": [mount.to_json() for mount in mounts],
        "user": context.user.to_json(),
        "who": context.who,
        "entries": context.entries,
        "uid_maps": context.uid_maps,
        "gid_maps": context.gid_maps,
        "shifted": _shifted(context, image.diff_ids if image else [], driver_copies),
        "stop_signal": parse_signal(signal) if signal else SIGTERM,
        "log_driver": driver if driver in LOG_DRIVERS else LOG_DRIVERS[0],
        "entrypoint": options.entrypoint if options.entrypoint is not None else context.image.get("Entrypoint") or [],
    }


def _shifted(context: Context, diff_ids: list[str], driver_copies: bool) -> bool | str:
    """Whether the container's files have the ids it maps to; if they are a copy that others use, too, its key."""
    if not context.uid_maps or not (context.rootless or driver_copies):
        return False
    if driver_copies or not diff_ids:
        return True
    from estiva.engine.shifted import key_of

    return key_of(diff_ids, context.uid_maps, context.gid_maps)


def _image_name(options: ContainerOptions, image: ImageRecord | None) -> str:
    """The image's canonical name that the user meant; what they wrote if it was an id."""
    if image is None:
        return ""
    from estiva.engine.imagenames import candidates

    for name in candidates(options.image):
        if name in image.names:
            return name
    return image.names[0] if image.names else str(options.image)


def _write_bundle(container: Container, context: Context, details: dict[str, Any]) -> None:
    """The directory, the writable layer and config.json."""
    engine = container.engine
    os.mkdir(container.bundle, 0o700)
    if container.options.rootfs:
        from estiva.engine.rootdirectory import check_directory

        check_directory(container)
    else:
        if context.uid_maps:
            from estiva.engine.userfiles import prepare_mapped

            prepare_mapped(engine, container, context)
        else:
            prepare_layer(engine, container.id, details["diff_ids"])
    if context.uid_maps and _opens_by_itself(container):
        from estiva.engine.userfiles import make_accessible

        volumes = [mount.source for mount in container.mounts if mount.kind == "volume"]
        make_accessible(engine, container.bundle, list(map(engine.volumes.path, volumes)), context.uid_maps)
    fd = os.open(f"{container.bundle}/config.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, _dumps(container.spec_in_memory).encode())
        if not container.auto_remove:
            os.fsync(fd)
    finally:
        os.close(fd)


def _opens_by_itself(container: Container) -> bool:
    """Whether sources of mounts are opened by the container's root: for our own runtime the monitor does so, but for
    overlays."""
    from estiva.engine.launching import OWN_RUNTIMES

    runtime = container.options.runtime or container.engine.settings.runtime
    return runtime not in OWN_RUNTIMES or any("O" in mount.options for mount in container.mounts)


def prepare_layer(engine: Engine, container_id: str, diff_ids: list[str]) -> None:
    """Make the writable layer; a copy of an image can only be made where its ids are mapped."""
    if engine.settings.rootless and engine.store.driver == "copy":
        engine.inside("estiva.engine.creation:prepare_inside", container_id=container_id, diff_ids=diff_ids)
    else:
        engine.store.snapshots.prepare(container_id, diff_ids)


def prepare_inside(root: str, run_root: str, driver: str, container_id: str, diff_ids: list[str]) -> None:
    """The same, called in the user's namespace."""
    from estiva.storage.store import Store

    Store(root, run_root, driver=driver, in_userns=True).snapshots.prepare(container_id, diff_ids)


def rename(container: Container, name: str) -> None:
    """Give the container another name."""
    check_name(name)
    engine = container.engine
    try:
        with engine.database.transaction(durable=True) as change:
            if not change.execute("UPDATE containers SET name=? WHERE id=?", (name, container.id)):
                raise NotFound(f"no container with name or ID {container.name!r} found: no such container")
    except IntegrityError:
        raise _name_in_use(engine, name) from None
    container.name = name


def _name_in_use(engine: Engine, name: str) -> Conflict:
    rows = engine.database.query("SELECT id FROM containers WHERE name=?", (name,))
    owner = rows[0][0] if rows else "another container"
    return Conflict(
        f'the container name "{name}" is already in use by {owner}', "remove that container, or use --replace"
    )


def _dumps(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))
