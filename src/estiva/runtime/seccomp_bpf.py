"""A small assembler for seccomp's classic BPF: blocks of instructions that end in a verdict.

A block is a list of ``(code, jt, jf, k)``.  Blocks are joined from the leaves up, so every jump's distance is known
when it is made; conditional jumps reach 255 instructions, and :func:`branch` goes on with an unconditional one beyond
that.  linux/filter.h, Documentation/networking/filter.rst, Documentation/userspace-api/seccomp_filter.rst
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Instruction = tuple[int, int, int, int]
    Block = list[Instruction]

LD_ABS = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JA = 0x05  # BPF_JMP | BPF_JA
JEQ = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JGT = 0x25
JGE = 0x35
RET = 0x06  # BPF_RET | BPF_K

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]
OFFSET_NR = 0
OFFSET_ARCH = 4
OFFSET_ARGS = 16

_LOW = 0xFFFFFFFF


def ret(verdict: int) -> Block:
    return [(RET, 0, 0, verdict)]


def load(offset: int) -> Block:
    return [(LD_ABS, 0, 0, offset)]


def branch(code: int, k: int, yes: Block, no: Block) -> Block:
    """Go on in *yes* if the accumulator compares true with *k*, else in *no*; both must end in a verdict."""
    if len(no) <= 255:
        return [(code, len(no), 0, k), *no, *yes]
    return [(code, 0, 1, k), (JA, 0, 0, len(no)), *no, *yes]


def search(ranges: Sequence[tuple[int, Block]]) -> Block:
    """A balanced tree over *ranges*: ``(first number, block)`` in ascending order, each up to the next one's first."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    return branch(JGE, ranges[middle][0], search(ranges[middle:]), search(ranges[:middle]))


def when(op: str, index: int, value: int, mask: int, wide: bool, body: Block) -> Block:
    """*body*, entered if argument *index* fulfils the comparison; otherwise control passes to what follows *body*.

    *op* is one of the OCI's ``SCMP_CMP_*``.  *wide* compares all 64 bits, as on 64-bit architectures; otherwise only
    the low 32, which are all that a 32-bit program can set.  *body* must be shorter than 250 instructions.
    """
    low = OFFSET_ARGS + 8 * index  # little-endian, as all supported architectures are
    low_test = _low_test(op, low, value & _LOW, mask & _LOW, len(body))
    if not wide:
        return low_test + body
    return _high_test(op, low + 4, value >> 32, mask >> 32, len(low_test), len(body)) + low_test + body


def _low_test(op: str, offset: int, k: int, mask: int, fail: int) -> Block:
    """Fall through if the word compares true, else skip *fail* instructions."""
    if op == "SCMP_CMP_MASKED_EQ":
        return [*load(offset), (AND, 0, 0, mask), (JEQ, 0, fail, k)]
    code, negated = _LOW_JUMPS[op]
    return [*load(offset), (code, fail, 0, k) if negated else (code, 0, fail, k)]


# The jump that decides in the low word, and whether the comparison holds when the jump is *not* taken.
_LOW_JUMPS = {
    "SCMP_CMP_EQ": (JEQ, False),
    "SCMP_CMP_NE": (JEQ, True),
    "SCMP_CMP_GT": (JGT, False),
    "SCMP_CMP_GE": (JGE, False),
    "SCMP_CMP_LT": (JGE, True),
    "SCMP_CMP_LE": (JGT, True),
}
OPERATORS = frozenset((*_LOW_JUMPS, "SCMP_CMP_MASKED_EQ"))


def _high_test(op: str, offset: int, k: int, mask: int, to_body: int, body: int) -> Block:
    """Decide by the high word where it can; fall through to the low word (*to_body* instructions) where it is equal."""
    fail = to_body + body
    if op == "SCMP_CMP_MASKED_EQ":
        return [*load(offset), (AND, 0, 0, mask), (JEQ, 0, fail, k)]
    if op == "SCMP_CMP_EQ":
        return [*load(offset), (JEQ, 0, fail, k)]
    if op == "SCMP_CMP_NE":
        return [*load(offset), (JEQ, 0, to_body, k)]
    if op in ("SCMP_CMP_GT", "SCMP_CMP_GE"):
        return [*load(offset), (JGT, to_body + 1, 0, k), (JEQ, 0, fail, k)]
    return [*load(offset), (JGT, fail + 1, 0, k), (JEQ, 0, to_body, k)]


def assemble(block: Block) -> bytes:
    """*block* as an array of ``struct sock_filter`` in the host's byte order."""
    pack = struct.Struct("=HBBI").pack
    return b"".join([pack(*instruction) for instruction in block])
