"""Resource limits: ``--ulimit`` values, and what of them this machine lets us set.

Entries are the OCI's ``process.rlimits``: ``{"type": "RLIMIT_NOFILE", "hard": …, "soft": …}``; "unlimited" is the
kernel's largest 64-bit number.  runtime-spec config.md "POSIX process", setrlimit(2)
"""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypedDict

    class Rlimit(TypedDict):
        type: str
        hard: int
        soft: int


UNLIMITED = (1 << 64) - 1

# asm-generic/resource.h; the same on every architecture we run on
NUMBERS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}


def parse_ulimit(text: str) -> Rlimit:
    """The entry for ``name=soft[:hard]``; -1 or ``unlimited`` is no limit, a missing *hard* is *soft*."""
    name, equals, values = text.partition("=")
    kind = name if name.startswith("RLIMIT_") else "RLIMIT_" + name.upper()
    if kind not in NUMBERS:
        raise Invalid(f'ulimit "{text}": there is no limit named "{name}"', f"use one of {_known()}")
    soft_text, _, hard_text = values.partition(":")
    if not equals or not soft_text:
        raise Invalid(f'ulimit "{text}": no value', f"write it as {name}=SOFT[:HARD]")
    soft = _value(soft_text, text)
    hard = _value(hard_text, text) if hard_text else soft
    if soft > hard:
        raise Invalid(f'ulimit "{text}": the soft limit is above the hard limit')
    return {"type": kind, "hard": hard, "soft": soft}


def _known() -> str:
    return ", ".join(kind.removeprefix("RLIMIT_").lower() for kind in NUMBERS)


def _value(text: str, whole: str) -> int:
    if text in ("-1", "unlimited"):
        return UNLIMITED
    if not text.isascii() or not text.isdigit() or int(text) > UNLIMITED:
        raise Invalid(f'ulimit "{whole}": "{text}" is not a number', "-1 is no limit")
    return int(text)


def hard_limit(kind: str) -> int:
    """This process's own hard limit of *kind*."""
    import resource

    value = resource.getrlimit(NUMBERS[kind])[1]
    return UNLIMITED if value == resource.RLIM_INFINITY else value


def clamp(
    entries: Iterable[Rlimit], may_raise: bool, own_hard: Callable[[str], int] = hard_limit
) -> tuple[list[Rlimit], list[str]]:
    """*entries* as they can be set, and the types that had to be lowered.

    Without CAP_SYS_RESOURCE in the initial user namespace (*may_raise*) the kernel refuses a hard limit above the
    present one.  Raises Invalid for a type the OCI does not know, and for one that is given twice.
    """
    result: list[Rlimit] = []
    lowered = []
    seen = set()
    for entry in entries:
        kind = entry["type"]
        if kind not in NUMBERS:
            raise Invalid(f'process.rlimits: unknown type "{kind}"')
        if kind in seen:
            raise Invalid(f"process.rlimits: {kind} is given twice")
        seen.add(kind)
        highest = UNLIMITED if may_raise else own_hard(kind)
        hard = min(entry["hard"], highest)
        if hard < entry["hard"]:
            lowered.append(kind)
        result.append({"type": kind, "hard": hard, "soft": min(entry["soft"], hard)})
    return result, lowered
