"""The options of a mount, sorted by what carries them out.

Attributes belong to the mount and are set by mount_setattr(2), for all mounts below too where the option has an ``r``
in front; propagation as well.  The rest is the file system's own: a bind shares it with its source and cannot change
it.
runtime-spec config.md "Linux mount options", mount(8)
"""

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# mount_setattr(2)
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
ATIME_MASK, NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW = 0x70, 0x10, 0x20, 0x80, 0x200000
# mount(2)
MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 0x4000, 1 << 17, 1 << 18, 1 << 19, 1 << 20

# option → (attributes set, attributes cleared); relatime is what there is without another choice
ATTRIBUTES = {
    "ro": (RDONLY, 0),
    "rw": (0, RDONLY),
    "nosuid": (NOSUID, 0),
    "suid": (0, NOSUID),
    "nodev": (NODEV, 0),
    "dev": (0, NODEV),
    "noexec": (NOEXEC, 0),
    "exec": (0, NOEXEC),
    "noatime": (NOATIME, ATIME_MASK),
    "atime": (0, ATIME_MASK),
    "relatime": (0, ATIME_MASK),
    "norelatime": (0, ATIME_MASK),
    "strictatime": (STRICTATIME, ATIME_MASK),
    "nostrictatime": (0, ATIME_MASK),
    "nodiratime": (NODIRATIME, 0),
    "diratime": (0, NODIRATIME),
    "nosymfollow": (NOSYMFOLLOW, 0),
    "symfollow": (0, NOSYMFOLLOW),
}
RECURSIVE = {f"r{name}": masks for name, masks in ATTRIBUTES.items()}
_TYPES = {"private": MS_PRIVATE, "slave": MS_SLAVE, "shared": MS_SHARED, "unbindable": MS_UNBINDABLE}
PROPAGATION = {**_TYPES, **{f"r{name}": flag | MS_REC for name, flag in _TYPES.items()}}
# Flags of the superblock: fsconfig(2) knows them by these names for every file system.
SUPERBLOCK = {"sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"}
# Nothing is left to do for these: a mount made by fsopen(2) says nothing in the kernel's log, keeping inode versions
# is the file system's own decision by now, and SELinux labels are given before the runtime is called.
NOTHING = {"defaults", "silent", "loud", "iversion", "noiversion", "z", "Z"}
BIND = {"bind", "rbind"}
_FLAGS = {
    "tmpcopyup": plan.MOUNT_COPY_UP,
    "src-nofollow": plan.MOUNT_SOURCE_NOFOLLOW,
    "dest-nofollow": plan.MOUNT_TARGET_NOFOLLOW,
    "copy-symlink": plan.MOUNT_COPY_LINK,
    # Ours, for what no OCI option says: fill an empty volume from the image, let the source be missing.
    "x-estiva.copyup": plan.MOUNT_COPY_UP,
    "x-estiva.optional": plan.MOUNT_OPTIONAL,
}
CHOWN = "x-estiva.chown="  # give the source to uid:gid
_LONGEST = 255  # what fsconfig(2) takes as a value
_MOST_DATA, _MOST_TYPES = 500, 8  # what the helper has room for


def known() -> list[str]:
    """The names of all options that are not a file system's own."""
    ours = {name for name in _FLAGS if not name.startswith("x-")}
    names = {*ATTRIBUTES, *RECURSIVE, *PROPAGATION, *SUPERBLOCK, *NOTHING, *BIND, *ours, "idmap", "ridmap", "remount"}
    return sorted(names - {"z", "Z"})


class MountOptions:
    """The options of one mount.

    ``set``, ``clear``, ``recursive_set``, ``recursive_clear``: attributes of this mount, and of all below it ·
    ``propagation``: flag words of mount(2), in order · ``flags``: of the helper · ``owner`` for CHOWN · ``idmap``: 0
    no, 1 this mount, 2 those below too · ``maps``: those of an ``idmap=`` · ``bind``, ``remount`` · ``superblock``,
    ``data``: what the file system itself is to know.
    """

    __slots__ = (
        "bind", "clear", "data", "flags", "idmap", "maps", "owner", "propagation", "recursive_clear", "recursive_set",
        "remount", "set", "superblock",
    )  # fmt: skip

    def __init__(self, options: Sequence[str]) -> None:
        self.set = self.clear = self.recursive_set = self.recursive_clear = 0
        self.flags = self.idmap = 0
        self.propagation: list[int] = []
        self.owner = (0, 0)
        self.bind = self.remount = False
        self.maps: tuple[str, str] | None = None
        self.superblock: list[str] = []
        self.data: list[str] = []
        for option in options:
            self._take(option)
        if len(self.data) + len(self.superblock) > _MOST_DATA or len(self.propagation) > _MOST_TYPES:
            raise Invalid("too many options")

    def _take(self, option: str) -> None:
        if option in ATTRIBUTES:
            on, off = ATTRIBUTES[option]
            self.set = self.set & ~off | on
            self.clear = self.clear & ~on | off
        elif option in RECURSIVE:
            on, off = RECURSIVE[option]
            self.recursive_set = self.recursive_set & ~off | on
            self.recursive_clear = self.recursive_clear & ~on | off
        elif option in PROPAGATION:
            self.propagation.append(PROPAGATION[option])
        elif option in _FLAGS:
            self.flags |= _FLAGS[option]
        elif option in BIND:
            self.bind = True
            self.flags |= plan.MOUNT_RECURSIVE if option == "rbind" else 0
        elif option == "remount":
            self.remount = True
        elif option in SUPERBLOCK:
            self.superblock.append(option)
        elif option.partition("=")[0] in ("idmap", "ridmap"):
            self.idmap = 2 if option.startswith("r") else 1
            self.maps = _maps(option) if "=" in option else None
        elif option.startswith(CHOWN):
            uid, _, gid = option[len(CHOWN) :].partition(":")
            self.owner = (int(uid), int(gid))
            self.flags |= plan.MOUNT_CHOWN
        elif option and option not in NOTHING:
            self._take_data(option)

    def _take_data(self, option: str) -> None:
        key, _, value = option.partition("=")
        if len(value.encode("utf-8", "surrogateescape")) > _LONGEST or len(key) > 60:
            raise Invalid(f"option {option[:30]!r}… is too long: the kernel takes {_LONGEST} bytes as a value")
        self.data.append(option)

    def of_one(self) -> tuple[int, int]:
        """Attributes to set and to clear of a mount that has none below it: a new one."""
        on = self.set & ~self.recursive_clear | self.recursive_set
        return on, self.clear & ~self.recursive_set | self.recursive_clear


def _maps(option: str) -> tuple[str, str]:
    """The maps of crun's ``idmap=uids=CONTAINER-HOST-SIZE#…;gids=…``, as uid_map and gid_map take them."""
    found = {}
    for part in option.partition("=")[2].split(";"):
        kind, _, text = part.partition("=")
        entries = [entry.split("-") for entry in text.split("#")]
        if kind not in ("uids", "gids") or not all(len(e) == 3 and all(n.isdigit() for n in e) for e in entries):
            raise Invalid(f"option {option!r}: write it as idmap=uids=CONTAINER-HOST-SIZE[#…];gids=…")
        found[kind] = "".join(f"{' '.join(entry)}\n" for entry in entries)
    if len(found) != 2:
        raise Invalid(f"option {option!r}: uids and gids are both needed")
    return found["uids"], found["gids"]
