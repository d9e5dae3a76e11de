"""``exec``: one more program in a running container."""

from __future__ import annotations

import json
import os

from estiva.errors import Conflict, Invalid
from estiva.runtime import capabilities, plan
from estiva.runtime.cli.bundle import check_process
from estiva.runtime.cli.create import lower_rlimits, surroundings
from estiva.runtime.compile import NAMESPACES
from estiva.runtime.compile_exec import compile_exec
from estiva.runtime.helper import KEEP_FROM
from estiva.runtime.launch import MonitorSpec, launch
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cli.options import Options
    from estiva.runtime.cli.records import Record

# The kernel's names of namespaces in /proc/PID/ns, where they are not the OCI's
_PROC_NAMES = {"mount": "mnt", "network": "net"}


def process_of(options: Options, spec: dict[str, Any], args: list[str]) -> dict[str, Any]:
    """The process that ``exec`` is asked for: a JSON file, or *args* and options over the container's own process."""
    if options.text("process"):
        with open(options.text("process"), "rb") as file:
            process = json.loads(file.read())
        if not isinstance(process, dict):
            raise Invalid(f"{options.text('process')}: not an object")
    else:
        process = dict(spec.get("process") or {})
        process["args"] = args
        process["terminal"] = options.switch("tty")
        process["env"] = [*(process.get("env") or ()), *options.many("env")]
        process["cwd"] = options.text("cwd") or process.get("cwd") or "/"
        _user(process, options)
        if options.many("cap"):
            _add_capabilities(process, options.many("cap"))
        if options.switch("no-new-privs"):
            process["noNewPrivileges"] = True
    check_process(process)
    return process


def _user(process: dict[str, Any], options: Options) -> None:
    user = dict(process.get("user") or {})
    text = options.text("user")
    if text:
        uid, _, gid = text.partition(":")
        if not uid.isdigit() or (gid and not gid.isdigit()):
            raise Invalid(f'option --user: "{text}" is not UID[:GID]')
        user = {"uid": int(uid), "gid": int(gid or 0)}
    if options.many("additional-gids"):
        user["additionalGids"] = [int(gid) for gid in options.many("additional-gids")]
    process["user"] = user


def _add_capabilities(process: dict[str, Any], added: list[str]) -> None:
    sets = dict(process.get("capabilities") or {})
    names = [capabilities.normalize(name) for name in added]
    for kind in ("bounding", "effective", "permitted"):
        sets[kind] = sorted({*(sets.get(kind) or ()), *names})
    process["capabilities"] = sets


def execute(record: Record, process: dict[str, Any], *, console: str = "", preserve_fds: int = 0) -> int:
    """Start *process* in the container; returns its process id.  *console* is as in :func:`.create.create`."""
    status = record.status()
    if status not in ("running", "created"):
        raise Conflict(f'executing in container "{record.container_id}": it is {status}')
    if bool(process.get("terminal")) != bool(console):
        raise Invalid("a terminal needs a console socket when detached, and nothing else does", "see --console-socket")
    spec = record.config()
    lower_rlimits(process)
    around = surroundings(record, spec, preserve_fds)
    if preserve_fds:
        around.preserve_from = KEEP_FROM + 1
    pidfd = os.pidfd_open(record.pid)
    try:
        work = Plan().add(plan.ORPHAN, "", os.path.abspath(console) if console else "")
        work.extend(compile_exec(spec, process, namespaces_of(record.pid), KEEP_FROM, around))
        monitor = MonitorSpec()
        monitor.procs = record.cgroup().procs_paths
        monitor.terminal = bool(console)
        kept = [pidfd, *range(3, 3 + preserve_fds)]
        launched = launch(work, monitor, ["estiva-runtime", record.container_id], keep=kept, own_stdio=False)
    finally:
        os.close(pidfd)
    os.close(launched.fd)
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
