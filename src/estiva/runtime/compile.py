"""An OCI configuration as a plan: which operations, in which order.  Pure: nothing here touches the system.

The order is the kernel's: ids before what needs them, namespaces before what they isolate, mounts before the pivot, the
privileged before the drop.  runtime-spec config.md, config-linux.md
"""

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime import plan
from estiva.runtime.compile_mounts import MS_REC, MS_SLAVE, mount_operations, propagation_flags
from estiva.runtime.compile_process import add_agent, add_console, add_process
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from estiva.spec.rootfs import RootfsMount

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
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7),
    ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0),
)  # fmt: skip
DEVICE_KINDS = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}
DEV_LINKS = (
    ("/proc/self/fd", "/dev/fd"), ("/proc/self/fd/0", "/dev/stdin"), ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"), ("pts/ptmx", "/dev/ptmx"),
)  # fmt: skip


class Surroundings:
    """What a plan depends on besides the configuration.

    ``rootfs``: how the root file system is assembled (``None``: a bind of ``root.path``) · ``mountpoint``: an existing
    directory to mount it on, in the new mount namespace · ``userns``: path of a user namespace the monitor joins first
    (rootless), or ``""`` · ``bind_devices``: device nodes cannot be made here, bind the host's · ``deny_setgroups``:
    the user namespace maps a single id · ``idmap``: lowers must be mapped to the container's ids by the monitor ·
    ``cgroup_mounts``: see :func:`~estiva.runtime.compile_mounts.mount_operations` · ``seccomp``: compiled program ·
    ``seccomp_flags`` · ``seccomp_agent``: see :func:`estiva.runtime.seccomp.agent` · ``start_socket``: wait there
    before executing · ``state``: the OCI state for hooks, but for its status and pid · ``init``: reap as process 1 ·
    ``no_pivot`` · ``preserve_fds``, ``preserve_from``: descriptors of the helper the program gets as 3, 4 … ·
    ``confirm_fd``: the helper's descriptor for CONFIRM, or 0
    """

    __slots__ = (
        "bind_devices", "cgroup_mounts", "confirm_fd", "deny_setgroups", "idmap", "init", "mountpoint", "no_pivot",
        "preserve_fds", "preserve_from", "rootfs", "seccomp", "seccomp_agent", "seccomp_flags", "start_socket", "state",
        "userns",
    )  # fmt: skip

    def __init__(self, mountpoint: str, rootfs: RootfsMount | None = None) -> None:
        self.mountpoint = mountpoint
        self.rootfs = rootfs
        self.userns = self.start_socket = ""
        self.bind_devices = self.deny_setgroups = self.idmap = self.init = self.no_pivot = False
        self.cgroup_mounts: Sequence[tuple[str, str, list[str]]] = ()
        self.seccomp = b""
        self.seccomp_flags = 0
        self.seccomp_agent: tuple[str, list[str]] = ("", [])
        self.preserve_fds = self.preserve_from = self.confirm_fd = 0
        self.state: dict[str, Any] | None = None


def compile_plan(spec: dict[str, Any], around: Surroundings) -> Plan:
    """The plan that turns the configuration *spec* into a running program; raises Invalid for what makes no sense."""
    out = Plan()
    linux = spec.get("linux") or {}
    made, joined = _namespaces(linux)
    add_agent(out, around)
    if around.userns:
        out.add(plan.JOIN, around.userns, NAMESPACES["user"])
    for kind, path in joined:
        if kind == "pid":  # only children of who joins it are in it
            out.add(plan.JOIN, path, NAMESPACES["pid"])
    if made & NAMESPACES["time"]:
        out.add(plan.UNSHARE, NAMESPACES["time"])
        out.add(plan.TIME_OFFSETS, _time_offsets(linux))
        made &= ~NAMESPACES["time"]
    if around.idmap and around.rootfs is not None:
        out.add(plan.IDMAPPED, *_overlay(around.rootfs))
    user = made & NAMESPACES["user"]
    out.add(
        plan.CLONE,
        made & ~NAMESPACES["cgroup"],
        _id_map(linux.get("uidMappings")) if user else "",
        _id_map(linux.get("gidMappings")) if user else "",
        int(bool(user and around.deny_setgroups)),
    )
    if around.start_socket:  # while its directory's owner: a user namespace's root may not write there
        out.add(plan.LISTEN, around.start_socket)
    _enter(out, spec, made, joined)
    add_root(out, around)
    out.extend(mount_operations(spec.get("mounts") or (), around.cgroup_mounts))
    _devices(out, spec, around, bool(user))
    if around.confirm_fd:
        out.add(plan.CONFIRM, around.confirm_fd, int(not around.start_socket))
    if spec.get("hooks"):
        _hooks_before_pivot(out, spec, around)
    process = spec.get("process") or {}
    if process.get("terminal"):
        add_console(out, process, 1)
    for path in linux.get("maskedPaths") or ():
        out.add(plan.MASK, path)
    for path in linux.get("readonlyPaths") or ():
        out.add(plan.READONLY, path)
    for key, value in (linux.get("sysctl") or {}).items():
        out.add(plan.SYSCTL, key.replace(".", "/"), value)
    out.add(plan.PIVOT, int(around.no_pivot))
    if linux.get("rootfsPropagation"):
        out.add(plan.PROPAGATION, "/", propagation_flags(linux["rootfsPropagation"]))
    if (spec.get("root") or {}).get("readonly"):
        out.add(plan.ROOT_READONLY)
    add_process(out, spec, process, around)
    return out


def _hooks_before_pivot(out: Plan, spec: dict[str, Any], around: Surroundings) -> None:
    from estiva.runtime import hooks

    if hooks.of(spec, *hooks.BEFORE_PIVOT):
        out.add(plan.SYNC, plan.SYNC_OWNER)
    hooks.add_hooks(out, spec, "createContainer", "creating", around, filtered=False)


def _namespaces(linux: dict[str, Any]) -> tuple[int, list[tuple[str, str]]]:
    """The clone flags of namespaces to make, and (kind, path) of those to join."""
    made, joined = 0, []
    for namespace in linux.get("namespaces") or ():
        kind = namespace.get("type", "")
        if kind not in NAMESPACES:
            raise Invalid(f"linux.namespaces: type {kind!r} is unknown")
        if namespace.get("path"):
            joined.append((kind, namespace["path"]))
        else:
            made |= NAMESPACES[kind]
    return made, joined


def _id_map(mappings: Sequence[dict[str, int]] | None) -> str:
    return "".join(f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in mappings or ())


def _time_offsets(linux: dict[str, Any]) -> str:
    offsets = linux.get("timeOffsets") or {}
    return "".join(f"{clock} {o.get('secs', 0)} {o.get('nanosecs', 0)}\n" for clock, o in offsets.items())


def _enter(out: Plan, spec: dict[str, Any], made: int, joined: list[tuple[str, str]]) -> None:
    """Become root of the namespaces, and hide from them, before anything of the container can be met."""
    process = spec.get("process") or {}
    if process.get("oomScoreAdj") is not None:
        out.add(plan.OOM_SCORE, process["oomScoreAdj"])
    if made & NAMESPACES["user"]:
        out.add(plan.BECOME_ROOT)
    out.add(plan.HIDE)
    for kind, path in sorted(joined, key=lambda item: item[0] != "user"):
        if kind != "pid":
            out.add(plan.JOIN, path, NAMESPACES[kind])
            if kind == "user":
                out.add(plan.BECOME_ROOT)
    if made & NAMESPACES["cgroup"]:  # after the cgroups were joined: they become its root
        out.add(plan.UNSHARE, NAMESPACES["cgroup"])
    if made & NAMESPACES["network"]:
        out.add(plan.LOOPBACK)
    if spec.get("hostname"):
        out.add(plan.HOSTNAME, spec["hostname"])
    if spec.get("domainname"):
        out.add(plan.DOMAINNAME, spec["domainname"])


def _overlay(rootfs: RootfsMount) -> tuple[str, str, list[str], list[str]]:
    return rootfs.upperdir or "", rootfs.workdir or "", list(rootfs.options), list(rootfs.lowerdirs)


def add_root(out: Plan, around: Surroundings) -> None:
    """Assemble the root file system and mount it at ``around.mountpoint``, in a mount namespace already one's own."""
    out.add(plan.PROPAGATION, "/", MS_REC | MS_SLAVE)
    rootfs = around.rootfs
    if rootfs is None:
        out.add(plan.ROOT_BIND, around.mountpoint, 1)
    elif rootfs.kind == "bind":
        out.add(plan.ROOT_BIND, rootfs.source, 0)
    elif around.idmap:
        out.add(plan.ROOT_GIVEN)
    else:
        out.add(plan.ROOT_OVERLAY, *_overlay(rootfs))
    out.add(plan.ROOT_ATTACH, around.mountpoint)


def _devices(out: Plan, spec: dict[str, Any], around: Surroundings, user_namespace: bool) -> None:
    """/dev as runtime-spec config-linux.md "Default Devices" wants it, unless the configuration binds its own."""
    dev = next((m for m in spec.get("mounts") or () if m.get("destination", "").rstrip("/") == "/dev"), None)
    if dev is None or dev.get("type") == "bind":
        return
    bind = around.bind_devices or user_namespace
    devices = [
        {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666}
        for path, major, minor in DEFAULT_DEVICES
    ]
    named = {device["path"]: device for device in [*devices, *((spec.get("linux") or {}).get("devices") or ())]}
    for device in named.values():
        _device(out, device, bind)
    for content, path in DEV_LINKS:
        out.add(plan.SYMLINK, content, path)


def _device(out: Plan, device: dict[str, Any], bind: bool) -> None:
    kind = DEVICE_KINDS.get(device.get("type", ""))
    if kind is None:
        raise Invalid(f"linux.devices {device.get('path')}: type {device.get('type')!r} is unknown")
    if bind and kind != DEVICE_KINDS["p"]:
        source = device.get("x-estiva.source") or device["path"]
        out.add(plan.BIND, source, device["path"], 0, 0, 0, 0, 0, 0, 0, 0)
        return
    mode = device.get("fileMode")
    mode = kind | (0o666 if mode is None else int(mode))
    out.add(
        plan.DEVICE,
        device["path"],
        mode,
        device.get("major", 0),
        device.get("minor", 0),
        device.get("uid") or 0,
        device.get("gid") or 0,
    )
