"""The process of an OCI configuration as operations of a plan.  Pure.  runtime-spec config.md "Process" """

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime import capabilities, plan
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from estiva.runtime.compile import Surroundings
    from estiva.runtime.landlock import Arguments

ANNOTATION = "org.estiva.landlock"  # see runtime/landlock.py
DEFAULT_UMASK = 0o022  # not the caller's, so that a container is the same whoever starts it

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


def add_labels(out: Plan, process: dict[str, Any]) -> None:
    """What security modules shall call the program: while the host's /proc and /sys are seen by these names."""
    if process.get("selinuxLabel") or process.get("apparmorProfile"):
        out.add(plan.LABELS, process.get("apparmorProfile") or "", process.get("selinuxLabel") or "")


def add_process(
    out: Plan,
    spec: dict[str, Any],
    process: dict[str, Any],
    around: Surroundings,
    *,
    entering: bool = False,
    make_cwd: bool = True,
) -> None:
    """The *process* of a container of the configuration *spec*, from root of the container to the program, in the order
    in which privileges may be given up; the hooks that come right before the program included.

    *entering*: it has joined a pid namespace, but is not in it yet · *make_cwd*: a working directory that is not there
    is made.  Raises Invalid naming the field that makes no sense.
    """
    args, env = process.get("args"), process.get("env") or ()
    if not args:
        raise Invalid("process.args: empty; there is no program to run")
    user = process.get("user") or {}
    add_limits(out, process)
    if around.keyring:
        out.add(plan.KEYRING)
    _settings(out, spec, process)
    no_new_privileges = bool(process.get("noNewPrivileges"))
    if no_new_privileges:
        out.add(plan.NO_NEW_PRIVILEGES)
    if around.preserve_fds:
        out.add(plan.KEEP_FDS, around.preserve_fds, around.preserve_from)
    if not any(entry.startswith("HOME=") for entry in env):
        out.add(plan.HOME, user.get("uid", 0))
    caps = process.get("capabilities") or {}
    out.add(plan.BOUNDING, capabilities.known_bits(caps.get("bounding")))
    # The working directory may be one only the user may enter, or only root may make: once each.
    out.add(plan.CHDIR, process.get("cwd") or "/", int(make_cwd))
    groups = [] if around.deny_setgroups else list(user.get("additionalGids") or ())
    out.add(plan.IDS, user.get("uid", 0), user.get("gid", 0), int(not around.deny_setgroups), groups)
    out.add(plan.UMASK, DEFAULT_UMASK if user.get("umask") is None else user["umask"])
    fence = landlock(spec)
    if fence:
        out.add(plan.LANDLOCK, *fence)
    notifies = bool(around.seccomp_agent[0])
    enter = Plan()
    if entering:
        enter.add(plan.FORK_INSIDE, int(bool(process.get("terminal"))))
    if notifies and not no_new_privileges:  # the agent is to hear the number of the process that is filtered
        out.extend(enter)
    if around.seccomp and not no_new_privileges:  # then only a capable process may load a filter
        out.add(plan.SECCOMP, around.seccomp_flags, around.seccomp)
    sets = [capabilities.known_bits(caps.get(kind)) for kind in ("effective", "permitted", "inheritable", "ambient")]
    out.add(plan.CAPABILITIES, *sets)
    if not (notifies and not no_new_privileges):
        out.extend(enter)
    # As late as can be, so that the filter need not allow what we do; but the agent is told while somebody is there.
    late = Plan()
    if around.seccomp and no_new_privileges:
        late.add(plan.SECCOMP, around.seccomp_flags, around.seccomp)
    if notifies:
        out.extend(late)
    if around.start_socket:
        out.add(plan.PROGRAM, list(args), list(env))
        out.add(plan.WAIT_START)
    if spec.get("hooks"):
        from estiva.runtime import hooks

        # Before the filter that comes last: the hooks load it themselves, while this process still has to fork.
        hooks.add_hooks(out, spec, "startContainer", "created", around, filtered=no_new_privileges and not notifies)
    if not notifies:
        out.extend(late)
    if around.init:
        out.add(plan.INIT)
    out.add(plan.EXEC, list(args), _last_of_each(env))


def add_limits(out: Plan, process: dict[str, Any]) -> None:
    """The resource limits; before CLONE, room for them."""
    seen = set()
    for limit in process.get("rlimits") or ():
        kind, soft, hard = limit.get("type"), limit.get("soft"), limit.get("hard")
        if kind not in RLIMITS:
            raise Invalid(f"process.rlimits: type {kind!r} is unknown")
        if kind in seen:
            raise Invalid(f"process.rlimits: {kind} is given twice")
        if type(soft) is not int or type(hard) is not int or min(soft, hard) < 0:
            raise Invalid(f"process.rlimits: {kind} has no soft and hard number")
        if soft > hard:
            raise Invalid(f"process.rlimits: {kind}: the soft limit {soft} is above the hard limit {hard}")
        seen.add(kind)
        out.add(plan.RLIMIT, kind, RLIMITS[kind], soft, hard)


def _settings(out: Plan, spec: dict[str, Any], process: dict[str, Any]) -> None:
    """What few bundles ask for, while all capabilities are there."""
    linux = spec.get("linux") or {}
    wanted = (process.get("scheduler"), process.get("ioPriority"), linux.get("memoryPolicy"), linux.get("personality"))
    if not any(wanted):
        return
    from estiva.runtime import settings

    adders = (settings.add_scheduler, settings.add_io_priority, settings.add_memory_policy, settings.add_personality)
    for value, add in zip(wanted, adders, strict=True):
        if value is not None:
            add(out, value)


def _last_of_each(env: Sequence[str]) -> list[str]:
    """A variable that is set twice has its last value, whichever of them a program would find first."""
    named = {entry.partition("=")[0]: entry for entry in env}
    return list(named.values()) if len(named) < len(env) else list(env)
