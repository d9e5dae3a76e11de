"""One container's cgroup: the same directory in every hierarchy, and what can be done with it.

A handle is computed from the hierarchies and the path; it holds no descriptors and no state, so any process can make
one for a container that another process started.
"""

from __future__ import annotations

import errno
import os
import time

from estiva.errors import Conflict, Unavailable, Unsupported
from estiva.runtime.cgroup.files import failure, read_keyed, read_text, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.hierarchy import Hierarchies
    from estiva.runtime.cgroup.stats import CgroupStats
    from estiva.runtime.cgroup.systemd import Unit

# How long the kernel may take to freeze, or to let go of processes that were killed.
PATIENCE_S = 5.0
STICKY = 0o1000  # of a directory: a parent that we made, see driver.py
SIGKILL = 9  # the signal module would cost more than all of this


class CgroupHandle:
    """The cgroup *path* in the hierarchies where it exists (``mounts``: their mount points).

    ``path``: from the hierarchies' roots, ``""`` if the container has no cgroup.
    ``dirs``: its directories; each is empty of sub-directories of ours, so the end of a container removes them in any
    order.  ``procs_paths``: the files into which a process writes ``0`` to join, the unified one last.
    ``v2_dir``: its directory in the unified hierarchy, or ``None``.  ``unit``: the systemd unit that it is, or
    ``None``; then ``own_dirs`` are those of its directories that systemd does not know and remove, else all are.
    """

    __slots__ = ("_held", "_v1", "dirs", "own_dirs", "path", "unit", "v2_dir")

    def __init__(
        self,
        hierarchies: Hierarchies,
        path: str,
        mounts: list[str] | None = None,
        *,
        unit: Unit | None = None,
        held: int = -1,
    ) -> None:
        """*held*: a descriptor that keeps it from going away while nothing is in it."""
        self.unit = unit
        self._held = held
        self.path = path
        chosen = hierarchies.mounts() if mounts is None else mounts
        if not path:
            chosen = []
        self.dirs = [mount + path for mount in chosen]
        self.own_dirs = self.dirs
        self.v2_dir = hierarchies.v2 + path if hierarchies.v2 in chosen and hierarchies.v2 else None
        self._v1 = {controller: mount + path for controller, mount in hierarchies.v1.items() if mount in chosen}

    @property
    def procs_paths(self) -> list[str]:
        return [directory + "/cgroup.procs" for directory in self.dirs]

    def v1_dir(self, controller: str) -> str | None:
        """Its directory in the v1 hierarchy of *controller*, or ``None``."""
        return self._v1.get(controller)

    def exists(self) -> bool:
        return any(os.path.isdir(directory) for directory in self.dirs)

    def update(self, resources: dict[str, Any]) -> None:
        """Change the limits to those in the OCI *resources*; what it does not mention stays.

        Raises Invalid, Conflict, Denied or Unsupported, naming the file; then nothing has changed.
        """
        from estiva.runtime.cgroup.apply import apply, take_back

        journal = apply(self, resources)
        if self.unit is None:
            return
        try:
            self.unit.set(resources, v2=len(self.dirs) == 1 and self.v2_dir is not None)
        except BaseException:
            take_back(journal)
            raise
        apply(self, resources, fresh=True)  # once more: systemd has just rounded the quota

    def keep(self) -> list[int]:
        """Descriptors for whoever is to keep the cgroup while nothing is in it, beyond :meth:`release`."""
        return [self._held] if self._held >= 0 else []

    def release(self) -> None:
        """The container is in it, or will never be; nothing needs to keep it from here."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def stats(self) -> CgroupStats:
        """What the container uses now.  Raises NotFound when the cgroup is gone."""
        from estiva.runtime.cgroup.stats import collect

        return collect(self)

    def oom_source(self) -> tuple[str, str] | None:
        """The file, and the key in it, that count processes killed for want of memory; ``None`` without one."""
        memory = self._v1.get("memory")
        if memory:
            return f"{memory}/memory.oom_control", "oom_kill"
        return (f"{self.v2_dir}/memory.events", "oom_kill") if self.v2_dir else None

    def oom_kills(self) -> int:
        """How many processes were killed for want of memory; 0 if the cgroup is gone or cannot tell."""
        source = self.oom_source()
        return read_keyed(source[0]).get(source[1], 0) if source else 0

    def pids(self) -> list[int]:
        """The processes in it and in cgroups the container made below it, as this pid namespace numbers them."""
        directory = self._tracking_dir()
        if directory is None:
            return []
        found: set[int] = set()
        for base in _tree(directory):
            try:
                found.update(int(pid) for pid in read_text(base + "/cgroup.procs").split())
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                    raise
        return sorted(found - {0})

    def kill(self, signal_number: int = SIGKILL) -> None:
        """Send *signal_number* to every process.  SIGKILL reaches those that are forked meanwhile too, and those that
        are frozen."""
        if signal_number != SIGKILL:
            self._signal_all(signal_number)
        elif not self._kill_at_once():
            self._kill_by_turns()

    def _kill_at_once(self) -> bool:
        """By cgroup.kill (Linux 5.14), which also wakes what v2 has frozen; False where there is none."""
        if not self.v2_dir:
            return False
        try:
            write_text(self.v2_dir + "/cgroup.kill", "1")
        except FileNotFoundError:
            return not os.path.isdir(self.v2_dir)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENODEV):  # threaded; being removed
                raise
            return error.errno == errno.ENODEV
        if "freezer" in self._v1:
            self._thaw_v1()
        return True

    def _kill_by_turns(self) -> None:
        """One by one, until none is left or patience ends.  Nobody can outrun it: the limit of processes goes to 0
        meanwhile, and the freezer holds who runs."""
        pids_max = f"{self._v1['pids']}/pids.max" if "pids" in self._v1 else ""
        before = ""
        if pids_max and os.path.exists(pids_max):
            before = read_text(pids_max)
            write_text(pids_max, "0")
        try:
            deadline = time.monotonic() + PATIENCE_S
            while self.pids() and time.monotonic() < deadline:
                try:
                    if "freezer" in self._v1:
                        write_text(f"{self._v1['freezer']}/freezer.state", "FROZEN")
                    self._signal_all(SIGKILL)
                finally:
                    self._thaw_v1()  # v1 delivers no signal, not even this one, to what is frozen
                time.sleep(0.001)
        finally:
            if before and os.path.exists(pids_max):
                write_text(pids_max, before)

    def _thaw_v1(self) -> None:
        freezer = self._v1.get("freezer")
        if freezer:
            try:
                write_text(f"{freezer}/freezer.state", "THAWED")
            except FileNotFoundError:
                pass

    def freeze(self) -> None:
        """Stop every process where it is; returns when all have stopped.  Raises Unsupported without a freezer."""
        self._set_frozen(True)

    def thaw(self) -> None:
        """Let frozen processes go on."""
        self._set_frozen(False)

    def frozen(self) -> bool:
        """Whether it was asked to be frozen and is."""
        if self.v2_dir:
            return read_keyed(self.v2_dir + "/cgroup.events").get("frozen") == 1
        freezer = self._v1.get("freezer")
        return bool(freezer) and read_text(f"{freezer}/freezer.state") == "FROZEN"

    def remove(self, kill: bool = True) -> None:
        """Remove its directories, those the container made below them, and parents of ours that are empty then; with
        *kill* whatever lives in them first.

        Nothing happens for what is already gone.  Raises Conflict if processes are left in it.
        """
        self.release()
        if self.unit is not None:
            self._stop_unit(kill)
        busy = [directory for directory in self.dirs if not remove_tree(directory)]
        if busy and kill:
            self.kill()
        deadline = time.monotonic() + PATIENCE_S
        pause = 0.001
        while busy and kill and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
            busy = [directory for directory in busy if not remove_tree(directory)]
        if busy:
            raise Conflict(f"removing cgroup {self.path}: processes are left in {busy[0]}")
        for directory in self.dirs:
            remove_parents(directory)

    def _stop_unit(self, kill: bool) -> None:
        """Before its directories go: systemd must hear of its end.  If it does not answer they go all the same."""
        if kill:
            self.kill()
        elif self.pids():
            raise Conflict(f"removing cgroup {self.path}: processes are left in it")
        try:
            if self.unit is not None:
                self.unit.stop()
        except Unavailable:
            if not self.exists():
                return
            raise

    def _tracking_dir(self) -> str | None:
        """A directory that tells the container's processes: any would, these are the ones least likely bypassed."""
        if self.v2_dir:
            return self.v2_dir
        return self._v1.get("pids") or self._v1.get("freezer") or (self.dirs[0] if self.dirs else None)

    def _signal_all(self, signal_number: int) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, signal_number)
            except ProcessLookupError:
                continue

    def _set_frozen(self, wanted: bool) -> None:
        if self.v2_dir:
            file, value = self.v2_dir + "/cgroup.freeze", str(int(wanted))
        elif "freezer" in self._v1:
            file, value = self._v1["freezer"] + "/freezer.state", "FROZEN" if wanted else "THAWED"
        else:
            raise Unsupported("pausing the container: it has no cgroup with a freezer")
        deadline = time.monotonic() + PATIENCE_S
        tries = 0
        try:
            write_text(file, value)
            while self.frozen() != wanted:
                if time.monotonic() > deadline:
                    if wanted:
                        write_text(file, "THAWED" if not self.v2_dir else "0")
                    raise Unavailable(f"pausing cgroup {self.path}: some processes do not stop")
                time.sleep(0.0005)
                tries += 1
                if not self.v2_dir:  # v1 can get stuck in FREEZING: writing again, or a breath of air, makes it go on
                    if wanted and tries % 50 == 0:
                        write_text(file, "THAWED")
                    write_text(file, value)
        except OSError as error:
            raise failure(f"{'pausing' if wanted else 'resuming'} cgroup {self.path}", error) from error


def _tree(directory: str) -> list[str]:
    """*directory* and all below it, the deepest last; empty when it is gone."""
    try:
        with os.scandir(directory) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    result = [directory]
    for path in below:
        result += _tree(path)
    return result


def remove_tree(directory: str) -> bool:
    """Remove a cgroup and those below it.  False if one of them has processes."""
    try:
        os.rmdir(directory)
        return True
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise failure(f"removing cgroup {directory}", error) from error
    for path in reversed(_tree(directory)):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return False
            raise failure(f"removing cgroup {path}", error) from error
    return True


def remove_parents(directory: str) -> None:
    """Remove the cgroups above *directory* that we made, see driver.py, as far as they are empty."""
    parent = os.path.dirname(directory)
    try:
        while os.stat(parent).st_mode & STICKY:
            os.rmdir(parent)
            parent = os.path.dirname(parent)
    except OSError:  # others use it, or were faster
        return
