"""The first process: program, user, limits.  runtime-spec config.md "Process"."""

from __future__ import annotations

from estiva.engine.spec.environment import environment
from estiva.engine.spec.security import capability_sets, no_new_privileges, process_labels
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context

# What Podman asks for unless told otherwise, cut to what this process may have.
DEFAULT_LIMITS = {"RLIMIT_NOFILE": 1 << 20, "RLIMIT_NPROC": 1 << 22}
LIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
UNLIMITED = (1 << 64) - 1


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
    return {"uid": who.uid, "gid": who.gid, "umask": mask, "additionalGids": who.groups}


def working_directory(options: ContainerOptions, context: Context) -> str:
    """The absolute path the program starts in."""
    path = options.workdir or context.image.get("WorkingDir") or "/"
    if not path.startswith("/"):
        raise Invalid(f"working directory {path!r}: not an absolute path")
    return str(path)


def rlimits(options: ContainerOptions, context: Context) -> list[dict[str, Any]]:
    """The resource limits asked for; defaults are cut to the hard limits this process has.  setrlimit(2)"""
    asked = list(options.ulimit) or list(context.conf.get("default_ulimits") or ())
    if "host" in asked:
        return []
    given = dict(map(parse_ulimit, asked))
    limits: dict[str, tuple[int, int]] = {}
    for name, value in DEFAULT_LIMITS.items():
        hard = context.host.rlimits.get(name, (value, value))[1]
        if name not in given:
            value = min(value, hard)
            limits[name] = (value, value)
    limits.update(given)
    return [{"type": name, "soft": soft, "hard": hard} for name, (soft, hard) in sorted(limits.items())]


def parse_ulimit(text: str) -> tuple[str, tuple[int, int]]:
    """Limit name (``RLIMIT_…``) and (soft, hard) of ``name=soft[:hard]``; ``-1`` and ``unlimited`` mean no limit."""
    name, equals, values = text.partition("=")
    name = name.strip().lower().removeprefix("rlimit_")
    if name not in LIMITS:
        raise Invalid(f"ulimit {text!r}: no limit is called {name!r}", f"choose from {', '.join(LIMITS)}")
    soft_text, _, hard_text = values.partition(":")
    try:
        soft = _limit(soft_text)
        hard = _limit(hard_text) if hard_text else soft
    except ValueError:
        raise Invalid(f"ulimit {text!r}: not of the form {name}=SOFT[:HARD]") from None
    if not equals or soft > hard:
        raise Invalid(f"ulimit {text!r}: the soft limit must not be above the hard one")
    return f"RLIMIT_{name.upper()}", (soft, hard)


def _limit(text: str) -> int:
    if text in ("-1", "unlimited"):
        return UNLIMITED
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value
