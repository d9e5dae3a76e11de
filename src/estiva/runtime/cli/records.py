"""What is kept of every container between commands: ``<root>/<id>/state.json`` and the configuration.

Nobody watches the containers of this command: whether one runs is found out by looking at its process each time.
runtime-spec runtime.md "State"
"""

from __future__ import annotations

import errno
import json
import os
import time

from estiva.errors import Conflict, NotFound
from estiva.monitor.state import is_alive
from estiva.runtime.cgroup import driver, hierarchy
from estiva.runtime.cli.bundle import OCI_VERSION, check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle


def default_root() -> str:
    if os.geteuid() == 0 and not os.environ.get("ESTIVA_ROOTLESS"):
        return "/run/estiva-runtime"
    return os.path.join(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/estiva-run-{os.getuid()}", "estiva-runtime")


class Record:
    """One container: ``directory`` and the fields of its state.json (``pid``, ``starttime``, ``bundle``,
    ``cgroup_path``, ``created``, ``annotations``, ``owner``)."""

    __slots__ = ("container_id", "directory", "fields")

    def __init__(self, directory: str, container_id: str, fields: dict[str, Any]) -> None:
        self.directory = directory
        self.container_id = container_id
        self.fields = fields

    @property
    def pid(self) -> int:
        return int(self.fields.get("pid", 0))

    @property
    def start_socket(self) -> str:
        return f"{self.directory}/start"

    def config(self) -> dict[str, Any]:
        """The configuration it was made from."""
        with open(f"{self.directory}/config.json", "rb") as file:
            return dict(json.loads(file.read()))

    def cgroup(self) -> CgroupHandle:
        return driver.open_handle(hierarchy.detect(), self.fields.get("cgroup_path", ""))

    def alive(self) -> bool:
        return bool(self.pid) and is_alive(self.pid, int(self.fields["starttime"]))

    def status(self) -> str:
        """``creating``, ``created``, ``running``, ``paused`` or ``stopped``."""
        if not self.pid:
            return "creating"
        if not self.alive():
            return "stopped"
        if os.path.exists(self.start_socket):
            return "created"
        handle = self.cgroup()
        return "paused" if handle.dirs and handle.frozen() else "running"

    def state(self, status: str = "", pid: int = 0) -> dict[str, Any]:
        """The OCI state; *pid* where none is recorded yet."""
        status = status or self.status()
        return {
            "ociVersion": OCI_VERSION,
            "id": self.container_id,
            "status": status,
            "pid": pid or (self.pid if status not in ("stopped", "creating") else 0),
            "bundle": self.fields["bundle"],
            "rootfs": self.fields["rootfs"],
            "created": self.fields["created"],
            "owner": self.fields["owner"],
            **({"annotations": self.fields["annotations"]} if self.fields.get("annotations") else {}),
        }

    def save(self) -> None:
        """Write the fields; the file appears whole."""
        write_whole(f"{self.directory}/state.json", json.dumps(self.fields))

    def remove(self) -> None:
        """Remove what is kept of it."""
        for name in os.listdir(self.directory):
            os.unlink(f"{self.directory}/{name}")
        os.rmdir(self.directory)


def write_whole(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
    os.rename(temporary, path)


def new(root: str, container_id: str, spec: dict[str, Any], bundle: str) -> Record:
    """Reserve *container_id*.  Raises Conflict if it is in use."""
    directory = f"{root}/{check_id(container_id)}"
    os.makedirs(root, 0o700, exist_ok=True)
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        raise Conflict(f'creating container "{container_id}": the id is in use', "delete it first") from None
    fields = {
        "bundle": os.path.abspath(bundle),
        "rootfs": spec["root"]["path"],
        "created": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9:09d}Z",
        "annotations": spec.get("annotations") or {},
        "owner": str(os.getuid()),
    }
    record = Record(directory, container_id, fields)
    record.save()
    write_whole(f"{directory}/config.json", json.dumps(spec))
    return record


def find(root: str, container_id: str) -> Record:
    """Raises NotFound."""
    directory = f"{root}/{check_id(container_id)}"
    try:
        with open(f"{directory}/state.json", "rb") as file:
            return Record(directory, container_id, json.loads(file.read()))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f'container "{container_id}" does not exist') from None
        raise


def every(root: str) -> list[Record]:
    """All containers, by id."""
    try:
        names = sorted(name for name in os.listdir(root) if not name.startswith("."))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(find(root, name))
        except NotFound:
            continue  # deleted meanwhile
    return found
