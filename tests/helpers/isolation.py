"""A test session of root gets a small world of its own, so that nothing it does reaches the machine or another session.

* a network namespace with only ``lo``: that is "the host's network" to the engine under test;
* a mount namespace in which nothing propagates back;
* ``/etc`` is an overlay over the machine's: accounts and subordinate ids made for tests exist only here;
* a cgroup of its own in every hierarchy, seen as the root of ``/sys/fs/cgroup``: what the engine makes there can be
  counted, and every process of the session can be found in it, whatever it detached from.

All of it goes away with the processes, even when the session is killed (but for empty cgroups).  An ordinary user's
session has none of this and needs none: rootless containers do not touch the host's network, accounts or cgroups.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from helpers import kernel

#: what may be wanted of a v2 hierarchy; each is enabled if the machine offers it
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma")


class Hierarchy:
    """One mounted cgroup hierarchy: where it is, and the session's own group in it."""

    def __init__(self, mount_point: str, kind: str, options: str, own_path: str) -> None:
        self.mount_point = mount_point
        self.kind = kind
        self.options = ",".join(o for o in options.split(",") if o not in ("rw", "ro") and not o.startswith("xattr"))
        own = mount_point + ("" if kind == "cgroup2" else own_path.rstrip("/"))
        self.home_fd = os.open(mount_point + own_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.parent_fd = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.name = f"estiva-test-{os.getpid()}"

    def enter(self) -> None:
        """Make the session's group and move this process into it."""
        if self.kind == "cgroup2":
            _enable_controllers(self.parent_fd)
        self._sweep()
        os.mkdir(self.name, 0o755, dir_fd=self.parent_fd)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if self.kind == "cgroup" and "cpuset" in self.options.split(","):
                with open(os.open(setting, os.O_RDONLY, dir_fd=self.parent_fd), encoding="ascii") as file:
                    kernel.write(f"{self.name}/{setting}", file.read(), self.parent_fd)
        kernel.write(f"{self.name}/cgroup.procs", "0", self.parent_fd)

    def show_as_root(self) -> None:
        """In the new cgroup and mount namespaces: mount the hierarchy again, rooted at the session's group."""
        kernel.unmount(self.mount_point)
        kernel.mount("cgroup", self.mount_point, self.kind, 0, self.options or None)
        if self.kind == "cgroup2":  # only a group without processes of its own may hand on controllers
            os.mkdir(f"{self.mount_point}/session")
            kernel.write(f"{self.mount_point}/session/cgroup.procs", "0")
            fd = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _enable_controllers(fd)
            os.close(fd)

    def leave(self) -> None:
        """Go back where the process came from and remove the session's group."""
        kernel.write("cgroup.procs", "0", self.home_fd)
        self._remove(self.name)
        os.close(self.home_fd)
        os.close(self.parent_fd)

    def _remove(self, name: str) -> None:
        for directory, _dirs, _files, _fd in os.fwalk(name, topdown=False, dir_fd=self.parent_fd):
            with suppress(OSError):
                os.rmdir(directory, dir_fd=self.parent_fd)

    def _sweep(self) -> None:
        """Remove what sessions left that were killed."""
        for name in os.listdir(self.parent_fd):
            prefix, _, pid = name.rpartition("-")
            if prefix == "estiva-test" and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
                self._remove(name)


def _enable_controllers(directory_fd: int) -> None:
    for controller in CONTROLLERS:
        with suppress(OSError):  # not offered here, or the group has processes
            kernel.write("cgroup.subtree_control", f"+{controller}", directory_fd)


def _hierarchies() -> list[Hierarchy]:
    own_paths: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        own_paths["cgroup2" if number == "0" else controllers] = path
    found = []
    for mount_point, kind, options in kernel.mounts():
        if kind == "cgroup2":
            found.append(Hierarchy(mount_point, kind, "", own_paths["cgroup2"]))
        elif kind == "cgroup":
            named = [key for key in own_paths if key != "cgroup2" and set(key.split(",")) <= set(options.split(","))]
            if named:
                found.append(Hierarchy(mount_point, kind, named[0], own_paths[named[0]]))
    return found


class Isolation:
    """The session's world; :meth:`enter` once, :meth:`leave` at the end."""

    def __init__(self) -> None:
        self.active = False
        self.cgroups_are_own = False
        self.etc_is_own = False
        self.outside_network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.hierarchies: list[Hierarchy] = []
        self.directory = ""

    def enter(self) -> None:
        """Enter the new namespaces; does nothing for an ordinary user."""
        if os.geteuid() != 0 or self.active:
            return
        self._enter_cgroups()
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | (kernel.CLONE_NEWCGROUP * self.cgroups_are_own))
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.bring_up("lo")
        if self.cgroups_are_own:
            for hierarchy in self.hierarchies:
                hierarchy.show_as_root()
        self._cover_etc()
        self.active = True

    def _enter_cgroups(self) -> None:
        try:
            self.hierarchies = _hierarchies()
            for hierarchy in self.hierarchies:
                hierarchy.enter()
        except OSError:  # in a container without rights to them: tests of limits will skip
            self._leave_cgroups()
        self.cgroups_are_own = bool(self.hierarchies)

    def _leave_cgroups(self) -> None:
        for hierarchy in self.hierarchies:
            with suppress(OSError):
                hierarchy.leave()
        self.hierarchies = []

    def _cover_etc(self) -> None:
        # what container managers bind over single files would not show through an overlay
        kept = {name: Path(f"/etc/{name}").read_bytes() for name in ("resolv.conf", "hosts") if _readable(name)}
        self.directory = tempfile.mkdtemp(prefix="estiva-test-world-", dir="/tmp")
        kernel.mount("tmpfs", self.directory, "tmpfs", 0, "mode=0755")
        try:
            for name in ("upper", "work"):
                os.mkdir(f"{self.directory}/{name}", 0o755)
            layers = f"lowerdir=/etc,upperdir={self.directory}/upper,workdir={self.directory}/work"
            kernel.mount("overlay", "/etc", "overlay", 0, layers)
            self.etc_is_own = True
        except OSError:  # /etc on something that cannot be a lower layer
            return
        for name, content in kept.items():
            if not _readable(name) or Path(f"/etc/{name}").read_bytes() != content:
                Path(f"/etc/{name}").unlink(missing_ok=True)
                Path(f"/etc/{name}").write_bytes(content)

    def shown(self, directory: str, name: str) -> str:
        """A path at which every user can read *directory*, of root's session only; it lies on a tmpfs of its own, which
        goes with the session."""
        target = f"{self.directory}/{name}"
        if not os.path.isdir(target):
            os.mkdir(target, 0o755)
            kernel.show(directory, target)
        return target

    def processes(self) -> set[int]:
        """The ids of all processes of this session, whoever is their parent now, this one included."""
        if not self.cgroups_are_own:
            return _descendants(os.getpid())
        found: set[int] = set()
        for directory, _, files in os.walk(self._tracking().mount_point):
            if "cgroup.procs" in files:
                with suppress(OSError), open(f"{directory}/cgroup.procs", encoding="ascii") as file:
                    found.update(map(int, file.read().split()))
        return found

    def _tracking(self) -> Hierarchy:
        """The hierarchy in which nobody but the engine moves processes: v2, else any."""
        return next((h for h in self.hierarchies if h.kind == "cgroup2"), self.hierarchies[0])

    def cgroups(self) -> set[str]:
        """The directories below the session's own cgroups."""
        found: set[str] = set()
        for hierarchy in self.hierarchies if self.cgroups_are_own else ():
            for directory, names, _ in os.walk(hierarchy.mount_point):
                found.update(f"{directory}/{name}" for name in names)
        return found

    def outside(self, command: list[str]) -> list[str]:
        """*command*, to be run in the machine's own network: to fetch packages, nothing else."""
        if not self.active:
            return command
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.outside_network}", "--", *command]

    def leave(self) -> None:
        """End what still runs, and take away what would stay: the cgroups and the directory under /tmp."""
        if not self.active:
            return
        kill_all(lambda: self.processes() - {os.getpid()})
        self._leave_cgroups()
        if self.etc_is_own:
            kernel.unmount("/etc")
        with suppress(OSError):
            kernel.unmount(self.directory)
        with suppress(OSError):  # rmdir, not rmtree: directories of the machine may be shown below
            os.rmdir(self.directory)
        self.active = False


def kill_all(find: Callable[[], set[int]], seconds: float = 5.0) -> None:
    """Kill the processes that *find* () names until it names none, for at most *seconds*."""
    deadline = time.monotonic() + seconds
    while (left := find()) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def _readable(name: str) -> bool:
    return os.access(f"/etc/{name}", os.R_OK)


def _descendants(pid: int) -> set[int]:
    found = {pid}
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            for child in children:
                found |= _descendants(int(child))
    return found


#: the world of this process; entered by conftest.py, or by a benchmark
WORLD = Isolation()
