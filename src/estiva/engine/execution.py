"""Further programs in a running container."""

from __future__ import annotations

import os

from estiva.engine.cgroups import join_paths
from estiva.engine.launching import OWN_RUNTIMES, add_seccomp, surroundings
from estiva.engine.spec.context import all_groups
from estiva.errors import Conflict, Invalid
from estiva.monitor.client import Attachment
from estiva.runtime import capabilities
from estiva.runtime.compile_exec import compile_exec
from estiva.runtime.compile_namespaces import NAMESPACES
from estiva.runtime.helper import KEEP_FROM
from estiva.runtime.launch import MonitorSpec, launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.container import Container


class Program:
    """What to run: ``argv``, terminal, standard input, ``env`` (``NAME=value``), ``user`` (``""``: the container's),
    ``workdir`` (``""``: the container's), ``privileged``, how many descriptors to pass on, the terminal's size."""

    __slots__ = ("argv", "env", "preserve_fds", "privileged", "stdin", "terminal_size", "tty", "user", "workdir")

    def __init__(
        self,
        argv: list[str],
        tty: bool,
        stdin: bool,
        env: list[str],
        user: str,
        workdir: str,
        privileged: bool,
        preserve_fds: int,
        terminal_size: os.terminal_size | None,
    ) -> None:
        self.argv = argv
        self.tty = tty
        self.stdin = stdin
        self.env = env
        self.user = user
        self.workdir = workdir
        self.privileged = privileged
        self.preserve_fds = preserve_fds
        self.terminal_size = terminal_size


class ExecSession:
    """A program that was started: its ``pid`` and, unless detached, the ``attachment`` with its output.

    A context manager that hangs up."""

    __slots__ = ("attachment", "pid")

    def __init__(self, pid: int, attachment: Attachment | None) -> None:
        self.pid = pid
        self.attachment = attachment

    def kill(self, signal: int) -> None:
        """Send a signal to the program."""
        try:
            os.kill(self.pid, signal)
        except ProcessLookupError:
            pass

    def __enter__(self) -> ExecSession:
        return self

    def __exit__(self, *_: object) -> None:
        if self.attachment is not None:
            self.attachment.close()


def execute(container: Container, program: Program, detach: bool) -> ExecSession:
    """Start the program; see :meth:`Container.exec`."""
    if not program.argv:
        raise Invalid("exec: no command given")
    state = container.state()
    if not state.pid:
        raise Conflict(
            f"can only create exec sessions on running containers: container {container.name} is {state.status}"
        )
    try:
        pidfd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        raise Conflict(f"container {container.name} has just ended") from None
    try:
        if container.state().pid != state.pid:
            raise Conflict(f"container {container.name} has just ended")
        return _launch(container, program, state.pid, pidfd, detach)
    finally:
        os.close(pidfd)


def _launch(container: Container, program: Program, pid: int, pidfd: int, detach: bool) -> ExecSession:
    engine = container.engine
    spec = container.spec()
    process = _process(container, spec, program, pid)
    around = surroundings(engine, None)
    around.preserve_fds, around.preserve_from = program.preserve_fds, KEEP_FROM + 1
    monitor = MonitorSpec()
    monitor.stdin, monitor.terminal = program.stdin, program.tty
    keep = [pidfd, *range(3, 3 + program.preserve_fds)]
    runtime = container.options.runtime or engine.settings.runtime
    if runtime not in OWN_RUNTIMES:
        from estiva.engine.foreign import compile_foreign_exec

        monitor.remove = f"{container.run_dir}/exec-{os.urandom(6).hex()}"
        work = compile_foreign_exec(container, process, around, runtime, monitor.remove)
    else:
        monitor.procs = join_paths(container)
        add_seccomp(container, spec, around, pid)
        work = compile_exec(spec, process, _namespaces(spec), KEEP_FROM, around)
    try:
        launched = launch(work, monitor, [f"estiva-exec {container.name}"], attach=not detach, keep=keep)
    except BaseException:
        if monitor.remove:
            from estiva.engine.removal import remove_tree

            remove_tree(engine, monitor.remove)
        raise
    if detach:
        os.close(launched.fd)
        return ExecSession(launched.pid, None)
    return ExecSession(launched.pid, Attachment(launched.fd))


def _namespaces(spec: dict[str, Any]) -> int:
    """The clone flags of the namespaces the container does not share with the host."""
    flags = 0
    for namespace in spec["linux"]["namespaces"]:
        flags |= NAMESPACES[namespace["type"]]
    return flags


def _process(container: Container, spec: dict[str, Any], program: Program, pid: int) -> dict[str, Any]:
    """The configuration's process with what is different for *program*."""
    process = {**spec["process"], "args": program.argv, "terminal": program.tty}
    env = list(process["env"])
    if program.user:
        from estiva.engine.identity import running_user
        from estiva.engine.spec.users import groups_to_add

        user = running_user(pid, program.user, groups_to_add(container.options.group_add))
        process["user"] = {**process["user"], "uid": user.uid, "gid": user.gid, "additionalGids": all_groups(user)}
        env = [line for line in env if not line.startswith("HOME=")] + [f"HOME={user.home}"]
    if program.tty:
        env.append("TERM=xterm")
    process["env"] = _merged(env + program.env)
    process["cwd"] = program.workdir or process["cwd"]
    process["capabilities"] = _capabilities(container, process, program.privileged)
    process.pop("consoleSize", None)
    if program.terminal_size is not None:
        size = program.terminal_size
        process["consoleSize"] = {"height": size.lines, "width": size.columns}
    return process


def _merged(lines: list[str]) -> list[str]:
    """The last value of each variable, in the order in which they first came."""
    return list({line.partition("=")[0]: line for line in lines}.values())


def _capabilities(container: Container, process: dict[str, Any], privileged: bool) -> dict[str, list[str]]:
    """As for the first process: a user other than root holds only what was added by name."""
    bounding = process["capabilities"]["bounding"]
    if privileged:
        bounding = sorted(capabilities.names(capabilities.bounding()))
    if process["user"]["uid"] == 0 or privileged:
        return {"bounding": bounding, "effective": bounding, "permitted": bounding, "inheritable": [], "ambient": []}
    added = capabilities.merge((), container.options.cap_add, ())
    own = [name for name in added if name in bounding]
    return {"bounding": bounding, "effective": own, "permitted": own, "inheritable": own, "ambient": own}
