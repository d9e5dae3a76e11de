"""User namespaces: which ids a user may map, and which a container gets.

Ids live in three places: the *container*, the namespace the engine works in (*ours*: the machine's own for root, the
user's namespace for everyone else) and the *machine*.  A map entry goes from the inner to the next outer one, as in
/proc/PID/uid_map.  user_namespaces(7), subuid(5), newuidmap(1), podman-run(1) ``--userns``
"""

from __future__ import annotations

import os

from estiva.errors import Invalid, Unavailable, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_ID = 0xFFFFFFFE  # -1 means "no change"
AUTO_SIZE = 1024  # the smallest --userns=auto gives, as in Podman
AUTO_USER = "containers"  # whose subordinate ids root's --userns=auto takes


class IdMap:
    """*size* ids from *ctr* on inside are those from *host* on outside."""

    __slots__ = ("ctr", "host", "size")

    def __init__(self, ctr: int, host: int, size: int) -> None:
        self.ctr = ctr
        self.host = host
        self.size = size

    @classmethod
    def parse(cls, text: str) -> IdMap:
        """``--uidmap CONTAINER:HOST[:SIZE]``"""
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() for part in parts):
            raise Invalid(f'id map "{text}": not a map', "write it as CONTAINER:HOST:SIZE")
        ctr, host, size = int(parts[0]), int(parts[1]), int(parts[2]) if len(parts) == 3 else 1
        if not size or max(ctr, host) + size - 1 > MAX_ID:
            raise Invalid(f'id map "{text}": ids end at {MAX_ID}')
        return cls(ctr, host, size)

    def oci(self) -> dict[str, int]:
        """The entry of ``linux.uidMappings``."""
        return {"containerID": self.ctr, "hostID": self.host, "size": self.size}

    def __str__(self) -> str:
        return f"{self.ctr}:{self.host}:{self.size}"

    def __repr__(self) -> str:
        return f"IdMap({self.ctr}, {self.host}, {self.size})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def format_maps(maps: Iterable[IdMap]) -> str:
    """What is written to /proc/PID/uid_map."""
    return "".join(f"{entry.ctr} {entry.host} {entry.size}\n" for entry in maps)


def parse_maps(text: str) -> list[IdMap]:
    """What /proc/PID/uid_map has."""
    return [IdMap(*map(int, line.split())) for line in text.splitlines() if line.strip()]


def to_outer(maps: Iterable[IdMap], inner_id: int) -> int | None:
    """The id outside that *inner_id* is, or ``None`` if it is not mapped."""
    for entry in maps:
        if entry.ctr <= inner_id < entry.ctr + entry.size:
            return entry.host + inner_id - entry.ctr
    return None


def subordinate_ids(file: str, user: str, uid: int) -> list[tuple[int, int]]:
    """The (first id, count) ranges of *user* in /etc/subuid or /etc/subgid, which may name the user by name or *uid*.

    Empty when there are none; lines that are not understood are passed over, as newuidmap does.
    """
    try:
        with open(file) as lines:
            fields = [line.strip().split(":") for line in lines]
    except OSError:
        return []
    names = {user, str(uid)} - {""}
    return [
        (int(entry[1]), int(entry[2]))
        for entry in fields
        if len(entry) == 3 and entry[0] in names and entry[1].isdigit() and entry[2].isdigit() and int(entry[2])
    ]


def own_maps(own_id: int, ranges: Iterable[tuple[int, int]]) -> list[IdMap]:
    """The map of the user's namespace: 0 is the user, 1 and up are the subordinate ids, one range after another."""
    maps = [IdMap(0, own_id, 1)]
    for first, count in ranges:
        maps.append(IdMap(maps[-1].ctr + maps[-1].size, first, count))
    return maps


def mapping_programs(path: str | None = None) -> tuple[str, str] | None:
    """The paths of newuidmap and newgidmap, which map subordinate ids for users; ``None`` if one is missing."""
    folders = (os.environ.get("PATH", os.defpath) if path is None else path).split(":")
    found = []
    for name in ("newuidmap", "newgidmap"):
        for folder in (*folders, "/usr/bin", "/usr/sbin"):
            candidate = os.path.join(folder, name)
            if folder and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
                found.append(candidate)
                break
    return (found[0], found[1]) if len(found) == 2 else None


class UserNamespace:
    """``--userns``, parsed.

    ``kind``: ``host``, ``private``, ``keep-id``, ``nomap``, ``auto``, ``ns`` or ``container``.  ``target``: the path
    or the container's name.  ``uid``, ``gid``: where keep-id puts the user (``None``: at its own ids).  ``size``:
    of auto (``None``: as the image needs).  ``uid_maps``, ``gid_maps``: maps auto must contain.
    """

    __slots__ = ("gid", "gid_maps", "kind", "size", "target", "uid", "uid_maps")

    def __init__(self, kind: str, target: str = "") -> None:
        self.kind = kind
        self.target = target
        self.uid: int | None = None
        self.gid: int | None = None
        self.size: int | None = None
        self.uid_maps: list[IdMap] = []
        self.gid_maps: list[IdMap] = []

    @classmethod
    def parse(cls, text: str) -> UserNamespace:
        """Raises Invalid for what is not a form of ``--userns``; ``""`` is ``host``."""
        kind, colon, rest = text.partition(":")
        if kind in ("", "host", "private", "nomap") and not colon:
            return cls(kind or "host")
        if kind in ("ns", "container") and rest:
            return cls(kind, rest)
        if kind in ("keep-id", "auto"):
            result = cls(kind)
            for option in rest.split(",") if colon else ():
                result._set(option, text)
            return result
        raise Invalid(
            f'user namespace "{text}": unknown mode',
            "use host, private, keep-id, nomap, auto, ns:PATH or container:NAME",
        )

    def _set(self, option: str, text: str) -> None:
        key, _, value = option.partition("=")
        if key in {"keep-id": ("uid", "gid"), "auto": ("size",)}[self.kind] and value.isascii() and value.isdigit():
            setattr(self, key, int(value))
        elif self.kind == "auto" and key == "uidmapping":
            self.uid_maps.append(IdMap.parse(value))
        elif self.kind == "auto" and key == "gidmapping":
            self.gid_maps.append(IdMap.parse(value))
        else:
            raise Invalid(f'user namespace "{text}": unknown option or value "{option}"')

    def __str__(self) -> str:
        options = [f"{key}={getattr(self, key)}" for key in ("uid", "gid", "size") if getattr(self, key) is not None]
        options += [f"uidmapping={entry}" for entry in self.uid_maps]
        options += [f"gidmapping={entry}" for entry in self.gid_maps]
        tail = self.target or ",".join(options)
        return f"{self.kind}:{tail}" if tail else self.kind


class ContainerMaps:
    """The maps of a container's own user namespace, from its ids to *ours*, and the user that keep-id suggests."""

    __slots__ = ("gids", "uids", "user")

    def __init__(self, uids: list[IdMap], gids: list[IdMap], user: str = "") -> None:
        self.uids = uids
        self.gids = gids
        self.user = user


def container_maps(
    namespace: UserNamespace,
    ours: tuple[Sequence[IdMap], Sequence[IdMap]],
    *,
    rootless: bool,
    uid: int = 0,
    gid: int = 0,
    needed: int = 0,
    used: Sequence[tuple[int, int]] = (),
    user_ranges: tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]] = ((), ()),
) -> ContainerMaps | None:
    """The maps *namespace* means, or ``None`` if the container makes no user namespace of its own.

    *ours*: the uid and gid maps of the namespace the engine works in.  *uid*, *gid*: the calling user on the machine.
    *needed*: the highest id of the image plus one, *used*: the (first, count) ranges of other auto containers, in our
    ids, and *user_ranges*: the subordinate uids and gids of "containers", all three for ``auto`` only.
    Raises Invalid or Unsupported for a mode that this caller cannot have, Unavailable when ids run out.
    """
    if namespace.kind in ("host", "ns", "container"):
        return None
    if namespace.kind == "private":
        raise Invalid('user namespace "private": no map is given', "add --uidmap and --gidmap, or use auto")
    if namespace.kind == "auto":
        return _auto(namespace, ours, rootless, needed, used, user_ranges)
    if namespace.kind == "nomap":
        if not rootless:
            raise Invalid('user namespace "nomap": not for root', "use auto")
        return ContainerMaps(_without_owner(ours[0]), _without_owner(ours[1]))
    at_uid = uid if namespace.uid is None else namespace.uid
    at_gid = gid if namespace.gid is None else namespace.gid
    return ContainerMaps(
        _keep(ours[0], at_uid, rootless, uid), _keep(ours[1], at_gid, rootless, gid), f"{at_uid}:{at_gid}"
    )


def _highest(maps: Sequence[IdMap]) -> int:
    return max((entry.ctr + entry.size for entry in maps), default=0)


def _keep(ours: Sequence[IdMap], at: int, rootless: bool, own_id: int) -> list[IdMap]:
    """Every one of our ids once, the user's own at *at*.  For an ordinary user it is our 0, for root its own number."""
    total = _highest(ours)
    owner = 0 if rootless else own_id
    if owner == at:
        return [IdMap(0, 0, total)]
    maps = []
    below = min(at, total - 1)
    # The other ids keep their order around it: those before go to 0 … at-1, those after follow it.
    others = [span for span in ((0, owner), (owner + 1, total - owner - 1)) if span[1]]
    position = 0
    for first, count in others:
        while count:
            room = below - position if position < below else count
            part = min(room, count)
            ctr = position if position < below else position - below + at + 1
            maps.append(IdMap(ctr, first, part))
            position, first, count = position + part, first + part, count - part
    return sorted([*maps, IdMap(at, owner, 1)], key=lambda entry: entry.ctr)


def _without_owner(ours: Sequence[IdMap]) -> list[IdMap]:
    """Only the subordinate ids, from 0 on."""
    total = _highest(ours)
    if total < 2:
        raise Unsupported(
            'user namespace "nomap": you have no subordinate ids', "add a line to /etc/subuid and /etc/subgid"
        )
    return [IdMap(0, 1, total - 1)]


def _auto(
    namespace: UserNamespace,
    ours: tuple[Sequence[IdMap], Sequence[IdMap]],
    rootless: bool,
    needed: int,
    used: Sequence[tuple[int, int]],
    user_ranges: tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]],
) -> ContainerMaps:
    """A range that no other container has; uids and gids alike, so that one number says which are taken."""
    size = namespace.size or max(AUTO_SIZE, needed)
    if rootless:
        available = [(1, min(_highest(ours[0]), _highest(ours[1])) - 1)]
        whose = "your subordinate ids"
    else:
        available = _common(*user_ranges)
        whose = f'the subordinate ids of the user "{AUTO_USER}"'
    first = _free_range(available, used, size)
    if first is None:
        raise Unavailable(
            f'user namespace "{namespace}": {size} ids in a row are not free among {whose}',
            "add a range to /etc/subuid and /etc/subgid, or ask for a smaller size",
        )
    taken = [IdMap(0, first, size)]
    return ContainerMaps(_overlay(taken, namespace.uid_maps), _overlay(taken, namespace.gid_maps))


def _common(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ids that are in both lists of ranges."""
    result = []
    for first, count in one:
        for second, other_count in other:
            start, end = max(first, second), min(first + count, second + other_count)
            if start < end:
                result.append((start, end - start))
    return result


def _free_range(available: Iterable[tuple[int, int]], used: Iterable[tuple[int, int]], size: int) -> int | None:
    """The lowest first id of *size* ids in *available* of which none is in *used*."""
    taken = sorted(used)
    for first, count in sorted(available):
        start = first
        for used_first, used_count in taken:
            if used_first < start + size and start < used_first + used_count:
                start = used_first + used_count
        if start + size <= first + count:
            return start
    return None


def _overlay(maps: Sequence[IdMap], fixed: Sequence[IdMap]) -> list[IdMap]:
    """*maps* with the container ids of *fixed* mapped as *fixed* says."""
    result = list(maps)
    for entry in fixed:
        end = entry.ctr + entry.size
        cut = []
        for other in result:
            before = max(0, min(other.size, entry.ctr - other.ctr))
            after = max(0, min(other.size, other.ctr + other.size - end))
            if before == other.size or after == other.size:
                cut.append(other)
                continue
            if before:
                cut.append(IdMap(other.ctr, other.host, before))
            if after:
                cut.append(IdMap(end, other.host + other.size - after, after))
        result = [*cut, entry]
    return sorted(result, key=lambda entry: entry.ctr)
