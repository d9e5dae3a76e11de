"""Namespaces of an OCI configuration: which are made and which joined, what makes no sense with them, and the
operations that enter and furnish them.  Pure.  runtime-spec config-linux.md "Namespaces", namespaces(7)

A namespace made by CLONE belongs to the user namespace of who clones; so where a user namespace is made or joined, the
other paths are joined before it (ENTER, by who clones, who may), and what is made is made inside.
"""

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime import plan
from estiva.runtime.compile_mounts import id_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.plan import Plan

# clone(2)
NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
    "time": 0x00000080,
}
CLOCKS = ("monotonic", "boottime")
# What of /proc/sys belongs to a namespace, by its beginning.  sysctl(5), namespaces(7)
SYSCTLS = (
    ("net/", "network"), ("kernel/shm", "ipc"), ("kernel/msg", "ipc"), ("kernel/sem", "ipc"), ("fs/mqueue/", "ipc"),
    ("kernel/domainname", "uts"), ("kernel/hostname", "uts"), ("user/", "user"),
)  # fmt: skip


class Namespaces:
    """``made``: clone flags of those to make · ``joined``: the paths of those to join, by kind."""

    __slots__ = ("joined", "made")

    def __init__(self, linux: dict[str, Any]) -> None:
        self.made = 0
        self.joined: dict[str, str] = {}
        for index, entry in enumerate(linux.get("namespaces") or ()):
            kind, path = entry.get("type", ""), entry.get("path") or ""
            if kind not in NAMESPACES:
                raise Invalid(f"linux.namespaces: type {kind!r} is unknown")
            if self.own(kind):
                raise Invalid(f"linux.namespaces[{index}]: a second one of type {kind!r}")
            if not path:
                self.made |= NAMESPACES[kind]
            elif path.startswith("/"):
                self.joined[kind] = path
            else:
                raise Invalid(f"linux.namespaces[{index}].path: {path!r} is not an absolute path")

    def makes(self, kind: str) -> bool:
        """Whether a new one of this kind is made."""
        return bool(self.made & NAMESPACES[kind])

    def own(self, kind: str) -> bool:
        """Whether the container's is another one than the runtime's."""
        return self.makes(kind) or kind in self.joined

    def foreign(self) -> frozenset[str]:
        """The kinds in which the container is where the runtime is."""
        return frozenset(kind for kind in NAMESPACES if not self.own(kind))


def check_namespaces(spec: dict[str, Any], namespaces: Namespaces) -> None:
    """Raise Invalid, naming the field, for what needs a namespace that the container has not."""
    linux = spec.get("linux") or {}
    for field in ("hostname", "domainname"):
        if spec.get(field) and not namespaces.own("uts"):
            raise Invalid(f"{field}: it cannot be set without a UTS namespace of the container's own")
    maps = [bool(linux.get(field)) for field in ("uidMappings", "gidMappings")]
    if any(maps) and not namespaces.own("user"):
        raise Invalid("linux.uidMappings, linux.gidMappings: given, but linux.namespaces has no user namespace")
    if namespaces.makes("user") and not all(maps):
        raise Invalid("linux.uidMappings and linux.gidMappings are both needed for a new user namespace")
    if linux.get("timeOffsets"):
        for clock in linux["timeOffsets"]:
            if clock not in CLOCKS:
                raise Invalid(f"linux.timeOffsets: clock {clock!r} is neither {' nor '.join(CLOCKS)}")
        if not namespaces.makes("time"):
            raise Invalid("linux.timeOffsets: they can be set for a new time namespace only")
    if linux.get("netDevices") and not namespaces.own("network"):
        raise Invalid("linux.netDevices: devices can only be moved to a network namespace of the container's own")
    if len(linux.get("netDevices") or ()) > 16:
        raise Invalid("linux.netDevices: more than 16 devices")
    if not namespaces.own("mount"):
        _check_without_mounts(spec, linux)


def _check_without_mounts(spec: dict[str, Any], linux: dict[str, Any]) -> None:
    """Whatever is mounted would be mounted on the host."""
    wanted = {
        "mounts": spec.get("mounts"),
        "root.readonly": (spec.get("root") or {}).get("readonly"),
        "linux.maskedPaths": linux.get("maskedPaths"),
        "linux.readonlyPaths": linux.get("readonlyPaths"),
        "linux.rootfsPropagation": linux.get("rootfsPropagation"),
        "linux.devices": linux.get("devices"),
        "process.terminal": (spec.get("process") or {}).get("terminal"),
    }
    for field, value in wanted.items():
        if value:
            raise Invalid(f"{field}: not possible without a mount namespace of the container's own")


def sysctls(linux: dict[str, Any], namespaces: Namespaces) -> list[tuple[str, str]]:
    """(path below /proc/sys, value) of all; raises Invalid for those that are not the container's own.

    As with sysctl(8), the first separator decides: ``net.ipv4.conf.eth0/1.forwarding`` and
    ``net/ipv4/conf/eth0.1/forwarding`` are the same.
    """
    result = []
    for key, value in (linux.get("sysctl") or {}).items():
        dotted = 0 <= key.find(".") < (key.find("/") if "/" in key else len(key))
        path = key.translate({46: "/", 47: "."}) if dotted else key
        if not isinstance(value, str):
            raise Invalid(f"linux.sysctl: the value of {key!r} is not a string")
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise Invalid(f"linux.sysctl: {key!r} is not a name")
        kind = next((kind for start, kind in SYSCTLS if path.startswith(start)), None)
        if kind is None:
            raise Invalid(f"linux.sysctl: {key!r} is not part of a namespace: it would change the host")
        if not namespaces.own(kind):
            raise Invalid(f"linux.sysctl: {key!r} would change the host: the container has no own {kind} namespace")
        result.append((path, value))
    return result


def add_clone(out: Plan, spec: dict[str, Any], namespaces: Namespaces, *, deny_setgroups: bool) -> None:
    """From what has to be joined by who clones to the birth of the container's process."""
    linux = spec.get("linux") or {}
    if "pid" in namespaces.joined:  # only children of who joins it are in it
        out.add(plan.JOIN, namespaces.joined["pid"], NAMESPACES["pid"])
    made = namespaces.made
    if namespaces.makes("time"):
        out.add(plan.UNSHARE, NAMESPACES["time"])
        out.add(plan.TIME_OFFSETS, _time_offsets(linux))
        made &= ~NAMESPACES["time"]
    if namespaces.own("user"):
        for kind, path in namespaces.joined.items():
            if kind != "pid":
                out.add(plan.ENTER, path, NAMESPACES[kind])
    for name, device in (linux.get("netDevices") or {}).items():
        out.add(plan.NET_DEVICE, *_device(name, device))
    user = namespaces.makes("user")
    out.add(
        plan.CLONE,
        made & ~NAMESPACES["cgroup"],
        id_map(linux.get("uidMappings"), "linux.uidMappings") if user else "",
        id_map(linux.get("gidMappings"), "linux.gidMappings") if user else "",
        int(user and deny_setgroups),
    )


def _device(name: str, device: dict[str, Any] | None) -> tuple[str, str]:
    """A device's name here and in the container."""
    new_name = (device or {}).get("name") or name
    for word in (name, new_name):
        plain = word.isprintable() and not set(word) & set("/: ")
        if not plain or not 0 < len(word.encode()) < 16 or word in (".", ".."):
            raise Invalid(f"linux.netDevices: {word!r} is not a device's name")
    return name, new_name


def _time_offsets(linux: dict[str, Any]) -> str:
    offsets = linux.get("timeOffsets") or {}
    return "".join(f"{clock} {o.get('secs') or 0} {o.get('nanosecs') or 0}\n" for clock, o in offsets.items())


def add_entry(out: Plan, spec: dict[str, Any], namespaces: Namespaces, *, hide: bool = True) -> None:
    """Become root of the namespaces, and hide from them, before anything of the container can be met; *hide* may wait
    where nothing is joined, so that nobody else is in any of them."""
    process = spec.get("process") or {}
    if process.get("oomScoreAdj") is not None:
        out.add(plan.OOM_SCORE, process["oomScoreAdj"])
    if namespaces.own("user"):
        out.add(plan.BECOME_ROOT)
    if hide or namespaces.joined:
        out.add(plan.HIDE)
    if not namespaces.own("user"):
        for kind, path in namespaces.joined.items():
            if kind != "pid":
                out.add(plan.JOIN, path, NAMESPACES[kind])
    if namespaces.makes("cgroup"):  # after the cgroups were joined: they become its root
        out.add(plan.UNSHARE, NAMESPACES["cgroup"])
    if namespaces.makes("network"):
        out.add(plan.LOOPBACK)
    if (spec.get("linux") or {}).get("netDevices"):
        out.add(plan.SYNC, plan.SYNC_MONITOR)
    if spec.get("hostname"):
        out.add(plan.HOSTNAME, spec["hostname"])
    if spec.get("domainname"):
        out.add(plan.DOMAINNAME, spec["domainname"])
