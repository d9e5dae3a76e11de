"""What the functions of this package are told besides the options: who, where, from which image, on what host.

They are pure: all they may know of the world is in here, so a test writes a host down as values.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class User:
    """A user as a container's own files describe it; ids are the container's.  ``groups``: supplementary gids."""

    __slots__ = ("gid", "groups", "home", "name", "uid")

    def __init__(self, uid: int = 0, gid: int = 0, groups: list[int] | None = None, home: str = "/", name: str = ""):
        self.uid = uid
        self.gid = gid
        self.groups = groups or []
        self.home = home
        self.name = name

    def to_json(self) -> list[Any]:
        """The arguments that make an equal one."""
        return [self.uid, self.gid, self.groups, self.home, self.name]


class Host:
    """Facts of the host.  ``rlimits``: ``RLIMIT_…`` → the most this process may set; ``selinux``, ``apparmor``:
    enabled."""

    __slots__ = ("apparmor", "arch", "cgroup2", "hostname", "rlimits", "selinux")

    def __init__(
        self,
        *,
        hostname: str = "localhost",
        arch: str = "x86_64",
        cgroup2: bool = True,
        selinux: bool = False,
        apparmor: bool = False,
        rlimits: dict[str, int] | None = None,
    ) -> None:
        self.hostname = hostname
        self.arch = arch
        self.cgroup2 = cgroup2
        self.selinux = selinux
        self.apparmor = apparmor
        self.rlimits = rlimits or {}


class Context:
    """One container to be: ``id``, ``name``, its directories ``bundle`` and ``run_dir``, the image's ``config``
    section, the ``containers`` table of containers.conf, its ``user``, id maps as (container, host, size), ``[]`` for
    none.
    ``gid_count``: how many group ids exist where it will run (few for a user without subordinate ids)."""

    __slots__ = (
        "bundle",
        "conf",
        "gid_count",
        "gid_maps",
        "host",
        "id",
        "image",
        "name",
        "rootless",
        "run_dir",
        "uid_maps",
        "user",
    )

    def __init__(
        self,
        container_id: str,
        name: str,
        bundle: str,
        *,
        image: dict[str, Any] | None = None,
        conf: dict[str, Any] | None = None,
        host: Host | None = None,
        user: User | None = None,
        rootless: bool = False,
        uid_maps: list[tuple[int, int, int]] | None = None,
        gid_maps: list[tuple[int, int, int]] | None = None,
        gid_count: int = 1 << 32,
    ) -> None:
        self.id = container_id
        self.name = name
        self.bundle = bundle
        self.run_dir = ""
        self.image = image or {}
        self.conf = conf or {}
        self.host = host or Host()
        self.user = user or User(home="/root")
        self.rootless = rootless
        self.uid_maps = uid_maps or []
        self.gid_maps = gid_maps or []
        self.gid_count = gid_count
