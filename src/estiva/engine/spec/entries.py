"""A name for a container's user whom the image does not know.  Pure.  passwd(5), group(5); podman-run(1) "--userns" """

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from estiva.engine.spec.context import User

    Entries = list[list[str]]

PASSWD, GROUP = "/etc/passwd", "/etc/group"


class HostUser:
    """Who calls, as the host's databases tell."""

    __slots__ = ("full_name", "gid", "group", "home", "name", "uid")

    def __init__(self, name: str, uid: int, gid: int, full_name: str, home: str, group: str) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.full_name = full_name
        self.home = home
        self.group = group


def number_entries(user: User, home: str) -> Entries:
    """The [file, line] for a *user* that was given as a number."""
    return [[PASSWD, f"{user.uid}:*:{user.uid}:{user.gid}:container user:{home}:/bin/sh\n"]]


def host_entries(user: HostUser, home: str) -> Entries:
    """The lines for somebody who keeps name and number, living at *home* in the container."""
    return [
        [PASSWD, f"{_clean(user.name)}:*:{user.uid}:{user.gid}:{_clean(user.full_name)}:{home}:/bin/sh\n"],
        [GROUP, f"{_clean(user.group)}:x:{user.gid}:{_clean(user.name)}\n"],
    ]


def home_of(user: HostUser, workdir: str, mounted: Iterable[str]) -> str:
    """Where they live: at home, if the container has that mounted, or something it is in; else where it works."""
    targets = {target.rstrip("/") for target in mounted}
    place = user.home.rstrip("/")
    while place:
        if place in targets:
            return user.home
        place = place.rpartition("/")[0]
    return workdir


def _clean(text: str) -> str:
    return text.replace(":", " ").replace("\n", " ")
