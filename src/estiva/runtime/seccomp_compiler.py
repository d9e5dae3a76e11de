"""The seccomp compiler: a bundle's ``linux.seccomp`` to a BPF program, without libseccomp.

The verdicts are those that runc gets from libseccomp for the same section (the tests compare the two):

* names an architecture does not have are skipped; a rule that says what the default says is dropped;
* an unconditional rule for a call wins over conditional ones; conditional rules are tried in the order given;
* a rule that tests the same argument twice is one rule per test (an "or"), as runc reads it;
* the socket and ipc calls of i386 are also reached through socketcall(2) and ipc(2);
* if the default is to refuse, calls newer than any the section names fail with ENOSYS, so that programs that try a
  new call first fall back to the older one (runc libcontainer/seccomp/patchbpf);
* a program of an architecture that is not listed is killed.
"""

from __future__ import annotations

import errno
import json
import os
import re

from estiva.errors import Invalid, Unsupported
from estiva.runtime import seccomp_bpf as bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Condition = tuple[str, int, int, int]  # operator, argument, value, mask
    Rules = dict[int, list[tuple[tuple[Condition, ...], int]]]  # call number → (conditions, verdict)

TABLES = os.path.join(os.path.dirname(__file__), "data", "syscalls.json")

# The OCI's name → our table, the kernel's AUDIT_ARCH_*, whether arguments have 64 bits.  linux/audit.h
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": ("x86_64", 0xC000003E, True),
    "SCMP_ARCH_X86": ("x86", 0x40000003, False),
    "SCMP_ARCH_X32": ("x32", 0xC000003E, False),
    "SCMP_ARCH_AARCH64": ("aarch64", 0xC00000B7, True),
    "SCMP_ARCH_ARM": ("arm", 0x40000028, False),
}
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

# Known to the OCI; no processor that we run on executes them, so they need no rules.
OTHER_ARCHITECTURES = re.compile(
    "SCMP_ARCH_(MIPS(EL)?(64(N32)?)?|PPC(64(LE)?)?|S390X?|PARISC(64)?|RISCV64|LOONGARCH64|M68K|SH(EB)?)"
)

KILL_PROCESS = 0x80000000
# The low 16 bits of ERRNO and TRACE carry errnoRet.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
REFUSALS = frozenset(("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"))
ENOSYS = ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS

X32_BIT = 0x40000000
LAST_NUMBER = 0xFFFFFFFF

# i386 only: what the first argument of socketcall(2) and ipc(2) selects.  linux/net.h, linux/ipc.h
SOCKETCALL = {
    "socket": 1,
    "bind": 2,
    "connect": 3,
    "listen": 4,
    "accept": 5,
    "getsockname": 6,
    "getpeername": 7,
    "socketpair": 8,
    "send": 9,
    "recv": 10,
    "sendto": 11,
    "recvfrom": 12,
    "shutdown": 13,
    "setsockopt": 14,
    "getsockopt": 15,
    "sendmsg": 16,
    "recvmsg": 17,
    "accept4": 18,
    "recvmmsg": 19,
    "sendmmsg": 20,
}
IPC = {
    "semop": 1,
    "semget": 2,
    "semctl": 3,
    "semtimedop": 4,
    "msgsnd": 11,
    "msgrcv": 12,
    "msgget": 13,
    "msgctl": 14,
    "shmat": 21,
    "shmdt": 22,
    "shmget": 23,
    "shmctl": 24,
}


def compile_filter(seccomp: dict[str, Any], machine: str) -> bytes:
    """The BPF program for the OCI section *seccomp* on a host whose ``uname -m`` is *machine*.

    Raises Invalid, naming the field, for what the OCI does not know or the kernel cannot take; Unsupported for a
    machine without tables.
    """
    if machine not in NATIVE:
        raise Unsupported(f"compiling the seccomp filter: no system call table for {machine}")
    default = verdict(seccomp.get("defaultAction"), seccomp.get("defaultErrnoRet"), "linux.seccomp.defaultAction")
    unknown = ENOSYS if seccomp["defaultAction"] in REFUSALS and default != ENOSYS else None
    with open(TABLES, "rb") as file:
        tables = json.loads(file.read())
    ranges: dict[int, list[tuple[int, bpf.Block]]] = {}
    for arch in _architectures(seccomp.get("architectures") or (), NATIVE[machine]):
        table, audit_arch, wide = ARCHITECTURES[arch]
        rules, last = _collect(seccomp.get("syscalls") or (), tables[table], default, arch)
        first = X32_BIT if arch == "SCMP_ARCH_X32" else 0
        ranges.setdefault(audit_arch, []).extend(_ranges(rules, first, last, default, unknown, wide))
    program = bpf.assemble(_dispatch(ranges, default))
    length = len(program) // 8
    if length > bpf.MAX_INSTRUCTIONS:
        raise Invalid(
            f"linux.seccomp: the filter needs {length} instructions, the kernel takes {bpf.MAX_INSTRUCTIONS}",
            "name fewer architectures or argument tests",
        )
    return program


def verdict(action: object, errno_ret: int | None, field: str) -> int:
    """The filter's return value for an OCI action; *errno_ret* defaults to EPERM, for the actions that have one."""
    if not isinstance(action, str) or action not in ACTIONS:
        raise Invalid(f'{field}: unknown action "{action}"', f"known: {', '.join(ACTIONS)}")
    value = ACTIONS[action]
    if errno_ret is not None and action not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        raise Invalid(f"{field}: {action} has no errno, but errnoRet is {errno_ret}")
    if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        value |= (errno.EPERM if errno_ret is None else errno_ret) & 0xFFFF
    return value


def _architectures(wanted: Iterable[str], native: str) -> list[str]:
    """The architectures to make rules for, the native one always and first."""
    result = [native]
    for name in wanted:
        if name in ARCHITECTURES:
            if name not in result:
                result.append(name)
        elif not OTHER_ARCHITECTURES.fullmatch(name):
            raise Invalid(f'linux.seccomp.architectures: unknown architecture "{name}"')
    return result


def _collect(
    syscalls: Iterable[dict[str, Any]], numbers: dict[str, int], default: int, arch: str
) -> tuple[Rules, int | None]:
    """The rules by call number for one architecture, and the highest number the section names."""
    rules: Rules = {}
    last: int | None = None
    for position, rule in enumerate(syscalls):
        field = f"linux.seccomp.syscalls[{position}]"
        action = verdict(rule.get("action"), rule.get("errnoRet"), f"{field}.action")
        alternatives = _alternatives(rule.get("args") or (), field)
        for name in rule.get("names") or ():
            number = numbers.get(name)
            if number is not None:
                last = number if last is None else max(last, number)
                if action != default:
                    rules.setdefault(number, []).extend((conditions, action) for conditions in alternatives)
            if arch == "SCMP_ARCH_X86" and action != default and alternatives == [()]:
                for multiplexer, selector in _multiplexed(name):
                    entry = (("SCMP_CMP_EQ", 0, selector, 0),)
                    rules.setdefault(numbers[multiplexer], []).append((entry, action))
    return rules, last


def _multiplexed(name: str) -> Iterator[tuple[str, int]]:
    """The older i386 call that also reaches *name*, and the value of its first argument."""
    if name in SOCKETCALL:
        yield "socketcall", SOCKETCALL[name]
    if name in IPC:
        yield "ipc", IPC[name]


def _alternatives(args: Iterable[dict[str, Any]], field: str) -> list[tuple[Condition, ...]]:
    """The condition lists a rule stands for, any of which makes it match: one, unless an argument is tested twice."""
    conditions = []
    for position, arg in enumerate(args):
        index, op = arg.get("index"), arg.get("op")
        if not isinstance(index, int) or not 0 <= index <= 5:
            raise Invalid(f"{field}.args[{position}].index: {index} is not an argument number from 0 to 5")
        if op not in bpf.OPERATORS:
            raise Invalid(f'{field}.args[{position}].op: unknown operator "{op}"')
        value, second = int(arg.get("value", 0)), int(arg.get("valueTwo") or 0)
        # MASKED_EQ: value is the mask, valueTwo what the masked argument is compared with.
        masked = op == "SCMP_CMP_MASKED_EQ"
        conditions.append((op, index, second & value if masked else value, value if masked else 0))
    if len({condition[1] for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [tuple(conditions)]


def _ranges(
    rules: Rules, first: int, last: int | None, default: int, unknown: int | None, wide: bool
) -> Iterator[tuple[int, bpf.Block]]:
    """``(first number, block)`` from *first* upwards; equal neighbours are one range."""
    end = bpf.ret(default)
    current = None
    expected = first
    for number in sorted(rules):
        if number > expected and current != end:
            yield expected, end
            current = end
        block = _call(rules[number], end, wide)
        if block != current:
            yield number, block
            current = block
        expected = number + 1
    if last is not None and last >= expected and current != end:
        yield expected, end
        current = end
    tail = end if unknown is None or last is None else bpf.ret(unknown)
    if tail != current:
        yield max(expected, expected if last is None else last + 1), tail


def _call(rules: list[tuple[tuple[Condition, ...], int]], otherwise: bpf.Block, wide: bool) -> bpf.Block:
    """The block that decides about one call."""
    for conditions, action in rules:
        if not conditions:
            return bpf.ret(action)
    block: bpf.Block = []
    for conditions, action in rules:
        body = bpf.ret(action)
        for op, index, value, mask in sorted(conditions, key=lambda condition: -condition[1]):
            body = bpf.when(op, index, value & (1 << 64) - 1, mask & (1 << 64) - 1, wide, body)
        block += body
    return block + otherwise


def _dispatch(ranges: dict[int, list[tuple[int, bpf.Block]]], default: int) -> bpf.Block:
    """Choose the tree by architecture, the native one first; others are killed."""
    block = bpf.ret(KILL_PROCESS)
    for audit_arch in reversed(ranges):
        tree = ranges[audit_arch]
        if audit_arch == ARCHITECTURES["SCMP_ARCH_X86_64"][1] and tree[-1][0] < X32_BIT:
            # Without x32, its calls are a foreign architecture; -1 is a call that a tracer made the kernel skip.
            tree = [*tree, (X32_BIT, bpf.ret(KILL_PROCESS)), (LAST_NUMBER, bpf.ret(default))]
        block = bpf.branch(bpf.JEQ, audit_arch, bpf.load(bpf.OFFSET_NR) + bpf.search(tree), block)
    return bpf.load(bpf.OFFSET_ARCH) + block
