"""``create`` and ``start``: a bundle becomes a process that waits, with everything around it; then it executes.

:func:`make` is the whole of it, also for ``run``, which does not wait between the two: no socket is made then, and the
program runs as soon as its surroundings are there.
"""

from __future__ import annotations

import os
import sys

from estiva.errors import Conflict, EstivaError, Invalid
from estiva.runtime import seccomp
from estiva.runtime.cgroup import driver, hierarchy, mounts
from estiva.runtime.cli import bundle, cgroups, possible, records
from estiva.runtime.compile import Surroundings, compile_plan
from estiva.runtime.helper import KEEP_FROM
from estiva.runtime.launch import Launched, confirm, launch_child, settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cgroup.hierarchy import Hierarchies
    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.notify import Proxy
    from estiva.runtime.cli.options import Options
    from estiva.runtime.cli.records import Record

SIGKILL = 9  # the signal module would bring enum


class Making:
    """How a container is to be made.  ``console``: a socket that gets the terminal's master · ``pass_fds``: how many
    descriptors after the standard streams the program gets · ``wait``: for ``start`` · ``no_pivot`` · ``keyring``: a
    new one · ``begun``: called while the process sets itself up."""

    __slots__ = ("begun", "console", "keyring", "no_pivot", "pass_fds", "pid_file", "wait")

    def __init__(self, options: Options, wait: bool) -> None:
        path = options.text("console-socket")
        self.console = os.path.abspath(path) if path else ""
        self.pass_fds = 0
        self.begun: Callable[[], None] | None = None
        self.wait = wait
        self.no_pivot = options.switch("no-pivot")
        self.pid_file = os.path.abspath(options.text("pid-file")) if options.text("pid-file") else ""
        self.keyring = not options.switch("no-new-keyring")


class Made:
    """A container that was made: its record and cgroup, and who passes its notifications on, if ``run`` is to."""

    __slots__ = ("handle", "notify", "record")

    def __init__(self, record: Record, handle: CgroupHandle) -> None:
        self.record = record
        self.handle = handle
        self.notify: Proxy | None = None


def command_create(context: Context, options: Options) -> int:
    from estiva.runtime.cli.streams import check_console, passed_descriptors

    directory = os.path.abspath(options.text("bundle") or ".")
    spec = bundle.load(directory)
    making = Making(options, wait=True)
    check_console(bool(spec["process"].get("terminal")), True, making.console)
    making.pass_fds = passed_descriptors(options, spec["process"])
    make(context, options.operands[0], directory, spec, making)
    return 0


def command_start(context: Context, options: Options) -> int:
    start(records.find(context.root, options.operands[0]))
    return 0


def make(
    context: Context, container_id: str, directory: str, spec: dict[str, Any], making: Making,
    restore: Callable[[Record, CgroupHandle], int] | None = None,
) -> Made:  # fmt: skip
    """Make the container of the checked configuration *spec*; on failure nothing is left.

    Its process is our child, waiting for :func:`start` or running its program; or it is the one whose number *restore*
    returns.
    """
    hierarchies = hierarchy.detect()
    where = cgroups.place(context, hierarchies, spec, container_id)
    base = (spec.get("linux") or {}).get("seccomp")
    if context.learn:
        from estiva.runtime.learning import watched

        directory_of_record = f"{context.root}/{records.check_id(container_id)}"
        spec["linux"] = {**(spec.get("linux") or {}), "seccomp": watched(base, directory_of_record)}
    learning = -1
    record = records.new(context.root, container_id, spec, directory, where.fields())
    made = Made(record, driver.open_handle(hierarchies, ""))
    try:
        if os.environ.get("NOTIFY_SOCKET"):
            _notify(made, spec, making)
        adapt(context, spec, spec["process"])
        made.handle = cgroups.create(where, hierarchies, spec)
        record.fields["cgroup_path"] = made.handle.path
        _resource_director(record, spec)
        if context.learn:
            from estiva.runtime.learning import start_agent

            learning = start_agent(base, context.learn, record.directory)
        if restore is None:
            launched = _launch(context, made, spec, hierarchies, making)
        else:
            record.fields["restored"] = True
            record.save()
            launched = Launched(restore(record, made.handle), os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC))
            record.set_process(launched.pid)
        made.handle.release()
        try:
            if making.pid_file:
                records.write_whole(making.pid_file, str(launched.pid))
            record.fields["ready"] = True
            record.save()
            confirm(launched)
        except BaseException:
            os.kill(launched.pid, SIGKILL)
            os.waitpid(launched.pid, 0)
            raise
        finally:
            settle(launched)
    except BaseException:
        made.handle.remove(kill=record.may_have_processes)
        record.leave_resource_director()
        if record.pid:
            run_hooks(record, spec, ("poststop",), "stopped")
        record.remove()
        raise
    finally:
        if learning >= 0:
            os.close(learning)
    record.unlock()
    return made


def _resource_director(record: Record, spec: dict[str, Any]) -> None:
    """Make the container's class of service, if it is to have one (``linux.intelRdt``)."""
    wanted = (spec.get("linux") or {}).get("intelRdt")
    if wanted is not None:
        from estiva.runtime import intel_rdt

        record.fields["intel_rdt"] = intel_rdt.create(wanted, record.container_id).fields()
        record.save()


def _notify(made: Made, spec: dict[str, Any], making: Making) -> None:
    """Let the container's notifications come to us: now, or to whoever starts it."""
    from estiva.runtime.cli import notify

    notify.prepare(made.record.directory, spec)
    made.record.fields["notify"] = True
    if not making.wait:
        made.notify = notify.Proxy(made.record)


def _launch(context: Context, made: Made, spec: dict[str, Any], hierarchies: Hierarchies, making: Making) -> Launched:
    record, handle = made.record, made.handle
    around = surroundings(record, spec, making.pass_fds)
    around.no_pivot = making.no_pivot
    around.confirm_fd = KEEP_FROM + making.pass_fds
    if making.wait:
        around.start_socket = record.start_socket
    around.cgroup_mounts = mounts.file_systems(hierarchies)
    kinds = {entry.get("type") for entry in (spec.get("linux") or {}).get("namespaces") or () if not entry.get("path")}
    if "cgroup" not in kinds:
        spec = {**spec, "mounts": mounts.bound(list(spec.get("mounts") or ()), hierarchies, handle)}
    around.keyring = making.keyring
    work = compile_plan(spec, around)
    context.log.debug(f"plan of {record.container_id}: {str(work)!r}" if context.log.verbose else "")

    def note(launched: Launched) -> None:
        record.set_process(launched.pid)
        if record.fields.get("intel_rdt"):
            from estiva.runtime.intel_rdt import Group

            Group(**record.fields["intel_rdt"]).join(launched.pid)
        if not making.wait:
            confirm(launched)
        if making.begun:
            making.begun()

    return launch_child(
        work,
        handle.procs_paths,
        ["estiva-runtime", record.container_id],
        note,
        on_sync=lambda _: run_hooks(record, spec, ("prestart", "createRuntime"), "creating"),
        keep=range(3, 3 + making.pass_fds),
        terminal=bool(spec["process"].get("terminal")),
        console=making.console,
    )


def surroundings(record: Record, spec: dict[str, Any], pass_fds: int) -> Surroundings:
    """What the compiler needs to know that the configuration does not say; filters are cached beside the records."""
    linux = spec.get("linux") or {}
    around = Surroundings(spec["root"]["path"])
    around.bind_devices = cgroups.is_rootless()
    sizes = [entry.get("size") for entry in linux.get("gidMappings") or ()]
    around.deny_setgroups = os.geteuid() != 0 and sizes == [1]
    if around.deny_setgroups and (spec["process"].get("user") or {}).get("additionalGids"):
        raise Invalid("process.user.additionalGids: cannot set any additional groups in a rootless container")
    if linux.get("seccomp"):
        around.seccomp = seccomp.compile_cached(linux["seccomp"], os.path.dirname(record.directory) + "/.seccomp")
        around.seccomp_flags = seccomp.filter_flags(linux["seccomp"])
        state = record.state("" if record.pid else "creating")
        around.seccomp_agent = seccomp.agent(linux["seccomp"], state, executed=bool(record.pid))
    around.selinux = bool(linux.get("mountLabel")) and os.path.exists("/sys/fs/selinux/enforce")
    if spec.get("hooks"):
        around.state = record.state("creating")
    if pass_fds:
        around.preserve_fds, around.preserve_from = pass_fds, KEEP_FROM
    return around


def adapt(context: Context, spec: dict[str, Any], process: dict[str, Any]) -> None:
    """Make *process* one that this machine can give the container of *spec*, and warn of what it cannot."""
    user_namespace = any(entry.get("type") == "user" for entry in (spec.get("linux") or {}).get("namespaces") or ())
    for warning in possible.adapt(process, rootless=cgroups.is_rootless(), user_namespace=user_namespace):
        context.log.warning(warning)


def run_hooks(record: Record, spec: dict[str, Any], names: tuple[str, ...], status: str) -> None:
    """Run the hooks of these names in this process's namespaces; those after the container's end only warn.

    runtime-spec config.md "POSIX-platform Hooks"
    """
    if not spec.get("hooks"):
        return
    from estiva.runtime import hooks

    for warning in hooks.run(spec, names, record.state(status), warn=status == "stopped"):
        sys.stderr.write(f"estiva-runtime: {warning}\n")


def start(record: Record) -> None:
    """Let the program of a created container run.  Raises the kind of failure that executing it met."""
    status = record.status()
    if status != "created":
        how = {
            "stopped": "cannot start a container that has stopped",
            "creating": "cannot start a container that is being created",
        }
        told = how.get(status, "cannot start an already running container")
        raise Conflict(f'starting container "{record.container_id}": {told}')
    proxy = None
    if record.fields.get("notify") and os.environ.get("NOTIFY_SOCKET"):
        from estiva.runtime.cli.notify import Proxy

        proxy = Proxy(record)
    message = _release(record)
    if message[:1] == b"F":
        from estiva.runtime.failure import decode

        raise decode(message[1:])
    after_start(record, record.config())
    if proxy is not None:
        proxy.wait_ready(record.pid)


def after_start(record: Record, spec: dict[str, Any]) -> None:
    """What comes when the program runs; that it fails ends the container."""
    try:
        run_hooks(record, spec, ("poststart",), "running")
    except EstivaError:
        if record.alive():
            os.kill(record.pid, SIGKILL)
        raise


def _release(record: Record) -> bytes:
    """Connect, which the container's process waits for; what it says then: nothing if its program runs."""
    from estiva.linux.unix import connect

    try:
        fd = connect(record.start_socket)
        try:
            try:
                os.unlink(record.start_socket)
            except FileNotFoundError:
                pass  # by another start, which came second: whose connection is accepted is told by the next line
            return os.read(fd, 4096)
        finally:
            os.close(fd)
    except (ConnectionError, FileNotFoundError) as error:
        raise Conflict(
            f'starting container "{record.container_id}": its process was killed, or another started it'
        ) from error
