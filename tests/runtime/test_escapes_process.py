"""Known ways out of a container by way of its processes, each tried for real.

What each test would find if the protection were missing was seen once with the code weakened by hand: how is said in
the test.  docs/security.md lists them all.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from helpers import attack
from helpers.terminal import Terminal

pytestmark = pytest.mark.needs_root


@pytest.fixture
def attacker(runtime):
    """The hostile program in the bundle."""
    return attack.install(runtime.bundle / "rootfs")


@pytest.mark.parametrize("who", ["1", "self"])
def test_the_helper_is_not_overwritten_through_its_exe_link(box, lower, who):
    """CVE-2019-5736.  Weakened: without seals and started from the file itself, the write succeeds."""
    box.around.init = True
    program = attack.install(lower)
    caps = box.spec["process"]["capabilities"]
    for kind in caps:
        caps[kind] = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]
    out = box.shell(f"{program} write:/proc/1/exe; ln -s /proc/{who}/exe /tmp/x; {program} write:/tmp/x")
    assert "DONE" not in out
    assert out.count("failed") == 2


def test_a_program_that_is_the_exe_link_reaches_only_the_helper_in_memory(box, lower):
    """An entry point ``#!/proc/self/exe`` makes the kernel run the helper again, inside: it has no plan, and ends."""
    script = lower / "bin/again"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    assert box.run("/bin/again") == 125
    assert not (box.base / "upper/etc/x").exists()


@pytest.mark.parametrize("number", [3, 4, 5, 6, 9, 100, 101])
def test_the_working_directory_is_no_descriptor_of_the_host(box, number):
    """CVE-2024-21626.  Weakened: chdir(2) by name, without the look at getcwd, enters a directory that is passed on."""
    directory = os.open(box.base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        box.spec["process"]["cwd"] = f"/proc/self/fd/{number}"
        with pytest.raises(Exception, match=r"chdir|working directory"):
            box.run("pwd")
        box.spec["process"]["cwd"] = f"/proc/self/fd/{number}/made"
        other = box.base / "work2"
        other.mkdir()
        box.around.rootfs.workdir = str(other)
        with pytest.raises(Exception, match=r"chdir|working directory"):
            box.run("pwd")
        assert not (box.base / "made").exists()
    finally:
        os.close(directory)


def test_exec_does_not_start_in_a_descriptor_that_is_passed_on(runtime):
    """The same by --preserve-fds, for run and exec.  Weakened: ``ls`` shows the host's root directory."""
    runtime.start("a")
    for number in (3, 100, 101, 102):
        directory = f"/proc/self/fd/{number}"
        runtime.process("ls", cwd=directory)
        for words in (
            ["exec", "--preserve-fds", "1", "--cwd", directory, "a", "ls"],
            ["run", "--preserve-fds", "1", "b"],
        ):
            command = ["sh", "-c", 'exec 3</; exec "$@"', "sh", *runtime.command(*words)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=runtime.bundle)
            assert done.returncode != 0, done.stdout
            assert "working directory" in done.stderr or "chdir" in done.stderr


def test_no_descriptor_leaks_into_run_exec_or_init(runtime):
    """Everything but the standard streams is closed.  They are close-on-exec, and closed by range.

    The caller has a directory of the host open and inheritable."""
    directory = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(directory, True)
    try:
        runtime.process("sh", "-c", "ls -l /proc/self/fd /proc/1/fd | grep -c -- '->'")
        command = [*runtime.command("run", "a")]
        done = subprocess.run(
            command, close_fds=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            cwd=runtime.bundle, timeout=60,
        )  # fmt: skip
        # 0 1 2 of the shell, 0 1 2 and the listed directory of ls
        assert int(done.stdout) <= 8, done.stdout
        runtime.start("b")
        done = subprocess.run(
            runtime.command("exec", "b", "ls", "-l", "/proc/self/fd"), close_fds=False, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert "/etc" not in done.stdout
        assert "memfd" not in done.stdout
        assert done.stdout.count("->") <= 4
    finally:
        os.close(directory)


@pytest.mark.parametrize("userns", [False, True])
def test_who_joins_cannot_be_looked_into(runtime, attacker, userns):
    """ptrace and /proc of the process that ``exec`` sends in, by a container with every capability in its user
    namespace, or with CAP_SYS_PTRACE in the host's, who can look but finds a process as poor as itself.
    Weakened: born in the pid namespace with all its powers, it shows the host's root, descriptors and capabilities."""
    caps = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL"]
    for kind in runtime.spec["process"]["capabilities"]:
        runtime.spec["process"]["capabilities"][kind] = caps
    if userns:
        linux = runtime.spec["linux"]
        linux["namespaces"] = [*linux["namespaces"], {"type": "user"}]
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    told = runtime.bundle / "rootfs/tmp/told"
    runtime.start("a", "sh", "-c", f"{attacker} {'newcomers' if userns else 'tracing'}:4 > /tmp/told; sleep 100")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        runtime("exec", "a", "true")
    wait = time.monotonic() + 10
    while "seen" not in told.read_text() and time.monotonic() < wait:
        time.sleep(0.1)
    words = told.read_text().splitlines()
    assert "seen some" in words
    assert not [line for line in words if line.startswith("DONE")], words


def test_an_inherited_terminal_takes_no_input_from_the_container(runtime, attacker):
    """TIOCSTI, TIOCLINUX, /dev/tty of the terminal that ``run`` and ``exec`` were started on.  Weakened:
    without setsid, /dev/tty opens, and TIOCSTI works where dev.tty.legacy_tiocsti allows it."""
    runtime.process("sh", "-c", f"{attacker} push paste tty; echo over")
    terminal = Terminal(runtime.command("run", "a"), cwd=runtime.bundle)
    try:
        shown = terminal.expect("over")
    finally:
        terminal.close()
    assert "DONE" not in shown
    assert shown.count("failed") == 3


def test_the_session_keyring_is_not_the_callers(box, probe):
    """Weakened: without KEYRING both describe the same one."""
    ours = subprocess.run([str(box.lower) + probe, "keyring"], capture_output=True, text=True, check=True).stdout
    assert box.run(probe, "keyring") == 0
    assert box.out.decode().split()[0] != ours.split()[0]


def test_what_the_monitor_and_its_helper_hold_is_nobodys_secret(runtime):
    """No variable of the caller is in the environment of the container's processes or their ends of the line."""
    command = runtime.command("run", "a")
    runtime.process("sh", "-c", "tr '\\0' '\\n' < /proc/1/environ; tr '\\0' '\\n' < /proc/self/environ")
    done = subprocess.run(
        command, env={**os.environ, "SECRET": "hunter2"}, capture_output=True, text=True, check=False,
        cwd=runtime.bundle, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout


def test_a_writer_that_outlives_the_container_does_not_hold_its_end_up(box, lower):
    """Another process holds the container's pipe and fills it for ever.  Weakened: the end is not noted
    as long as there is something to read."""
    attack.install(lower)
    launched, attachment = box.start("sh", "-c", "echo up; sleep 100")
    assert attachment.receive() == ("stdout", b"up\n")
    pipe = os.open(f"/proc/{launched.pid}/fd/1", os.O_WRONLY)
    flood = subprocess.Popen(["dd", "if=/dev/zero", "bs=64k"], stdout=pipe, stderr=subprocess.DEVNULL)
    os.close(pipe)
    try:
        os.kill(launched.pid, 9)
        began = time.monotonic()
        code = None
        for _ in attachment.events():
            if time.monotonic() - began > 20:
                break
        code = attachment.exit_code
        assert code == 137
    finally:
        flood.kill()
        flood.wait()


def test_exit_codes_cannot_be_forged_from_outside_of_process_1(box):
    """Neither a file in the container nor another of its processes says how it ended."""
    assert box.run("sh", "-c", "(exit 0) & echo code=0 > /exit; echo code=0 > /tmp/exit; exit 41") == 41
    assert "code=41" in (box.base / "exit").read_text()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 and i386 are of x86-64")
def test_the_default_filter_knows_x32_i386_and_clone3(runtime, attacker):
    """Weakened: a filter that compares numbers without the architecture lets int 0x80 reach what it forbids."""
    from estiva.runtime.seccomp_profile import load_profile, resolve

    runtime.spec["linux"]["seccomp"] = resolve(load_profile(), [])
    # i386: mount 21, init_module 128, bpf 357, userfaultfd 374; all of these want capabilities the profile asks for
    runtime.process(attacker, "int80:128", "int80:357", "namespaces")
    out = runtime("run", "a")
    assert "DONE int80" not in out
    assert out.count("failed int80") == 2
    assert "DONE" not in out
    probe = runtime.bundle / "rootfs/bin/x32"
    source = (
        "#include <unistd.h>\n#include <sys/syscall.h>\nint main(void){ syscall(0x40000000 | SYS_getpid); return 0; }\n"
    )
    subprocess.run(["cc", "-static", "-x", "c", "-o", str(probe), "-"], input=source, text=True, check=True, timeout=60)
    runtime.spec["linux"]["seccomp"]["architectures"] = ["SCMP_ARCH_X86_64"]
    runtime.process("/bin/x32")
    runtime("run", "a", code=128 + 31)  # SIGSYS


def test_dangerous_calls_are_refused_by_the_default_filter(box, probe):
    """bpf, userfaultfd, io_uring, perf, kexec, modules, keys, open_by_handle_at, swap, reboot."""
    from estiva.runtime.seccomp import compile_cached
    from estiva.runtime.seccomp_profile import load_profile, resolve

    with open(Path(__import__("estiva.runtime").runtime.__path__[0]) / "data/syscalls.json", "rb") as file:
        numbers = json.load(file)[os.uname().machine]
    box.around.seccomp = compile_cached(resolve(load_profile(), []), None)
    names = (
        "bpf", "userfaultfd", "io_uring_setup", "perf_event_open", "kexec_load", "init_module", "finit_module",
        "delete_module", "open_by_handle_at", "swapon", "swapoff", "reboot", "acct", "settimeofday", "iopl", "syslog",
    )  # fmt: skip
    known = [name for name in names if name in numbers and name != "syslog"]
    assert box.run(probe, *(f"call:{numbers[name]},0,0,0,0,0,0" for name in known)) == 0
    lines = box.out.decode().splitlines()
    let_through = [
        name for name, line in zip(known, lines, strict=True)
        if not any(word in line for word in ("not permitted", "not implemented"))
    ]  # fmt: skip
    assert let_through == []
