"""Which control group hierarchies this machine has, and where containers may live in them.

Three arrangements exist: ``v2`` (one unified tree), ``v1`` (one tree per controller) and ``hybrid`` (v1 trees plus a
unified one that has few controllers or none, but can kill and freeze).  Code above asks where a *controller* is, not
which arrangement it has before it.  cgroups(7), Documentation/admin-guide/cgroup-v2.rst
"""

from __future__ import annotations

import os

from estiva.runtime.cgroup.files import read_text

CONTROLLERS = frozenset(
    (
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "misc",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
        "rdma",
        "name=systemd",
    )
)


class Hierarchies:
    """The mounted hierarchies.

    ``mode``: ``"v1"``, ``"hybrid"``, ``"v2"`` or ``"none"``.  ``v1``: controller (or ``name=systemd``) to mount point;
    controllers mounted together share one.  ``v2``: the unified hierarchy's mount point, or ``None``.
    ``v2_controllers``: those the unified hierarchy can hand out.
    """

    __slots__ = ("mode", "v1", "v2", "v2_controllers")

    def __init__(self, v1: dict[str, str], v2: str | None, v2_controllers: frozenset[str]) -> None:
        self.v1 = v1
        self.v2 = v2
        self.v2_controllers = v2_controllers
        if v2:
            self.mode = "hybrid" if v1 else "v2"
        else:
            self.mode = "v1" if v1 else "none"

    def mounts(self) -> list[str]:
        """Each mount point once, the unified one last."""
        unique = list(dict.fromkeys(self.v1.values()))
        return [*unique, self.v2] if self.v2 else unique


def detect(root: str = "/sys/fs/cgroup", proc: str = "/proc") -> Hierarchies:
    """What is mounted.  One access(2) where *root* is the unified hierarchy; the mount table elsewhere."""
    if os.access(f"{root}/cgroup.controllers", os.F_OK):
        return Hierarchies({}, root, _controllers(root))
    v1: dict[str, str] = {}
    v2 = None
    for mount_point, kind, options in _mounts(f"{proc}/self/mountinfo"):
        if kind == "cgroup2":
            v2 = v2 or mount_point
        else:
            for option in options.split(","):
                if option in CONTROLLERS:
                    v1.setdefault(option, mount_point)
    return Hierarchies(v1, v2, _controllers(v2) if v2 else frozenset())


def _controllers(mount_point: str) -> frozenset[str]:
    try:
        return frozenset(read_text(f"{mount_point}/cgroup.controllers").split())
    except OSError:
        return frozenset()


def _mounts(mountinfo: str) -> list[tuple[str, str, str]]:
    """The (mount point, type, super block options) of the cgroup mounts, in order.  proc_pid_mountinfo(5)"""
    with open(mountinfo, "rb") as file:
        lines = [line for line in file.read().split(b"\n") if b" - cgroup" in line]
    result = []
    for line in lines:
        mount, _, source = line.decode(errors="surrogateescape").partition(" - ")
        kind, _, options = source.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            result.append((_unescape(mount.split(" ")[4]), kind, options))
    return result


def _unescape(path: str) -> str:
    """*path* with the mount table's ``\\040`` and the like undone."""
    if "\\" not in path:
        return path
    first, *rest = path.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def own_paths(file_name: str = "/proc/self/cgroup") -> dict[str, str]:
    """The cgroup of this process, or another, in each hierarchy: controller to path; ``""`` is the unified one.

    A path outside of this process's cgroup namespace begins with ``/..``.  cgroups(7)
    """
    result = {}
    with open(file_name) as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for controller in controllers.split(","):
                result[controller] = path
    return result


def delegated_parent(hierarchies: Hierarchies, proc: str = "/proc") -> str | None:
    """The highest cgroup of the unified hierarchy, at or above this process's own, that this user may divide.

    systemd hands ``user@UID.service`` to the user; a process inside it may be moved about below it.  ``None`` where
    there is no such delegation: a login session's scope, a v1 machine.  cgroup-v2.rst "Delegation"
    """
    if not hierarchies.v2:
        return None
    path = own_paths(f"{proc}/self/cgroup").get("", "/")
    best = None
    while path not in ("/", ""):
        directory = hierarchies.v2 + path
        if not all(
            os.access(f"{directory}{name}", os.W_OK) for name in ("", "/cgroup.procs", "/cgroup.subtree_control")
        ):
            break
        best = path
        path = path.rpartition("/")[0]
    return best


def container_path(container_id: str, cgroups_path: str = "", parent: str = "/estiva") -> str:
    """The container's path in every hierarchy: what the bundle asks for, or ``<parent>/<id>``.

    *cgroups_path* is the OCI's ``linux.cgroupsPath``: absolute, relative to *parent*, or systemd's
    ``slice:prefix:name``, which names ``prefix-name.scope`` below the slice.
    """
    if not cgroups_path:
        return f"{parent.rstrip('/')}/{container_id}"
    if cgroups_path.count(":") == 2 and not cgroups_path.startswith("/"):
        slice_name, prefix, name = cgroups_path.split(":")
        unit = name if name.endswith(".slice") else f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
        cgroups_path = f"{_slice_path(slice_name or 'system.slice')}/{unit}"
    path = os.path.normpath("/" + cgroups_path)  # an absolute path keeps no ".." that could leave the tree
    if cgroups_path.startswith("/"):
        return "/" + path.lstrip("/")
    return parent.rstrip("/") + "/" + path.lstrip("/")


def _slice_path(name: str) -> str:
    """``a-b.slice`` lies in ``/a.slice/a-b.slice``.  systemd.slice(5)"""
    if name == "-.slice":
        return ""
    parts = name.removesuffix(".slice").split("-")
    return "".join("/" + "-".join(parts[: count + 1]) + ".slice" for count in range(len(parts)))
