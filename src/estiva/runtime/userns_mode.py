"""``--userns``: which user namespace a container gets, and what it maps.  Pure.  podman-run(1)"""

from __future__ import annotations

from estiva.errors import Invalid, Unavailable, Unsupported
from estiva.runtime.idmap import IdMap
from estiva.runtime.idmap_option import filled, free_spans, inner_spans, merged, plain_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Maps = Sequence[IdMap]
    Spans = Sequence[tuple[int, int]]

AUTO_SIZE = 1024  # the smallest --userns=auto gives, as in Podman
AUTO_MOST = 65536  # the largest it gives without being asked
AUTO_USER = "containers"  # whose subordinate ids root's --userns=auto takes
MOST_ENTRIES = 340  # of one map, by the kernel.  user_namespaces(7)
MODES = "use host, private, keep-id, nomap, auto, ns:PATH or container:NAME"
_NUMBERS = {"keep-id": ("uid", "gid", "size"), "auto": ("size",)}


class UserNamespace:
    """``--userns``, parsed.

    ``kind``: ``host``, ``private``, ``keep-id``, ``nomap``, ``auto``, ``ns`` or ``container``.  ``target``: the path
    or the container's name.  ``uid``, ``gid``: where keep-id puts the user (``None``: at its own ids).  ``size``: how
    many ids (``None``: all for keep-id, for auto as the image needs).  ``uid_maps``, ``gid_maps``: maps auto must
    contain, as they were written.
    """

    __slots__ = ("gid", "gid_maps", "kind", "size", "target", "uid", "uid_maps")

    def __init__(self, kind: str, target: str = "") -> None:
        self.kind = kind
        self.target = target
        self.uid: int | None = None
        self.gid: int | None = None
        self.size: int | None = None
        self.uid_maps: list[str] = []
        self.gid_maps: list[str] = []

    @classmethod
    def parse(cls, text: str) -> UserNamespace:
        """Raises Invalid for what is not a form of ``--userns``; ``""`` is ``host``."""
        kind, colon, rest = text.partition(":")
        if kind in ("", "host", "private", "nomap") and not colon:
            return cls(kind or "host")
        if kind in ("ns", "container") and rest:
            return cls(kind, rest)
        if kind in _NUMBERS:
            result = cls(kind)
            for option in rest.split(",") if colon else ():
                result._set(option, text)
            return result
        raise Invalid(f'user namespace "{text}": unknown mode', MODES)

    def _set(self, option: str, text: str) -> None:
        key, _, value = option.partition("=")
        if key in _NUMBERS[self.kind] and value.isascii() and value.isdigit() and int(value) < 1 << 32:
            setattr(self, key, int(value))
        elif self.kind == "auto" and key == "uidmapping" and value:
            self.uid_maps.append(value)
        elif self.kind == "auto" and key == "gidmapping" and value:
            self.gid_maps.append(value)
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


def fixed_maps(
    namespace: UserNamespace, ours: tuple[Maps, Maps], *, rootless: bool, uid: int = 0, gid: int = 0
) -> ContainerMaps | None:
    """The maps *namespace* means whatever else exists, or ``None`` if the container makes no user namespace of its own.

    *ours*: the uid and gid maps of the namespace the engine works in.  *uid*, *gid*: the calling user on the machine.
    Raises Invalid or Unsupported for a mode that this caller cannot have; ``auto`` is :func:`auto_maps`.
    """
    if namespace.kind in ("host", "ns", "container"):
        return None
    if namespace.kind == "nomap":
        if not rootless:
            raise Invalid('user namespace "nomap": only supported in rootless mode', "use auto")
        return ContainerMaps(_without_owner(ours[0]), _without_owner(ours[1]))
    if namespace.kind == "keep-id" and not rootless:
        return _keep_root(namespace, ours)
    if namespace.kind == "keep-id":
        at_uid = uid if namespace.uid is None else namespace.uid
        at_gid = gid if namespace.gid is None else namespace.gid
        sizes = namespace.size
        return ContainerMaps(_keep(ours[0], at_uid, sizes), _keep(ours[1], at_gid, sizes), f"{at_uid}:{at_gid}")
    raise Invalid(f'user namespace "{namespace.kind}": no map is given', "add --uidmap and --gidmap, or use auto")


def _total(maps: Maps) -> int:
    return max((entry.ctr + entry.size for entry in maps), default=0)


def _keep_root(namespace: UserNamespace, ours: tuple[Maps, Maps]) -> ContainerMaps:
    """Root keeps every id as it is, in a namespace of the container's own all the same."""
    if namespace.size is not None:
        raise Invalid(f'user namespace "{namespace}": a size is for users only, root maps every id')
    uids, gids = (merged(IdMap(start, start, end - start) for start, end in inner_spans(maps)) for maps in ours)
    return ContainerMaps(uids, gids, f"{namespace.uid or 0}:{namespace.gid or 0}")


def _keep(ours: Maps, at: int, size: int | None) -> list[IdMap]:
    """The user, who is our 0, at the id *at*, the subordinate ids around it in their order; *size* ids, if given."""
    most = _total(ours) - 1
    if size:
        most = min(most, size - 1)
    maps = [IdMap(0, 1, min(at, most)), IdMap(at, 0, 1), IdMap(at + 1, at + 1, most - at)]
    return merged(entry for entry in maps if entry.size > 0)


def _without_owner(ours: Maps) -> list[IdMap]:
    """Only the subordinate ids, from 0 on."""
    total = _total(ours)
    if total < 2:
        raise Unsupported(
            'user namespace "nomap": you have no subordinate ids', "add a line to /etc/subuid and /etc/subgid"
        )
    return [IdMap(0, 1, total - 1)]


def auto_spans(rootless: bool, ours: Maps, containers: Spans) -> list[tuple[int, int]]:
    """What ``auto`` may take from, as [start, end) in our ids: a user's own subordinate ids; for root those of the user
    "containers", as the (first, count) ranges *containers* of /etc/subuid or /etc/subgid."""
    if rootless:
        return [(1, _total(ours))] if _total(ours) > 1 else []
    return [(first, first + count) for first, count in containers]


def auto_size(namespace: UserNamespace, needed: int) -> int:
    """How many ids ``auto`` is to give a container whose highest id is *needed* - 1."""
    if namespace.size:
        return namespace.size
    if needed > AUTO_MOST:
        raise Unsupported(
            f"the container needs a user namespace with size {needed} that is bigger than the maximum value allowed "
            f"with userns=auto {AUTO_MOST}", "say how many it may have: --userns auto:size=…",
        )  # fmt: skip
    return max(AUTO_SIZE, needed)


def auto_maps(
    namespace: UserNamespace, kind: int, ours: Maps, spans: Spans, used: Maps, size: int, whose: str
) -> list[IdMap]:
    """The map of users (*kind* 0) or groups (1) for ``auto``: *size* ids of *spans* that none of *used* has.

    They are in one piece if there is one, else in as few as it takes.  *whose*: how the user is told, whose ids those
    are.  Raises Unavailable when there are not enough.
    """
    fixed = [entry for text in (namespace.uid_maps, namespace.gid_maps)[kind] for entry in plain_maps(text, kind, ours)]
    count = size - sum(max(0, min(entry.ctr + entry.size, size) - entry.ctr) for entry in fixed)
    taken = _take(free_spans(spans, [*used, *fixed]), count)
    if taken is None or len(taken) + len(fixed) > MOST_ENTRIES:
        word = ("user", "group")[kind]
        raise Unavailable(
            f'user namespace "{namespace}": could not find enough available IDs: {count} {word} ids are not free among '
            f"{whose}",
            f"give more in /etc/sub{'ug'[kind]}id, ask for fewer with auto:size=…, or remove containers that have some",
        )
    return merged(filled(fixed, taken))


def _take(free: Spans, count: int) -> list[tuple[int, int]] | None:
    """*count* ids of the *free* spans: the first that is large enough, else the largest ones; None if too few."""
    if count <= 0:
        return []
    for start, end in free:
        if end - start >= count:
            return [(start, start + count)]
    taken = []
    for start, end in sorted(free, key=lambda span: span[0] - span[1]):
        part = min(count, end - start)
        taken.append((start, start + part))
        count -= part
        if not count:
            return sorted(taken)
    return None
