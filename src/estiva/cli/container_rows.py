"""A container as ``ps`` shows it: the fields of Podman's table, templates and JSON."""

from __future__ import annotations

import os
import time

from estiva.cli import human
from estiva.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from estiva.engine.container import Container

NAMESPACES = {
    "CGROUPNS": "cgroup", "IPC": "ipc", "MNT": "mnt", "NET": "net", "PIDNS": "pid", "USERNS": "user", "UTS": "uts",
}  # fmt: skip
_JSON_NAMESPACES = {
    "Mnt": "mnt", "Cgroup": "cgroup", "Ipc": "ipc", "Net": "net", "Pid": "pid", "Uts": "uts", "User": "user",
}  # fmt: skip


class ContainerRow:
    """One row; what it costs something to know is looked up when a field asks for it."""

    __slots__ = ("_size", "container", "namespaces", "state", "truncate")

    FIELDS: dict[str, Callable[[ContainerRow], Any]]

    def __init__(self, container: Container, *, truncate: bool = True, namespaces: bool = False) -> None:
        self.container = container
        self.namespaces = namespaces
        self.state = container.state()
        self.truncate = truncate
        self._size: tuple[int, int] | None = None

    def go_field(self, name: str) -> Any:
        return ContainerRow.FIELDS[name](self)

    def shortened(self, text: str, length: int) -> str:
        return text[:length] if self.truncate else text

    @property
    def command(self) -> str:
        text = " ".join(self.container.command)
        return f"{text[:17]}..." if self.truncate and len(text) > 20 else text

    @property
    def image(self) -> str:
        return self.container.image_name or self.shortened(self.container.image_id, 12)

    @property
    def status(self) -> str:
        """``Up 3 minutes``, ``Exited (0) 3 minutes ago``, ``Created``."""
        state = self.state
        if state.status == "running":
            return f"Up {human.duration(time.time() - state.started_ns / 1e9)}"
        if state.status in ("exited", "stopped"):
            return f"Exited ({state.exit_code}) {human.ago(state.finished_ns)}"
        return str(state.status).capitalize()

    @property
    def mounts(self) -> list[str]:
        return [mount.target for mount in self.container.mounts]

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the writable layer, and of it and the image together."""
        if self._size is None:
            self._size = sizes(self.container)
        return self._size

    @property
    def size(self) -> str:
        written, total = self.sizes
        return f"{human.size(written)} (virtual {human.size(total)})"

    def namespace(self, kind: str) -> str:
        """The inode number of the main process's namespace, ``""`` without a process."""
        if not self.state.pid:
            return ""
        try:
            return os.readlink(f"/proc/{self.state.pid}/ns/{kind}").partition("[")[2].rstrip("]")
        except OSError:  # it ended meanwhile, or is not ours to see
            return ""

    def to_json(self) -> dict[str, Any]:
        """What ``--format json`` shows, with Podman's keys."""
        container, state = self.container, self.state
        shown = self.namespaces and state.pid
        namespaces = {label: self.namespace(kind) for label, kind in _JSON_NAMESPACES.items()} if shown else {}
        document = {
            "AutoRemove": container.auto_remove,
            "Command": list(container.command),
            "CreatedAt": human.ago(container.created_ns),
            "Exited": state.status in ("exited", "stopped"),
            "ExitedAt": _seconds(state.finished_ns),
            "ExitCode": 0 if state.running else state.exit_code or 0,
            "Id": container.id,
            "Image": container.image_name,
            "ImageID": container.image_id,
            "IsInfra": False,
            "Labels": dict(container.labels) or None,
            "Mounts": self.mounts,
            "Names": [container.name],
            "Namespaces": namespaces,
            "Networks": [],
            "Pid": state.pid,
            "Pod": "",
            "PodName": "",
            "Ports": None,
            "Restarts": state.restarts,
            "Size": None,
            "StartedAt": _seconds(state.started_ns),
            "State": state.status,
            "Status": self.status,
            "Created": container.created_ns // 10**9,
        }
        if self._size is not None:
            document["Size"] = {"rootFsSize": self._size[1], "rwSize": self._size[0]}
        return document


def _seconds(nanoseconds: int) -> int:
    """Unix seconds; Go's zero time where there is none, as Podman shows it."""
    return nanoseconds // 10**9 if nanoseconds else -62135596800


def sizes(container: Container) -> tuple[int, int]:
    """Bytes of the container's writable layer, and of it and the image together."""
    written = container.size()
    try:
        image = container.engine.images.find(container.image_id).size
    except NotFound:  # made from a root file system, or the image was removed by force
        image = 0
    return written, written + image


def _namespace_field(kind: str) -> Callable[[ContainerRow], str]:
    return lambda row: row.namespace(kind)


def _labels(row: ContainerRow) -> dict[str, str]:
    return dict(row.container.labels)


ContainerRow.FIELDS = {
    "AutoRemove": lambda row: row.container.auto_remove,
    "Command": lambda row: row.command,
    "Created": lambda row: human.go_time(row.container.created_ns),
    "CreatedAt": lambda row: human.go_time(row.container.created_ns),
    "CreatedHuman": lambda row: human.ago(row.container.created_ns),
    "ExitCode": lambda row: 0 if row.state.running else row.state.exit_code or 0,
    "Exited": lambda row: row.state.status in ("exited", "stopped"),
    "ExitedAt": lambda row: _seconds(row.state.finished_ns),
    "ID": lambda row: row.shortened(row.container.id, 12),
    "Image": lambda row: row.image,
    "ImageID": lambda row: row.shortened(row.container.image_id, 12),
    "IsInfra": lambda row: False,
    "Labels": _labels,
    "Mounts": lambda row: row.mounts,
    "Names": lambda row: row.container.name,
    "Namespaces": lambda row: {label: row.namespace(kind) for label, kind in NAMESPACES.items()},
    "Networks": lambda row: "",
    "Pid": lambda row: row.state.pid,
    "Pod": lambda row: "",
    "PodName": lambda row: "",
    "Ports": lambda row: "",
    "Restarts": lambda row: row.state.restarts,
    "RunningFor": lambda row: human.ago(row.container.created_ns),
    "Size": lambda row: row.size,
    "StartedAt": lambda row: _seconds(row.state.started_ns),
    "State": lambda row: row.status,  # the word alone is in the JSON only, as Podman has it
    "Status": lambda row: row.status,
    **{label: _namespace_field(kind) for label, kind in NAMESPACES.items()},
}
