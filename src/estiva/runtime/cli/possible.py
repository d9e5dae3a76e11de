"""What a process asks for, as far as this machine lets us give it; the rest is worth a warning, not a failure.

runtime-spec config.md: "Runtimes SHOULD NOT fail if the container configuration requests capabilities that cannot be
granted"; for hard limits and the OOM score the same is kinder than a container that does not start because whoever
runs it lacks CAP_SYS_RESOURCE.
"""

from __future__ import annotations

from estiva.runtime import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SYS_RESOURCE = 24


def adapt(process: dict[str, Any], *, rootless: bool, user_namespace: bool) -> list[str]:
    """Change *process* to what can be had; what was changed, as warnings.

    *user_namespace*: the process will have one of its own, in which it holds every capability.  Raises Invalid for
    limits that are unknown or given twice.
    """
    effective, permitted = _own_capabilities()
    resourceful = bool(effective >> _SYS_RESOURCE & 1) and not rootless
    warnings = _limits(process, resourceful)
    wanted = process.get("oomScoreAdj")
    if wanted is not None and not resourceful:
        with open("/proc/self/oom_score_adj") as file:
            own = int(file.read())
        if wanted < own:
            process["oomScoreAdj"] = own
            warnings.append(f"process.oomScoreAdj: {wanted} needs CAP_SYS_RESOURCE; it stays {own}")
    sets = process.get("capabilities")
    if sets:
        warnings += _capabilities(sets, None if user_namespace else permitted)
    return warnings


def _own_capabilities() -> tuple[int, int]:
    """The effective and the permitted set of this process."""
    found = {}
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("Cap"):
                found[line[:6]] = int(line[7:], 16)
    return found["CapEff"], found["CapPrm"]


def _limits(process: dict[str, Any], may_raise: bool) -> list[str]:
    if not process.get("rlimits"):
        return []
    from estiva.runtime.rlimits import clamp

    process["rlimits"], lowered = clamp(process["rlimits"], may_raise=may_raise)
    return [
        f"process.rlimits: {kind} is lowered to our own hard limit; more needs CAP_SYS_RESOURCE" for kind in lowered
    ]


def _capabilities(sets: dict[str, Any], permitted: int | None) -> list[str]:
    unknown = capabilities.unknown(sets)
    warnings = [f"process.capabilities: unknown and left out: {', '.join(unknown)}"] if unknown else []
    bits = {kind: capabilities.known_bits(names) for kind, names in sets.items()}
    if permitted is not None:
        missing = bits.get("permitted", 0) & ~permitted
        if missing:
            warnings.append(f"process.capabilities: not ours to give: {', '.join(capabilities.names(missing))}")
    beyond = bits.get("effective", 0) & ~bits.get("permitted", 0)
    if beyond:
        told = ", ".join(capabilities.names(beyond))
        warnings.append(f"process.capabilities.effective: not permitted, so left out: {told}")
    beyond = bits.get("ambient", 0) & ~(bits.get("permitted", 0) & bits.get("inheritable", 0))
    if beyond:
        told = ", ".join(capabilities.names(beyond))
        warnings.append(f"process.capabilities.ambient: not permitted and inheritable, so left out: {told}")
    return warnings
