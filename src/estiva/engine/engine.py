"""The engine: one store, one user, everything that can be done with them."""

from __future__ import annotations

import os

from estiva.engine.config import Settings
from estiva.engine.containers import Containers
from estiva.engine.database import Database
from estiva.engine.images import Images
from estiva.engine.volumes import Volumes
from estiva.storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from estiva.engine.images import ImageRecord
    from estiva.runtime.idmap import IdMap

    Progress = Callable[[str, str, int, int], None]


class Engine:
    """``containers``, ``images``, ``volumes``, ``store`` and ``settings`` of one store; a context manager.

    Making one costs next to nothing: directories, database and namespaces are made when they are first needed.

    :param root: where images and containers are kept · *run_root*: what a reboot may take (defaults: see ``config``)
    :param storage_driver: auto, erofs, overlay or copy · *runtime*: another OCI runtime, by name or path
    :param cgroup_manager: who makes the cgroups of containers created here: cgroupfs or systemd
    """

    def __init__(
        self,
        root: str | None = None,
        run_root: str | None = None,
        *,
        storage_driver: str | None = None,
        runtime: str | None = None,
        cgroup_manager: str | None = None,
    ) -> None:
        self.settings = Settings(root, run_root, storage_driver=storage_driver, runtime=runtime)
        self.settings.cgroup_manager = cgroup_manager
        settings = self.settings
        self.store = Store(settings.root, settings.run_root, driver=settings.driver, in_userns=settings.in_userns)
        self.database = Database(f"{settings.root}/db.sqlite")
        self.images = Images(self.database, settings.root, self.store.layers.size)
        self.volumes = Volumes(self.database, settings.root)
        self.containers = Containers(self)
        self._userns: str | None = None

    @property
    def userns(self) -> str:
        """The path of this user's namespace, made if need be; ``""`` for root."""
        if not self.settings.rootless:
            return ""
        if self._userns is None:
            from estiva.runtime.userns import join_path

            self.settings.make_dirs()
            self._userns = join_path(self.settings.run_root, _own_maps)
        return self._userns

    def id_maps(self) -> tuple[list[IdMap], list[IdMap]]:
        """The uid and gid maps of the namespace this engine works in."""
        from estiva.engine.hostfacts import read_or_empty
        from estiva.runtime.idmap import parse_maps

        directory = self.userns.rpartition("/ns/")[0] or "/proc/self"
        uids, gids = (parse_maps(read_or_empty(f"{directory}/{kind}_map")) for kind in ("uid", "gid"))
        return uids, gids

    def inside(self, function: str, progress: Progress | None = None, **arguments: Any) -> Any:
        """Call ``module:function`` as user 0 of this user's namespace (right here, for root), with this engine's
        ``root``, ``run_root`` and ``driver`` and the JSON-able *arguments*."""
        from estiva.engine.inside import call

        settings = self.settings
        places = {"root": settings.root, "run_root": settings.run_root, "driver": settings.driver}
        return call(function, self.userns, progress, **places, **arguments)

    def ensure_image(
        self, name: str, *, policy: str = "missing", platform: str = "", progress: Progress | None = None, **how: Any
    ) -> ImageRecord:
        """The image *name*, pulled if the *policy* (missing, always, newer, never) says so."""
        from estiva.engine.ensure import ensure_image

        return ensure_image(self, name, policy, platform, progress, how)

    def info(self) -> dict[str, Any]:
        """What Podman's ``info`` tells, for this engine and host."""
        from estiva.engine.about import info

        return info(self)

    def version(self) -> dict[str, Any]:
        """Versions of this program and what it runs on."""
        from estiva.engine.about import version

        return version()

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _own_maps() -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """The maps of this user's namespace: with subordinate ids where there are some, else the user's own id alone."""
    import pwd

    from estiva.runtime.idmap import mapping_programs, own_maps, subordinate_ids

    uid, gid = os.getuid(), os.getgid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    uid_ranges, gid_ranges = subordinate_ids("/etc/subuid", name, uid), subordinate_ids("/etc/subgid", name, uid)
    if not (uid_ranges and gid_ranges and mapping_programs()):
        uid_ranges, gid_ranges = [], []
    uids, gids = own_maps(uid, uid_ranges), own_maps(gid, gid_ranges)
    return [(m.ctr, m.host, m.size) for m in uids], [(m.ctr, m.host, m.size) for m in gids]
