"""Containers by another OCI runtime: the monitor mounts the root file system in a mount namespace of its own, has the
runtime create and start the container, and follows its process, which becomes the monitor's child.

The command line is that of runc, which all of them speak.
"""

from __future__ import annotations

from estiva.runtime import plan
from estiva.runtime.compile import Surroundings, add_root
from estiva.runtime.compile_namespaces import NAMESPACES
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class ExternalRuntime:
    """``program``: name or path · ``state_root``: its ``--root`` · ``work_dir``: ours, for log, pid file and console
    socket · ``flags``: further global options."""

    __slots__ = ("flags", "program", "state_root", "work_dir")

    def __init__(self, program: str, state_root: str, work_dir: str, flags: Sequence[str] = ()) -> None:
        self.program = program
        self.state_root = state_root
        self.work_dir = work_dir
        self.flags = list(flags)

    def _command(self, *arguments: str) -> list[str]:
        log = ["--root", self.state_root, "--log", f"{self.work_dir}/runtime.log", "--log-format", "json"]
        return [self.program, *log, *self.flags, *arguments]

    def _files(self, terminal: bool) -> list[str]:
        console = ["--console-socket", f"{self.work_dir}/console"] if terminal else []
        return ["--pid-file", f"{self.work_dir}/runtime.pid", *console]

    def _external(self, create: list[str], start: list[str], delete: list[str]) -> tuple[object, ...]:
        names = ("runtime.pid", "console", "runtime.log")
        return create, start, delete, *(f"{self.work_dir}/{name}" for name in names)

    def compile_run(self, container_id: str, bundle: str, around: Surroundings, *, terminal: bool) -> Plan:
        """The plan that creates and starts the container of *bundle*; ``around.mountpoint`` must be its
        configuration's ``root.path``."""
        out = self._enter(around).add(plan.UNSHARE, NAMESPACES["mount"])
        add_root(out, around)
        create = self._command("create", "--bundle", bundle, *self._files(terminal), container_id)
        delete = self._command("delete", "--force", container_id)
        out.add(plan.EXTERNAL, *self._external(create, self._command("start", container_id), delete))  # type: ignore[arg-type]
        return out.add(plan.CLONE, 0, "", "", 0)

    def compile_exec(self, container_id: str, process_path: str, around: Surroundings, *, terminal: bool) -> Plan:
        """The plan that runs the process described in the JSON file *process_path* in a running container."""
        out = self._enter(around)
        words = ["exec", "--detach", "--process", process_path, *self._files(terminal), container_id]
        out.add(plan.EXTERNAL, *self._external(self._command(*words), [], []))  # type: ignore[arg-type]
        return out.add(plan.CLONE, 0, "", "", 0)

    def _enter(self, around: Surroundings) -> Plan:
        out = Plan()
        if around.userns:
            out.add(plan.JOIN, around.userns, NAMESPACES["user"]).add(plan.BECOME_ROOT)
        return out
