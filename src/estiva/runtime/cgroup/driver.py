"""Making a container's cgroup and setting its limits, in v1, v2 and hybrid arrangements alike.

Every controller is looked for where it is: first among the v1 hierarchies, then in the unified one.  A directory is
made in each hierarchy, also in those that limit nothing, so that nothing of the container stays in the cgroup of the
session that started it, and so that the unified one can kill and freeze.
"""

from __future__ import annotations

import errno
import os

from estiva.errors import Conflict, Denied, EstivaError, Unsupported
from estiva.runtime.cgroup import settings
from estiva.runtime.cgroup.files import failure, read_text, write_text
from estiva.runtime.cgroup.handle import CgroupHandle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from estiva.runtime.cgroup.hierarchy import Hierarchies
    from estiva.runtime.cgroup.settings import Setting

# Handed down in a pure v2 tree whether limited or not: they also account.
ACCOUNTING = ("cpu", "cpuset", "io", "memory", "pids")
_V2_NAMES = {"blkio": "io"}
_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def create(hierarchies: Hierarchies, path: str, resources: dict[str, Any], *, rootless: bool = False) -> CgroupHandle:
    """Make the cgroup *path* and set the OCI *resources* on it.  On failure nothing is left.

    *rootless*: hierarchies that this user may not divide are passed over, and so are device rules; Unsupported is
    raised only if a limit needs one of them.  An empty *path* (no delegation) gives a handle without directories.
    Raises Conflict if the cgroup exists and has processes; Invalid, Denied or Unsupported for a limit.
    """
    made: list[str] = []
    mounts = []
    wanted = settings.needed(resources)
    try:
        for mount in hierarchies.mounts() if path else ():
            try:
                _make(hierarchies, mount, path, made)
                mounts.append(mount)
            except OSError as error:
                if not (rootless and error.errno in _PERMISSION):
                    raise failure(f"making cgroup {mount}{path}", error) from error
        handle = CgroupHandle(hierarchies, path, mounts)
        _check_controllers(handle, hierarchies, wanted, rootless)
        if handle.v2_dir and hierarchies.v2_controllers:
            _hand_down(hierarchies, path, wanted, resources)
        apply(handle, resources, rootless=rootless)
    except BaseException:
        for directory in reversed(made):
            try:
                os.rmdir(directory)
            except OSError:
                continue
        raise
    return handle


def open_handle(hierarchies: Hierarchies, path: str) -> CgroupHandle:
    """The handle of a cgroup made earlier, with the directories that exist now."""
    mounts = [mount for mount in hierarchies.mounts() if path and os.path.isdir(mount + path)]
    return CgroupHandle(hierarchies, path, mounts)


def apply(handle: CgroupHandle, resources: dict[str, Any], *, rootless: bool = False) -> None:
    """Set every limit in *resources* on an existing cgroup; device rules only if *resources* has some."""
    for controller, translate in settings.V1.items():
        directory = handle.v1_dir(controller)
        if directory:
            _write_all(directory, list(translate(resources)))
    if handle.v2_dir:
        for controller, translate in settings.V2.items():
            if not handle.v1_dir("blkio" if controller == "io" else controller):
                _write_all(handle.v2_dir, list(translate(resources)))
    _apply_unified(handle, resources)
    if resources.get("devices") and handle.dirs:
        _apply_devices(handle, resources["devices"], rootless)


def _make(hierarchies: Hierarchies, mount: str, path: str, made: list[str]) -> None:
    """Make *path* below *mount*, with the parents that are missing; append what was made to *made*."""
    directory = mount + path
    try:
        os.mkdir(directory, 0o755)
    except FileNotFoundError:
        _make_parents(hierarchies, mount, path, made)
        os.mkdir(directory, 0o755)
    except FileExistsError:
        _take_over(directory)
    made.append(directory)
    if mount == hierarchies.v1.get("cpuset"):
        _copy_cpuset(directory)


def _make_parents(hierarchies: Hierarchies, mount: str, path: str, made: list[str]) -> None:
    """Several containers may start at once and share parents, which therefore stay when one of them fails."""
    directory = mount
    for name in path.split("/")[1:-1]:
        directory += "/" + name
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:
            continue
        if mount == hierarchies.v1.get("cpuset"):
            _copy_cpuset(directory)


def _take_over(directory: str) -> None:
    """Use a cgroup that is there already, which a killed monitor may have left, if nothing is in it."""
    if read_text(directory + "/cgroup.procs"):
        raise Conflict(f"making cgroup {directory}: it exists and has processes", "remove the container that uses it")
    try:
        os.rmdir(directory)  # its limits go with it
        os.mkdir(directory, 0o755)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, *_PERMISSION):
            raise


def _copy_cpuset(directory: str) -> None:
    """A new v1 cpuset has no processors and no memory nodes and cannot be joined until it has."""
    parent = directory.rpartition("/")[0]
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not read_text(f"{directory}/{file}"):
            write_text(f"{directory}/{file}", read_text(f"{parent}/{file}"))


def _check_controllers(handle: CgroupHandle, hierarchies: Hierarchies, wanted: dict[str, str], rootless: bool) -> None:
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


def _hand_down(hierarchies: Hierarchies, path: str, wanted: dict[str, str], resources: dict[str, Any]) -> None:
    """Enable the controllers the container needs in every cgroup above it.  cgroup-v2.rst "Enabling and Disabling" """
    needed = {_V2_NAMES.get(name, name) for name in wanted}
    needed.update(controller for controller, _ in settings.unified(resources))
    if hierarchies.mode == "v2":
        needed.update(ACCOUNTING)
    needed &= hierarchies.v2_controllers
    if not needed or not hierarchies.v2:
        return
    if needed <= _enabled(os.path.dirname(hierarchies.v2 + path)):
        return
    directory = hierarchies.v2
    for name in path.split("/")[1:]:
        for controller in sorted(needed - _enabled(directory)):
            try:
                write_text(f"{directory}/cgroup.subtree_control", f"+{controller}")
            except OSError as error:
                # One at a time and onward: a controller that cannot be had matters only if a limit needs it, and
                # then its file will be missing.
                if error.errno not in (errno.EBUSY, errno.ENOENT, errno.EOPNOTSUPP, *_PERMISSION):
                    raise failure(f"enabling the {controller} controller in {directory}", error) from error
        directory += "/" + name


def _enabled(directory: str) -> frozenset[str]:
    try:
        return frozenset(read_text(f"{directory}/cgroup.subtree_control").split())
    except FileNotFoundError:
        return frozenset()


def _write_all(directory: str, wanted: Iterable[Setting]) -> None:
    """Write the settings in order, once more those refused with EINVAL: pairs of limits bound each other, so which
    comes first depends on whether they rise or fall."""
    refused = []
    for setting in wanted:
        try:
            _write(directory, setting)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise _refusal(directory, setting, error) from error
            refused.append(setting)
    for setting in refused:
        try:
            _write(directory, setting)
        except OSError as error:
            raise _refusal(directory, setting, error) from error


def _write(directory: str, setting: Setting) -> None:
    try:
        write_text(f"{directory}/{setting.file}", setting.value)
    except FileNotFoundError:
        if setting.otherwise:
            write_text(f"{directory}/{setting.otherwise[0]}", str(setting.otherwise[1]))
        elif not setting.optional:
            raise


def _refusal(directory: str, setting: Setting, error: OSError) -> EstivaError:
    cure = ""
    if error.errno == errno.EBUSY and setting.file.startswith("memory."):
        cure = "the container uses more than that now"
    elif error.errno == errno.ENOENT:
        cure = "this kernel, or the cgroup above, does not have it"
    elif error.errno == errno.EINVAL and "limit_in_bytes" in setting.file:
        cure = "the swap limit includes memory and cannot be the lower"
    return failure(f"setting {setting.file} of cgroup {directory} to {setting.value}", error, cure)


def _apply_unified(handle: CgroupHandle, resources: dict[str, Any]) -> None:
    for controller, setting in settings.unified(resources):
        if handle.v2_dir is None or handle.v1_dir("blkio" if controller == "io" else controller):
            raise Unsupported(
                f'linux.resources.unified: "{setting.file}" needs cgroup v2',
                f"the {controller} controller is in a v1 hierarchy here",
            )
        _write_all(handle.v2_dir, [setting])


def _apply_devices(handle: CgroupHandle, devices: list[dict[str, Any]], rootless: bool) -> None:
    """Rules that nobody could break anyway are passed over: an ordinary user's container has no device nodes."""
    from estiva.runtime.cgroup import devicerules

    directory = handle.v1_dir("devices")
    try:
        if directory:
            for file, text in devicerules.v1_writes(devices):
                write_text(f"{directory}/{file}", text)
        elif handle.v2_dir:
            attach_device_program(handle.v2_dir, devicerules.v2_program(devices))
    except OSError as error:
        if not (rootless and error.errno in _PERMISSION):
            raise failure(f"setting the device rules of cgroup {handle.path}", error) from error
    if not (directory or handle.v2_dir or rootless):
        raise Denied(f"setting the device rules of cgroup {handle.path}: there is no hierarchy that has them")


def attach_device_program(directory: str, instructions: bytes) -> None:
    """Let the program decide about device access in the v2 cgroup *directory*, in place of earlier ones.

    The new one is attached before the old ones go, so that there is no moment without rules.  Raises OSError.
    """
    from estiva.linux import bpf

    cgroup_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        old = bpf.prog_query(cgroup_fd, bpf.BPF_CGROUP_DEVICE)
        program_fd = bpf.prog_load(bpf.BPF_PROG_TYPE_CGROUP_DEVICE, instructions)
        try:
            bpf.prog_attach(cgroup_fd, program_fd, bpf.BPF_CGROUP_DEVICE, bpf.BPF_F_ALLOW_MULTI)
        finally:
            os.close(program_fd)
        for program_id in old:
            old_fd = bpf.prog_get_fd_by_id(program_id)
            try:
                bpf.prog_detach(cgroup_fd, old_fd, bpf.BPF_CGROUP_DEVICE)
            finally:
                os.close(old_fd)
    finally:
        os.close(cgroup_fd)
