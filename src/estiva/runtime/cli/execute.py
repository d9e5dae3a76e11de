"""``exec``: one more program in a running container."""

from __future__ import annotations

import os

from estiva.errors import Conflict, Denied, Invalid, NotFound
from estiva.runtime import capabilities
from estiva.runtime.cli import cgroups, records
from estiva.runtime.cli.bundle import check_process
from estiva.runtime.cli.create import SIGKILL, adapt, surroundings
from estiva.runtime.cli.streams import check_console, passed_descriptors
from estiva.runtime.compile_exec import compile_exec
from estiva.runtime.compile_namespaces import NAMESPACES
from estiva.runtime.helper import KEEP_FROM
from estiva.runtime.launch import confirm, launch_child, settle
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.options import Options
    from estiva.runtime.cli.records import Record

# The kernel's names of namespaces in /proc/PID/ns, where they are not the OCI's
_PROC_NAMES = {"mount": "mnt", "network": "net"}
# What the container's process has is also for a process from a file that does not say otherwise, as in runc.
_OF_THE_CONTAINER = ("apparmorProfile", "capabilities", "oomScoreAdj", "rlimits", "selinuxLabel")


def command_exec(context: Context, options: Options) -> int:
    record = records.find(context.root, options.operands[0])
    _check_status(record, options.switch("ignore-paused"))
    spec = record.config()
    process = process_of(options, spec, options.operands[1:])
    detached, terminal = options.switch("detach"), bool(process.get("terminal"))
    console = os.path.abspath(options.text("console-socket")) if options.text("console-socket") else ""
    check_console(terminal, detached, console)
    pass_fds = passed_descriptors(options, process, activated=False)
    cgroups.approach(record)
    procs = _procs(record, options.many("cgroup"))
    streams = None
    if not detached:
        from estiva.runtime.cli.foreground import Streams

        given = None
        if terminal:
            from estiva.runtime.cli.console import Console

            given = Console()
            console = given.path
        streams = Streams(given)
    try:
        pid = execute(context, record, spec, process, procs, console=console, pass_fds=pass_fds)
        if options.text("pid-file"):
            _write_pid_file(os.path.abspath(options.text("pid-file")), pid)
        if streams is None:
            return 0
        from estiva.runtime.cli.foreground import wait

        return wait(pid, streams)
    finally:
        if streams:
            streams.close()


def _write_pid_file(path: str, pid: int) -> None:
    """A process that cannot be told of is not left."""
    try:
        records.write_whole(path, str(pid))
    except OSError:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)
        raise


def _check_status(record: Record, ignore_paused: bool) -> None:
    status = record.status()
    if status == "stopped":
        raise Conflict(f'container "{record.container_id}": cannot exec in a stopped container')
    if status == "paused" and not ignore_paused:
        raise Conflict(
            f'container "{record.container_id}": cannot exec in a paused container (use --ignore-paused to override)'
        )
    if status == "creating":
        raise Conflict(f'container "{record.container_id}": cannot exec in a container that is being created')


def process_of(options: Options, spec: dict[str, Any], args: list[str]) -> dict[str, Any]:
    """The process that ``exec`` is asked for: a JSON file, or *args* and options over the container's own process."""
    path = options.text("process")
    if path:
        if args:
            raise Invalid("exec: a command beside --process", "give one of them")
        process = _read_process(path)
    else:
        if not args:
            raise Invalid("exec: process args cannot be empty", "name a command, or a file by --process")
        process = dict(spec.get("process") or {})
        process["args"] = args
        process["terminal"] = False
        process["env"] = [*(process.get("env") or ()), *options.many("env")]
        process["cwd"] = options.text("cwd") or process.get("cwd") or "/"
        _user(process, options)
        if options.many("cap"):
            _add_capabilities(process, options.many("cap"))
        if options.given("no-new-privs"):
            process["noNewPrivileges"] = options.switch("no-new-privs")
        for option, field in (("process-label", "selinuxLabel"), ("apparmor", "apparmorProfile")):
            if options.text(option):
                process[field] = options.text(option)
    for field in _OF_THE_CONTAINER:
        if process.get(field) is None and (spec.get("process") or {}).get(field) is not None:
            process[field] = spec["process"][field]
    if options.given("tty"):
        process["terminal"] = options.switch("tty")
    check_process(process)
    return process


def _read_process(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        try:
            process = json.loads(file.read())
        except ValueError as error:
            raise Invalid(f"reading {path}: {error}") from error
    if not isinstance(process, dict):
        raise Invalid(f"{path}: not an object")
    return process


def _user(process: dict[str, Any], options: Options) -> None:
    user = dict(process.get("user") or {})
    text = options.text("user")
    if text:
        uid, _, gid = text.partition(":")
        if not uid.isdecimal() or (gid and not gid.isdecimal()):
            raise Invalid(f'option --user: "{text}" is not UID[:GID]')
        user["uid"] = int(uid)
        if gid:
            user["gid"] = int(gid)
    for gid in options.many("additional-gids"):
        if not gid.isdecimal():
            raise Invalid(f'option --additional-gids: "{gid}" is not a number')
        user["additionalGids"] = [*(user.get("additionalGids") or ()), int(gid)]
    process["user"] = user


def _add_capabilities(process: dict[str, Any], added: list[str]) -> None:
    sets = dict(process.get("capabilities") or {})
    names = [capabilities.normalize(name) for name in added]
    for kind in ("bounding", "effective", "permitted"):
        sets[kind] = sorted({*(sets.get(kind) or ()), *names})
    process["capabilities"] = sets


def _procs(record: Record, wanted: list[str]) -> list[str]:
    """The cgroup.procs files to join by: the container's, or those of the sub-cgroups that ``--cgroup`` names."""
    handle = record.cgroup()
    procs = list(handle.procs_paths)
    for entry in wanted:
        controllers, _, path = entry.rpartition(":")
        if ".." in path.split("/"):
            raise Invalid(f'option --cgroup: "{path}" leads out of the container\'s cgroup')
        directories = _directories(handle, [name for name in controllers.split(",") if name], entry)
        for directory in directories:
            target = f"{directory}/{path.strip('/')}".rstrip("/")
            if not os.path.isdir(target):
                raise NotFound(f'option --cgroup: there is no cgroup "{path}" below that of "{record.container_id}"')
            procs[procs.index(f"{directory}/cgroup.procs")] = f"{target}/cgroup.procs"
    return procs


def _directories(handle: CgroupHandle, controllers: list[str], entry: str) -> list[str]:
    """The container's cgroup directories that belong to *controllers*; without any, all."""
    if not controllers:
        return list(handle.dirs)
    found = [handle.v1_dir(name) or handle.v1_dir(f"name={name}") or "" for name in controllers]
    if "" in found:
        raise Invalid(f'option --cgroup: "{entry}": there is no v1 controller {controllers[found.index("")]} here')
    return list(dict.fromkeys(found))


def execute(
    context: Context, record: Record, spec: dict[str, Any], process: dict[str, Any], procs: list[str], *,
    console: str, pass_fds: int,
) -> int:  # fmt: skip
    """Start *process* in the container as a child of this process; returns its process id."""
    adapt(context, spec, process)
    around = surroundings(record, {**spec, "process": process}, pass_fds)
    if pass_fds:
        around.preserve_from = KEEP_FROM + 1
    around.confirm_fd = KEEP_FROM + 1 + pass_fds
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        raise Conflict(f'container "{record.container_id}": cannot exec in a stopped container') from None
    try:
        work = compile_exec(spec, process, namespaces_of(record.pid), KEEP_FROM, around)
        context.log.debug(f"plan of exec in {record.container_id}: {str(work)!r}" if context.log.verbose else "")
        launched = launch_child(
            work,
            procs,
            ["estiva-runtime", record.container_id],
            confirm,
            keep=[pidfd, *range(3, 3 + pass_fds)],
            terminal=bool(process.get("terminal")),
            console=console,
        )
    except Denied:
        if not record.alive():
            raise Conflict(f'container "{record.container_id}": cannot exec in a stopped container') from None
        raise
    finally:
        os.close(pidfd)
    settle(launched)
    return launched.pid


def namespaces_of(pid: int) -> int:
    """The clone flags of the namespaces in which *pid* is and this process is not."""
    result = 0
    for kind, flag in NAMESPACES.items():
        name = _PROC_NAMES.get(kind, kind)
        try:
            if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
                result |= flag
        except FileNotFoundError:
            continue  # a kind this kernel does not have
    return result
