"""``create``: a bundle becomes a process that waits, with everything around it, for ``start``."""

from __future__ import annotations

import os
import signal
import sys

from estiva.errors import Conflict, EstivaError, Invalid
from estiva.linux.unix import connect
from estiva.runtime import plan, seccomp
from estiva.runtime.cgroup import driver, hierarchy, mounts
from estiva.runtime.cli import records
from estiva.runtime.cli.program import check_program
from estiva.runtime.compile import Surroundings, compile_plan
from estiva.runtime.devices import DEFAULT_RULES
from estiva.runtime.failure import decode
from estiva.runtime.helper import KEEP_FROM
from estiva.runtime.launch import MonitorSpec, launch
from estiva.runtime.plan import Plan
from estiva.runtime.rlimits import clamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cgroup.hierarchy import Hierarchies
    from estiva.runtime.cli.records import Record


def create(
    root: str, container_id: str, bundle: str, spec: dict[str, Any], *, console: str = "", preserve_fds: int = 0,
    no_pivot: bool = False,
) -> Record:  # fmt: skip
    """Make the container of the checked configuration *spec*; its process waits for :func:`start`.

    *console*: a socket that gets the terminal's master.  The process has this command's standard streams otherwise,
    and the *preserve_fds* descriptors after them.  On failure nothing is left.
    """
    if bool((spec.get("process") or {}).get("terminal")) != bool(console):
        raise Invalid(
            "process.terminal: a console socket is needed exactly when the program wants a terminal",
            "see --console-socket",
        )
    record = records.new(root, container_id, spec, bundle)
    try:
        hierarchies = hierarchy.detect()
        handle = _cgroup(hierarchies, spec, container_id)
        try:
            _launch(record, spec, hierarchies, handle, console, preserve_fds, no_pivot)
            record.fields["cgroup_path"] = handle.path
            record.save()
            check_program(record.pid, spec["process"])
        except BaseException:
            if record.pid:
                _stop(record)
            handle.remove()
            run_hooks(record, spec, ("poststop",), "stopped")
            raise
    except BaseException:
        record.remove()
        raise
    return record


def is_rootless() -> bool:
    """Whether this process is not root of the machine: root of a user namespace is not."""
    if os.geteuid() != 0:
        return True
    with open("/proc/self/uid_map") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def _cgroup(hierarchies: Hierarchies, spec: dict[str, Any], container_id: str) -> CgroupHandle:
    linux = spec.get("linux") or {}
    resources = dict(linux.get("resources") or {})
    if resources.get("devices"):
        # The devices every container has are allowed whatever the bundle denies before.
        resources["devices"] = [*resources["devices"], *(rule for rule in DEFAULT_RULES if rule["allow"])]
    rootless = is_rootless()
    if not rootless:
        path = hierarchy.container_path(container_id, linux.get("cgroupsPath") or "")
    else:
        parent = hierarchy.delegated_parent(hierarchies)
        path = hierarchy.container_path(container_id, "", parent + "/estiva") if parent else ""
    return driver.create(hierarchies, path, resources, rootless=rootless)


def _launch(
    record: Record,
    spec: dict[str, Any],
    hierarchies: Hierarchies,
    handle: CgroupHandle,
    console: str,
    preserve_fds: int,
    no_pivot: bool,
) -> None:
    around = surroundings(record, spec, preserve_fds)
    around.start_socket = record.start_socket
    around.no_pivot = no_pivot
    around.cgroup_mounts = mounts.file_systems(hierarchies)
    kinds = {entry.get("type") for entry in (spec.get("linux") or {}).get("namespaces") or () if not entry.get("path")}
    if "cgroup" not in kinds and handle.dirs:
        spec = {**spec, "mounts": mounts.bound(list(spec.get("mounts") or ()), hierarchies, handle)}
    work = Plan().add(plan.ORPHAN, "", os.path.abspath(console) if console else "")
    work.extend(compile_plan(spec, around))
    monitor = MonitorSpec()
    monitor.procs = handle.procs_paths
    monitor.terminal = bool(console)
    kept = list(range(3, 3 + preserve_fds))
    launched = launch(
        work,
        monitor,
        ["estiva-runtime", record.container_id],
        keep=kept,
        own_stdio=False,
        on_sync=lambda pid: run_hooks(record, spec, ("prestart", "createRuntime"), "creating", pid),
    )
    os.close(launched.fd)
    record.fields["pid"] = launched.pid
    record.fields["starttime"] = start_time(launched.pid)


def surroundings(record: Record, spec: dict[str, Any], preserve_fds: int) -> Surroundings:
    """What the compiler needs to know that the configuration does not say; limits are lowered to what can be set."""
    linux = spec.get("linux") or {}
    around = Surroundings(spec["root"]["path"])
    rootless = is_rootless()
    around.bind_devices = rootless
    sizes = [entry.get("size") for entry in linux.get("gidMappings") or ()]
    around.deny_setgroups = os.geteuid() != 0 and sizes == [1]
    if linux.get("seccomp"):
        around.seccomp = seccomp.compile_cached(linux["seccomp"], os.path.dirname(record.directory) + "/.seccomp")
        around.seccomp_flags = seccomp.filter_flags(linux["seccomp"])
        state = record.state("" if record.pid else "creating")
        around.seccomp_agent = seccomp.agent(linux["seccomp"], state, executed=bool(record.pid))
    if spec.get("hooks"):
        around.state = record.state("creating")
    if preserve_fds:
        around.preserve_fds, around.preserve_from = preserve_fds, KEEP_FROM
    return around


def lower_rlimits(process: dict[str, Any]) -> None:
    """Make the limits of *process* ones that the kernel lets us set."""
    if process.get("rlimits"):
        process["rlimits"] = clamp(process["rlimits"], may_raise=_may_raise_limits())[0]


def _may_raise_limits() -> bool:
    with open("/proc/self/status") as file:
        effective = next(int(line[7:], 16) for line in file if line.startswith("CapEff:"))
    return bool(effective >> 24 & 1) and not is_rootless()  # CAP_SYS_RESOURCE


def start_time(pid: int) -> int:
    """When *pid* started, in clock ticks since boot.  proc_pid_stat(5)"""
    with open(f"/proc/{pid}/stat", "rb") as file:
        text = file.read()
    return int(text[text.rindex(b")") + 2 :].split()[19])


def run_hooks(record: Record, spec: dict[str, Any], names: tuple[str, ...], status: str, pid: int = 0) -> None:
    """Run the hooks of these names in this process's namespaces; those after the container's end only warn.

    runtime-spec config.md "POSIX-platform Hooks"
    """
    if not spec.get("hooks"):
        return
    from estiva.runtime import hooks

    for warning in hooks.run(spec, names, record.state(status, pid), warn=status == "stopped"):
        sys.stderr.write(f"estiva-runtime: {warning}\n")


def start(record: Record) -> None:
    """Let the program of a created container run.  Raises the kind of failure that executing it met."""
    status = record.status()
    if status != "created":
        raise Conflict(f'starting container "{record.container_id}": it is {status}, not created')
    message = _release(record)
    if message[:1] == b"F":
        raise decode(message[1:])
    try:
        run_hooks(record, record.config(), ("poststart",), "running", record.pid)
    except EstivaError:
        _stop(record)
        raise


def _release(record: Record) -> bytes:
    """Connect, which the container's process waits for; what it says then: nothing if its program runs."""
    try:
        fd = connect(record.start_socket)
        try:
            os.unlink(record.start_socket)
            return os.read(fd, 4096)
        finally:
            os.close(fd)
    except (ConnectionError, FileNotFoundError) as error:
        raise Conflict(
            f'starting container "{record.container_id}": its process was killed, or another started it'
        ) from error


def _stop(record: Record) -> None:
    if record.alive():
        os.kill(record.pid, signal.SIGKILL)
