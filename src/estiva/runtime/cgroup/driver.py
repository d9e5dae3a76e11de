"""Making a container's cgroup, in v1, v2 and hybrid arrangements alike.

Every controller is looked for where it is: first among the v1 hierarchies, then in the unified one.  A directory is
made in each hierarchy, also in those that limit nothing, so that nothing of the container stays in the cgroup of the
session that started it, and so that the unified one can kill and freeze.

Parents that are missing are made with the sticky bit.  That marks them as ours: whoever removes the last container
below such a parent removes it, too.  The kernel refuses to remove one that somebody else just made a cgroup in, and who
finds the parent gone between making it and using it begins again; so nobody needs a lock.
"""

from __future__ import annotations

import errno
import os

from estiva.errors import Conflict, Unsupported
from estiva.runtime.cgroup import settings
from estiva.runtime.cgroup.apply import apply
from estiva.runtime.cgroup.checks import check_resources
from estiva.runtime.cgroup.files import failure, read_keyed, read_text, write_text
from estiva.runtime.cgroup.handle import STICKY, CgroupHandle, remove_parents, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.hierarchy import Hierarchies

# Handed down in a pure v2 tree whether limited or not: they also account.
ACCOUNTING = ("cpu", "cpuset", "io", "memory", "pids")
_FOR_THREADS = ("cpu", "cpuset", "perf_event", "pids")
ROOM = "init"  # where processes of a container's own root cgroup go, so that it can be divided
_V2_NAMES = {"blkio": "io"}
_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
_TRIES = 50  # to make a path whose parents others remove; each needs a container that ends at that very moment


def create(hierarchies: Hierarchies, path: str, resources: dict[str, Any], *, rootless: bool = False) -> CgroupHandle:
    """Make the cgroup *path* and set the OCI *resources* on it.  On failure nothing is left.

    *rootless*: hierarchies that this user may not divide are passed over, and so are device rules; Unsupported is
    raised only if a limit needs one of them.  An empty *path* (no delegation) gives a handle without directories.
    A cgroup that somebody prepared is used as it is.  Raises Conflict if it has processes, is frozen, or cannot have
    any; Invalid, Denied or Unsupported for a limit.
    """
    check_resources(resources)
    made: list[str] = []
    mounts = []
    wanted = settings.needed(resources)
    try:
        for mount in hierarchies.mounts() if path else ():
            try:
                make_directory(hierarchies, mount, path, made)
                if not rootless or os.access(f"{mount}{path}/cgroup.procs", os.W_OK):
                    mounts.append(mount)
            except OSError as error:
                if not (rootless and error.errno in _PERMISSION):
                    raise failure(f"making cgroup {mount}{path}", error) from error
        handle = CgroupHandle(hierarchies, path, mounts)
        if not hierarchies.v2_controllers:
            _check_fit(handle)
        check_controllers(handle, hierarchies, wanted, rootless)
        check_unified(hierarchies, resources)
        if handle.v2_dir and hierarchies.v2_controllers:
            _hand_down(hierarchies, path, wanted, resources)
            _check_fit(handle)  # a controller for threads, enabled beside processes, makes what is below threaded
        apply(handle, resources, rootless=rootless, fresh=len(made) == len(mounts))
    except BaseException:
        for directory in made:
            remove_tree(directory)
        for mount in hierarchies.mounts() if path else ():
            remove_parents(mount + path)
        raise
    return handle


def open_handle(hierarchies: Hierarchies, path: str) -> CgroupHandle:
    """The handle of a cgroup made earlier, with the directories that exist now."""
    mounts = [mount for mount in hierarchies.mounts() if path and os.path.isdir(mount + path)]
    return CgroupHandle(hierarchies, path, mounts)


def make_directory(hierarchies: Hierarchies, mount: str, path: str, made: list[str]) -> None:
    """Make *path* below *mount*, with the parents that are missing; append it to *made* if it was not there."""
    directory = mount + path
    for attempt in range(_TRIES):
        try:
            _make_once(mount, directory, made)
            if mount == hierarchies.v1.get("cpuset") and _is_empty_cpuset(directory, made):
                _copy_cpuset(mount, directory)
            return
        except FileNotFoundError:  # a parent was removed with its last container
            if attempt == _TRIES - 1:
                raise


def _make_once(mount: str, directory: str, made: list[str]) -> None:
    try:
        os.mkdir(directory, 0o755)
    except FileNotFoundError:
        _make_parents(mount, directory.removeprefix(mount))
        os.mkdir(directory, 0o755)
    except FileExistsError:
        if not _take_over(directory):
            return
    made.append(directory)


def _make_parents(mount: str, path: str) -> None:
    """Several containers may start at once and share parents, which therefore stay when one of them fails."""
    directory = mount
    for name in path.split("/")[1:-1]:
        directory += "/" + name
        try:
            os.mkdir(directory, 0o755 | STICKY)
        except FileExistsError:
            continue


def _take_over(directory: str) -> bool:
    """Use a cgroup that is there already.  True if it was made anew: one that a killed monitor left in a parent of
    ours, whose limits must not stay."""
    if _has_processes(directory):
        raise Conflict(f"making cgroup {directory}: it exists and has processes", "remove the container that uses it")
    if not os.stat(os.path.dirname(directory)).st_mode & STICKY:
        return False
    try:
        remove_tree(directory)
        os.mkdir(directory, 0o755)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EEXIST, *_PERMISSION):
            raise
        return False
    return True


def _has_processes(directory: str) -> bool:
    try:
        return bool(read_text(directory + "/cgroup.procs"))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # a threaded one lists threads only
            raise
        return bool(read_text(directory + "/cgroup.threads"))


def _check_fit(handle: CgroupHandle) -> None:
    """Conflict if no process could run in it: it would be frozen at birth, or be refused."""
    if handle.v2_dir:
        kind = read_text(f"{handle.v2_dir}/cgroup.type") if os.path.exists(f"{handle.v2_dir}/cgroup.type") else "domain"
        if not kind.startswith("domain") or kind == "domain invalid":
            raise Conflict(
                f'using cgroup {handle.v2_dir}: it is of type "{kind}", which takes no processes',
                "a cgroup above it is threaded; choose another with linux.cgroupsPath",
            )
        frozen = read_keyed(f"{handle.v2_dir}/cgroup.events").get("frozen") == 1
    else:
        frozen = False
    freezer = handle.v1_dir("freezer")
    if frozen or (freezer and read_text(f"{freezer}/freezer.state") != "THAWED"):
        raise Conflict(f"using cgroup {handle.path}: it is frozen", "thaw it, or the cgroup above it")


def _is_empty_cpuset(directory: str, made: list[str]) -> bool:
    return directory in made or not all(read_text(f"{directory}/{file}") for file in ("cpuset.cpus", "cpuset.mems"))


def _copy_cpuset(mount: str, directory: str) -> None:
    """A new v1 cpuset has no processors and no memory nodes and cannot be joined until it has.

    The parent may be another start's, made a moment ago and empty still.
    """
    parent = os.path.dirname(directory)
    for file in ("cpuset.cpus", "cpuset.mems"):
        text = read_text(f"{parent}/{file}")
        if not text and parent != mount:
            _copy_cpuset(mount, parent)
            text = read_text(f"{parent}/{file}")
        write_text(f"{directory}/{file}", text)


def check_controllers(handle: CgroupHandle, hierarchies: Hierarchies, wanted: dict[str, str], rootless: bool) -> None:
    """Unsupported if a limit needs a controller that this container's cgroup does not have."""
    for controller, field in wanted.items():
        if handle.v1_dir(controller):
            continue
        if handle.v2_dir and _V2_NAMES.get(controller, controller) in hierarchies.v2_controllers:
            continue
        cause = f"the {controller} controller is not available"
        if rootless:
            cause += " to this user"
            raise Unsupported(f"setting {field}: {cause}", "let systemd delegate it, or run without the limit")
        raise Unsupported(f"setting {field}: {cause}", "see /proc/cgroups and cgroup.controllers")


def check_unified(hierarchies: Hierarchies, resources: dict[str, Any]) -> None:
    """Unsupported if ``unified`` names a file of a controller that there is not."""
    for controller, setting in settings.unified(resources):
        if controller not in hierarchies.v2_controllers and controller not in ("cgroup", *hierarchies.v1):
            raise Unsupported(
                f'linux.resources.unified: "{setting.file}": the {controller} controller is not available',
                "see cgroup.controllers",
            )


def _hand_down(hierarchies: Hierarchies, path: str, wanted: dict[str, str], resources: dict[str, Any]) -> None:
    """Enable the controllers the container needs in every cgroup above it.  cgroup-v2.rst "Enabling and Disabling" """
    asked = {_V2_NAMES.get(name, name) for name in wanted}
    asked.update(controller for controller, _ in settings.unified(resources))
    asked &= hierarchies.v2_controllers
    needed = asked | (hierarchies.v2_controllers & set(ACCOUNTING) if hierarchies.mode == "v2" else set())
    if not needed or not hierarchies.v2 or needed <= _enabled(os.path.dirname(hierarchies.v2 + path)):
        return
    directory = hierarchies.v2
    for name in path.split("/")[1:]:
        # Those for whole processes first: where they are refused because processes are there, those for threads would
        # not be, but make all below threaded.
        missing = sorted(needed - _enabled(directory), key=lambda name: (name in _FOR_THREADS, name))
        busy = False
        for controller in missing:
            if busy and controller in asked:
                raise _busy(directory, controller)
            busy = busy or not _enable(directory, controller, controller in asked, directory == hierarchies.v2)
        directory += "/" + name


def _busy(directory: str, controller: str) -> Conflict:
    return Conflict(
        f"enabling the {controller} controller in {directory}: processes are in this cgroup itself",
        "move them into a cgroup below it",
    )


def _enable(directory: str, controller: str, asked: bool, is_root: bool) -> bool:
    """Hand one controller down from *directory*; False if processes are in the way.

    One that only accounts may be refused, and so may one that a cgroup above did not get: if a limit needs it, its file
    will be missing.
    """
    file = f"{directory}/cgroup.subtree_control"
    try:
        try:
            write_text(file, f"+{controller}")
        except OSError as error:
            if error.errno != errno.EBUSY or not is_root:
                raise
            _make_room(directory)
            write_text(file, f"+{controller}")
    except OSError as error:
        if error.errno == errno.EBUSY and asked:
            raise _busy(directory, controller) from error
        if error.errno not in (errno.EBUSY, errno.ENOENT, errno.EOPNOTSUPP, *_PERMISSION):
            raise failure(f"enabling the {controller} controller in {directory}", error) from error
        return error.errno != errno.EBUSY
    return True


def _make_room(root: str) -> None:
    """Inside a container the root of the hierarchy is a cgroup like others, which cannot have processes and hand
    controllers down, too.  Move the processes into a cgroup of their own."""
    room = f"{root}/{ROOM}"
    os.makedirs(room, 0o755, exist_ok=True)
    for pid in read_text(f"{root}/cgroup.procs").split():
        try:
            if pid != "0":  # of another pid namespace; to the kernel it would mean this process
                write_text(f"{room}/cgroup.procs", pid)
        except ProcessLookupError:
            continue


def _enabled(directory: str) -> frozenset[str]:
    try:
        return frozenset(read_text(f"{directory}/cgroup.subtree_control").split())
    except FileNotFoundError:
        return frozenset()
