"""What the functions of this package are told besides the options: who, where, from which image, on what host.

They are pure: all they may know of the world is in here, so a test writes a host down as values.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.idmap import IdMap
    from estiva.runtime.userns_mode import UserNamespace


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


def all_groups(user: User) -> list[int]:
    """The supplementary groups, the user's own first: a process may leave that for another, and what is denied to the
    group must stay denied (CVE-2022-2989)."""
    return [user.gid, *(gid for gid in user.groups if gid != user.gid)]


class Host:
    """Facts of the host.  ``rlimits``: ``RLIMIT_…`` → the most this process may set; ``selinux``, ``apparmor``:
    enabled; ``selinux_contexts``: what the policy has for containers (see ``labels.CONTEXTS``)."""

    __slots__ = ("apparmor", "arch", "cgroup2", "hostname", "rlimits", "selinux", "selinux_contexts")

    def __init__(
        self,
        *,
        hostname: str = "localhost",
        arch: str = "x86_64",
        cgroup2: bool = True,
        selinux: bool = False,
        apparmor: bool = False,
        rlimits: dict[str, int] | None = None,
        selinux_contexts: dict[str, str] | None = None,
    ) -> None:
        self.hostname = hostname
        self.arch = arch
        self.cgroup2 = cgroup2
        self.selinux = selinux
        self.apparmor = apparmor
        self.rlimits = rlimits or {}
        self.selinux_contexts = selinux_contexts or {}


class AutoRequest:
    """What ``--userns auto`` asks for: *size* ids for users and as many for groups.

    ``ours``: the uid and gid maps of the namespace the engine works in · ``spans``: the [start, end) uids and gids to
    take from · ``whose``: how the user is told whose those are."""

    __slots__ = ("namespace", "ours", "size", "spans", "whose")

    def __init__(
        self,
        namespace: UserNamespace,
        ours: tuple[list[IdMap], list[IdMap]],
        spans: tuple[list[tuple[int, int]], list[tuple[int, int]]],
        size: int,
        whose: str,
    ) -> None:
        self.namespace = namespace
        self.ours = ours
        self.spans = spans
        self.size = size
        self.whose = whose


class Context:
    """One container to be: ``id``, ``name``, its directories ``bundle`` and ``run_dir``, the image's ``config``
    section, the ``containers`` table of containers.conf, its ``user``, id maps as (container, host, size), ``[]`` for
    none.
    ``automatic``: what its maps are to be chosen by when it is entered, for ``--userns auto`` · ``joins_userns``: the
    maps are those of a namespace that exists · ``gid_count``: how many group ids exist where it will run (few for a
    user without subordinate ids) · ``entries``: the [file, line] that name the user · ``who``: the words *user* was
    looked up by · ``process_label``, ``mount_label``: SELinux's, ``""`` for none · ``apparmor_profile``."""

    __slots__ = (
        "apparmor_profile",
        "automatic",
        "bundle",
        "conf",
        "entries",
        "gid_count",
        "gid_maps",
        "host",
        "id",
        "image",
        "joins_userns",
        "mount_label",
        "name",
        "process_label",
        "rootless",
        "run_dir",
        "uid_maps",
        "user",
        "who",
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
        self.automatic: AutoRequest | None = None
        self.joins_userns = False
        self.who = ""
        self.entries: list[list[str]] = []
        self.process_label = self.mount_label = self.apparmor_profile = ""
