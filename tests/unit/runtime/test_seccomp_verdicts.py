"""What the compiled filter answers, read by a small interpreter of the BPF that seccomp uses."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import json
import os
import random
import struct
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid, Unsupported
from estiva.runtime import capabilities, seccomp, seccomp_compiler, seccomp_profile

X86_64, I386, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
X32_BIT = 0x40000000
ALLOW = 0x7FFF0000
KILL = 0x80000000
M64 = (1 << 64) - 1

with open(seccomp_compiler.TABLES) as table_file:
    TABLES = json.load(table_file)


def denied(number: int) -> int:
    return 0x00050000 | number


def run(program: bytes, arch: int, nr: int, args: tuple[int, ...] = ()) -> int:
    """The verdict of *program* for one call, as the kernel's interpreter would reach it."""
    data = struct.pack("=iIQ6Q", nr if nr < 1 << 31 else nr - (1 << 32), arch, 0, *(*args, *[0] * (6 - len(args))))
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        op, jt, jf, k = code[at]
        at += 1
        if op == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif op == 0x54:
            accumulator &= k
        elif op == 0x05:
            at += k
        elif op == 0x06:
            return k
        else:
            taken = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[op]
            at += jt if taken else jf


def compiled(*rules: dict[str, object], default: str = "SCMP_ACT_ERRNO", **more: object) -> bytes:
    section = {"defaultAction": default, "syscalls": list(rules), **more}
    return seccomp_compiler.compile_filter(section, "x86_64")


def allow(*names: str, args: object = None) -> dict[str, object]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **({"args": args} if args else {})}


def default_section(caps: object = capabilities.DEFAULT, machine: str = "x86_64") -> dict[str, object]:
    profile = seccomp_profile.load_profile()
    return seccomp_profile.resolve(profile, caps, machine, "6.1.0")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("op", "holds"),
    [
        ("SCMP_CMP_EQ", lambda a, v: a == v),
        ("SCMP_CMP_NE", lambda a, v: a != v),
        ("SCMP_CMP_LT", lambda a, v: a < v),
        ("SCMP_CMP_LE", lambda a, v: a <= v),
        ("SCMP_CMP_GT", lambda a, v: a > v),
        ("SCMP_CMP_GE", lambda a, v: a >= v),
    ],
)
@pytest.mark.parametrize("value", [0, 1, 0xFFFFFFFF, 1 << 32, (5 << 32) + 7, M64])
def test_an_argument_is_compared_with_all_its_64_bits(op, holds, value):
    program = compiled(allow("read", args=[{"index": 1, "value": value, "op": op}]))
    around = {value, value + 1, value - 1, value + (1 << 32), value - (1 << 32), 0, M64, value & 0xFFFFFFFF}
    for argument in sorted(a & M64 for a in around):
        expected = ALLOW if holds(argument, value) else denied(errno.EPERM)
        assert run(program, X86_64, 0, (0, argument)) == expected, (op, argument, value)


def test_masked_comparison_takes_value_as_mask_and_value_two_as_datum():
    mask, datum = 0x7E020000_00000003, 0x02000000_00000001
    program = compiled(
        allow("clone", args=[{"index": 0, "value": mask, "valueTwo": datum, "op": "SCMP_CMP_MASKED_EQ"}])
    )
    clone = TABLES["x86_64"]["clone"]
    assert run(program, X86_64, clone, (datum,)) == ALLOW
    assert run(program, X86_64, clone, (datum | 0x80,)) == ALLOW
    assert run(program, X86_64, clone, (datum | 2,)) != ALLOW
    assert run(program, X86_64, clone, (datum | 1 << 57 | 1 << 58,)) != ALLOW


def test_all_conditions_of_a_rule_must_hold_and_any_rule_suffices():
    program = compiled(
        allow("read", args=[{"index": i, "value": i, "op": "SCMP_CMP_EQ"} for i in range(6)]),
        allow("read", args=[{"index": 0, "value": 99, "op": "SCMP_CMP_EQ"}]),
    )
    assert run(program, X86_64, 0, (0, 1, 2, 3, 4, 5)) == ALLOW
    assert run(program, X86_64, 0, (0, 1, 2, 3, 4, 6)) != ALLOW
    assert run(program, X86_64, 0, (99, 0)) == ALLOW


def test_two_tests_of_one_argument_are_alternatives():
    args = [{"index": 0, "value": v, "op": "SCMP_CMP_EQ"} for v in (3, 5)]
    program = compiled(allow("read", args=args))
    assert [run(program, X86_64, 0, (v,)) == ALLOW for v in (3, 4, 5)] == [True, False, True]


def test_an_unconditional_rule_wins_over_conditional_ones():
    refuse = {
        "names": ["read"],
        "action": "SCMP_ACT_KILL_PROCESS",
        "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
    }
    assert run(compiled(refuse, allow("read")), X86_64, 0, (1,)) == ALLOW


def test_calls_newer_than_the_profile_do_not_exist_and_older_ones_are_refused():
    program = compiled(allow("read", "openat2"))
    assert run(program, X86_64, TABLES["x86_64"]["openat2"]) == ALLOW
    assert run(program, X86_64, TABLES["x86_64"]["write"]) == denied(errno.EPERM)
    assert run(program, X86_64, TABLES["x86_64"]["faccessat2"]) == denied(errno.ENOSYS)


def test_a_default_that_allows_has_no_newest_call():
    program = compiled({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}, default="SCMP_ACT_ALLOW")
    assert run(program, X86_64, 0) == denied(errno.EACCES)
    assert run(program, X86_64, 5000) == ALLOW


def test_a_foreign_architecture_is_killed_and_a_listed_one_is_not():
    assert run(compiled(allow("read")), I386, 3) == KILL
    assert run(compiled(allow("read")), X86_64, X32_BIT) == KILL
    both = compiled(allow("read"), architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_S390X"])
    assert run(both, I386, 3) == ALLOW
    assert run(both, X86_64, X32_BIT) == ALLOW
    assert run(both, X86_64, 0) == ALLOW
    assert run(both, I386, TABLES["x86"]["write"]) == denied(errno.ENOSYS)


def test_i386_sockets_are_reached_through_socketcall_too():
    program = compiled(allow("listen", "shmget", "socketpair"), architectures=["SCMP_ARCH_X86"])
    assert run(program, I386, TABLES["x86"]["listen"]) == ALLOW
    assert run(program, I386, TABLES["x86"]["socketcall"], (4,)) == ALLOW
    assert run(program, I386, TABLES["x86"]["socketcall"], (5,)) == denied(errno.EPERM)
    assert run(program, I386, TABLES["x86"]["ipc"], (23,)) == ALLOW


def test_arm64_programs_are_compiled_on_any_host():
    section = default_section(machine="aarch64")
    assert section["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    program = seccomp_compiler.compile_filter(section, "aarch64")
    assert run(program, AARCH64, TABLES["aarch64"]["openat"]) == ALLOW
    assert run(program, ARM, TABLES["arm"]["cacheflush"]) == ALLOW
    assert run(program, AARCH64, TABLES["aarch64"]["kexec_load"]) == denied(errno.EPERM)
    assert run(program, X86_64, 0) == KILL


def test_the_default_profile_allows_work_and_refuses_the_dangerous():
    program = seccomp_compiler.compile_filter(default_section(), "x86_64")
    numbers = TABLES["x86_64"]
    for name in ("read", "clone3", "mount", "futex_wait", "fchmodat2", "unshare", "chroot"):
        assert run(program, X86_64, numbers[name]) == ALLOW, name
    for name in ("kexec_load", "init_module", "bpf", "perf_event_open", "settimeofday", "userfaultfd", "setns"):
        assert run(program, X86_64, numbers[name]) != ALLOW or name == "setns", name
    assert run(program, X86_64, numbers["add_key"]) == denied(errno.ENOSYS)
    assert run(program, X86_64, numbers["personality"], (0xFFFFFFFF,)) == ALLOW
    assert run(program, X86_64, numbers["personality"], (0x40000,)) == denied(errno.ENOSYS)
    assert run(program, X86_64, numbers["socket"], (16, 3, 9)) == denied(errno.EINVAL)
    assert run(program, X86_64, numbers["socket"], (16, 3, 0)) == ALLOW
    assert run(program, X86_64, numbers["socket"], (2, 1, 0)) == ALLOW


def test_capabilities_open_the_calls_that_belong_to_them():
    numbers = TABLES["x86_64"]
    for cap, call in (("CAP_SYS_ADMIN", "bpf"), ("CAP_SYS_MODULE", "init_module"), ("CAP_SYS_TIME", "settimeofday")):
        without = seccomp_compiler.compile_filter(default_section(), "x86_64")
        having = seccomp_compiler.compile_filter(default_section((*capabilities.DEFAULT, cap)), "x86_64")
        assert run(without, X86_64, numbers[call]) == denied(errno.EPERM)
        assert run(having, X86_64, numbers[call]) == ALLOW


def test_rules_for_newer_kernels_are_left_out_on_older_ones():
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}}],
    }
    assert seccomp_profile.resolve(profile, (), "x86_64", "4.4.0-1")["syscalls"] == []
    assert seccomp_profile.resolve(profile, (), "x86_64", "4.18.0-1")["syscalls"] == [allow("ptrace")]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"defaultAction": "SCMP_ACT_MAYBE"}, "linux.seccomp.defaultAction"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}, "SCMP_ARCH_VAX"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "no"}]}, r"syscalls\[0\]"),
        (
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [allow("read", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}])],
            },
            r"args\[0\].index",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [allow("read", args=[{"index": 0, "value": 0, "op": "SCMP_CMP_ABOUT"}])],
            },
            "SCMP_CMP_ABOUT",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [allow("ioctl", args=[{"index": 1, "value": v, "op": "SCMP_CMP_EQ"}]) for v in range(1100)],
            },
            "instructions",
        ),
    ],
)
def test_what_cannot_be_compiled_is_named(section, message):
    with pytest.raises(Invalid, match=message):
        seccomp_compiler.compile_filter(section, "x86_64")


def test_a_machine_without_tables_is_unsupported():
    with pytest.raises(Unsupported, match="vax"):
        seccomp_compiler.compile_filter({"defaultAction": "SCMP_ACT_ALLOW"}, "vax")


def test_long_lists_of_argument_rules_are_reached_over_long_jumps():
    rules = [allow("ioctl", args=[{"index": 1, "value": v, "op": "SCMP_CMP_EQ"}]) for v in range(400)]
    program = compiled(*rules, allow("read", "write", "sendmsg"))
    ioctl = TABLES["x86_64"]["ioctl"]
    assert run(program, X86_64, ioctl, (0, 399)) == ALLOW
    assert run(program, X86_64, ioctl, (0, 400)) == denied(errno.EPERM)
    assert run(program, X86_64, 1) == ALLOW
    assert run(program, X86_64, TABLES["x86_64"]["sendmsg"]) == ALLOW
    assert run(program, X86_64, 3) == denied(errno.EPERM)


@given(st.sets(st.sampled_from(sorted(TABLES["x86_64"])), min_size=1), st.data())
def test_exactly_the_named_calls_are_allowed(names, data):
    program = compiled(allow(*names))
    number = data.draw(st.sampled_from(sorted(TABLES["x86_64"].values())))
    wanted = {TABLES["x86_64"][name] for name in names}
    expected = ALLOW if number in wanted else denied(errno.EPERM) if number < max(wanted) else denied(errno.ENOSYS)
    assert run(program, X86_64, number) == expected


def test_a_cached_program_is_read_and_a_damaged_one_made_again(tmp_path):
    section = default_section()
    program = seccomp.compile_cached(section, str(tmp_path / "cache"), "x86_64")
    (path,) = (tmp_path / "cache").iterdir()
    assert path.suffix == ".bpf"
    assert path.read_bytes() == program
    path.write_bytes(struct.pack("=HBBI", 6, 0, 0, ALLOW))
    assert len(seccomp.compile_cached(section, str(tmp_path / "cache"), "x86_64")) == 8
    path.write_bytes(b"torn")
    assert seccomp.compile_cached(section, str(tmp_path / "cache"), "x86_64") == program
    other = default_section(("CAP_SYS_ADMIN",))
    assert seccomp.compile_cached(other, str(tmp_path / "cache"), "x86_64") != program


def test_filter_flags_are_the_bundles_or_spec_allow():
    assert seccomp.filter_flags({}) == 4
    assert seccomp.filter_flags({"flags": []}) == 0
    assert seccomp.filter_flags({"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]}) == 3
    with pytest.raises(Invalid, match="FLAG_MAYBE"):
        seccomp.filter_flags({"flags": ["FLAG_MAYBE"]})


# The same sections through libseccomp, the way runc fills it, where the library is installed.

LIBRARY = ctypes.util.find_library("seccomp")
OPERATORS = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}
AUDIT = {"SCMP_ARCH_X86_64": X86_64, "SCMP_ARCH_X86": I386, "SCMP_ARCH_X32": 0x4000003E}


class Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def libseccomp(section):
    """The program libseccomp makes of *section*."""
    library = ctypes.CDLL(LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    verdict = seccomp_compiler.verdict
    default = verdict(section["defaultAction"], section.get("defaultErrnoRet"), "default")
    context = ctypes.c_void_p(library.seccomp_init(default))
    for arch in section.get("architectures", ()):
        library.seccomp_arch_add(context, ctypes.c_uint32(AUDIT[arch]))
    library.seccomp_attr_set(context, 2, ctypes.c_uint32(KILL))  # SCMP_FLTATR_ACT_BADARCH
    for rule in section["syscalls"]:
        action = verdict(rule["action"], rule.get("errnoRet"), "rule")
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1 or action == default:
                continue
            array = (Comparison * 6)()
            args = rule.get("args", ())
            for at, arg in enumerate(args):
                op = OPERATORS[arg["op"].removeprefix("SCMP_CMP_")]
                array[at] = Comparison(arg["index"], op, arg["value"], arg.get("valueTwo", 0))
            add = library.seccomp_rule_add_array
            add(context, ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(len(args)), array)
    with tempfile.TemporaryFile() as file:
        assert library.seccomp_export_bpf(context, file.fileno()) == 0
        library.seccomp_release(context)
        file.seek(0)
        return file.read()


def samples(seed):
    """Calls of all three x86 architectures with arguments near those that profiles test."""
    rng = random.Random(seed)
    interesting = [0, 1, 3, 8, 9, 16, 131072, 131080, 0xFFFFFFFF, 1 << 32, (1 << 32) + 16, 0x7E020000, M64]
    for arch, table in ((X86_64, "x86_64"), (I386, "x86"), (X86_64, "x32")):
        known = TABLES[table]
        for name, number in known.items():
            for _ in range(12 if name in ("personality", "socket", "clone", "socketcall") else 2):
                args = tuple(rng.choice(interesting) for _ in range(6))
                if arch == I386 or table == "x32":
                    args = tuple(a & 0xFFFFFFFF for a in args)
                yield name, arch, number, args


@pytest.mark.skipif(LIBRARY is None, reason="libseccomp is not installed")
@pytest.mark.parametrize("caps", [capabilities.DEFAULT, (), capabilities.NAMES])
def test_verdicts_are_those_of_libseccomp(caps):
    section = default_section(caps)
    ours, theirs = seccomp_compiler.compile_filter(section, "x86_64"), libseccomp(section)
    # Calls the installed libseccomp does not know fall to its default.
    resolve = ctypes.CDLL(LIBRARY).seccomp_syscall_resolve_name
    differing = [
        (name, hex(arch), args)
        for name, arch, number, args in samples(1)
        if resolve(name.encode()) != -1 and run(ours, arch, number, args) != run(theirs, arch, number, args)
    ]
    assert differing == []


LOADER = """
import ctypes, os, sys
program = bytes.fromhex(sys.argv[1])
class Prog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(program)
prog = Prog(len(program) // 8, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(317 if os.uname().machine == "x86_64" else 277, 1, 4, ctypes.byref(prog)) == 0
def errno_of(number, *args):
    ctypes.set_errno(0)
    libc.syscall(number, *args)
    return ctypes.get_errno()
numbers = [int(n) for n in sys.argv[2].split(",")]
print(*[errno_of(n, -1, 0, 0) for n in numbers])
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
def test_the_kernel_takes_the_filter_and_enforces_it():
    import subprocess

    program = seccomp_compiler.compile_filter(default_section(), "x86_64")
    numbers = [TABLES["x86_64"][name] for name in ("kexec_load", "add_key", "userfaultfd", "close", "getpid")]
    command = ["/usr/bin/env", "python3", "-I", "-S", "-c", LOADER, program.hex(), ",".join(map(str, numbers))]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [int(n) for n in result.stdout.split()] == [errno.EPERM, errno.ENOSYS, errno.EPERM, errno.EBADF, 0]
