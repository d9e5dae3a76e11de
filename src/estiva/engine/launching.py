"""Starting a container: layers held, small files written, cgroup made, plan carried out by the helper."""

from __future__ import annotations

import os
import sys
import time

from estiva.engine.cgroups import make_cgroup
from estiva.engine.hostfacts import read_or_empty
from estiva.engine.locks import ContainerLock, hold_monitor_lock, wait_for_monitor
from estiva.engine.rootfiles import write_files
from estiva.engine.spec.mounts import SHM, overlay_place
from estiva.engine.spec.security import learned_profile
from estiva.errors import Conflict, NotFound, Unsupported
from estiva.monitor.client import Attachment
from estiva.runtime.cgroup.hierarchy import detect
from estiva.runtime.cgroup.mounts import file_systems
from estiva.runtime.compile import Surroundings, compile_plan
from estiva.runtime.compile_process import ANNOTATION as LANDLOCK
from estiva.runtime.helper import KEEP_FROM
from estiva.runtime.launch import MonitorSpec, launch
from estiva.runtime.seccomp import agent, compile_cached, filter_flags
from estiva.spec.rootfs import RootfsMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.container import Container
    from estiva.engine.engine import Engine
    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cgroup.hierarchy import Hierarchies
    from estiva.runtime.plan import Plan
    from estiva.storage.layers import LayerLease

MONITOR_ENDS_S = 5.0
OWN_RUNTIMES = ("", "estiva", "estiva-runtime")


def start(container: Container, attach: bool, terminal_size: os.terminal_size | None) -> Attachment | None:
    """Start the container; see :meth:`Container.start`."""
    container.engine.settings.make_dirs()
    with ContainerLock(container.run_dir):
        state = container.state()
        if state.running:
            return container.attach() if attach else None
        if state.status in ("configured", "removing"):
            raise Conflict(f"starting container {container.name}: it is being {_ing(state.status)}")
        if not os.path.isdir(container.bundle):
            raise NotFound(f"no container with name or ID {container.name!r} found: no such container")
        return _start_locked(container, attach, terminal_size)


def _ing(status: str) -> str:
    return {"configured": "created", "removing": "removed"}[status]


def _start_locked(container: Container, attach: bool, terminal_size: os.terminal_size | None) -> Attachment | None:
    engine = container.engine
    lock = hold_monitor_lock(container.run_dir)
    if lock < 0 and wait_for_monitor(container.run_dir, MONITOR_ENDS_S):  # that of the last run takes its leave
        lock = hold_monitor_lock(container.run_dir)
    if lock < 0:
        raise Conflict(f"starting container {container.name}: its monitor is still at work", "try again")
    lease = None
    cgroup = None
    learning = -1
    try:
        lease = engine.store.layers.acquire(container.details["diff_ids"], mount=False)
        spec = _prepare(container, lease, terminal_size)
        hierarchies = detect()
        cgroup = make_cgroup(container, spec, hierarchies, _runtime(container) not in OWN_RUNTIMES)
        if container.options.cgroupns == "host":
            from estiva.runtime.cgroup.mounts import bound

            spec = {**spec, "mounts": bound(spec["mounts"], hierarchies, cgroup)}
        monitor = _monitor(container, cgroup)
        keep = [lock, *lease.lock_fds]
        monitor.layers = [(1 + layer[0], *layer[1:]) for layer in lease.unmounted]
        if monitor.restart[0] != "no":
            keep += cgroup.keep()
        work = _plan(container, spec, lease, hierarchies, cgroup, len(keep))
        keep += range(3, 3 + container.options.preserve_fds)
        _forget_end(container)
        if learned_profile(container.options):
            learning = _learn(container, spec)
        launched = launch(work, monitor, [f"estiva-monitor {container.name}"], attach=attach, keep=keep)
        cgroup.release()
    except BaseException:
        if cgroup is not None:
            cgroup.remove()
        raise
    finally:
        os.close(lock)
        if learning >= 0:
            os.close(learning)
        if lease is not None:
            lease.close()
    _note_start(container, launched.pid)
    if attach:
        return Attachment(launched.fd)
    os.close(launched.fd)
    return None


def _prepare(container: Container, lease: LayerLease, terminal_size: os.terminal_size | None) -> dict[str, Any]:
    """The configuration as it is this time, and the files it mounts."""
    spec = container.spec()
    if container.started_ns and container.image_id:
        from estiva.engine.restarting import look_user_up_again

        look_user_up_again(container, spec, lease)
    write_files(container)
    _make_overlays(container)
    if container.options.ipc == "shareable":
        _make_shared_memory(container)
    shared = _shared(container)
    if shared:
        from estiva.engine.sharing import join_containers

        join_containers(container, spec, shared)
    if terminal_size is not None:
        spec["process"]["consoleSize"] = {"height": terminal_size.lines, "width": terminal_size.columns}
    return spec


def _make_overlays(container: Container) -> None:
    """Fresh directories for the changes to sources mounted with option ``O``."""
    for index, (kind, source, _, words) in enumerate(container.details["mounts"]):
        if "O" not in words:
            continue
        place = overlay_place(container.bundle, index)
        if os.path.isdir(place):
            from estiva.engine.removal import remove_tree

            remove_tree(container.engine, place)
        status = os.stat(source if kind == "bind" else container.engine.volumes.path(source))
        os.makedirs(f"{place}/work", 0o700)
        os.mkdir(f"{place}/upper")
        os.chmod(f"{place}/upper", status.st_mode & 0o7777)
        if not container.engine.settings.rootless:
            os.chown(f"{place}/upper", status.st_uid, status.st_gid)


def _make_shared_memory(container: Container) -> None:
    """The directory that --ipc shareable has at /dev/shm: memory, as the run directory is."""
    path = f"{container.run_dir}/{SHM}"
    os.makedirs(path, exist_ok=True)
    os.chmod(path, 0o1777)
    label = container.spec()["linux"].get("mountLabel")
    if label:
        from estiva.engine.relabel import relabel_tree

        relabel_tree(path, label)


def _shared(container: Container) -> dict[str, str]:
    """Options that take a namespace from another container → that container."""
    options = container.options
    modes = {name: getattr(options, name) for name in ("pid", "network", "ipc", "uts", "cgroupns", "userns")}
    return {name: mode[10:] for name, mode in modes.items() if mode.startswith("container:")}


def _monitor(container: Container, cgroup: CgroupHandle) -> MonitorSpec:
    """What the container's monitor is to keep and to do."""
    options, run_dir = container.options, container.run_dir
    monitor = MonitorSpec()
    monitor.status, monitor.exit, monitor.attach = f"{run_dir}/status", f"{container.bundle}/exit", f"{run_dir}/attach"
    if container.log_driver != "none":
        monitor.log, monitor.log_format = container.log_path, container.log_driver
        _rotation(monitor, options.log_opt)
    monitor.stdin, monitor.terminal = bool(options.interactive), bool(options.tty)
    monitor.procs, monitor.cgroup_dirs = cgroup.procs_paths, cgroup.own_dirs
    monitor.kill = f"{cgroup.v2_dir}/cgroup.kill" if cgroup.v2_dir else ""
    source = cgroup.oom_source()
    monitor.oom = source[0] if source else ""
    policy, _, retries = options.restart.partition(":")
    monitor.restart = (policy or "no", int(retries or 0))
    monitor.timeout = options.timeout
    monitor.durable = not options.rm
    monitor.remove = container.bundle if options.rm else ""
    monitor.cleanup = cleanup_command(container)
    return monitor


def _rotation(monitor: MonitorSpec, log_opt: dict[str, str]) -> None:
    if log_opt.get("max-size"):
        from estiva.engine.spec.resources import parse_bytes

        monitor.log_bytes = parse_bytes(log_opt["max-size"])
    if log_opt.get("max-file", "").isdigit():
        monitor.log_files = int(log_opt["max-file"])


def cleanup_command(container: Container) -> list[str]:
    """What the monitor executes in the end, if nobody waits for the container."""
    settings = container.engine.settings
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    program = [sys.executable, "-I", "-S", f"{package}/__main__.py"]
    return [*program, "--root", settings.root, "--runroot", settings.run_root, "container", "cleanup", container.id]


def _plan(
    container: Container,
    spec: dict[str, Any],
    lease: LayerLease,
    hierarchies: Hierarchies,
    cgroup: CgroupHandle,
    kept: int,
) -> Plan:
    """The operations of this start; *kept* descriptors are handed on before those of --preserve-fds."""
    engine, options = container.engine, container.options
    around = surroundings(engine, _rootfs(container, lease))
    around.cgroup_mounts = file_systems(hierarchies)
    around.idmap = bool(container.details["uid_maps"]) and not container.details["shifted"] and not options.rootfs
    around.selinux = bool(spec["linux"].get("mountLabel"))  # given only where the kernel has it
    around.entries = container.details.get("entries") or ()
    if options.rootfs:
        from estiva.engine.rootdirectory import set_maps

        set_maps(around, container)
    around.init = bool(options.init) and not options.init_path
    around.preserve_fds, around.preserve_from = options.preserve_fds, KEEP_FROM + kept
    runtime = _runtime(container)
    if runtime not in OWN_RUNTIMES:
        from estiva.engine.foreign import compile_foreign

        if LANDLOCK in spec["annotations"]:
            raise Unsupported(f"Landlock rules: runtime {runtime!r} does not know them", "leave out --runtime")
        if learned_profile(options):
            raise Unsupported(f"learning a seccomp profile: not with runtime {runtime!r}", "leave out --runtime")
        return compile_foreign(container, spec, around, runtime, cgroup.path)
    add_seccomp(container, spec, around)
    return compile_plan(spec, around)


def _runtime(container: Container) -> str:
    return container.options.runtime or container.engine.settings.runtime


def _learn(container: Container, spec: dict[str, Any]) -> int:
    """Start the agent that writes the profile; the descriptor is for who launches to close."""
    from estiva.runtime.learning import start_agent

    file, run_dir = learned_profile(container.options), container.run_dir
    return start_agent(spec["linux"].get("seccomp"), file, run_dir, lock=f"{run_dir}/lock")


def add_seccomp(container: Container, spec: dict[str, Any], around: Surroundings, pid: int = 0) -> None:
    """The container's filter as *around* wants it; *pid* is the first process, if a further program is to be run."""
    seccomp = spec["linux"].get("seccomp")
    if learned_profile(container.options):
        from estiva.runtime.learning import watched

        seccomp = watched(seccomp, container.run_dir)
    if not seccomp:
        return
    around.seccomp = compile_cached(seccomp, f"{container.engine.settings.run_root}/seccomp")
    around.seccomp_flags = filter_flags(seccomp)
    state = {
        "ociVersion": spec["ociVersion"],
        "id": container.id,
        "status": "running" if pid else "creating",
        "pid": pid,
        "bundle": container.bundle,
        "annotations": spec.get("annotations") or {},
    }
    around.seccomp_agent = agent(seccomp, state, executed=bool(pid))


def surroundings(engine: Engine, rootfs: RootfsMount | None) -> Surroundings:
    """What plans of this engine have in common.  The mount point is the same for all: each has its own namespace."""
    mount_point = f"{engine.settings.run_root}/rootfs"
    if not os.path.isdir(mount_point):
        os.makedirs(mount_point, 0o700, exist_ok=True)
    around = Surroundings(mount_point, rootfs)
    around.userns = engine.userns
    around.bind_devices = engine.settings.in_userns
    if around.userns:
        setgroups = read_or_empty(f"{around.userns.rpartition('/ns/')[0]}/setgroups", 16)
        around.deny_setgroups = setgroups.startswith("deny")
    return around


def _rootfs(container: Container, lease: LayerLease) -> RootfsMount:
    options = container.options
    if options.rootfs:
        from estiva.engine.rootdirectory import rootfs_mount

        return rootfs_mount(container)
    shifted = container.details["shifted"]
    if shifted is True:
        return RootfsMount("bind", source=f"{container.bundle}/rootfs")
    rootfs = container.engine.store.snapshots.rootfs(container.id, lease, volatile=bool(options.rm))
    if shifted:
        rootfs.lowerdirs[:] = [f"{container.engine.settings.root}/shifted/{shifted}"]
    label = container.spec()["linux"].get("mountLabel")
    if label and rootfs.kind == "overlay":
        from estiva.engine.spec.labels import overlay_option

        rootfs.options.append(overlay_option(label, options.security_opt))
    return rootfs


def _forget_end(container: Container) -> None:
    """The last end is over once a new start begins."""
    for path in (f"{container.bundle}/exit", f"{container.run_dir}/stopping"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue


def _note_start(container: Container, pid: int) -> None:
    """Remember that it was started, and write the files scripts asked for."""
    options = container.options
    container.started_ns = time.time_ns()
    if not container.auto_remove:
        with container.engine.database.transaction() as change:
            change.execute("UPDATE containers SET started=? WHERE id=?", (container.started_ns, container.id))
    if options.pidfile:
        _write_text(options.pidfile, f"{pid}")
    if options.conmon_pidfile:
        _write_text(options.conmon_pidfile, f"{_parent(pid)}")


def _write_text(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _parent(pid: int) -> int:
    """The process id of the parent, which for a container is its monitor."""
    return int(read_or_empty(f"/proc/{pid}/stat").rpartition(")")[2].split()[1] or 0)
