"""Mounts of an OCI configuration as operations of a plan.  runtime-spec config.md "Mounts" """

from __future__ import annotations

import posixpath

from estiva.errors import Invalid
from estiva.runtime import plan
from estiva.runtime.mount_options import MS_SHARED, PROPAGATION, RDONLY, MountOptions
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# File systems that only who owns a namespace may mount; the host's, which is what would be seen, is bound for others.
_OWNED = {
    "proc": ("pid", "/proc"),
    "sysfs": ("network", "/sys"),
    "mqueue": ("ipc", "/dev/mqueue"),
    "cgroup2": ("cgroup", "/sys/fs/cgroup"),
}
# File systems of the kernel's own, which need no device: what is read-only is the mount, for others it is both.
_VIRTUAL = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "ramfs", "devtmpfs", "overlay"}
_MOST_GIVEN = 500  # GIVEN of native/plan.h, and some room
# File systems with labels of the policy's own; and an ipc namespace has mounted its queues before a label can be said.
_UNLABELLED = {"proc", "sysfs", "cgroup", "cgroup2", "mqueue"}


class MountPlan:
    """The mounts of one container, compiled.

    ``operations``: for its process, in the configuration's order · ``sources``: for the monitor, before CLONE, what it
    opens for that process.  *cgroup_mounts* is what a mount of type ``cgroup`` becomes: (file system type,
    sub-directory, options) each · *own_maps* where ids of the container's own user namespace come from (``=``: the one
    CLONE makes, else its path, ``""`` if it has none) · *give*: the monitor opens every source, which the process may
    not be able to · *given*: how many things are given before these · *foreign*: the kinds of namespaces that are not
    the container's own · *label*: ``linux.mountLabel`` where the kernel has SELinux · *share*: mounts
    below shared ones are to be seen on the host.
    """

    def __init__(
        self, *, cgroup_mounts: Sequence[tuple[str, str, list[str]]] = (), own_maps: str = "", give: bool = False,
        given: int = 0, foreign: frozenset[str] = frozenset(), label: str = "",
        share: bool = False,
    ) -> None:  # fmt: skip
        self.operations = Plan()
        self.sources = Plan()
        self._cgroup_mounts = cgroup_mounts
        self.own_maps = own_maps
        self._give = give
        self._given = given
        self._foreign = foreign
        self._label = label
        self._share = share

    def add(self, mount: dict[str, Any]) -> None:
        """Compile one more mount of the configuration.  Raises Invalid naming it."""
        target = mount.get("destination")
        if not isinstance(target, str) or not target:
            raise Invalid("mounts: one has no destination")
        target = "/" + target.lstrip("/")  # relative ones are relative to the root
        if posixpath.normpath(target) == "/":
            raise Invalid(f"mount {target}: the root is what root.path says, it cannot be covered")
        try:
            options = MountOptions(mount.get("options") or ())
        except Invalid as error:
            raise Invalid(f"mount {target}: {error}") from None
        kind = mount.get("type") or ""
        bind = options.bind or kind in ("bind", "rbind")
        maps = self._maps(mount, options, target)
        if maps and (not bind or options.remount):
            raise Invalid(f"mount {target}: only the ids of a bind mount can be mapped")
        if options.remount:
            self._remount(target, options, bind)
        elif bind:
            self._bind(mount, target, options, maps)
        elif kind == "cgroup":
            self._cgroup(target, options)
        elif kind:
            self._new(kind, mount.get("source") or kind, target, options)
        else:
            raise Invalid(f"mount {target}: neither a type nor the option bind is given")

    def give(self, path: str, flags: int, maps: tuple[str, str] = ("", "")) -> int:
        """Have the monitor open *path*; the index by which the container's process knows it."""
        if self._given >= _MOST_GIVEN:
            raise Invalid(f"mounts: more than {_MOST_GIVEN} that have to be opened by the helper")
        self.sources.add(plan.SOURCE, path, flags, *maps)
        self._given += 1
        return self._given - 1

    def source(self, path: str, flags: int) -> int:
        """The same where the process itself may not be able to open it, else -1."""
        return self.give(path, flags) if self._give and self._given < _MOST_GIVEN else -1

    def _maps(self, mount: dict[str, Any], options: MountOptions, target: str) -> tuple[str, str] | None:
        """The maps of an idmapped mount, as SOURCE takes them."""
        given = [mount.get(name) or () for name in ("uidMappings", "gidMappings")]
        if bool(given[0]) != bool(given[1]):
            raise Invalid(f"mount {target}: uidMappings and gidMappings are needed both or not at all")
        if given[0]:
            return id_map(given[0], f"mount {target}: uidMappings"), id_map(given[1], f"mount {target}: gidMappings")
        if options.maps:
            return options.maps
        if not options.idmap:
            return None
        if not self.own_maps:
            raise Invalid(
                f"mount {target}: ids cannot be mapped: no uidMappings are given, and there is no user namespace"
            )
        return self.own_maps, ""

    def _new(self, kind: str, source: str, target: str, options: MountOptions) -> None:
        flags = options.flags & plan.MOUNT_COPY_UP
        if kind in ("proc", "sysfs"):
            # An image with a link at /proc could otherwise have it mounted elsewhere and keep its own (CVE-2019-16884).
            flags |= plan.MOUNT_NO_SYMLINKS
        owner, fallback = _OWNED.get(kind, ("", ""))
        on, _ = options.of_one()
        data = [*options.superblock, *options.data]
        if on & RDONLY and kind not in _VIRTUAL:
            data.append("ro")
        if self._label and kind not in _UNLABELLED:
            data.append(f"context={self._label}")
        self.operations.add(
            plan.MOUNT, kind, source, target, fallback if owner in self._foreign else "", flags, on,
            options.propagation, data,
        )  # fmt: skip

    def _bind(self, mount: dict[str, Any], target: str, options: MountOptions, maps: tuple[str, str] | None) -> None:
        source = mount.get("source")
        if not isinstance(source, str) or not source:
            raise Invalid(f"mount {target}: a bind mount without a source")
        if options.data:
            raise Invalid(f"mount {target}: option {options.data[0]!r} has no meaning for a bind mount")
        flags = options.flags | (plan.MOUNT_RECURSIVE if mount.get("type") == "rbind" else 0)
        if flags & plan.MOUNT_COPY_LINK:
            flags |= plan.MOUNT_SOURCE_NOFOLLOW
        if maps:
            given = self.give(source, flags | (plan.MOUNT_IDMAP_ALL if options.idmap == 2 else 0), maps)
            flags |= plan.MOUNT_GIVEN
        elif self._is_of_host(source, options):
            given = self.give(source, flags)
            flags |= plan.MOUNT_GIVEN
        else:
            given = self.source(source, flags)
        # "rw", which callers write by habit, does not make a source writable whose own mount is read-only.
        self.operations.add(
            plan.BIND, given, source, target, flags, options.set, options.clear & ~RDONLY, options.recursive_set,
            options.recursive_clear, *options.owner, options.propagation,
        )  # fmt: skip

    def _is_of_host(self, source: str, options: MountOptions) -> bool:
        """Whether the source must be the host's mount, not our namespace's copy of it: to stay its peer, which ours
        have ceased to be (PARENT_PRIVATE), or because it is a descriptor somebody opened and checked."""
        shared = any(kind & MS_SHARED for kind in options.propagation)
        return (self._share and shared) or source.startswith("/proc/self/fd/")

    def _remount(self, target: str, options: MountOptions, bind: bool) -> None:
        if bind and options.data:
            raise Invalid(f"mount {target}: option {options.data[0]!r} has no meaning for a bind mount")
        data = [] if bind else [*options.superblock, *options.data]
        self.operations.add(
            plan.REMOUNT, target, options.set, options.clear, options.recursive_set, options.recursive_clear,
            options.propagation, data,
        )  # fmt: skip

    def _cgroup(self, target: str, options: MountOptions) -> None:
        """One mount for v2; for v1 a small tmpfs with a mount for each hierarchy in it."""
        parts = self._cgroup_mounts
        on, _ = options.of_one()
        if len(parts) == 1 and not parts[0][1]:
            owner, fallback = _OWNED["cgroup2"]
            fallback = fallback if owner in self._foreign else ""
            self.operations.add(
                plan.MOUNT, parts[0][0], "cgroup", target, fallback, 0, on, options.propagation, options.data
            )
            return
        if not parts:
            return
        self.operations.add(
            plan.MOUNT, "tmpfs", "tmpfs", target, "", 0, on & ~RDONLY, options.propagation, ["mode=755"]
        )
        for kind, name, data in parts:
            self.operations.add(plan.MOUNT, kind, "cgroup", f"{target}/{name}", "", 0, on, options.propagation, data)
        if on & RDONLY:
            self.operations.add(plan.READONLY, target)


def id_map(mappings: Any, where: str) -> str:
    """Mappings of the configuration as uid_map takes them.  Raises Invalid naming the entry.  user_namespaces(7)"""
    if not isinstance(mappings, (list, tuple)):
        raise Invalid(f"{where}: not a list")
    lines = []
    for index, entry in enumerate(mappings):
        numbers = [entry.get(name) if isinstance(entry, dict) else None for name in ("containerID", "hostID", "size")]
        if not all(isinstance(number, int) and 0 <= number <= 0xFFFFFFFF for number in numbers) or not numbers[2]:
            raise Invalid(f"{where}[{index}]: containerID, hostID and a size above 0 are needed")
        lines.append("{} {} {}\n".format(*numbers))
    if len(lines) > 340:
        raise Invalid(f"{where}: {len(lines)} entries; the kernel takes 340")
    text = "".join(lines)
    if len(text) >= 4096:
        raise Invalid(f"{where}: {len(text)} bytes when written down, which is longer than the page the kernel takes")
    return text


def propagation_flags(word: str) -> int:
    """The mount(2) flags of a ``rootfsPropagation`` value."""
    if word not in PROPAGATION:
        raise Invalid(f"linux.rootfsPropagation {word!r}: unknown")
    return PROPAGATION[word]
