"""Namespaces taken from other containers, whose processes are only known when this one starts."""

from __future__ import annotations

from estiva.engine.spec.mounts import SHM
from estiva.engine.spec.namespaces import KINDS, join
from estiva.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.container import Container


def join_containers(container: Container, spec: dict[str, Any], shared: dict[str, str]) -> None:
    """Make the configuration join the namespaces of the containers in *shared* (option → name or id)."""
    for option, name in shared.items():
        other = container.engine.containers.get(name)
        pid = other.state().pid
        if not pid:
            raise Conflict(f"option --{option} container:{name}: that container is not running", "start it first")
        kind = "user" if option == "userns" else KINDS[option][1]
        if option == "userns" and not other.details["uid_maps"]:
            continue  # it is in the engine's own, and so is this one
        join(spec, option, f"/proc/{pid}/ns/{kind}")
        if option == "ipc":
            _share_memory(spec, other)
        if option == "uts":
            spec.pop("hostname", None)


def dependents(container: Container) -> list[Container]:
    """The containers that take a namespace from *container*."""
    engine = container.engine
    return [
        other
        for other in engine.containers.list(all=True)
        if other.id != container.id
        and any(_is(container, getattr(other.options, option)) for option in (*KINDS, "userns"))
    ]


def _is(container: Container, mode: str) -> bool:
    """Whether a namespace option's value names *container*."""
    prefix, _, name = mode.partition(":")
    return prefix == "container" and bool(name) and (name == container.name or container.id.startswith(name))


def _share_memory(spec: dict[str, Any], other: Container) -> None:
    """Mount the other container's /dev/shm in place of one of our own."""
    if other.options.ipc != "shareable":
        raise Conflict(f"option --ipc container:{other.name}: its memory is private", "create it with --ipc shareable")
    for mount in spec["mounts"]:
        if mount["destination"] == "/dev/shm":
            source = f"{other.run_dir}/{SHM}"
            mount.update(type="bind", source=source, options=["bind", "nosuid", "noexec", "nodev"])
