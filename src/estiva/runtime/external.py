"""Containers by another OCI runtime: the monitor mounts the root file system in a mount namespace of its own, has the
runtime create and start the container, and follows its process, which becomes the monitor's child.

The command line is that of runc, which all of them speak.
"""

from __future__ import annotations

from estiva.runtime import plan
from estiva.runtime.compile import Surroundings, add_root, overlay
from estiva.runtime.compile_mounts import id_map
from estiva.runtime.compile_namespaces import NAMESPACES
from estiva.runtime.mount_options import MountOptions
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class ExternalRuntime:
    """``program``: name or path · ``state_root``: its ``--root`` · ``work_dir``: ours, for log and pid file of one
    start · ``console``: path for its console socket, short enough for an address of a socket · ``flags``: further
    global options."""

    __slots__ = ("console", "flags", "program", "state_root", "work_dir")

    def __init__(self, program: str, state_root: str, work_dir: str, console: str, flags: Sequence[str] = ()) -> None:
        self.program = program
        self.state_root = state_root
        self.work_dir = work_dir
        self.console = console
        self.flags = list(flags)

    def _command(self, *arguments: str) -> list[str]:
        log = ["--root", self.state_root, "--log", f"{self.work_dir}/runtime.log", "--log-format", "json"]
        return [self.program, *log, *self.flags, *arguments]

    def _files(self, terminal: bool, preserve_fds: int) -> list[str]:
        console = ["--console-socket", self.console] if terminal else []
        preserved = ["--preserve-fds", str(preserve_fds)] if preserve_fds else []
        return ["--pid-file", f"{self.work_dir}/runtime.pid", *console, *preserved]

    def _external(self, create: list[str], start: list[str], delete: list[str]) -> tuple[object, ...]:
        return create, start, delete, f"{self.work_dir}/runtime.pid", self.console, f"{self.work_dir}/runtime.log"

    def compile_run(self, container_id: str, bundle: str, spec: dict[str, Any], around: Surroundings) -> Plan:
        """The plan that creates and starts the container of *bundle*, whose configuration is *spec* but for our own
        words; ``around.mountpoint`` must be its ``root.path``."""
        out = self._enter(around).add(plan.UNSHARE, NAMESPACES["mount"])
        if around.idmap and around.rootfs is not None:
            maps = [id_map(spec["linux"].get(name), f"linux.{name}") for name in ("uidMappings", "gidMappings")]
            out.add(plan.IDMAPPED, 1, *overlay(around.rootfs)).add(plan.MAP_ROOT, *maps)
        add_root(out, around, 0 if around.idmap and around.rootfs is not None else -1)
        for path, line in around.entries:
            out.add(plan.ENTRY, path, line)
        for mount in spec.get("mounts") or ():
            _prepare(out, mount)
        terminal = bool(spec["process"].get("terminal"))
        create = self._command("create", "--bundle", bundle, *self._files(terminal, around.preserve_fds), container_id)
        delete = self._command("delete", "--force", container_id)
        out.add(plan.EXTERNAL, *self._external(create, self._command("start", container_id), delete))  # type: ignore[arg-type]
        return out.add(plan.CLONE, 0, "", "", 0)

    def compile_exec(self, container_id: str, process_path: str, around: Surroundings, *, terminal: bool) -> Plan:
        """The plan that runs the process described in the JSON file *process_path* in a running container."""
        out = self._enter(around)
        words = ["exec", "--detach", "--process", process_path, *self._files(terminal, around.preserve_fds)]
        out.add(plan.EXTERNAL, *self._external(self._command(*words, container_id), [], []))  # type: ignore[arg-type]
        return out.add(plan.CLONE, 0, "", "", 0)

    def _enter(self, around: Surroundings) -> Plan:
        out = Plan()
        if around.userns:
            out.add(plan.JOIN, around.userns, NAMESPACES["user"]).add(plan.BECOME_ROOT)
        if around.preserve_fds:
            out.add(plan.KEEP_FDS, around.preserve_fds, around.preserve_from)
        return out


def _prepare(out: Plan, mount: dict[str, Any]) -> None:
    """What our own options mean for the source of a bind."""
    options = MountOptions(mount.get("options") or ())
    if options.flags & (plan.MOUNT_COPY_UP | plan.MOUNT_CHOWN) and (options.bind or mount.get("type") == "bind"):
        out.add(plan.PREPARE, mount["source"], mount["destination"], options.flags, *options.owner)
