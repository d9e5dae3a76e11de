"""The first process: program, user, limits.  runtime-spec config.md "Process"."""

from __future__ import annotations

from estiva.engine.spec.context import all_groups
from estiva.engine.spec.environment import environment
from estiva.engine.spec.security import capability_sets, no_new_privileges, process_labels
from estiva.errors import Invalid
from estiva.runtime.rlimits import parse_ulimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context
    from estiva.runtime.rlimits import Rlimit

# What Podman asks for unless told otherwise, cut to what this process may have.
DEFAULT_LIMITS = {"RLIMIT_NOFILE": 1 << 20, "RLIMIT_NPROC": 1 << 22}


def process(options: ContainerOptions, context: Context) -> dict[str, Any]:
    """The ``process`` object."""
    document: dict[str, Any] = {
        "terminal": bool(options.tty),
        "user": user(options, context),
        "args": arguments(options, context),
        "env": environment(options, context),
        "cwd": working_directory(options, context),
        "capabilities": capability_sets(options, context),
        "rlimits": rlimits(options, context),
        "noNewPrivileges": no_new_privileges(options),
        **process_labels(options, context),
    }
    if options.oom_score_adj is not None:
        document["oomScoreAdj"] = options.oom_score_adj
    return document


def arguments(options: ContainerOptions, context: Context) -> list[str]:
    """Program and arguments: entrypoint, then command; the image's command only where no entrypoint was given."""
    entrypoint = options.entrypoint
    if entrypoint is None:
        entrypoint = context.image.get("Entrypoint") or []
    command = options.command
    if not command and not options.entrypoint:
        command = context.image.get("Cmd") or []
    args = [*entrypoint, *command]
    if not args:
        raise Invalid(f"container {context.name}: the image names no program to run", "give a command")
    return args


def user(options: ContainerOptions, context: Context) -> dict[str, Any]:
    """The ids and umask the program starts with."""
    who = context.user
    umask = options.umask or context.conf.get("umask") or "0022"
    try:
        mask = int(umask, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise Invalid(f"umask {umask!r}: not an octal number up to 0777")
    return {"uid": who.uid, "gid": who.gid, "umask": mask, "additionalGids": all_groups(who)}


def working_directory(options: ContainerOptions, context: Context) -> str:
    """The absolute path the program starts in."""
    path = options.workdir or context.image.get("WorkingDir") or "/"
    if not path.startswith("/"):
        raise Invalid(f"working directory {path!r}: not an absolute path")
    return str(path)


def rlimits(options: ContainerOptions, context: Context) -> list[Rlimit]:
    """The resource limits asked for; defaults are cut to the hard limits this process cannot raise.  setrlimit(2)"""
    asked = list(options.ulimit) or list(context.conf.get("default_ulimits") or ())
    if "host" in asked:
        return []
    limits: dict[str, Rlimit] = {}
    for kind, value in DEFAULT_LIMITS.items():
        value = min(value, context.host.rlimits.get(kind, value))
        limits[kind] = {"type": kind, "soft": value, "hard": value}
    for text in asked:
        entry = parse_ulimit(text)
        limits[entry["type"]] = entry
    return list(limits.values())
