"""Where the cgroup of a container is: made at its start, found again by later commands."""

from __future__ import annotations

import os

from estiva.engine.hostfacts import read_or_empty
from estiva.errors import EstivaError, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.config import Settings
    from estiva.engine.container import Container
    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cgroup.hierarchy import Hierarchies
    from estiva.runtime.cgroup.systemd import UnitName

# In the run directory: the path, and the systemd unit if it is one, where they do not follow from the container.
CGROUP = "cgroup"
PARENT = "/estiva"
CGROUPFS, SYSTEMD = "cgroupfs", "systemd"


def chosen_manager(settings: Settings, asked: str | None) -> str:
    """``cgroupfs`` or ``systemd``: as *asked*, else as containers.conf says if that can be had."""
    if asked:
        return asked
    if settings.default("cgroup_manager", CGROUPFS, "engine") == SYSTEMD and os.path.isdir("/run/systemd/system"):
        return SYSTEMD
    return CGROUPFS


def manager(container: Container) -> str:
    """Who makes the container's cgroup; settled when it was created."""
    return str(container.details.get("cgroup_manager", CGROUPFS))


def make_cgroup(container: Container, spec: dict[str, Any], hierarchies: Hierarchies, foreign: bool) -> CgroupHandle:
    """The cgroup of this start; the caller releases it when the container is in it.

    With *foreign*, systemd's scope is left to the other runtime: the handle has no directories.
    """
    from estiva.runtime.cgroup import driver

    rootless = container.engine.settings.rootless
    resources = spec["linux"].get("resources", {})
    if container.options.cgroups == "disabled":
        return driver.create(hierarchies, "", {}, rootless=rootless)
    if manager(container) == SYSTEMD:
        return _make_scope(container, spec, hierarchies, foreign)
    if not rootless:
        _remember(container, "")
        path = root_cgroup_path(container.id, container.options.cgroup_parent)
    else:
        path = _user_path(container, hierarchies)
        _remember(container, path)
    return driver.create(hierarchies, path, resources, rootless=rootless)


def root_cgroup_path(container_id: str, parent: str) -> str:
    """Where root's containers are in each hierarchy."""
    from estiva.runtime.cgroup.hierarchy import container_path

    return container_path(container_id, parent=parent or PARENT)


def _user_path(container: Container, hierarchies: Hierarchies) -> str:
    """Where an ordinary user's are: below what was delegated; ``""`` where nothing is.

    It depends on the session, so it is written down for other sessions' commands.
    """
    from estiva.runtime.cgroup.hierarchy import container_path, delegated_parent

    delegated = delegated_parent(hierarchies)
    if delegated is None and _enter_user_scope(hierarchies, container.engine.settings):
        delegated = delegated_parent(hierarchies)
    if delegated is None:
        return ""
    parent = container.options.cgroup_parent.strip("/") or "estiva"
    return container_path(container.id, parent=f"{delegated}/{parent}")


def _enter_user_scope(hierarchies: Hierarchies, settings: Settings) -> bool:
    """Leave a login session's cgroup, which may not be divided, for one of the user's; False if there is none."""
    if hierarchies.mode != "v2" or not os.path.isdir("/run/systemd/system"):
        return False
    from estiva.runtime.cgroup.systemd import enter_user_scope

    try:
        return enter_user_scope(hierarchies, settings.environ)
    except EstivaError:  # no user manager runs: no cgroup, as before
        return False


def scope_name(container: Container) -> UnitName:
    """The unit that the container is to be.  Raises Invalid for a parent that is no slice."""
    from estiva.runtime.cgroup.systemd import UnitName

    user = container.engine.settings.rootless
    slice_name = container.options.cgroup_parent or ("user.slice" if user else "machine.slice")
    if not slice_name.endswith(".slice"):
        raise Invalid(
            f"option --cgroup-parent {slice_name!r}: not a slice, and systemd manages cgroups",
            "name one that ends in .slice, or use --cgroup-manager cgroupfs",
        )
    return UnitName.parse(f"{slice_name}:estiva:{container.id}", container.id, user=user)


def _make_scope(container: Container, spec: dict[str, Any], hierarchies: Hierarchies, foreign: bool) -> CgroupHandle:
    from estiva.runtime.cgroup import systemd
    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cgroup.hierarchy import container_path

    settings = container.engine.settings
    unit = scope_name(container)
    if foreign:
        systemd.check_running(hierarchies, settings.rootless)
        _remember(container, container_path("", f"{unit.slice}::{unit.name.removesuffix('.scope')}"), unit.name)
        return CgroupHandle(hierarchies, "")
    handle = systemd.create(
        hierarchies,
        unit,
        spec["linux"].get("resources", {}),
        spec.get("annotations") or {},
        settings.environ,
        user=settings.rootless,
    )
    _remember(container, handle.path, unit.name)
    return handle


def _remember(container: Container, path: str, unit: str = "") -> None:
    file = f"{container.run_dir}/{CGROUP}"
    if not path:
        try:
            os.unlink(file)
        except FileNotFoundError:
            pass
        return
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, f"{path}\n{unit}".rstrip("\n").encode())
    finally:
        os.close(fd)


def find_cgroup(container: Container) -> CgroupHandle:
    """The container's cgroup, with those directories that exist now."""
    from estiva.runtime.cgroup.driver import open_handle
    from estiva.runtime.cgroup.hierarchy import detect

    settings = container.engine.settings
    path, _, unit = read_or_empty(f"{container.run_dir}/{CGROUP}").partition("\n")
    if not path and not settings.rootless and manager(container) == CGROUPFS:
        path = root_cgroup_path(container.id, container.options.cgroup_parent)
    handle = open_handle(detect(), path)
    if unit:
        from estiva.runtime.cgroup.systemd import Unit

        handle.unit = Unit(unit, settings.rootless, settings.environ)
    return handle


def join_paths(container: Container) -> list[str]:
    """The cgroup.procs files by which a further program joins; this process is then where it may be born in there."""
    handle = find_cgroup(container)
    if handle.dirs and container.engine.settings.rootless:
        from estiva.runtime.cgroup.hierarchy import detect

        hierarchies = detect()
        if not _may_divide_here(hierarchies):
            _enter_user_scope(hierarchies, container.engine.settings)
    return handle.procs_paths


def _may_divide_here(hierarchies: Hierarchies) -> bool:
    from estiva.runtime.cgroup.hierarchy import delegated_parent

    return delegated_parent(hierarchies) is not None
