"""What is kept of every container between commands: ``<root>/<id>/state.json`` and the configuration.

Nobody watches the containers of this command: whether one runs is found out by looking at its process each time.  Who
makes or removes a container holds a lock on its directory (flock), which ends with the process however that ends.  So a
command killed at any instant leaves one of these, and the next command knows which:

* a directory without state.json: nothing of the container exists.  ``create`` takes it over, ``delete`` removes it.
* a state without a process, or with one that is dead, and no lock: stopped; ``delete`` removes what there is.
* a state that is not ``ready``, and a lock: being made.

runtime-spec runtime.md "State"
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from estiva.errors import Conflict, Invalid, NotFound, Unavailable
from estiva.monitor.state import is_alive, start_time
from estiva.runtime.cli.version import OCI_VERSION
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_FIELDS = {"bundle": str, "rootfs": str, "created": str, "owner": int, "pid": int}  # those of every record
_PATIENCE_S = 15.0  # how long who makes or removes a container may take


def default_root() -> str:
    """Where the state of containers is kept if nobody says where.

    Root of a user namespace, as which Podman calls us for an ordinary user, may not write to ``/run``.
    """
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid() != 0:
        return os.path.join(runtime_dir or f"/tmp/estiva-run-{os.getuid()}", "estiva-runtime")
    if runtime_dir:
        from estiva.runtime.cli.cgroups import is_rootless

        if is_rootless():
            return os.path.join(runtime_dir, "estiva-runtime")
    return "/run/estiva-runtime"


def check_id(container_id: str) -> str:
    """*container_id* if it can be a directory's name here.  Raises Invalid."""
    if not container_id or len(container_id) > 255 or not _LETTERS.issuperset(container_id) or container_id[0] == ".":
        raise Invalid(f'invalid container ID format: "{container_id}" is not made of letters, digits and _ + - .')
    return container_id


class Record:
    """One container: ``directory`` and the fields of its state.json (``pid``, ``starttime``, ``bundle``, ``rootfs``,
    ``cgroup_path``, ``cgroup_unit``, ``cgroup_user``, ``intel_rdt``, ``created``, ``annotations``, ``owner``: a user
    id, ``ready``: it was made to the end)."""

    __slots__ = ("_lock_fd", "container_id", "directory", "fields")

    def __init__(self, directory: str, container_id: str, fields: dict[str, Any], lock_fd: int = -1) -> None:
        self.directory = directory
        self.container_id = container_id
        self.fields = fields
        self._lock_fd = lock_fd

    @property
    def pid(self) -> int:
        return int(self.fields.get("pid", 0))

    @property
    def may_have_processes(self) -> bool:
        """False if there never was one, so that nothing in its cgroup can be ours."""
        return bool(self.pid or self.fields.get("restored"))

    @property
    def start_socket(self) -> str:
        return f"{self.directory}/start"

    def config(self) -> dict[str, Any]:
        """The configuration it was made from; empty if the record is being removed."""
        try:
            with open(f"{self.directory}/config.json", "rb") as file:
                return dict(json.loads(file.read()))
        except FileNotFoundError:
            return {}

    def cgroup(self) -> CgroupHandle:
        from estiva.runtime.cli import cgroups

        return cgroups.find(self)

    def leave_resource_director(self) -> None:
        """Remove what was made for ``linux.intelRdt``."""
        if self.fields.get("intel_rdt"):
            from estiva.runtime.intel_rdt import Group

            Group(**self.fields["intel_rdt"]).remove()

    def set_process(self, pid: int) -> None:
        """Note the container's process."""
        self.fields["pid"] = pid
        self.fields["starttime"] = start_time(pid)
        self.save()

    def alive(self) -> bool:
        return bool(self.pid) and is_alive(self.pid, int(self.fields["starttime"]))

    def status(self) -> str:
        """``creating``, ``created``, ``running``, ``paused`` or ``stopped``."""
        if not self.fields.get("ready") and _is_locked(self.directory):
            return "creating"
        if not self.alive():
            return "stopped"
        if os.path.exists(self.start_socket):
            return "created"
        handle = self.cgroup()
        return "paused" if handle.dirs and handle.frozen() else "running"

    def state(self, status: str = "") -> dict[str, Any]:
        """The OCI state, with what runc adds: ``rootfs``, ``created``, ``owner``."""
        status = status or self.status()
        state = {
            "ociVersion": OCI_VERSION,
            "id": self.container_id,
            "pid": self.pid if status != "stopped" else 0,
            "status": status,
            "bundle": self.fields["bundle"],
            "rootfs": self.fields["rootfs"],
            "created": self.fields["created"],
        }
        if self.fields.get("annotations"):
            state["annotations"] = self.fields["annotations"]
        state["owner"] = _user_name(int(self.fields["owner"]))
        return state

    def save(self) -> None:
        """Write the fields; the file appears whole."""
        write_whole(f"{self.directory}/state.json", json.dumps(self.fields))

    def lock(self) -> bool:
        """Wait until nobody makes or removes it, and be the one who does; False if it is gone then.

        Raises Conflict if that takes too long.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            if _flock(fd):
                if _is_the_one(fd, self.directory):
                    self._lock_fd = fd
                    return True
                os.close(fd)
                return False
            os.close(fd)
            if time.monotonic() > deadline:
                raise Conflict(f'container "{self.container_id}": another command is making or removing it')
            time.sleep(0.005)

    def take_lock(self, other: Record) -> None:
        """Hold the lock that *other*, a record of the same container, held."""
        self._lock_fd, other._lock_fd = other._lock_fd, -1

    def unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def remove(self) -> None:
        """Remove what is kept of it, the state first: what is left without one is nobody's."""
        for name in ("state.json", *os.listdir(self.directory)):
            path = f"{self.directory}/{name}"
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except IsADirectoryError:
                _remove_directory(path)
        os.rmdir(self.directory)
        self.unlock()


def _remove_directory(path: str) -> None:
    for name in os.listdir(path):
        os.unlink(f"{path}/{name}")
    os.rmdir(path)


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(directory: str) -> bool:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(fd)
    finally:
        os.close(fd)


def _is_the_one(fd: int, path: str) -> bool:
    """Whether *path* still is the directory opened as *fd*."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def write_whole(path: str, text: str) -> None:
    """Raises OSError with *path*; the file is then as it was."""
    directory, _, name = path.rpartition("/")
    temporary = f"{directory}/.{name}.{os.getpid()}"
    try:
        _write(temporary, text)
        os.rename(temporary, path)
    except OSError as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise OSError(error.errno, error.strerror, path) from None


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        data = text.encode()
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def new(root: str, container_id: str, spec: dict[str, Any], bundle: str, cgroup: dict[str, Any]) -> Record:
    """Reserve *container_id*; the record is locked.  *cgroup*: the fields about that.  Raises Conflict if it is in
    use."""
    record = Record(f"{root}/{check_id(container_id)}", container_id, {})
    os.makedirs(root, 0o711, exist_ok=True)
    while True:
        try:
            os.mkdir(record.directory, 0o711)
        except FileExistsError:
            pass
        fd = os.open(record.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if not _flock(fd) or os.path.exists(f"{record.directory}/state.json"):
            os.close(fd)
            raise Conflict(f'creating container "{container_id}": container with given ID already exists')
        if _is_the_one(fd, record.directory):
            break
        os.close(fd)
    record = Record(record.directory, container_id, {}, fd)
    record.fields = {
        "bundle": os.path.abspath(bundle),
        "rootfs": spec["root"]["path"],
        "created": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9:09d}Z",
        "annotations": spec.get("annotations") or {},
        "owner": os.getuid(),
        **cgroup,
        "pid": 0,
        "ready": False,
    }
    try:
        write_whole(f"{record.directory}/config.json", json.dumps(spec))
        record.save()
    except BaseException:
        record.remove()
        raise
    return record


def find(root: str, container_id: str) -> Record:
    """Raises NotFound, or Unavailable if its state cannot be read."""
    directory = f"{root}/{check_id(container_id)}"
    try:
        with open(f"{directory}/state.json", "rb") as file:
            return Record(directory, container_id, _checked(json.loads(file.read())))
    except (ValueError, RecursionError) as error:
        raise Unavailable(
            f'container "{container_id}": its state {directory}/state.json is damaged: {error}',
            "delete --force removes what is left of it",
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f'container "{container_id}": container does not exist') from None
        raise


def _checked(fields: Any) -> dict[str, Any]:
    """*fields* if they are what :func:`new` writes; raises ValueError."""
    if not isinstance(fields, dict):
        raise ValueError("not an object")
    for name, kind in _FIELDS.items():
        if not isinstance(fields.get(name), kind):
            raise ValueError(f"no {name}, or an odd one")
    if fields["pid"] and not isinstance(fields.get("starttime"), int):
        raise ValueError("no starttime, or an odd one")
    return fields


def salvage(root: str, container_id: str) -> Record:
    """A record in place of one that is damaged: its cgroup is where its configuration, or the default, puts it."""
    from estiva.runtime.cgroup import hierarchy

    fields = {"pid": 0, "restored": True, "bundle": "", "rootfs": "", "created": "", "owner": os.getuid()}
    record = Record(f"{root}/{check_id(container_id)}", container_id, fields)
    try:
        wanted = (record.config().get("linux") or {}).get("cgroupsPath") or ""
    except (ValueError, TypeError, AttributeError):
        os.unlink(f"{record.directory}/config.json")  # nobody can make use of it either
        wanted = ""
    record.fields["cgroup_path"] = hierarchy.container_path(container_id, wanted)
    return record


def exists(root: str, container_id: str) -> bool:
    """Whether there is a directory of that name, with or without a container in it."""
    return os.path.isdir(f"{root}/{check_id(container_id)}")


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
        except (NotFound, Invalid, Unavailable):
            continue  # deleted meanwhile, or nothing of ours
    return found
