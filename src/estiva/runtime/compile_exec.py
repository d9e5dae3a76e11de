"""One more program in a running container, as a plan.  Pure.

Nothing of the container may look into the process that joins it before it has become one of the container's own: it
is not dumpable from before it joins anything until the program runs.
"""

from __future__ import annotations

from estiva.runtime import plan
from estiva.runtime.compile_namespaces import NAMESPACES
from estiva.runtime.compile_process import add_agent, add_console, add_process
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
    if around.userns:
        out.add(plan.JOIN, around.userns, NAMESPACES["user"])
    if namespaces & NAMESPACES["pid"]:
        out.add(plan.JOIN_FD, pidfd, NAMESPACES["pid"])
    out.add(plan.CLONE, 0, "", "", 0)
    if process.get("oomScoreAdj") is not None:
        out.add(plan.OOM_SCORE, process["oomScoreAdj"])
    out.add(plan.HIDE)
    if around.confirm_fd:
        out.add(plan.CONFIRM, around.confirm_fd, 1)
    rest = namespaces & ~NAMESPACES["pid"]
    if rest:
        out.add(plan.JOIN_FD, pidfd, rest)
    if namespaces & NAMESPACES["user"]:
        out.add(plan.BECOME_ROOT)
    if process.get("terminal"):
        add_console(out, process, 0)
    add_process(out, {**spec, "hooks": None}, process, around)
    return out
