"""Volumes: directories that outlive containers, ``<root>/volumes/<name>/_data``; and which mounts a container gets."""

from __future__ import annotations

import os

from estiva.engine.names import random_id
from estiva.engine.options import MountOption
from estiva.engine.spec.mountparse import check_volume_name, clean
from estiva.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from estiva.engine.database import Database, Transaction
    from estiva.engine.options import ContainerOptions


class Volumes:
    """The volumes of one store."""

    def __init__(self, database: Database, root: str) -> None:
        self._database = database
        self._root = f"{root}/volumes"

    def path(self, name: str) -> str:
        """The directory with the volume's files."""
        return f"{self._root}/{check_volume_name(name)}/_data"

    def ensure(self, change: Transaction, name: str, now_ns: int, anonymous: bool) -> bool:
        """Enter the volume in the database and make its directory, unless it exists; whether it is *fresh*: nothing was
        ever copied into it."""
        rows = change.query("SELECT fresh FROM volumes WHERE name=?", (name,))
        if rows:
            return bool(rows[0][0])
        change.execute("INSERT INTO volumes VALUES (?,?,'local',?,'{}','{}',1)", (name, now_ns, int(anonymous)))
        os.makedirs(self.path(name), 0o755, exist_ok=True)
        os.chmod(self.path(name), 0o755)
        return True

    def used_by(self, container_id: str) -> list[tuple[str, bool]]:
        """(name, anonymous) of the volumes a container mounts."""
        sql = (
            "SELECT v.name, v.anonymous FROM container_volumes c JOIN volumes v ON v.name=c.volume WHERE c.container=?"
        )
        return [(name, bool(anonymous)) for name, anonymous in self._database.query(sql, (container_id,))]

    def forget_unused(self, names: list[str]) -> list[str]:
        """Take volumes that no container mounts from the database; the directories to remove now.

        A kill in between leaves directories without a row: they are taken over if the name is used again.
        """
        gone = []
        with self._database.transaction() as change:
            for name in names:
                sql = "DELETE FROM volumes WHERE name=? AND NOT EXISTS (SELECT 1 FROM container_volumes WHERE volume=?)"
                if change.execute(sql, (name, name)):
                    gone.append(f"{self._root}/{name}")
        return gone


def choose_mounts(
    options: ContainerOptions,
    image: dict[str, Any],
    mounts_of: Callable[[str], list[MountOption]],
) -> list[MountOption]:
    """What is to be mounted: the image's volumes, those of other containers, what was asked for.

    The later of two at one place wins.  Anonymous volumes get a name.  *mounts_of* gives what a container (by name or
    id) has mounted."""
    chosen: dict[str, MountOption] = {}
    for path in sorted(image.get("Volumes") or {}) if options.image_volume != "ignore" else ():
        kind = "tmpfs" if options.image_volume == "tmpfs" else "volume"
        chosen[clean(path)] = MountOption(kind, "", clean(path), ["exec", "dev", "suid"] if kind == "tmpfs" else [])
    for text in options.volumes_from:
        for mount in _from_container(text, mounts_of):
            chosen[mount.target] = mount
    for mount in options.mount:
        chosen[mount.target] = mount
    return [
        MountOption("volume", random_id(), mount.target, [*mount.options, "anonymous"])
        if mount.kind == "volume" and not mount.source
        else mount
        for mount in chosen.values()
    ]


def _from_container(text: str, mounts_of: Callable[[str], list[MountOption]]) -> list[MountOption]:
    """The bind mounts and volumes of the container named in ``CONTAINER[:OPTIONS]``."""
    name, _, words = text.partition(":")
    extra = [word for word in words.split(",") if word]
    for word in extra:
        if word not in ("ro", "rw", "z"):
            raise Invalid(f"option --volumes-from {text!r}: {word!r} is not an option", "use ro, rw or z")
    return [
        MountOption(mount.kind, mount.source, mount.target, _replace_access(mount.options, extra))
        for mount in mounts_of(name)
        if mount.kind != "tmpfs"
    ]


def _replace_access(options: list[str], extra: list[str]) -> list[str]:
    if {"ro", "rw"} & set(extra):
        options = [word for word in options if word not in ("ro", "rw")]
    return [word for word in options if word != "anonymous"] + extra


def check_sources(mounts: list[MountOption]) -> None:
    """Raise NotFound for a bind mount whose source is not there."""
    for mount in mounts:
        if mount.kind == "bind" and not os.path.exists(mount.source):
            raise NotFound(f"mounting {mount.source!r} on {mount.target}: no such file or directory")


def fences(options: Sequence[str]) -> list[str]:
    """What a volume's mount forbids unless its *options* say otherwise, as with Podman: set-user-id and devices."""
    return [f"no{word}" for word in ("suid", "dev") if not {word, f"no{word}"} & set(options)]


def enter_volumes(
    volumes: Volumes, change: Transaction, container_id: str, mounts: list[MountOption], now_ns: int
) -> tuple[list[MountOption], list[str]]:
    """The mounts with each volume turned into a bind mount of its directory, and the names of volumes that are fresh.

    The use of every volume by the container is entered in the database.
    """
    resolved, fresh = [], []
    for mount in mounts:
        if mount.kind == "volume":
            anonymous = "anonymous" in mount.options
            is_fresh = volumes.ensure(change, mount.source, now_ns, anonymous)
            change.execute("INSERT OR IGNORE INTO container_volumes VALUES (?,?)", (container_id, mount.source))
            words = [word for word in mount.options if word not in ("anonymous", "copy")]
            words += fences(words)
            if is_fresh:
                fresh.append(mount.source)
                if "nocopy" not in words:
                    words.append("copy")
            mount = MountOption("bind", volumes.path(mount.source), mount.target, words)
        resolved.append(mount)
    return resolved, fresh
