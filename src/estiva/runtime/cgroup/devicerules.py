"""Device access rules, for the v1 ``devices`` controller and as a BPF program for v2: pure translation.

Rules are the OCI's: a list in which a later rule overrides an earlier one for the accesses it names; what no rule
mentions is denied.  runtime-spec config-linux.md "Allowed Device list", cgroup-v1/devices.rst,
bpf-helpers and linux/bpf.h ``struct bpf_cgroup_dev_ctx``
"""

from __future__ import annotations

import struct

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

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


def v1_writes(devices: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """The (file, text) writes that bring the v1 controller to these rules."""
    result = []
    for rule in _rules(devices):
        file = "devices.allow" if rule.allow else "devices.deny"
        if rule.everything():
            result.append((file, "a"))
            continue
        major = "*" if rule.major is None else rule.major
        minor = "*" if rule.minor is None else rule.minor
        # "a" means all devices whatever numbers follow it, so a rule about numbers is said for both kinds.
        for kind in (rule.kind,) if rule.kind else ("b", "c"):
            result.append((file, f"{kind} {major}:{minor} {rule.access}"))
    return result


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
