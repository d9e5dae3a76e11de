"""What a mount of type ``cgroup`` in a bundle becomes on this machine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cgroup.hierarchy import Hierarchies


def file_systems(hierarchies: Hierarchies) -> list[tuple[str, str, list[str]]]:
    """(file system type, name below the target, its options) of each: one without a name on v2, a set elsewhere.

    For a container with a cgroup namespace of its own, whose mounts show its own sub-trees only.
    """
    if hierarchies.mode == "v2":
        return [("cgroup2", "", [])]
    controllers: dict[str, list[str]] = {}
    for controller, mount in hierarchies.v1.items():
        controllers.setdefault(mount, []).append(controller)
    result = [("cgroup", mount.rpartition("/")[2], names) for mount, names in controllers.items()]
    if hierarchies.v2:
        result.append(("cgroup2", hierarchies.v2.rpartition("/")[2], []))
    return result


def bound(mounts: list[dict[str, Any]], hierarchies: Hierarchies, handle: CgroupHandle) -> list[dict[str, Any]]:
    """*mounts* with v1's ``cgroup`` ones as binds of the container's own directories.

    For a container that shares the cgroup namespace: a new mount would show it every cgroup of the machine.  One that
    has no cgroup sees none.
    """
    result = []
    for mount in mounts:
        if mount.get("type") != "cgroup" or hierarchies.mode in ("v2", "none"):
            result.append(mount)
            continue
        target, options = mount["destination"], list(mount.get("options") or ())
        kept = [option for option in options if option not in ("ro", "rbind", "bind")]
        result.append(
            {"type": "tmpfs", "source": "tmpfs", "destination": target, "options": [*kept, "mode=755", "size=64k"]}
        )
        for directory in handle.dirs:
            name = directory.removesuffix(handle.path).rpartition("/")[2]
            entry = {"type": "bind", "source": directory, "destination": f"{target}/{name}"}
            result.append({**entry, "options": ["bind", *options]})
    return result
