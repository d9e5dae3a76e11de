"""How the kernel is to treat the process, as operations of a plan: processor time, input and output, memory, persona.

Pure.  Raises Invalid naming the field for what the kernel or the specification does not know.  runtime-spec config.md
"Linux Process", config-linux.md "Memory policy", "Personality"; sched_setattr(2), ioprio_set(2), set_mempolicy(2)
"""

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from estiva.runtime.plan import Plan

# linux/sched.h
POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
# linux/ioprio.h
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
# linux/mempolicy.h
MEMORY_MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
MEMORY_FLAGS = {
    "MPOL_F_STATIC_NODES": 1 << 15, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_NUMA_BALANCING": 1 << 13,
}  # fmt: skip
_NODES_NEEDED = ("MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE")
_NO_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")
# linux/personality.h
DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}
_HIGHEST = 8191  # NR_CPUS of the largest kernels; nodes are fewer


def add_scheduler(out: Plan, scheduler: Mapping[str, Any]) -> None:
    """``process.scheduler``."""
    field = "process.scheduler"
    policy = _one_of(scheduler.get("policy"), POLICIES, f"{field}.policy")
    nice, priority = (_integer(scheduler, name, field) for name in ("nice", "priority"))
    times = [_integer(scheduler, name, field) for name in ("runtime", "deadline", "period")]
    if not -20 <= nice <= 19:
        raise Invalid(f"{field}.nice: {nice} is not between -20 and 19")
    if priority and policy not in (POLICIES["SCHED_FIFO"], POLICIES["SCHED_RR"]):
        raise Invalid(f"{field}.priority: {scheduler['policy']} has none", "only SCHED_FIFO and SCHED_RR have one")
    if any(times) and policy != POLICIES["SCHED_DEADLINE"]:
        raise Invalid(f"{field}: runtime, deadline and period are for SCHED_DEADLINE, not {scheduler['policy']}")
    if min(priority, *times) < 0:
        raise Invalid(f"{field}: a negative number")
    flags = _flags(scheduler.get("flags"), SCHEDULER_FLAGS, f"{field}.flags")
    out.add(plan.SCHEDULER, policy, nice, priority, flags, *times)


def add_io_priority(out: Plan, wanted: Mapping[str, Any]) -> None:
    """``process.ioPriority``."""
    field = "process.ioPriority"
    io_class = _one_of(wanted.get("class"), IO_CLASSES, f"{field}.class")
    priority = _integer(wanted, "priority", field)
    if not 0 <= priority <= 7:
        raise Invalid(f"{field}.priority: {priority} is not between 0 and 7")
    out.add(plan.IO_PRIORITY, io_class << 13 | priority)


def add_affinity(out: Plan, affinity: Mapping[str, Any] | None, when: str) -> None:
    """``process.execCPUAffinity``'s *when*: ``initial`` or ``final``; nothing where it is not given."""
    text = (affinity or {}).get(when)
    if text:
        out.add(plan.AFFINITY, number_mask(text, f"process.execCPUAffinity.{when}"), text)


def add_memory_policy(out: Plan, policy: Mapping[str, Any]) -> None:
    """``linux.memoryPolicy``."""
    field = "linux.memoryPolicy"
    name = policy.get("mode")
    mode = _one_of(name, MEMORY_MODES, f"{field}.mode")
    flags = _flags(policy.get("flags"), MEMORY_FLAGS, f"{field}.flags")
    exclusive = MEMORY_FLAGS["MPOL_F_STATIC_NODES"] | MEMORY_FLAGS["MPOL_F_RELATIVE_NODES"]
    if flags & exclusive == exclusive:
        raise Invalid(f"{field}.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other")
    nodes = policy.get("nodes") or ""
    if nodes and name in _NO_NODES:
        raise Invalid(f"{field}.nodes: {name} has none")
    if not nodes and name in _NODES_NEEDED:
        raise Invalid(f"{field}.nodes: missing; {name} needs some")
    if not nodes and flags & exclusive:
        raise Invalid(f"{field}.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES need nodes")
    out.add(plan.MEMORY_POLICY, mode | flags, number_mask(nodes, f"{field}.nodes") if nodes else b"")


def add_personality(out: Plan, personality: Mapping[str, Any]) -> None:
    """``linux.personality``."""
    domain = _one_of(personality.get("domain"), DOMAINS, "linux.personality.domain")
    if personality.get("flags"):
        raise Invalid(f'linux.personality.flags: "{personality["flags"][0]}" is not supported', "there are none")
    out.add(plan.PERSONALITY, domain)


def number_mask(text: Any, field: str) -> bytes:
    """The kernel's bit mask, in whole machine words, of a list of CPUs or nodes like ``0-3,7``."""
    mask = 0
    for part in str(text).split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if not first.isdecimal() or not (last.isdecimal() if dash else True) or int(last or first) > _HIGHEST:
            raise Invalid(f'{field}: "{text}" is not a list of numbers like 0-3,7')
        low, high = int(first), int(last or first)
        if low > high:
            raise Invalid(f'{field}: "{text}": {low} is above {high}')
        mask |= (1 << high + 1) - (1 << low)
    return mask.to_bytes((mask.bit_length() + 63) // 64 * 8, "little")


def _one_of(value: Any, known: Mapping[str, int], field: str) -> int:
    if not isinstance(value, str) or value not in known:
        raise Invalid(f"{field}: {'missing' if value is None else f'unknown {value!r}'}", f"known: {', '.join(known)}")
    return known[value]


def _flags(names: Any, known: Mapping[str, int], field: str) -> int:
    result = 0
    for name in names or ():
        result |= _one_of(name, known, field)
    return result


def _integer(values: Mapping[str, Any], name: str, field: str) -> int:
    value = values.get(name) or 0
    if type(value) is not int:
        raise Invalid(f"{field}.{name}: {value!r} is not a number")
    return value
