"""Ids in user namespaces: maps between them, and which ids a user may map.

Ids live in three places: the *container*, the namespace the engine works in (*ours*: the machine's own for root, the
user's namespace for everyone else) and the *machine*.  A map entry goes from the inner to the next outer one, as in
/proc/PID/uid_map.  user_namespaces(7), subuid(5), newuidmap(1)
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ID = 0xFFFFFFFE  # -1 means "no change"


class IdMap:
    """*size* ids from *ctr* on inside are those from *host* on outside."""

    __slots__ = ("ctr", "host", "size")

    def __init__(self, ctr: int, host: int, size: int) -> None:
        self.ctr = ctr
        self.host = host
        self.size = size

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
