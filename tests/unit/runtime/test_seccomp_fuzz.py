"""Any profile is compiled or refused in one line, and what is compiled says what the section says."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estiva.errors import EstivaError
from estiva.runtime import schema, seccomp, seccomp_compiler, seccomp_profile
from unit.runtime.test_seccomp_verdicts import AARCH64, ARM, I386, KILL, M64, TABLES, X32_BIT, X86_64, run

EPERM, ENOSYS = 0x00050001, 0x00050026
ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": KILL,
    "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
OPERATORS = ["SCMP_CMP_" + word for word in ("EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ")]
# Per machine: the OCI's name, what the kernel calls it, our table, the first number, the width of arguments.
FAMILIES = {
    "x86_64": [
        ("SCMP_ARCH_X86_64", X86_64, "x86_64", 0, M64),
        ("SCMP_ARCH_X86", I386, "x86", 0, 0xFFFFFFFF),
        ("SCMP_ARCH_X32", X86_64, "x32", X32_BIT, 0xFFFFFFFF),
    ],
    "aarch64": [
        ("SCMP_ARCH_AARCH64", AARCH64, "aarch64", 0, M64),
        ("SCMP_ARCH_ARM", ARM, "arm", 0, 0xFFFFFFFF),
    ],
}

# --- Anything

WORDS = st.sampled_from(
    [*ACTIONS, *OPERATORS, *(row[0] for rows in FAMILIES.values() for row in rows), "SCMP_ARCH_S390X", "read", "4.8"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 1 << 63, 1 << 64, 10**30, 10**4000])
    | st.floats()
    | st.text(max_size=8)
    | WORDS
    | st.sampled_from(["²", "\ud800", "\0", "9" * 5000, "."])
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)


def mostly(wanted: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs there nine times, anything else once."""
    return st.integers(0, 9).flatmap(lambda dice: wanted if dice else ANYTHING)


def thing(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return mostly(st.fixed_dictionaries({}, optional={name: mostly(kind) for name, kind in members.items()}))


NAMES = st.lists(mostly(st.sampled_from(["read", "clone", "socket", "semop", "no_such_call", ""])), max_size=3)
TESTS = thing(
    index=st.integers(0, 5), value=st.integers(0, M64), valueTwo=st.integers(0, M64), op=st.sampled_from(OPERATORS)
)
CONDITIONS = thing(
    caps=st.lists(mostly(st.just("CAP_SYS_ADMIN")), max_size=2),
    arches=st.lists(mostly(st.just("amd64")), max_size=2),
    minKernel=st.sampled_from(["4.8", "99.0", "²", "5", "6.x", "9" * 5000]),
)
RULES = thing(
    names=NAMES,
    name=st.just("write"),
    action=st.sampled_from(list(ACTIONS)),
    errnoRet=st.integers(0, 70000),
    args=st.lists(TESTS, max_size=3),
    includes=CONDITIONS,
    excludes=CONDITIONS,
)
PROFILES = mostly(
    st.fixed_dictionaries(
        {"defaultAction": mostly(st.sampled_from(list(ACTIONS)))},
        optional={
            "defaultErrnoRet": mostly(st.integers(0, 4095)),
            "architectures": mostly(st.lists(mostly(WORDS), max_size=3)),
            "archMap": mostly(
                st.lists(
                    thing(architecture=st.just("SCMP_ARCH_X86_64"), subArchitectures=st.lists(WORDS, max_size=2)),
                    max_size=2,
                )
            ),
            "flags": mostly(st.lists(mostly(st.sampled_from(list(seccomp.FLAGS))), max_size=2)),
            "listenerPath": mostly(st.just("/run/agent")),
            "syscalls": mostly(st.lists(RULES, max_size=3)),
        },
    )
)


def one_line(error: EstivaError) -> None:
    assert len(error.message.splitlines()) == 1, error.message


@given(PROFILES)
@settings(max_examples=200, deadline=None)
def test_any_profile_of_a_user_is_compiled_or_refused_in_one_line(profile):
    path = "profile.json"
    try:
        text = json.dumps(profile)
    except ValueError:  # more digits than Python writes
        return
    try:
        section = seccomp_profile.resolve(_loaded(text, path), ("CAP_CHOWN",), "x86_64", "6.1.0")
        seccomp.filter_flags(section)
        program = seccomp_compiler.compile_filter(section, "x86_64")
        seccomp.cache_key(section, "x86_64")
    except EstivaError as error:
        one_line(error)
    else:
        assert len(program) % 8 == 0
        run(program, X86_64, 0)


def _loaded(text: str, path: str) -> dict[str, Any]:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=path) as file:
        file.write(text)
        file.flush()
        return seccomp_profile.load_profile(file.name)


@given(PROFILES)
@settings(max_examples=200, deadline=None)
def test_any_section_of_a_bundle_is_compiled_or_refused_in_one_line(section):
    try:
        schema.check({"seccomp": section}, {"seccomp": schema.SECCOMP}, "linux")
        if section is None:
            return
        program = seccomp_compiler.compile_filter(section, "x86_64")
        seccomp.filter_flags(section)
    except EstivaError as error:
        one_line(error)
    else:
        run(program, X86_64, 0)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": ' + b"9" * 5000 + b"}",
        b'{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": NaN}',
        b'{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_LOG", "includes": 5}]}',
        b'{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [7]}',
        b'{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_LOG", "args": [{"index": true}]}]}',
    ],
    ids=range(9),
)
def test_damaged_files_are_refused_by_name(tmp_path, text):
    (tmp_path / "profile.json").write_bytes(text)
    with pytest.raises(EstivaError, match=r"profile\.json") as caught:
        seccomp_profile.load_profile(str(tmp_path / "profile.json"))
    assert "\n" not in caught.value.message


def test_a_directory_is_no_profile(tmp_path):
    with pytest.raises(EstivaError, match="Is a directory"):
        seccomp_profile.load_profile(str(tmp_path))


# --- What a section says, read a second time

VALUES = st.sampled_from([0, 1, 2, 3, 7, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 1 << 63, M64]) | st.integers(0, M64)
CALLS = ["read", "write", "clone", "personality", "close", "openat2", "futex", "socket", "sendto", "semop", "statx"]


@st.composite
def valid_rules(draw: Any) -> dict[str, Any]:
    action = draw(st.sampled_from(list(ACTIONS)))
    rule = {
        "names": draw(st.lists(st.sampled_from([*CALLS, "no_such_call"]), min_size=1, max_size=3)),
        "action": action,
    }
    if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") and draw(st.booleans()):
        rule["errnoRet"] = draw(st.sampled_from([0, 1, 13, 38, 4095, 65535]))
    tests = st.fixed_dictionaries(
        {"index": st.sampled_from([0, 0, 1, 5]), "value": VALUES, "op": st.sampled_from(OPERATORS)},
        optional={"valueTwo": VALUES},
    )
    args = draw(st.lists(tests, max_size=3))
    return {**rule, "args": args} if args else rule


@st.composite
def sections(draw: Any) -> tuple[str, dict[str, Any]]:
    machine = draw(st.sampled_from(list(FAMILIES)))
    known = [row[0] for row in FAMILIES[machine]]
    default = draw(st.sampled_from(list(ACTIONS)))
    section = {"defaultAction": default, "syscalls": draw(st.lists(valid_rules(), max_size=6))}
    section["architectures"] = draw(st.lists(st.sampled_from([*known, "SCMP_ARCH_RISCV64"]), max_size=3))
    if default in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") and draw(st.booleans()):
        section["defaultErrnoRet"] = draw(st.sampled_from([1, 22, 38]))
    return machine, section


def code(action: str, errno_ret: int | None) -> int:
    with_errno = action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
    return ACTIONS[action] + ((1 if errno_ret is None else errno_ret) if with_errno else 0)


def holds(test: dict[str, Any], args: list[int], width: int) -> bool:
    is_, value = args[test["index"]] & width, test["value"] & width
    second = test.get("valueTwo", 0) & width
    return {
        "SCMP_CMP_EQ": is_ == value,
        "SCMP_CMP_NE": is_ != value,
        "SCMP_CMP_LT": is_ < value,
        "SCMP_CMP_LE": is_ <= value,
        "SCMP_CMP_GT": is_ > value,
        "SCMP_CMP_GE": is_ >= value,
        "SCMP_CMP_MASKED_EQ": is_ & value == second & value,
    }[test["op"]]


def answer(section: dict[str, Any], row: tuple[str, int, str, int, int], number: int, args: list[int]) -> int:
    """What *section* says about one call of an architecture that it covers, as runc and libseccomp read rules."""
    _, _, table, _, width = row
    numbers = TABLES[table]
    default = code(section["defaultAction"], section.get("defaultErrnoRet"))
    conditional, named = [], []
    for rule in section["syscalls"]:
        action = code(rule["action"], rule.get("errnoRet"))
        tests = rule.get("args", [])
        twice = len({test["index"] for test in tests}) < len(tests)
        named += [numbers[name] for name in rule["names"] if name in numbers]
        if action == default:
            continue
        for name in rule["names"]:
            if numbers.get(name) == number:
                if not tests:
                    return next(
                        code(other["action"], other.get("errnoRet"))
                        for other in section["syscalls"]
                        if not other.get("args")
                        and name in other["names"]
                        and code(other["action"], other.get("errnoRet")) != default
                    )
                conditional += [([test], action) for test in tests] if twice else [(tests, action)]
            for old, selectors in (("socketcall", {"socket": 1, "sendto": 11}), ("ipc", {"semop": 1})):
                if table == "x86" and not tests and numbers[old] == number and name in selectors:
                    entry = {"index": 0, "value": selectors[name], "op": "SCMP_CMP_EQ"}
                    conditional.append(([entry], action))
    for tests, action in conditional:
        if all(holds(test, args, width) for test in tests):
            return action
    refuses = section["defaultAction"] in (
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_KILL_PROCESS",
    )
    return ENOSYS if refuses and named and number > max(named) else default


@given(sections(), st.data())
@settings(max_examples=150, deadline=None)
def test_the_program_answers_what_the_section_says(given_section, data):
    machine, section = given_section
    program = seccomp_compiler.compile_filter(copy.deepcopy(section), machine)
    covered = [row for row in FAMILIES[machine] if row[0] in section["architectures"] or row is FAMILIES[machine][0]]
    tested = [
        v for rule in section["syscalls"] for t in rule.get("args", ()) for v in (t["value"], t.get("valueTwo", 0))
    ]
    near = [n & M64 for v in (0, *tested) for n in (v - 1, v, v + 1, v ^ 1 << 32, v & 0xFFFFFFFF)]
    for row in FAMILIES[machine]:
        _, audit, table, _, width = row
        numbers = [TABLES[table][name] for name in (*CALLS, "socketcall", "ipc") if name in TABLES[table]]
        for number in {*numbers, *(n + 1 for n in numbers), max(TABLES[table].values()) + 1}:
            args = [a & width for a in data.draw(st.lists(st.sampled_from(near), min_size=6, max_size=6))]
            expected = answer(section, row, number, args) if row in covered else KILL
            assert run(program, audit, number, tuple(args)) == expected, (row, number, args)
    assert run(program, 0x80000016, 0) == KILL  # s390x
