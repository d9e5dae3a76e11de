"""Docker (dockerd, containerd, ctr) with estiva-runtime as its runtime: what its users do, by its own clients."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.accounts import root_account
from helpers.docker import Docker, missing
from helpers.isolation import WORLD
from helpers.kernel import remove_tree
from helpers.leaks import Snapshot, leaked
from helpers.peer import IMAGE, eventually
from helpers.runtimes import own_runtime

pytestmark = pytest.mark.needs_root
LOOP = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture(scope="module")
def daemon(public_directory: Path, busybox_archive: Path) -> Iterator[Docker]:
    """Docker with the image; nothing may be left of it in the end."""
    if os.geteuid() != 0 or not WORLD.active:
        pytest.skip("needs root")
    if absent := missing():
        pytest.skip(f"needs {', '.join(absent)}")
    before = Snapshot()
    base = public_directory / "docker"
    base.mkdir()
    docker = Docker(base, own_runtime(root_account(public_directory), base))
    try:
        docker.run("load", "--quiet", "--input", str(busybox_archive))
        yield docker
    finally:
        docker.stop()
        remove_tree(base)
    left = leaked(before)
    assert not left, "left behind:\n  " + "\n  ".join(left)


@pytest.fixture
def docker(daemon: Docker) -> Iterator[Docker]:
    """Docker without containers, before and after."""
    yield daemon
    daemon.clear()


def test_our_runtime_is_the_one_in_use(docker: Docker) -> None:
    assert docker.out("info", "--format", "{{.DefaultRuntime}}") == "estiva"


def test_streams_and_codes(docker: Docker) -> None:
    words = ("run", "--rm", "-i", "--network", "none", IMAGE)
    done = docker.run(*words, "sh", "-c", "cat; echo bad >&2; exit 7", input="given\n", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "given\n", "bad\n")
    assert "executable file 'nosuch' not found" in docker.fails(127, *words, "nosuch")
    assert "permission denied" in docker.fails(126, *words, "/etc")
    assert "not a directory" in docker.fails(125, "run", "--rm", "-v", "/etc/passwd:/etc", IMAGE, "true")
    assert docker.out("ps", "-aq") == ""


def test_a_containers_life(docker: Docker, tmp_path: Path) -> None:
    identity = docker.start(IMAGE, "sh", "-c", LOOP)
    eventually(lambda: docker.out("logs", "box") == "ready")
    assert docker.out("ps", "--format", "{{.Names}} {{.State}}") == "box running"
    assert "sleep 0.05" in docker.out("top", "box") or "sh -c" in docker.out("top", "box")
    used = json.loads(docker.out("stats", "--no-stream", "--format", "{{json .}}", "box"))
    assert (used["Name"], int(used["PIDs"]) > 0) == ("box", True)
    assert re.fullmatch(r"[\d.]+[KM]iB / .*", used["MemUsage"])

    docker.run("pause", "box")
    assert docker.inspect("{{.State.Status}}") == "paused"
    docker.run("unpause", "box")
    assert docker.inspect("{{.State.Status}}") == "running"

    docker.run("update", "--memory", "64m", "--memory-swap", "64m", "--pids-limit", "77", "box")
    limits = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max 2>/dev/null ||"
    limits += " cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"
    assert docker.out("exec", "box", "sh", "-c", limits).split() == ["67108864", "77"]

    (tmp_path / "file").write_text("copied\n")
    docker.run("cp", str(tmp_path / "file"), "box:/copy")
    assert docker.out("exec", "box", "cat", "/copy") == "copied"
    assert "A /copy" in docker.out("diff", "box").splitlines()
    docker.run("commit", "box", "localhost/changed")
    assert docker.out("run", "--rm", "--network", "none", "localhost/changed", "cat", "/copy") == "copied"
    docker.run("rmi", "localhost/changed")

    docker.run("stop", "box")
    assert docker.out("wait", "box") == "5"
    assert docker.fails(1, "exec", "box", "true")
    docker.run("restart", "box")
    assert docker.inspect("{{.State.Running}} {{.Id}}") == f"true {identity}"
    docker.run("kill", "--signal", "KILL", "box")
    assert docker.out("wait", "box") == "137"
    docker.run("rm", "box")
    assert docker.fails(1, "inspect", "box")


def test_exec(docker: Docker) -> None:
    docker.start("-e", "WORD=there", IMAGE, "sleep", "100")
    script = "id -u; id -g; pwd; echo $WORD$MORE; exit 9"
    done = docker.run("exec", "-u", "3:4", "-w", "/tmp", "-e", "MORE=1", "box", "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout.split()) == (9, ["3", "4", "/tmp", "there1"])
    assert docker.out("exec", "-i", "box", "cat", input="through") == "through"
    docker.run("exec", "-d", "box", "sh", "-c", "echo made > /made")
    eventually(lambda: docker.run("exec", "box", "cat", "/made", check=False).stdout == "made\n")
    assert "not found" in docker.fails(126, "exec", "box", "nosuch")
    assert "permission denied" in docker.fails(126, "exec", "box", "/etc")
    assert "no such file" in docker.fails(126, "exec", "-w", "/nosuch", "box", "true")
    assert "ffff" in docker.out("exec", "--privileged", "box", "grep", "CapEff", "/proc/self/status")


def test_terminals(docker: Docker) -> None:
    words = ("run", "--rm", "-it", "--network", "none", "--name", "box", IMAGE)
    script = "read x; stty size; tty; read y; stty size; exit 3"
    terminal = docker.terminal(*words, "sh", "-c", script, rows=31, columns=99)
    try:
        eventually(lambda: docker.out("ps", "-q"))
        time.sleep(0.3)  # the client sends the size once the container runs
        terminal.send("go\n")
        terminal.expect("31 99")
        terminal.expect("/dev/pts/0")
        inner = docker.terminal("exec", "-it", "box", "sh", "-c", "tty; exit 4")
        try:
            inner.expect("/dev/pts/1")
            assert inner.wait() == 4
        finally:
            inner.close()
        terminal.resize(40, 120)
        terminal.process.send_signal(28)  # SIGWINCH
        time.sleep(0.3)
        terminal.send("go\n")
        terminal.expect("40 120")
        assert terminal.wait() == 3
    finally:
        terminal.close()


def test_signals_reach_the_program(docker: Docker) -> None:
    terminal = docker.terminal("run", "--rm", "--network", "none", IMAGE, "sh", "-c", LOOP)
    try:
        terminal.expect("ready")
        terminal.process.terminate()
        assert terminal.wait() == 5
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("options", "script", "expected"),
    [
        (
            ["--init", "--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges", "--ulimit",
             "nofile=100:200", "--sysctl", "net.ipv4.ip_forward=1"],
            "cat /proc/1/comm; grep -E 'CapEff|NoNew' /proc/self/status | cut -f2; ulimit -n; ulimit -Hn;"
            "cat /proc/sys/net/ipv4/ip_forward",
            "docker-init\n0000000000000001\n1\n100\n200\n1",
        ),
        (
            ["--security-opt", "seccomp=unconfined", "--device", "/dev/zero:/dev/nil", "--oom-score-adj", "300"],
            "grep Seccomp: /proc/self/status | cut -f2; head -c 3 /dev/nil | wc -c; cat /proc/self/oom_score_adj",
            "0\n3\n300",
        ),
        ([], "grep Seccomp: /proc/self/status | cut -f2; ls /proc/acpi /sys/firmware | grep -c .", "2\n2"),
        (
            ["--read-only", "--tmpfs", "/t:size=1m", "-v", "/usr:/v:ro", "-v", "data:/d", "--shm-size", "2m"],
            "touch /x /v/x 2>&1; touch /d/y && echo may; df -k /t /dev/shm | awk '/%/ {print $2}' | tail -2",
            "touch: /x: Read-only file system\ntouch: /v/x: Read-only file system\nmay\n1024\n2048",
        ),
        (
            ["--pids-limit", "20", "-m", "64m", "--cpuset-cpus", "0", "--cgroupns", "private"],
            "nproc; cut -d: -f3 /proc/self/cgroup | sort -u",
            "1\n/",
        ),
        (["--cgroup-parent", "/mine"], "grep -q :/mine/ /proc/self/cgroup && echo yes", "yes"),
        (
            ["--user", "1000:5", "--group-add", "6", "--hostname", "there", "--domainname", "example",
             "-w", "/made/here", "-e", "A=1"],
            "id -u; id -g; id -G; hostname; cat /proc/sys/kernel/domainname; pwd; echo $A",
            "1000\n5\n5 6\nthere\nexample\n/made/here\n1",
        ),
        (["--pid", "host", "--ipc", "host", "--uts", "host"], "hostname", os.uname().nodename),
    ],
)  # fmt: skip
def test_option(docker: Docker, options: list[str], script: str, expected: str) -> None:
    assert docker.shell(*options, script + "; true") == expected


def test_a_privileged_container_has_what_can_be_had(docker: Docker) -> None:
    script = "grep CapEff /proc/self/status | cut -f2; grep Seccomp: /proc/self/status | cut -f2; ls /dev | wc -l"
    held, filtered, devices = docker.shell("--privileged", script + "; mkdir /m; mount -t tmpfs x /m").split()
    with open("/proc/self/status") as file:
        own = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    assert (filtered, int(devices) > 20) == ("0", True)
    assert int(held, 16) & ~own == 0  # Docker asks for all there are, of which we may have none that are not ours
    assert int(held, 16) >> 21 & 1  # CAP_SYS_ADMIN


def test_a_seccomp_profile(docker: Docker, tmp_path: Path) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]}
    (tmp_path / "profile.json").write_text(json.dumps({**profile, "syscalls": [rule]}))
    words = ("--security-opt", f"seccomp={tmp_path}/profile.json", "mkdir /x 2>&1; true")
    assert "No space left" in docker.shell(*words)


def test_memory_that_runs_out_is_told(docker: Docker) -> None:
    script = "head -c 60000000 /dev/zero | tail; sleep 0.3"
    docker.start("-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", script)
    docker.run("wait", "box")
    assert docker.inspect("{{.State.OOMKilled}}") == "true"


def test_restarts_by_policy(docker: Docker) -> None:
    docker.start("--restart", "on-failure:2", IMAGE, "sh", "-c", "echo once; exit 3")
    eventually(lambda: docker.inspect("{{.RestartCount}} {{.State.Status}}") == "2 exited")
    assert docker.out("logs", "box").split() == ["once"] * 3
    assert docker.inspect("{{.State.ExitCode}}") == "3"


def test_health_is_checked_by_exec(docker: Docker) -> None:
    words = ("--health-cmd", "test -e /ok", "--health-interval", "200ms", "--health-retries", "1")
    docker.start(*words, IMAGE, "sleep", "100")
    eventually(lambda: docker.inspect("{{.State.Health.Status}}") == "unhealthy")
    docker.run("exec", "box", "touch", "/ok")
    eventually(lambda: docker.inspect("{{.State.Health.Status}}") == "healthy")


def test_namespaces_of_another_container(docker: Docker) -> None:
    docker.start("--ipc", "shareable", "--hostname", "first", IMAGE, "sleep", "100")
    words = ("--pid", "container:box", "--ipc", "container:box", "--network", "container:box")
    script = "cat /proc/1/comm; hostname"
    assert docker.out("run", "--rm", *words, IMAGE, "sh", "-c", script) == "sleep\nfirst"


def test_attach_and_start(docker: Docker) -> None:
    docker.run("create", "-i", "--network", "none", "--name", "box", IMAGE, "sh", "-c", "cat; exit 6")
    done = docker.run("start", "-ai", "box", input="hello\n", check=False)
    assert (done.returncode, done.stdout) == (6, "hello\n")


def test_containers_live_on_while_dockerd_is_killed(docker: Docker) -> None:
    docker.start(IMAGE, "sh", "-c", "trap 'exit 5' TERM; while :; do echo beat; sleep 0.1; done")
    pid = docker.inspect("{{.State.Pid}}")
    docker.kill_dockerd()
    assert docker.inspect("{{.State.Pid}} {{.State.Status}}") == f"{pid} running"
    assert docker.out("exec", "box", "echo", "in") == "in"
    docker.run("stop", "box")
    assert docker.inspect("{{.State.ExitCode}}") == "5"


def test_containerd_by_its_own_client(docker: Docker, busybox_archive: Path) -> None:
    docker.ctr("images", "import", "--no-unpack", str(busybox_archive))
    try:
        words = ("run", "--runc-binary", str(docker.runtime))
        done = docker.ctr(*words, "--rm", IMAGE, "one", "sh", "-c", "echo out; exit 4", check=False)
        assert (done.returncode, done.stdout) == (4, "out\n"), done.stderr
        docker.ctr(*words, "--detach", "--memory-limit", "67108864", IMAGE, "two", "sleep", "100")
        done = docker.ctr("tasks", "exec", "--exec-id", "x", "two", "sh", "-c", "id -u; exit 8", check=False)
        assert (done.returncode, done.stdout) == (8, "0\n")
        docker.ctr("tasks", "pause", "two")
        assert "PAUSED" in docker.ctr("tasks", "ls").stdout
        docker.ctr("tasks", "resume", "two")
        pids = docker.ctr("tasks", "ps", "two").stdout
        assert len(pids.splitlines()) == 2, pids
        assert "67108864" in docker.ctr("tasks", "metrics", "--format", "json", "two").stdout
        docker.ctr("tasks", "kill", "--signal", "KILL", "two")
        eventually(lambda: "STOPPED" in docker.ctr("tasks", "ls").stdout)
        docker.ctr("tasks", "rm", "two", check=False)  # its exit code is the task's
        docker.ctr("containers", "rm", "two")
    finally:
        docker.ctr("images", "rm", "--sync", IMAGE, check=False)
