"""Mounts of an OCI configuration as operations of a plan.  runtime-spec config.md "Mounts" """

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime import plan
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# mount_setattr(2)
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
ATIME_MASK, NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW = 0x70, 0x10, 0x20, 0x80, 0x200000
MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 0x4000, 1 << 17, 1 << 18, 1 << 19, 1 << 20

# option → (attributes set, attributes cleared)
ATTRIBUTES = {
    "ro": (RDONLY, 0),
    "nosuid": (NOSUID, 0),
    "nodev": (NODEV, 0),
    "noexec": (NOEXEC, 0),
    "noatime": (NOATIME, ATIME_MASK),
    "relatime": (0, ATIME_MASK),
    "strictatime": (STRICTATIME, ATIME_MASK),
    "nodiratime": (NODIRATIME, 0),
    "nosymfollow": (NOSYMFOLLOW, 0),
    "rw": (0, RDONLY),
    "suid": (0, NOSUID),
    "dev": (0, NODEV),
    "exec": (0, NOEXEC),
    "atime": (0, NOATIME),
    "diratime": (0, NODIRATIME),
    "symfollow": (0, NOSYMFOLLOW),
}
PROPAGATION = {
    "private": MS_PRIVATE,
    "slave": MS_SLAVE,
    "shared": MS_SHARED,
    "unbindable": MS_UNBINDABLE,
}
IGNORED = {
    "defaults",
    "bind",
    "rbind",
    "async",
    "loud",
    "norelatime",
    "nostrictatime",
    "z",
    "Z",
    "nolazytime",
    "idmap",
    "ridmap",
}
# Ours, for what no OCI option says: fill an empty volume from the image, give the source to uid:gid, let it be missing.
COPY_UP, CHOWN, OPTIONAL = "x-estiva.copyup", "x-estiva.chown=", "x-estiva.optional"


class MountOptions:
    """The options of one mount, sorted: attributes to set and clear (of this mount, and of all below it), propagation,
    flags of the helper, owner for CHOWN, and ``data`` for the file system itself."""

    __slots__ = ("clear", "data", "flags", "owner", "propagation", "recursive_clear", "recursive_set", "set")

    def __init__(self, options: Sequence[str]) -> None:
        self.set = self.clear = self.recursive_set = self.recursive_clear = 0
        self.propagation = self.flags = 0
        self.owner = (0, 0)
        self.data: list[str] = []
        for option in options:
            self._take(option)

    def _take(self, option: str) -> None:
        if option in ATTRIBUTES:
            on, off = ATTRIBUTES[option]
            self.set = self.set & ~off | on
            self.clear = self.clear & ~on | off
        elif option[:1] == "r" and option[1:] in ATTRIBUTES:
            on, off = ATTRIBUTES[option[1:]]
            self.recursive_set |= on
            self.recursive_clear |= off
        elif option in PROPAGATION or (option[:1] == "r" and option[1:] in PROPAGATION):
            self.propagation = PROPAGATION.get(option) or PROPAGATION[option[1:]]
        elif option in ("tmpcopyup", COPY_UP):
            self.flags |= plan.MOUNT_COPY_UP
        elif option == OPTIONAL:
            self.flags |= plan.MOUNT_OPTIONAL
        elif option.startswith(CHOWN):
            uid, _, gid = option[len(CHOWN) :].partition(":")
            self.owner = (int(uid), int(gid))
            self.flags |= plan.MOUNT_CHOWN
        elif option not in IGNORED:
            self.data.append(option)


def is_bind(mount: dict[str, Any]) -> bool:
    """Whether a mount of the configuration is a bind mount: by its type or an option."""
    options = mount.get("options") or ()
    return mount.get("type") in ("bind", "rbind") or "bind" in options or "rbind" in options


def mount_operations(mounts: Sequence[dict[str, Any]], cgroup_mounts: Sequence[tuple[str, str, list[str]]]) -> Plan:
    """The operations for all *mounts*, in their order.

    *cgroup_mounts* is what a mount of type ``cgroup`` becomes: (file system type, sub-directory, options) each.
    """
    out = Plan()
    for mount in mounts:
        target = mount.get("destination", "")
        if not target.startswith("/"):
            raise Invalid(f"mount destination {target!r}: not an absolute path")
        if mount.get("type") == "cgroup" and not is_bind(mount):
            _cgroup(out, mount, cgroup_mounts)
        elif is_bind(mount):
            _bind(out, mount)
        else:
            _new(out, mount)
    return out


def _new(out: Plan, mount: dict[str, Any]) -> None:
    options = MountOptions(mount.get("options") or ())
    kind = mount.get("type", "")
    flags = options.flags
    if kind in ("proc", "sysfs"):
        # An image with a link at /proc could otherwise have it mounted elsewhere and keep its own (CVE-2019-16884).
        flags |= plan.MOUNT_NO_SYMLINKS
    out.add(
        plan.MOUNT,
        kind,
        mount.get("source") or kind,
        mount["destination"],
        flags,
        options.set,
        options.propagation,
        options.data,
    )


def _bind(out: Plan, mount: dict[str, Any]) -> None:
    words = mount.get("options") or ()
    options = MountOptions(words)
    flags = options.flags | (plan.MOUNT_RECURSIVE if "rbind" in words or mount.get("type") == "rbind" else 0)
    if options.data:
        raise Invalid(f"mount {mount['destination']}: option {options.data[0]!r} has no meaning for a bind mount")
    # What the source's own mount forbids stays forbidden ("rw" does not make a read-only mount writable): only the
    # choice between the atime modes needs a clear mask.
    clear = ATIME_MASK if options.clear & ATIME_MASK else 0
    out.add(
        plan.BIND, mount["source"], mount["destination"], flags, options.set, clear, options.recursive_set,
        options.recursive_clear, options.propagation, *options.owner,
    )  # fmt: skip


def _cgroup(out: Plan, mount: dict[str, Any], parts: Sequence[tuple[str, str, list[str]]]) -> None:
    """One mount for v2; for v1 a small tmpfs with a mount for each hierarchy in it."""
    options = MountOptions(mount.get("options") or ())
    target = mount["destination"]
    if len(parts) == 1 and not parts[0][1]:
        out.add(plan.MOUNT, parts[0][0], "cgroup", target, 0, options.set, options.propagation, [])
        return
    if not parts:
        return
    base = options.set & ~RDONLY
    out.add(plan.MOUNT, "tmpfs", "tmpfs", target, 0, base, options.propagation, ["mode=755"])
    for kind, name, data in parts:
        out.add(plan.MOUNT, kind, "cgroup", f"{target}/{name}", 0, options.set, options.propagation, data)
    if options.set & RDONLY:
        out.add(plan.READONLY, target)


def propagation_flags(word: str) -> int:
    """The mount(2) flags of a ``rootfsPropagation`` value."""
    flags = PROPAGATION.get(word) or (PROPAGATION.get(word[1:]) if word[:1] == "r" else None)
    if flags is None:
        raise Invalid(f"linux.rootfsPropagation {word!r}: unknown")
    return flags | (MS_REC if word.startswith("r") else 0)
