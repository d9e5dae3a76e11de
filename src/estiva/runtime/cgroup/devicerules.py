"""Device access rules, for the v1 ``devices`` controller and as a BPF program for v2: pure translation.

Rules are the OCI's: a list in which a later rule overrides an earlier one for the accesses it names; what no rule
mentions is denied.  runtime-spec config-linux.md "Allowed Device list", cgroup-v1/devices.rst,
bpf-helpers and linux/bpf.h ``struct bpf_cgroup_dev_ctx``
"""

from __future__ import annotations

import struct

from estiva.errors import Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    _Pattern = tuple[str, int | None, int | None]

# BPF_DEVCG_DEV_*, BPF_DEVCG_ACC_*
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL_ACCESS = 7


class _Rule:
    """One rule; ``None`` for *kind*, *major* or *minor* matches every one."""

    __slots__ = ("access", "allow", "kind", "major", "minor")

    def __init__(self, rule: dict[str, Any], position: int) -> None:
        kind = rule.get("type") or "a"
        access = rule.get("access") or "rwm"
        if kind not in ("a", "b", "c", "u", "p"):
            raise Invalid(f'linux.resources.devices[{position}].type: "{kind}" is none of a, b, c')
        if set(access) - set("rwm"):
            raise Invalid(f'linux.resources.devices[{position}].access: "{access}" is not made of r, w and m')
        self.allow = bool(rule.get("allow"))
        self.kind = None if kind == "a" else "c" if kind == "u" else kind
        self.major = _number(rule.get("major"))
        self.minor = _number(rule.get("minor"))
        self.access = access

    def everything(self) -> bool:
        return self.kind is None and self.major is None and self.minor is None and set(self.access) == set("rwm")


def _number(value: int | None) -> int | None:
    """The OCI writes "any" as -1, or leaves the number out."""
    return None if value is None or value < 0 else value


def _rules(devices: Iterable[dict[str, Any]]) -> list[_Rule]:
    """The rules in order; fifos (type p) have no device number and need none."""
    rules = [_Rule(device, position) for position, device in enumerate(devices)]
    return [rule for rule in rules if rule.kind != "p"]


class V1Rules:
    """What the v1 controller can be told: everything is allowed but the ``exceptions``, or nothing is but these.

    An exception is a pattern (kind, major, minor; ``None`` for any number) with the accesses it concerns.
    """

    __slots__ = ("allow_all", "exceptions")

    def __init__(self, allow_all: bool, exceptions: dict[tuple[str, int | None, int | None], frozenset[str]]) -> None:
        self.allow_all = allow_all
        self.exceptions = exceptions


def v1_rules(devices: Iterable[dict[str, Any]]) -> V1Rules:
    """The same decisions as the ordered rules make, without an order.

    The controller grants an access if a single exception covers all of it, so every overlap of two patterns becomes a
    pattern itself, with the accesses that the rules give there.  It knows no exceptions from exceptions: Unsupported is
    raised for rules that deny a part of what they allow and allow a part of what they deny.
    """
    rules = _rules(devices)
    patterns: set[_Pattern] = {("b", None, None), ("c", None, None)}
    for rule in rules:
        for kind in (rule.kind,) if rule.kind else ("b", "c"):
            new = (kind, rule.major, rule.minor)
            patterns.update({overlap for pattern in patterns if (overlap := _overlap(pattern, new))})
    allowed = {pattern: _allowed(rules, pattern) for pattern in patterns}
    everything = all(allowed[kind, None, None] == frozenset("rwm") for kind in ("b", "c"))
    for allow_all in (everything, not everything):
        wanted = {pattern: frozenset("rwm") - access if allow_all else access for pattern, access in allowed.items()}
        if all(
            wanted[inner] >= wanted[outer] for inner in wanted for outer in wanted if _overlap(inner, outer) == inner
        ):
            needed = {pattern: access for pattern, access in wanted.items() if access > _inherited(wanted, pattern)}
            return V1Rules(allow_all, needed)
    raise Unsupported(
        "linux.resources.devices: denies a part of what it allows, and cgroup v1 cannot",
        "name the devices that are allowed one by one",
    )


def _overlap(one: _Pattern, other: _Pattern) -> _Pattern | None:
    """What both patterns match, as a pattern; ``None`` if nothing."""
    numbers = []
    for first, second in zip(one[1:], other[1:], strict=True):
        if first is not None and second is not None and first != second:
            return None
        numbers.append(second if first is None else first)
    return (one[0], numbers[0], numbers[1]) if one[0] == other[0] else None


def _allowed(rules: list[_Rule], pattern: _Pattern) -> frozenset[str]:
    """The accesses allowed to a device that *pattern* matches and no narrower one does."""
    access: set[str] = set()
    for rule in rules:
        if rule.kind in (None, pattern[0]) and rule.major in (None, pattern[1]) and rule.minor in (None, pattern[2]):
            access = access | set(rule.access) if rule.allow else access - set(rule.access)
    return frozenset(access)


def _inherited(wanted: dict[_Pattern, frozenset[str]], pattern: _Pattern) -> frozenset[str]:
    """The most that one wider pattern covers already; narrower ones that add nothing need not be written."""
    wider = [access for outer, access in wanted.items() if outer != pattern and _overlap(pattern, outer) == pattern]
    return max(wider, key=len, default=frozenset())


def v1_writes(devices: Iterable[dict[str, Any]], present: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The (file, text) writes that bring the v1 controller to these rules.

    *present* are the lines of ``devices.list``.  Where they, too, allow some devices only, what is new is allowed
    before what is gone is denied, so that a running container never misses a device it keeps.
    """
    rules = v1_rules(devices)
    wanted = {_line(pattern, access) for pattern, access in rules.exceptions.items()}
    lines = set(present)
    if rules.allow_all:
        return [("devices.allow", "a"), *(("devices.deny", line) for line in sorted(wanted))]
    if not lines or "a *:* rwm" in lines:
        return [("devices.deny", "a"), *(("devices.allow", line) for line in sorted(wanted))]
    gone = sorted(lines - wanted)
    writes = [("devices.allow", line) for line in sorted(wanted - lines)]
    for line in gone:  # an exception that shrinks loses the accesses it had too many
        device, _, access = line.rpartition(" ")
        kept = next((other.rpartition(" ")[2] for other in wanted if other.startswith(device + " ")), "")
        lost = "".join(letter for letter in access if letter not in kept)
        if lost:
            writes.append(("devices.deny", f"{device} {lost}"))
    return writes


def _line(pattern: _Pattern, access: frozenset[str]) -> str:
    """As devices.list has it."""
    kind, major, minor = pattern
    numbers = f"{'*' if major is None else major}:{'*' if minor is None else minor}"
    return f"{kind} {numbers} {''.join(letter for letter in 'rwm' if letter in access)}"


# eBPF: one instruction is opcode, dst | src << 4, 16-bit offset, 32-bit immediate.  Registers: R0 verdict, R1 context,
# R2 kind, R4 major, R5 minor, R6 the accesses that are asked for and not yet granted, R7 scratch.
_LDX_W = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_MOV = 0xB7
_MOV_REG = 0xBF
_AND = 0x57
_RSH = 0x77
_JEQ = 0x15
_JNE32 = 0x56  # JMP32: device numbers are unsigned words, immediates of JMP are sign-extended
_JNE = 0x55
_EXIT = 0x95


def _instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhI", code, dst | src << 4, offset, immediate & 0xFFFFFFFF)


def v2_program(devices: Iterable[dict[str, Any]]) -> bytes:
    """The eBPF instructions (BPF_PROG_TYPE_CGROUP_DEVICE) that decide by these rules.

    The rules are tried from the last to the first.  A matching "allow" strikes its accesses off those asked for, and
    grants when none is left; a matching "deny" refuses if it names one that is still open.
    """
    code = [
        _instruction(_LDX_W, 2, 1, 0),
        _instruction(_MOV_REG, 6, 2),
        _instruction(_AND, 2, immediate=0xFFFF),
        _instruction(_RSH, 6, immediate=16),
        _instruction(_LDX_W, 4, 1, 4),
        _instruction(_LDX_W, 5, 1, 8),
    ]
    for rule in reversed(_rules(devices)):
        if rule.everything():
            return b"".join([*code, *_verdict(rule.allow)])
        code += _rule(rule)
    return b"".join([*code, *_verdict(False)])


def _verdict(allow: bool) -> list[bytes]:
    return [_instruction(_MOV, 0, immediate=int(allow)), _instruction(_EXIT)]


def _rule(rule: _Rule) -> list[bytes]:
    access = sum(_ACCESS[letter] for letter in set(rule.access))
    if rule.allow:
        body = [_instruction(_AND, 6, immediate=_ALL_ACCESS & ~access), _instruction(_JNE, 6, offset=2)]
    else:
        body = [
            _instruction(_MOV_REG, 7, 6),
            _instruction(_AND, 7, immediate=access),
            _instruction(_JEQ, 7, offset=2),
        ]
    body += _verdict(rule.allow)
    for register, wanted in (
        (5, rule.minor),
        (4, rule.major),
        (2, _TYPES[rule.kind] if rule.kind else None),
    ):
        if wanted is not None:
            body = [_instruction(_JNE32, register, offset=len(body), immediate=wanted), *body]
    return body
