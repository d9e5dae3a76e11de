"""The filter as the kernel applies it: actions, flags, operators, architectures, errors."""

from __future__ import annotations

import errno
import os

import pytest

from estiva.errors import Invalid
from estiva.runtime.seccomp import FLAGS, compile_cached, filter_flags

pytestmark = pytest.mark.needs_root
X86 = os.uname().machine == "x86_64"
NUMBERS = (
    {"getpriority": 140, "getppid": 110, "setns": 308} if X86 else {"getpriority": 141, "getppid": 173, "setns": 268}
)


def load(box, *rules, default="SCMP_ACT_ALLOW", **more):
    section = {"defaultAction": default, "syscalls": list(rules), **more}
    box.around.seccomp = compile_cached(section, None)
    box.around.seccomp_flags = filter_flags(section)


def rule(name, action, **more):
    return {"names": [name], "action": action, **more}


def call(box, probe, name, *arguments):
    words = ",".join(str(word) for word in (NUMBERS[name], *arguments))
    return box.run(probe, f"call:{words}")


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("number", [None, 0, errno.ENOSYS, 4000])
def test_errors_are_those_asked_for(box, probe, number, no_new_privileges):
    box.spec["process"]["noNewPrivileges"] = no_new_privileges
    more = {} if number is None else {"errnoRet": number}
    load(box, rule("getppid", "SCMP_ACT_ERRNO", **more))
    assert call(box, probe, "getppid") == 0
    if number == 0:
        assert box.out == b"0 \n"
    else:
        assert box.out.decode().split(" ", 1) == ["-1", os.strerror(errno.EPERM if number is None else number) + "\n"]


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("SCMP_ACT_KILL", 128 + 31),
        ("SCMP_ACT_KILL_THREAD", 128 + 31),
        ("SCMP_ACT_KILL_PROCESS", 128 + 31),
        ("SCMP_ACT_TRAP", 128 + 31),
        ("SCMP_ACT_LOG", 0),
        ("SCMP_ACT_ALLOW", 0),
    ],
)
def test_actions_end_a_program_or_do_not(box, probe, action, code):
    load(box, rule("getppid", action))
    assert call(box, probe, "getppid") == code


def test_trace_without_a_tracer_is_a_call_that_does_not_exist(box, probe):
    load(box, rule("getppid", "SCMP_ACT_TRACE", errnoRet=7))
    assert call(box, probe, "getppid") == 0
    assert box.out == b"-1 Function not implemented\n"


@pytest.mark.parametrize(
    ("op", "value", "two", "refused"),
    [
        ("SCMP_CMP_EQ", 5, 0, {5}),
        ("SCMP_CMP_NE", 5, 0, {4, 6, 1 << 40}),
        ("SCMP_CMP_LT", 5, 0, {4}),
        ("SCMP_CMP_LE", 5, 0, {4, 5}),
        ("SCMP_CMP_GT", 5, 0, {6, 1 << 40}),
        ("SCMP_CMP_GE", 5, 0, {5, 6, 1 << 40}),
        ("SCMP_CMP_MASKED_EQ", 4, 4, {4, 5, 6}),
    ],
)
def test_operators(make_box, probe, op, value, two, refused):
    seen = set()
    box = make_box()
    args = [{"index": 1, "value": value, "valueTwo": two, "op": op}]
    load(box, rule("getppid", "SCMP_ACT_ERRNO", errnoRet=errno.EDOM, args=args))
    tried = (4, 5, 6, 1 << 40)
    assert box.run(probe, *(f"call:{NUMBERS['getppid']},0,{argument}" for argument in tried)) == 0
    for argument, line in zip(tried, box.out.decode().splitlines(), strict=True):
        if line.startswith("-1"):
            seen.add(argument)
    assert seen == refused


@pytest.mark.parametrize("names", [[], *([name] for name in FLAGS), list(FLAGS)])
@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_flags_are_taken(box, probe, names, no_new_privileges):
    box.spec["process"]["noNewPrivileges"] = no_new_privileges
    load(box, rule("getppid", "SCMP_ACT_ERRNO"), flags=names)
    assert call(box, probe, "getppid") == 0
    assert box.out.startswith(b"-1 ")


def test_speculation_stays_as_it_is_only_where_that_is_allowed(make_box):
    """SECCOMP_FILTER_FLAG_SPEC_ALLOW, and its default, which is runc's: without a list of flags it is set."""
    seen = {}
    for flags in (None, [], ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]):
        box = make_box()
        load(box, rule("getppid", "SCMP_ACT_ERRNO"), **({} if flags is None else {"flags": flags}))
        seen[str(flags)] = box.shell("grep Speculation_Store /proc/self/status")
    assert seen["None"] == seen["['SECCOMP_FILTER_FLAG_SPEC_ALLOW']"]


def test_names_nobody_knows_are_passed_over(box, probe):
    load(box, {"names": ["no_such_call", "getppid"], "action": "SCMP_ACT_ERRNO"})
    assert call(box, probe, "getppid") == 0
    assert box.out.startswith(b"-1 ")


@pytest.mark.skipif(not X86, reason="other architectures of x86")
def test_architectures_that_are_not_listed_are_killed(make_box, probe):
    """seccomp bypass by the calls of 32-bit programs and of x32."""
    getpid_32, getpid_x32 = "int80:20", f"call:{0x40000000 | 39}"
    for word in (getpid_32, getpid_x32):
        box = make_box()
        load(box, architectures=["SCMP_ARCH_X86_64"])
        assert box.run(probe, word) == 128 + 31, (word, box.out)
    box = make_box()
    load(box, rule("getpid", "SCMP_ACT_ERRNO"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    assert box.run(probe, getpid_32, getpid_x32) == 0
    assert box.out.decode().splitlines()[0] == "-1"
    assert box.out.decode().splitlines()[1].startswith("-1 ")


def test_an_action_without_an_errno_takes_none():
    for section in (
        {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("getppid", "SCMP_ACT_KILL", errnoRet=1)]},
    ):
        with pytest.raises(Invalid, match="has no errno"):
            compile_cached(section, None)


def test_flags_that_are_unknown_or_not_for_bundles_are_named():
    for name in ("SECCOMP_FILTER_FLAG_NEW_LISTENER", "SECCOMP_FILTER_FLAG_TSYNC_ESRCH", "NO_SUCH"):
        with pytest.raises(Invalid, match=f'unknown flag "{name}"'):
            filter_flags({"defaultAction": "SCMP_ACT_ALLOW", "flags": [name]})


def test_a_flag_the_kernel_does_not_know_is_named(box):
    """As if a newer kernel had it: the helper asks the kernel about each."""
    load(box, rule("getppid", "SCMP_ACT_ERRNO"))
    box.around.seccomp_flags = 1 << 20
    with pytest.raises(Invalid, match="seccomp load the filter: invalid argument"):
        box.run("true")


@pytest.mark.parametrize("allowed", [True, False])
def test_the_filter_needs_to_allow_nothing_of_ours_but_execve(box, probe, allowed):
    """With noNewPrivileges the helper's last call before the program's first is its execution."""
    box.spec["process"]["noNewPrivileges"] = True
    names = [
        "execve",
        "write",
        "exit_group",
        "brk",
        "mmap",
        "mprotect",
        "munmap",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlinkat",
        "readlink",
        "getrandom",
        "fstat",
        "newfstatat",
        "ioctl",
    ] + ["getppid"] * allowed
    load(box, {"names": names, "action": "SCMP_ACT_ALLOW"}, default="SCMP_ACT_KILL_PROCESS")
    assert call(box, probe, "getppid") == (0 if allowed else 128 + 31)
    assert box.out == (b"0 \n" if allowed else b"")
