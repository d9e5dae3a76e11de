"""An OCI configuration as a plan: which operations, in which order.  Pure: nothing here touches the system.

The order is the kernel's: ids before what needs them, namespaces before what they isolate, mounts before the pivot, the
privileged before the drop.  runtime-spec config.md, config-linux.md
"""

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime import plan
from estiva.runtime.compile_devices import add_devices
from estiva.runtime.compile_mounts import MountPlan, propagation_flags
from estiva.runtime.compile_namespaces import NAMESPACES, Namespaces, add_clone, add_entry, check_namespaces, sysctls
from estiva.runtime.compile_process import add_agent, add_console, add_labels, add_limits, add_process
from estiva.runtime.mount_options import MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from estiva.spec.rootfs import RootfsMount


KEEP_GROUPS = "run.oci.keep_original_groups"  # crun's annotation


class Surroundings:
    """What a plan depends on besides the configuration.

    ``rootfs``: how the root file system is assembled (``None``: a bind of ``root.path``) · ``mountpoint``: an existing
    directory to mount it on, in the new mount namespace · ``userns``: path of a user namespace the monitor joins first
    (rootless), or ``""`` · ``bind_devices``: device nodes cannot be made here, bind the host's · ``deny_setgroups``:
    the user namespace maps a single id · ``idmap``: the root must be mapped to the container's ids by the monitor, or
    to ``root_maps`` as uid_map and gid_map take them · ``entries``: (path, line) to be added to user databases ·
    ``cgroup_mounts``: see :class:`~estiva.runtime.compile_mounts.MountPlan` · ``selinux``: the kernel has it ·
    ``seccomp``: compiled program · ``seccomp_flags`` · ``seccomp_agent``: see :func:`estiva.runtime.seccomp.agent` ·
    ``start_socket``: wait there before executing · ``state``: the OCI state for hooks, but for its status and pid ·
    ``init``: reap as process 1 · ``no_pivot`` · ``preserve_fds``, ``preserve_from``: descriptors of the helper the
    program gets as 3, 4 … · ``confirm_fd``: the helper's descriptor for CONFIRM, or 0 · ``keyring``: a session keyring
    of its own
    """

    __slots__ = (
        "bind_devices", "cgroup_mounts", "confirm_fd", "deny_setgroups", "entries", "idmap", "init", "keyring",
        "mountpoint", "no_pivot", "preserve_fds", "preserve_from", "root_maps", "rootfs", "seccomp", "seccomp_agent",
        "seccomp_flags", "selinux", "start_socket", "state", "userns",
    )  # fmt: skip

    def __init__(self, mountpoint: str, rootfs: RootfsMount | None = None) -> None:
        self.mountpoint = mountpoint
        self.rootfs = rootfs
        self.entries: Sequence[Sequence[str]] = ()
        self.userns = self.start_socket = ""
        self.bind_devices = self.deny_setgroups = self.idmap = self.init = self.no_pivot = self.selinux = False
        self.cgroup_mounts: Sequence[tuple[str, str, list[str]]] = ()
        self.seccomp = b""
        self.seccomp_flags = 0
        self.seccomp_agent: tuple[str, list[str]] = ("", [])
        self.keyring = True
        self.preserve_fds = self.preserve_from = self.confirm_fd = 0
        self.root_maps: tuple[str, str] | None = None
        self.state: dict[str, Any] | None = None


def compile_plan(spec: dict[str, Any], around: Surroundings) -> Plan:
    """The plan that turns the configuration *spec* into a running program; raises Invalid for what makes no sense."""
    out = Plan()
    linux = spec.get("linux") or {}
    namespaces = Namespaces(linux)
    check_namespaces(spec, namespaces)
    mounts = _mounts(spec, around, namespaces)
    root = _given_root(around, namespaces, mounts)
    add_agent(out, around)
    if around.userns:
        out.add(plan.JOIN, around.userns, NAMESPACES["user"])
        if namespaces.own("user"):
            out.add(plan.UNSHARE, NAMESPACES["mount"])  # one in which the monitor may make and open mounts for it
    if around.rootfs is not None and _makes_overlay(around, namespaces):
        out.add(plan.IDMAPPED, int(around.idmap), *overlay(around.rootfs))
    out.extend(mounts.sources)
    if namespaces.own("user"):
        add_limits(out, spec.get("process") or {})
    add_clone(out, spec, namespaces, deny_setgroups=around.deny_setgroups)
    if around.start_socket:  # while its directory's owner: a user namespace's root may not write there
        out.add(plan.LISTEN, around.start_socket)
    if (spec.get("annotations") or {}).get(KEEP_GROUPS) == "1":
        out.add(plan.KEEP_GROUPS)
    # An ordinary user's hook may look at the process (its namespaces, its root) only while it does not hide.
    looked_at = around.bind_devices and bool(spec.get("hooks")) and not namespaces.joined
    add_entry(out, spec, namespaces, hide=not looked_at)
    if namespaces.own("mount"):
        if namespaces.makes("mount"):
            _part_from_host(out, linux, around)
        add_root(out, around, root)
        for path, line in around.entries:
            out.add(plan.ENTRY, path, line)
        out.extend(mounts.operations)
        add_devices(out, spec, bind=around.bind_devices or namespaces.makes("user"))
    else:
        out.add(plan.ROOT_OPEN, around.mountpoint)
    if around.confirm_fd:
        out.add(plan.CONFIRM, around.confirm_fd, int(not around.start_socket))
    if spec.get("hooks"):
        _hooks_before_pivot(out, spec, around)
    if looked_at:
        out.add(plan.HIDE)
    process = spec.get("process") or {}
    if process.get("terminal"):
        add_console(out, process, 1)
    for path in _paths(linux, "maskedPaths"):
        out.add(plan.MASK, path)
    for path in _paths(linux, "readonlyPaths"):
        out.add(plan.READONLY, path)
    for key, value in sysctls(linux, namespaces):
        out.add(plan.SYSCTL, key, value)
    add_labels(out, process)
    out.add(plan.PIVOT, int(around.no_pivot) if namespaces.makes("mount") else plan.PIVOT_CHROOT)
    if linux.get("rootfsPropagation"):
        out.add(plan.PROPAGATION, "/", propagation_flags(linux["rootfsPropagation"]))
    if (spec.get("root") or {}).get("readonly"):
        out.add(plan.ROOT_READONLY)
    add_process(out, spec, process, around)
    return out


def _paths(linux: dict[str, Any], field: str) -> Sequence[str]:
    """The paths of a list; raises Invalid for relative ones, and the root, which would be hidden whole."""
    paths: Sequence[str] = linux.get(field) or ()
    for path in paths:
        if not path.startswith("/"):
            raise Invalid(f"linux.{field}: {path!r} is not an absolute path")
        if not path.strip("/"):
            raise Invalid(f"linux.{field}: {path!r} is the root itself")
    return paths


def _makes_overlay(around: Surroundings, namespaces: Namespaces) -> bool:
    """Whether the monitor makes the root's overlay: whoever is root of the container's own user namespace may not map
    ids, nor perhaps reach the layers."""
    return (
        around.rootfs is not None
        and around.rootfs.kind == "overlay"
        and (around.idmap or bool(around.userns and namespaces.own("user")))
    )


def _given_root(around: Surroundings, namespaces: Namespaces, mounts: MountPlan) -> int:
    """Which of what the monitor gives is the root file system; -1: its process assembles it."""
    rootfs = around.rootfs
    if _makes_overlay(around, namespaces):
        return 0  # it is the first
    if rootfs is None:
        return mounts.source(around.mountpoint, plan.MOUNT_RECURSIVE)
    if rootfs.kind == "bind" and around.idmap:
        return mounts.give(rootfs.source, 0, around.root_maps or (mounts.own_maps, ""))
    return mounts.source(rootfs.source, 0) if rootfs.kind == "bind" else -1


def _mounts(spec: dict[str, Any], around: Surroundings, namespaces: Namespaces) -> MountPlan:
    """The configuration's mounts, compiled."""
    linux = spec.get("linux") or {}
    own_maps = "=" if namespaces.makes("user") else namespaces.joined.get("user", "")
    mounts = MountPlan(
        cgroup_mounts=around.cgroup_mounts,
        own_maps=own_maps,
        give=bool(own_maps) and (bool(around.userns) or not around.bind_devices),
        given=int(_makes_overlay(around, namespaces)),
        foreign=namespaces.foreign(),
        share=bool(propagation_flags(linux.get("rootfsPropagation") or "rslave") & MS_SHARED),
        label=linux.get("mountLabel") or "" if around.selinux else "",
    )
    for mount in spec.get("mounts") or ():
        mounts.add(mount)
    return mounts


def _part_from_host(out: Plan, linux: dict[str, Any], around: Surroundings) -> None:
    """The new mount namespace's mounts, as ``rootfsPropagation`` wants them to hear from the host's, and be heard."""
    flags = propagation_flags(linux.get("rootfsPropagation") or "rslave")
    if flags & MS_SHARED:
        out.add(plan.PROPAGATION, "/", MS_REC | MS_SHARED)
        out.add(plan.PARENT_PRIVATE, around.mountpoint)  # or the root itself would appear on the host
    else:
        out.add(plan.PROPAGATION, "/", MS_REC | (MS_PRIVATE if flags & MS_PRIVATE else MS_SLAVE))


def _hooks_before_pivot(out: Plan, spec: dict[str, Any], around: Surroundings) -> None:
    from estiva.runtime import hooks

    if hooks.of(spec, *hooks.BEFORE_PIVOT):
        out.add(plan.SYNC, plan.SYNC_OWNER)
    hooks.add_hooks(out, spec, "createContainer", "creating", around, filtered=False)


def overlay(rootfs: RootfsMount) -> tuple[str, str, list[str], list[str]]:
    """The arguments of ROOT_OVERLAY and IDMAPPED."""
    return rootfs.upperdir or "", rootfs.workdir or "", list(rootfs.options), list(rootfs.lowerdirs)


def add_root(out: Plan, around: Surroundings, given: int = -1) -> None:
    """Assemble the root file system and mount it at ``around.mountpoint``, in a mount namespace already one's own;
    *given*: what the monitor opened, where the process itself may not."""
    rootfs = around.rootfs
    if rootfs is None:
        out.add(plan.ROOT_BIND, around.mountpoint, 1, given)
    elif given >= 0 and (around.idmap or rootfs.kind == "overlay"):
        out.add(plan.ROOT_GIVEN, given)
    elif rootfs.kind == "bind":
        out.add(plan.ROOT_BIND, rootfs.source, 0, given)
    else:
        out.add(plan.ROOT_OVERLAY, *overlay(rootfs))
    out.add(plan.ROOT_ATTACH, around.mountpoint)
