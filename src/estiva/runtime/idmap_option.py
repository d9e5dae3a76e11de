"""``--uidmap`` and ``--gidmap``: the maps users write.  Pure.  podman-run(1)

    [FLAGS]CONTAINER_ID:FROM_ID[:SIZE]        several triples may be joined by colons, and the option be repeated

``u`` and ``g`` say whether an entry is about users or groups (neither: both), ``+`` that it takes its ids away from
the entries before it.  ``FROM_ID`` is an id of the namespace the engine works in, with ``@`` one of the namespace
around that: of the machine, for an ordinary user, who then need not know which number their namespace gave it.
"""

from __future__ import annotations

from itertools import pairwise

from estiva.errors import Invalid
from estiva.runtime.idmap import MAX_ID, IdMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Pair = tuple[Sequence[IdMap], Sequence[IdMap]]

FORM = "write it as [+ug]CONTAINER:[@]FROM[:SIZE]"
_KINDS = "ug"


def option_maps(
    uidmap: Sequence[str], gidmap: Sequence[str], ours: Pair, *, rootless: bool
) -> tuple[list[IdMap], list[IdMap]]:
    """The maps of users and groups that the values of the two options mean; one option stands in for the other.

    *ours*: the uid and gid maps of the namespace the engine works in.  For an ordinary user, what flags leave out of
    one of the two is filled with all the ids there are.  Raises Invalid.
    """
    texts = uidmap or gidmap, gidmap or uidmap
    uids, gids = (_parse(texts[at], at, ours[at], rootless) for at in (0, 1))
    if rootless and bool(uids) != bool(gids):
        uids = uids or merged(filled([], inner_spans(ours[0])))
        gids = gids or merged(filled([], inner_spans(ours[1])))
    return uids, gids


def plain_maps(text: str, kind: int, ours: Sequence[IdMap]) -> list[IdMap]:
    """What ``uidmapping=`` (*kind* 0) and ``gidmapping=`` (1) of ``--userns auto`` mean: one entry without flags."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0].isdigit():
        raise Invalid(f'id map "{text}": not a map', "write it as CONTAINER:[@]FROM[:SIZE]")
    return _parse([text], kind, ours, False)


def merged(maps: Iterable[IdMap]) -> list[IdMap]:
    """The maps in the order of the container's ids, entries that continue one another made one."""
    result: list[IdMap] = []
    for entry in sorted(maps, key=lambda entry: entry.ctr):
        last = result[-1] if result else None
        if last and last.ctr + last.size == entry.ctr and last.host + last.size == entry.host:
            result[-1] = IdMap(last.ctr, last.host, last.size + entry.size)
        else:
            result.append(entry)
    return result


def split(maps: Iterable[IdMap], ours: Sequence[IdMap]) -> list[IdMap]:
    """*maps* with entries cut where the ids outside change from one entry of *ours* to the next.

    The kernel takes an entry only if it lies in one of the namespace around.  user_namespaces(7)
    """
    edges = sorted({entry.ctr for entry in ours})
    result = []
    for entry in maps:
        cuts = [edge - entry.host for edge in edges if 0 < edge - entry.host < entry.size]
        for start, end in pairwise([0, *cuts, entry.size]):
            result.append(IdMap(entry.ctr + start, entry.host + start, end - start))
    return result


def check_overlap(maps: Sequence[IdMap], what: str) -> None:
    """Raise Invalid if an id is mapped twice, on either side: the kernel would refuse the whole map."""
    for side in ("ctr", "host"):
        for entry, other in pairwise(sorted(maps, key=lambda entry: int(getattr(entry, side)))):
            if getattr(entry, side) + entry.size > getattr(other, side):
                raise Invalid(
                    f'{what} map: "{entry}" and "{other}" overlap',
                    'begin the later one with "+" to replace the earlier',
                )


def _parse(texts: Iterable[str], kind: int, ours: Sequence[IdMap], rootless: bool) -> list[IdMap]:
    """The map the values *texts* mean for users (*kind* 0) or groups (1)."""
    maps: list[IdMap] = []
    fill = False
    for text in filter(None, texts):
        parts = text.split(":")
        if len(parts) == 2:
            parts.append("1")
        if len(parts) % 3:
            raise Invalid(f'id map "{text}": not a map', FORM)
        for at in range(0, len(parts), 3):
            flags, ctr = _flags(parts[at], text)
            if _KINDS[kind] not in flags and set(_KINDS) & set(flags):
                _entries(ctr, parts[at + 1].removeprefix("@"), parts[at + 2], text)  # still has to be right
                continue
            for entry in _entries(ctr, parts[at + 1], parts[at + 2], text, ours):
                if "+" in flags:
                    fill = fill or (rootless and not maps)
                    maps = _without(maps, entry)
                maps.append(entry)
    return merged(filled(maps, free_spans(inner_spans(ours), maps)) if fill else maps)


def _flags(text: str, whole: str) -> tuple[str, str]:
    """The flags before a container's id, and the id."""
    ctr = text.lstrip("+ug")
    if not ctr or not ctr[0].isdigit():
        raise Invalid(f'id map "{whole}": {text!r} is no id', FORM)
    return text[: len(text) - len(ctr)], ctr


def _entries(ctr: str, host: str, size: str, whole: str, ours: Sequence[IdMap] = ()) -> list[IdMap]:
    """One triple; with ``@`` as many entries as the ids lie apart in our namespace.  None for a size of 0."""
    outer = host.startswith("@")
    numbers = [ctr, host.removeprefix("@"), size]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise Invalid(f'id map "{whole}": not a map', FORM)
    first, from_id, count = map(int, numbers)
    if count and max(first, from_id) + count - 1 > MAX_ID:
        raise Invalid(f'id map "{whole}": ids end at {MAX_ID}')
    if not count:
        return []
    if not outer:
        return [IdMap(first, from_id, count)]
    found: list[IdMap] = []
    at = from_id
    while at < from_id + count:
        entry = next((entry for entry in ours if entry.host <= at < entry.host + entry.size), None)
        if entry is None:
            raise Invalid(f'id map "{whole}": id {at} of the host is not among those given to you', "see /etc/subuid")
        part = min(from_id + count, entry.host + entry.size) - at
        found.append(IdMap(first + at - from_id, entry.ctr + at - entry.host, part))
        at += part
    return found


def _without(maps: Iterable[IdMap], gone: IdMap) -> list[IdMap]:
    """*maps* without the ids of *gone*, the container's as well as those outside."""
    result: list[IdMap] = []
    for entry in maps:
        cuts = {0, entry.size}
        for start in (gone.ctr - entry.ctr, gone.host - entry.host):
            cuts |= {min(max(edge, 0), entry.size) for edge in (start, start + gone.size)}
        edges = sorted(cuts)
        for start, end in pairwise(edges):
            inside = gone.ctr <= entry.ctr + start < gone.ctr + gone.size
            outside = gone.host <= entry.host + start < gone.host + gone.size
            if not inside and not outside:
                result.append(IdMap(entry.ctr + start, entry.host + start, end - start))
    return result


def filled(maps: Iterable[IdMap], spans: Iterable[tuple[int, int]]) -> list[IdMap]:
    """*maps* and, for the container's ids from 0 on that have no entry, the [start, end) *spans* outside, in order."""
    free = list(spans)
    result: list[IdMap] = []
    position = 0
    for entry in [*sorted(maps, key=lambda entry: entry.ctr), None]:
        end = entry.ctr if entry else 1 << 33
        while free and position < end:
            start, stop = free[0]
            part = min(end - position, stop - start)
            result.append(IdMap(position, start, part))
            position += part
            free[:1] = [(start + part, stop)] if start + part < stop else []
        if entry:
            result.append(entry)
            position = entry.ctr + entry.size
    return result


def inner_spans(maps: Iterable[IdMap]) -> list[tuple[int, int]]:
    """The ids that *maps* have inside, as [start, end)."""
    return [(entry.ctr, entry.ctr + entry.size) for entry in maps]


def free_spans(spans: Iterable[tuple[int, int]], maps: Iterable[IdMap]) -> list[tuple[int, int]]:
    """The [start, end) *spans*, in order, without the ids outside that *maps* use."""
    used = sorted((entry.host, entry.host + entry.size) for entry in maps)
    result = []
    for start, end in sorted(spans):
        for used_start, used_end in used:
            if used_end <= start or used_start >= end:
                continue
            if start < used_start:
                result.append((start, used_start))
            start = max(start, used_end)
        if start < end:
            result.append((start, end))
    return result
