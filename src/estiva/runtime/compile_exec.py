"""One more program in a running container, as a plan.  Pure.

Nothing of the container may look into the process that joins it before it is as poor as the program will be.  It is not
dumpable from before it joins until the program runs, which stops those in a user namespace of their own.  Where the
container shares ours, CAP_SYS_PTRACE is stronger than that: there the process joins all namespaces, gives up all that
the program will not have, and only then forks into the pid namespace (FORK_INSIDE).
"""

from __future__ import annotations

from estiva.runtime import plan
from estiva.runtime.compile_namespaces import NAMESPACES
from estiva.runtime.compile_process import add_agent, add_console, add_labels, add_limits, add_process
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.compile import Surroundings


def compile_exec(
    spec: dict[str, Any], process: dict[str, Any], namespaces: int, pidfd: int, around: Surroundings
) -> Plan:
    """The plan that runs *process* in the namespaces (a mask of clone flags) of a running container of the
    configuration *spec*, whose pidfd is the helper's descriptor *pidfd*."""
    out = Plan()
    add_agent(out, around)
    affinity = process.get("execCPUAffinity")
    if affinity:
        from estiva.runtime.settings import add_affinity

        add_affinity(out, affinity, "initial")
    apart = bool(around.userns or namespaces & NAMESPACES["user"])
    entering = bool(namespaces & NAMESPACES["pid"]) and not apart
    if around.userns:
        out.add(plan.JOIN, around.userns, NAMESPACES["user"])
    # Who is not dumpable does not own its files in /proc: so the score comes first.  Born inside, it has to be hidden
    # before that; the score is then also that of its monitor.
    hiding = Plan()
    if process.get("oomScoreAdj") is not None:
        hiding.add(plan.OOM_SCORE, process["oomScoreAdj"])
    hiding.add(plan.HIDE)
    user = bool(namespaces & NAMESPACES["user"])
    ordinary = user and around.bind_devices and not around.userns  # the user namespace is the key to the others
    if ordinary:
        out.extend(hiding)
    if namespaces & NAMESPACES["pid"] and apart:
        first = NAMESPACES["pid"] | (NAMESPACES["user"] if ordinary else 0)
        out.add(plan.JOIN_FD, pidfd, first)
        namespaces &= ~first
    if not entering and not ordinary:
        out.extend(hiding)
    if user:
        add_limits(out, process)
    out.add(plan.CLONE, 0, "", "", 0)
    if entering:
        out.extend(hiding)
    if affinity:
        add_affinity(out, affinity, "final")
    add_labels(out, process)
    if around.confirm_fd:
        out.add(plan.CONFIRM, around.confirm_fd, 1)
    if namespaces:
        out.add(plan.JOIN_FD, pidfd, namespaces)
    if user:
        out.add(plan.BECOME_ROOT)
    if process.get("terminal"):
        add_console(out, process, 0)
    add_process(out, {**spec, "hooks": None}, process, around, entering=entering, make_cwd=False)
    return out
