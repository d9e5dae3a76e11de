"""Where a container's cgroup is, who makes it, and what of the bundle goes into it."""

from __future__ import annotations

import os

from estiva.runtime.cgroup import driver, hierarchy
from estiva.runtime.devices import DEFAULT_RULES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cgroup.hierarchy import Hierarchies
    from estiva.runtime.cgroup.systemd import UnitName
    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.records import Record


class Place:
    """``path``: ``""`` if there is to be none, or if systemd decides · ``unit``: then the scope it is to make, of this
    user's manager if ``user`` · ``lenient``: limits that may not be set here are passed over."""

    __slots__ = ("lenient", "path", "unit", "user")

    def __init__(self, path: str, lenient: bool, unit: UnitName | None = None, user: bool = False) -> None:
        self.path = path
        self.lenient = lenient
        self.unit = unit
        self.user = user

    def fields(self) -> dict[str, Any]:
        """What the record keeps, from before there is anything."""
        return {
            "cgroup_path": self.path,
            **({"cgroup_unit": self.unit.name, "cgroup_user": self.user} if self.unit else {}),
        }


def is_rootless() -> bool:
    """Whether this process is not root of the machine: root of a user namespace is not."""
    if os.geteuid() != 0:
        return True
    with open("/proc/self/uid_map") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def place(context: Context, hierarchies: Hierarchies, spec: dict[str, Any], container_id: str) -> Place:
    """Where the container's cgroup is to be.  Raises Invalid for a ``cgroupsPath`` that systemd cannot have."""
    wanted = (spec.get("linux") or {}).get("cgroupsPath") or ""
    ordinary = is_rootless()
    lenient = ordinary if context.rootless is None else context.rootless
    if context.cgroup_manager == "disabled":
        return Place("", True)
    if context.cgroup_manager == "systemd":
        from estiva.runtime.cgroup.systemd import UnitName, check_running

        check_running(hierarchies, ordinary)
        return Place("", lenient, UnitName.parse(wanted, container_id, user=ordinary), ordinary)
    if not lenient or not ordinary:
        return Place(hierarchy.container_path(container_id, wanted), lenient)
    if wanted.startswith("/"):  # the administrator may have given this user a part of the tree
        return Place(hierarchy.container_path(container_id, wanted), True)
    parent = hierarchy.delegated_parent(hierarchies)
    if parent is None:
        return Place("", True)
    return Place(hierarchy.container_path(container_id, wanted, parent + "/estiva"), True)


def create(where: Place, hierarchies: Hierarchies, spec: dict[str, Any]) -> CgroupHandle:
    """Make it, with the bundle's limits; on failure nothing is left."""
    if where.unit is None:
        handle = driver.create(hierarchies, where.path, resources(spec), rootless=where.lenient)
    else:
        from estiva.runtime.cgroup import systemd

        annotations = spec.get("annotations") or {}
        handle = systemd.create(hierarchies, where.unit, resources(spec), annotations, os.environ, user=where.user)
    if hierarchies.mode == "v2" and handle.v2_dir:
        from estiva.runtime.cgroup.ownership import give, owner

        uid = owner(spec)
        if uid is not None:
            give(handle.v2_dir, uid)
    return handle


def find(record: Record) -> CgroupHandle:
    """The cgroup of a container that some command made."""
    hierarchies = hierarchy.detect()
    handle = driver.open_handle(hierarchies, record.fields.get("cgroup_path", ""))
    if record.fields.get("cgroup_unit"):
        from estiva.runtime.cgroup.systemd import Unit

        handle.unit = Unit(record.fields["cgroup_unit"], bool(record.fields.get("cgroup_user")), os.environ)
    return handle


def approach(record: Record) -> None:
    """Be where a process can be born into the container's cgroup, which a user's session is not.  See systemd.py."""
    if record.fields.get("cgroup_user"):
        from estiva.runtime.cgroup.systemd import enter_user_scope

        enter_user_scope(hierarchy.detect(), os.environ)


def resources(spec: dict[str, Any]) -> dict[str, Any]:
    """The bundle's limits as the driver is to set them."""
    found = dict((spec.get("linux") or {}).get("resources") or {})
    if isinstance(found.get("devices"), list) and found["devices"]:
        # The devices every container has are allowed whatever the bundle denies before.
        found["devices"] = [*found["devices"], *(rule for rule in DEFAULT_RULES if rule["allow"])]
    pids = found.get("pids")
    if isinstance(pids, dict) and pids.get("limit") == 0 and older_than_1_3(spec):
        found["pids"] = {**pids, "limit": -1}
    return found


def older_than_1_3(spec: dict[str, Any]) -> bool:
    """Whether a process limit of 0 in it means none, as before specification 1.3.0."""
    major, _, rest = str(spec.get("ociVersion")).partition(".")
    minor = rest.partition(".")[0]
    return major == "1" and minor.isdecimal() and int(minor) < 3
