"""The process of an OCI configuration as operations of a plan.  Pure.  runtime-spec config.md "Process" """

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime import capabilities, plan
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.compile import Surroundings
    from estiva.runtime.landlock import Arguments

ANNOTATION = "org.estiva.landlock"  # see runtime/landlock.py

RLIMITS = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}  # fmt: skip


def add_console(out: Plan, process: dict[str, Any], bind: int) -> None:
    """A terminal as standard streams; *bind*: mounted on /dev/console too."""
    size = process.get("consoleSize") or {}
    uid = (process.get("user") or {}).get("uid", 0)
    out.add(plan.CONSOLE, size.get("height", 0), size.get("width", 0), uid, bind)


def landlock(spec: dict[str, Any]) -> Arguments | None:
    """The Landlock rules of the configuration, if it has any."""
    annotations = spec.get("annotations")
    if not annotations or ANNOTATION not in annotations:
        return None
    from estiva.runtime.landlock import from_annotations

    return from_annotations(annotations)


def add_agent(out: Plan, around: Surroundings) -> None:
    """Who gets the listener of the filter: for the monitor, so before CLONE."""
    if around.seccomp_agent[0]:
        out.add(plan.AGENT, *around.seccomp_agent)


def add_process(out: Plan, spec: dict[str, Any], process: dict[str, Any], around: Surroundings) -> None:
    """The *process* of a container of the configuration *spec*, from root of the container to the program, in the order
    in which privileges may be given up; the hooks that come right before the program included.

    Raises Invalid naming the field that makes no sense.
    """
    args = process.get("args")
    if not args:
        raise Invalid("process.args: empty; there is no program to run")
    user = process.get("user") or {}
    for limit in process.get("rlimits") or ():
        if limit["type"] not in RLIMITS:
            raise Invalid(f"process.rlimits: type {limit['type']!r} is unknown")
        out.add(plan.RLIMIT, RLIMITS[limit["type"]], limit["soft"], limit["hard"])
    out.add(plan.KEYRING)
    no_new_privileges = bool(process.get("noNewPrivileges"))
    if no_new_privileges:
        out.add(plan.NO_NEW_PRIVILEGES)
    if around.preserve_fds:
        out.add(plan.KEEP_FDS, around.preserve_fds, around.preserve_from)
    caps = process.get("capabilities")
    if caps is not None:
        out.add(plan.BOUNDING, capabilities.bits(caps.get("bounding") or ()))
    # The working directory may be one only the user may enter, or only root may make: once each.
    out.add(plan.CHDIR, process.get("cwd") or "/", 1)
    groups = [] if around.deny_setgroups else list(user.get("additionalGids") or ())
    out.add(plan.IDS, user.get("uid", 0), user.get("gid", 0), int(not around.deny_setgroups), groups)
    if user.get("umask") is not None:
        out.add(plan.UMASK, user["umask"])
    fence = landlock(spec)
    if fence:
        out.add(plan.LANDLOCK, *fence)
    if around.seccomp and not no_new_privileges:  # then only a capable process may load a filter
        out.add(plan.SECCOMP, around.seccomp_flags, around.seccomp)
    if caps is not None:
        sets = [
            capabilities.bits(caps.get(kind) or ()) for kind in ("effective", "permitted", "inheritable", "ambient")
        ]
        out.add(plan.CAPABILITIES, *sets)
    # As late as can be, so that the filter need not allow what we do; but the agent is told while somebody is there.
    late = Plan()
    if around.seccomp and no_new_privileges:
        late.add(plan.SECCOMP, around.seccomp_flags, around.seccomp)
    if around.seccomp_agent[0]:
        out.extend(late)
    if around.start_socket:
        out.add(plan.PROGRAM, list(args), list(process.get("env") or ()))
        out.add(plan.WAIT_START)
    if spec.get("hooks"):
        from estiva.runtime import hooks

        # Before the filter that comes last: the hooks load it themselves, while this process still has to fork.
        filtered = no_new_privileges and not around.seccomp_agent[0]
        hooks.add_hooks(out, spec, "startContainer", "created", around, filtered=filtered)
    if not around.seccomp_agent[0]:
        out.extend(late)
    if around.init:
        out.add(plan.INIT)
    out.add(plan.EXEC, list(args), list(process.get("env") or ()))
