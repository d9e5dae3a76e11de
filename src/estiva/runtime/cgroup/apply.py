"""Setting limits on a cgroup that exists: order, completion from what is set already, and taking back what was done
when a later write is refused."""

from __future__ import annotations

import errno

from estiva.errors import Conflict, Denied, EstivaError, Unsupported
from estiva.runtime.cgroup import settings
from estiva.runtime.cgroup.checks import check_resources
from estiva.runtime.cgroup.files import failure, read_int, read_text, write_lines, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cgroup.settings import Setting

    # (directory, the setting written, what its file held before)
    Journal = list[tuple[str, Setting, str]]

_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
_SWAP_FILES = ("memory.swap.max", "memory.memsw.limit_in_bytes")


def apply(handle: CgroupHandle, resources: dict[str, Any], *, rootless: bool = False, fresh: bool = False) -> Journal:
    """Set every limit in *resources*; device rules only if *resources* has some, and last.  Returns what was done, for
    :func:`take_back`.

    If one is refused, those set before get their old values back, unless the cgroup is *fresh*: then it will be
    removed.  Raises Invalid, Conflict, Denied or Unsupported, naming the file or field.
    """
    check_resources(resources)
    journal: Journal | None = None if fresh else []
    try:
        for controller, translate in settings.V1.items():
            directory = handle.v1_dir(controller)
            if directory:
                _write_all(directory, translate(resources), journal)
        if handle.v2_dir:
            _apply_v2(handle, handle.v2_dir, resources, journal)
        _apply_unified(handle, resources, journal)
        if resources.get("devices") and handle.dirs:
            _apply_devices(handle, resources["devices"], rootless, fresh)
    except BaseException:
        take_back(journal or [])
        raise
    return journal or []


def _apply_v2(handle: CgroupHandle, directory: str, resources: dict[str, Any], journal: Journal | None) -> None:
    if not handle.v1_dir("memory"):
        resources = _complete_memory(directory, resources)
        _check_usage(directory, resources.get("memory") or {})
    if not handle.v1_dir("cpu"):
        resources = _complete_cpu(directory, resources)
    for controller, translate in settings.V2.items():
        if not handle.v1_dir("blkio" if controller == "io" else controller):
            _write_all(directory, translate(resources), journal)


def _complete_memory(directory: str, resources: dict[str, Any]) -> dict[str, Any]:
    """A limit of memory and swap together says nothing about swap alone without that of memory: the one set now."""
    memory = resources.get("memory") or {}
    if memory.get("limit") or not memory.get("swap") or memory["swap"] == -1:
        return resources
    limit = read_int(f"{directory}/memory.max")
    return {**resources, "memory": {**memory, "limit": -1 if limit is None else limit}}


def _complete_cpu(directory: str, resources: dict[str, Any]) -> dict[str, Any]:
    """A period is written together with the quota, here the one set now."""
    cpu = resources.get("cpu") or {}
    if not cpu.get("period") or cpu.get("quota"):
        return resources
    try:
        quota = read_text(f"{directory}/cpu.max").split()[0]
    except (FileNotFoundError, IndexError):
        return resources
    return {**resources, "cpu": {**cpu, "quota": int(quota) if quota.isdigit() else -1}}


def _check_usage(directory: str, memory: dict[str, Any]) -> None:
    """``checkBeforeUpdate``: v2 would kill where v1 refuses."""
    limit = memory.get("limit") or 0
    if memory.get("checkBeforeUpdate") and limit > 0:
        used = read_int(f"{directory}/memory.current") or 0
        if used > limit:
            raise Conflict(
                f"setting memory.max of cgroup {directory} to {limit}: {used} bytes are in use",
                "linux.resources.memory.checkBeforeUpdate asks for this refusal",
            )


def _write_all(directory: str, wanted: Iterable[Setting], journal: Journal | None) -> None:
    """Write the settings in order, and those refused with EINVAL again as long as that helps: some bound each other, so
    which comes first depends on whether they rise or fall."""
    pending = list(wanted)
    while pending:
        refused: list[Setting] = []
        reason = OSError()
        for setting in pending:
            try:
                _write(directory, setting, journal)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise _refusal(directory, setting, error) from error
                reason = error
                refused.append(setting)
        if len(refused) == len(pending):
            raise _refusal(directory, refused[-1], reason) from reason
        pending = refused


def _write(directory: str, setting: Setting, journal: Journal | None) -> None:
    path = f"{directory}/{setting.file}"
    try:
        before = read_text(path) if journal is not None and not setting.undo else setting.undo
        write_lines(path, setting.value)
    except FileNotFoundError:
        if setting.otherwise:
            file, value = setting.otherwise
            _write(directory, settings.Setting(file, value, undo=setting.undo), journal)
        elif not (setting.optional or (setting.file in _SWAP_FILES and _no_swap())):
            raise
    except OSError as error:
        if not (setting.optional and error.errno == errno.EOPNOTSUPP):
            raise
    else:
        if journal is not None:
            journal.append((directory, setting, before))


def _no_swap() -> bool:
    """Whether this machine has no swap, so that a limit of it holds by itself.  proc_swaps(5)"""
    try:
        return read_text("/proc/swaps").count("\n") == 0
    except OSError:
        return False


def take_back(journal: Journal) -> None:
    """Give files their old values back."""
    for directory, setting, before in reversed(journal):
        try:
            write_lines(f"{directory}/{setting.file}", before)
        except OSError:
            continue  # what was refused is what gets reported


_CURES = {
    "memory.limit_in_bytes": "the swap limit includes memory and cannot be the lower",
    "memory.memsw.limit_in_bytes": "the swap limit includes memory and cannot be the lower",
    "cpu.cfs_burst_us": "the burst cannot be more than the quota",
    "cpu.max.burst": "the burst cannot be more than the quota",
    "cpu.rt_runtime_us": "the cgroup above must have as much realtime to give: see its cpu.rt_runtime_us",
    "memory.use_hierarchy": "this kernel counts hierarchically, always",
}


def _refusal(directory: str, setting: Setting, error: OSError) -> EstivaError:
    cure = ""
    if error.errno == errno.EBUSY and setting.file.startswith("memory."):
        cure = "the container uses more than that now"
    elif error.errno == errno.ENOENT:
        cure = "this kernel, or the cgroup above, does not have it"
    elif error.errno == errno.EINVAL:
        cure = _CURES.get(setting.file, "")
    return failure(f"setting {setting.file} of cgroup {directory} to {setting.value}", error, cure)


def _apply_unified(handle: CgroupHandle, resources: dict[str, Any], journal: Journal | None) -> None:
    for controller, setting in settings.unified(resources):
        if handle.v2_dir is None or handle.v1_dir("blkio" if controller == "io" else controller):
            raise Unsupported(
                f'linux.resources.unified: "{setting.file}" needs cgroup v2',
                f"the {controller} controller is in a v1 hierarchy here",
            )
        _write_all(handle.v2_dir, [setting], journal)


def _apply_devices(handle: CgroupHandle, devices: list[dict[str, Any]], rootless: bool, fresh: bool) -> None:
    """Rules that nobody could break anyway are passed over: an ordinary user's container has no device nodes."""
    from estiva.runtime.cgroup import devicerules

    directory = handle.v1_dir("devices")
    try:
        if directory:
            present = () if fresh else read_text(f"{directory}/devices.list").splitlines()
            for file, text in devicerules.v1_writes(devices, present):
                write_text(f"{directory}/{file}", text)
        elif handle.v2_dir:
            attach_device_program(handle.v2_dir, devicerules.v2_program(devices))
    except OSError as error:
        if not (rootless and error.errno in _PERMISSION):
            raise failure(f"setting the device rules of cgroup {handle.path}", error) from error
    if not (directory or handle.v2_dir or rootless):
        raise Denied(f"setting the device rules of cgroup {handle.path}: there is no hierarchy that has them")


def attach_device_program(directory: str, instructions: bytes) -> None:
    """Let the program decide about device access in the v2 cgroup *directory*, in place of an earlier one of ours.

    There is no moment without rules: one earlier program is replaced in one step, several after the new one is
    attached.  Programs of others (systemd's, for a unit with DeviceAllow=) stay, and must allow as well.  Raises
    OSError.
    """
    import os

    from estiva.linux import bpf

    cgroup_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    opened: list[int] = []
    try:
        for program_id in bpf.prog_query(cgroup_fd, bpf.BPF_CGROUP_DEVICE):
            fd = bpf.prog_get_fd_by_id(program_id)
            opened.append(fd)
            if bpf.prog_name(fd) != bpf.DEVICES_NAME:
                os.close(opened.pop())
        program_fd = bpf.prog_load(bpf.BPF_PROG_TYPE_CGROUP_DEVICE, instructions)
        opened.append(program_fd)
        *old, _ = opened
        if len(old) == 1:
            bpf.prog_attach(
                cgroup_fd, program_fd, bpf.BPF_CGROUP_DEVICE, bpf.BPF_F_ALLOW_MULTI | bpf.BPF_F_REPLACE, old[0]
            )
            return
        bpf.prog_attach(cgroup_fd, program_fd, bpf.BPF_CGROUP_DEVICE, bpf.BPF_F_ALLOW_MULTI)
        for fd in old:
            bpf.prog_detach(cgroup_fd, fd, bpf.BPF_CGROUP_DEVICE)
    finally:
        for fd in (*opened, cgroup_fd):
            os.close(fd)
