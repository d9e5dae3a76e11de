"""Podman with estiva-runtime as its runtime, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.accounts import root_account
from helpers.isolation import WORLD
from helpers.kernel import remove_tree
from helpers.leaks import Snapshot, leaked
from helpers.peer import IMAGE, NETWORK, eventually
from helpers.podman import Podman, missing
from helpers.runtimes import own_runtime

pytestmark = pytest.mark.needs_root
LOOP = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture(scope="module", params=["root", "user"])
def installed(request: pytest.FixtureRequest, public_directory: Path, busybox_archive: Path) -> Iterator[Podman]:
    """Podman with the image; nothing may be left of it in the end."""
    if os.geteuid() != 0 or not WORLD.active:
        pytest.skip("needs root")
    if absent := missing():
        pytest.skip(f"needs {', '.join(absent)}")
    root = request.param == "root"
    account = root_account(public_directory) if root else request.getfixturevalue("user")
    before = Snapshot()
    base = public_directory / f"podman-{request.param}"
    base.mkdir()
    os.chown(base, account.uid, account.gid)
    podman = Podman(account, base, own_runtime(account, base))
    try:
        podman.run("load", "--quiet", "--input", str(busybox_archive))
        yield podman
    finally:
        podman.stop()
        remove_tree(base)
    left = leaked(before)
    assert not left, "left behind:\n  " + "\n  ".join(left)


@pytest.fixture
def podman(installed: Podman) -> Iterator[Podman]:
    """Podman without containers, before and after."""
    yield installed
    installed.clear()


def test_streams_and_codes(podman: Podman) -> None:
    words = ("run", "--rm", "-i", *NETWORK, IMAGE)
    done = podman.run(*words, "sh", "-c", "cat; echo bad >&2; exit 7", input="given\n", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "given\n", "bad\n")
    assert "executable file 'nosuch' not found" in podman.fails(127, *words, "nosuch")
    assert "permission denied" in podman.fails(126, *words, "/etc")
    assert "unknown flag" in podman.fails(125, "run", "--nosuch", IMAGE)
    assert podman.out("ps", "-aq") == ""


def test_a_containers_life(podman: Podman) -> None:
    identity = podman.start(IMAGE, "sh", "-c", LOOP)
    eventually(lambda: podman.out("logs", "box") == "ready")
    assert podman.inspect("{{.OCIRuntime}}") == "estiva"
    assert podman.out("ps", "--format", "{{.Names}} {{.Status}}").startswith("box Up")
    assert podman.out("top", "box", "pid", "comm").splitlines()[1].split() == ["1", "sh"]
    (podman.base / "file").write_text("copied\n")
    podman.run("cp", str(podman.base / "file"), "box:/copy")
    assert podman.out("exec", "box", "cat", "/copy") == "copied"
    assert "A /copy" in podman.out("diff", "box").splitlines()
    podman.run("commit", "--quiet", "box", "localhost/changed")
    assert podman.out("run", "--rm", *NETWORK, "localhost/changed", "cat", "/copy") == "copied"
    podman.run("rmi", "localhost/changed")
    podman.run("stop", "box")
    assert podman.out("wait", "box") == "5"
    assert podman.fails(255, "exec", "box", "true")
    podman.run("restart", "box")
    assert podman.inspect("{{.State.Running}} {{.Id}}") == f"true {identity}"
    podman.run("kill", "--signal", "KILL", "box")
    assert podman.out("wait", "box") == "137"
    podman.run("rm", "box")
    assert podman.run("container", "exists", "box", check=False).returncode == 1


def test_pause_update_and_stats(podman: Podman) -> None:
    if podman.rootless:
        pytest.skip("an ordinary user is delegated no cgroups here")
    podman.start("--cpuset-cpus", "0", IMAGE, "sleep", "100")
    podman.run("pause", "box")
    assert podman.inspect("{{.State.Status}}") == "paused"
    podman.run("unpause", "box")
    assert podman.out("exec", "box", "nproc") == "1"
    (used,) = json.loads(podman.out("stats", "--no-stream", "--format", "json", "box"))
    assert (used["name"], int(used["pids"])) == ("box", 1)
    podman.run("update", "--memory", "64m", "box")
    limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    assert podman.out("exec", "box", "sh", "-c", limit) == "67108864"


def test_exec(podman: Podman) -> None:
    podman.start("-e", "WORD=there", IMAGE, "sleep", "100")
    script = "id -u; id -g; pwd; echo $WORD$MORE; exit 9"
    done = podman.run("exec", "-u", "3:4", "-w", "/tmp", "-e", "MORE=1", "box", "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout.split()) == (9, ["3", "4", "/tmp", "there1"])
    assert podman.out("exec", "-i", "box", "cat", input="through") == "through"
    podman.run("exec", "-d", "box", "sh", "-c", "echo made > /made")
    eventually(lambda: podman.run("exec", "box", "cat", "/made", check=False).stdout == "made\n")
    assert "not found" in podman.fails(127, "exec", "box", "nosuch")
    assert "permission denied" in podman.fails(126, "exec", "box", "/etc")
    assert "no such file" in podman.fails(127, "exec", "-w", "/nosuch", "box", "true")


def test_terminals(podman: Podman) -> None:
    words = ("run", "--rm", "-it", *NETWORK, "--name", "box", IMAGE)
    script = "read x; stty size; tty; read y; exit 3"
    terminal = podman.terminal(*words, "sh", "-c", script, rows=31, columns=99)
    try:
        eventually(lambda: podman.out("ps", "-q"))
        terminal.send("go\n")
        terminal.expect("31 99")
        terminal.expect("/dev/pts/0")
        inner = podman.terminal("exec", "-it", "box", "sh", "-c", "tty; exit 4")
        try:
            inner.expect("/dev/pts/1")
            assert inner.wait() == 4
        finally:
            inner.close()
        terminal.send("go\n")
        assert terminal.wait() == 3
    finally:
        terminal.close()


def test_descriptors_are_passed_on(podman: Podman) -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"through\n")
    os.close(write_fd)
    argv = podman.argv("run", "--rm", *NETWORK, "--preserve-fds", "1", IMAGE, "sh", "-c", "cat <&3")
    shell = ["bash", "-c", f'exec 3<&{read_fd} {read_fd}<&-; exec "$@"', "x", *argv]
    try:
        done = subprocess.run(
            shell, pass_fds=[read_fd], env=podman.env, cwd=podman.base, capture_output=True, text=True, timeout=30,
            check=False,
        )  # fmt: skip
    finally:
        os.close(read_fd)
    assert done.stdout == "through\n", done.stderr


@pytest.mark.parametrize(
    ("options", "script", "expected"),
    [
        (
            ["--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges",
             "--ulimit", "nofile=100:200", "--sysctl", "net.ipv4.ip_forward=1"],
            "grep -E 'CapEff|NoNew' /proc/self/status | cut -f2; ulimit -n; ulimit -Hn;"
            "cat /proc/sys/net/ipv4/ip_forward",
            "0000000000000001\n1\n100\n200\n1",
        ),
        (
            ["--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL", "--device", "/dev/zero:/dev/nil"],
            "grep Seccomp: /proc/self/status | cut -f2; ls /sys/firmware | grep -q . && echo seen;"
            "head -c 3 /dev/nil | wc -c",
            "0\nseen\n3",
        ),
        (
            ["--security-opt", "mask=/etc/passwd"],
            "grep Seccomp: /proc/self/status | cut -f2; wc -c < /etc/passwd; ls /sys/firmware /proc/acpi | grep -c .",
            "2\n0\n2",  # two headings
        ),
        (
            ["--read-only", "--tmpfs", "/t:size=1m", "-v", "/usr:/v:ro", "-v", "data:/d", "-v", "/usr/share:/o:O",
             "--shm-size", "2m"],
            "touch /x /v/x 2>&1; touch /tmp/y /d/y /o/y && echo may;"
            "df -k /t /dev/shm | awk '/%/ {print $2}' | tail -2",
            "touch: /x: Read-only file system\ntouch: /v/x: Read-only file system\nmay\n1024\n2048",
        ),
        (
            ["--user", "1000:5", "--group-add", "6", "--umask", "077", "--hostname", "there",
             "-e", "A=1", "-w", "/tmp"],
            "id -u; id -g; id -G; umask; hostname; ls /sys/class/net; pwd; echo $A",
            "1000\n5\n5 6\n0077\nthere\nlo\n/tmp\n1",
        ),
        (
            ["--privileged"],
            "grep Seccomp: /proc/self/status | cut -f2; mkdir /m; mount -t tmpfs x /m && echo may",
            "0\nmay",
        ),
        (["--systemd", "always"], "echo $container; grep -c ' /run/lock tmpfs' /proc/mounts", "podman\n1"),
    ],
)  # fmt: skip
def test_option(podman: Podman, options: list[str], script: str, expected: str) -> None:
    assert podman.shell(*options, script + "; true") == expected


@pytest.mark.parametrize(
    ("options", "script", "expected"),
    [
        (["--pids-limit", "20", "-m", "64m", "--cpuset-cpus", "0"], "nproc", "1"),
        (["--cgroupns", "private"], "cut -d: -f3 /proc/self/cgroup | sort -u", "/"),
        (["--cgroup-parent", "/mine"], "grep -q :/mine/ /proc/self/cgroup && echo yes", "yes"),
        (
            ["--uidmap", "0:100000:65536"],
            "cat /proc/self/uid_map | tr -s ' '; stat -c %u /bin/busybox",
            " 0 100000 65536\n0",
        ),
        (["--uidmap", "0:100000:65536", "-t"], "tty; stat -c %u /dev/console", "/dev/pts/0\n0"),
        (["--pid", "host", "--uts", "host"], "hostname", os.uname().nodename),
    ],
)  # fmt: skip
def test_option_of_root(podman: Podman, options: list[str], script: str, expected: str) -> None:
    if podman.rootless:
        pytest.skip("needs root: cgroups, and ids of one's own choice")
    assert podman.shell(*options, script + "; true") == expected


@pytest.mark.parametrize("mode", ["keep-id", "auto:size=1000", "nomap"])
def test_user_namespaces_of_users(podman: Podman, mode: str) -> None:
    if not podman.rootless:
        pytest.skip("means something to users only")
    uid, rest = podman.shell("--userns", mode, "id -u; awk '{n += $3} END {print n}' /proc/self/uid_map").split()
    assert int(uid) == (podman.account.uid if mode == "keep-id" else 0)
    assert int(rest) == {"keep-id": 65537, "auto:size=1000": 1000, "nomap": 65536}[mode]


def test_containers_of_a_pod_share_namespaces(podman: Podman) -> None:
    words = ("--infra-image", IMAGE, "--infra-command", "/bin/sleep 1000", "--network", "none", "--hostname", "podded")
    podman.run("pod", "create", "--name", "pod", *words)
    podman.run("run", "--detach", "--pod", "pod", "--name", "one", IMAGE, "sleep", "100")
    look = "hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc"
    seen = podman.out("exec", "one", "sh", "-c", look)
    assert podman.out("run", "--rm", "--pod", "pod", IMAGE, "sh", "-c", look) == seen
    assert podman.out("exec", "one", "hostname") == "podded"
    assert podman.out("pod", "ps", "--format", "{{.Name}} {{.Status}}") == "pod Running"
    podman.run("pod", "stop", "--time", "0", "pod")
    podman.run("pod", "start", "pod")
    assert podman.out("exec", "one", "hostname") == "podded"


def test_a_joined_user_namespace_owns_what_is_made_in_it(podman: Podman) -> None:
    if podman.rootless:
        pytest.skip("the ids are root's choice")
    podman.start("--uidmap", "0:100000:1000", IMAGE, "sleep", "100")
    assert podman.shell("--userns", "container:box", "cat /proc/self/uid_map; ls /sys/class/net").split()[1:] == [
        "100000", "1000", "lo",
    ]  # fmt: skip


def test_hooks_run(podman: Podman, tmp_path: Path) -> None:
    if podman.rootless:
        pytest.skip("the hook writes where root may")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >> {tmp_path}/state; echo >> {tmp_path}/state"]}
    stages = ["prestart", "poststart", "poststop"]
    (tmp_path / "hook.json").write_text(
        json.dumps({"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": stages})
    )
    podman.run("--hooks-dir", str(tmp_path), "run", "--rm", *NETWORK, IMAGE, "true")
    states = [json.loads(line) for line in (tmp_path / "state").read_text().splitlines()]
    assert [state["status"] for state in states] == ["creating", "running", "stopped"]
    assert states[0]["pid"] > 0


def test_restarts_health_and_time_outs(podman: Podman) -> None:
    podman.start("--restart", "on-failure:2", IMAGE, "sh", "-c", "echo once; exit 3")
    eventually(lambda: podman.inspect("{{.RestartCount}} {{.State.Status}}") == "2 exited")
    assert podman.out("logs", "box").split() == ["once"] * 3  # and nothing of the runtime's
    podman.start("--health-cmd", "test -e /ok", "--health-interval", "disable", IMAGE, "sleep", "100", name="hale")
    assert podman.run("healthcheck", "run", "hale", check=False).returncode == 1
    podman.run("exec", "hale", "touch", "/ok")
    assert podman.run("healthcheck", "run", "hale", check=False).returncode == 0
    assert podman.run("run", "--rm", *NETWORK, "--timeout", "1", IMAGE, "sleep", "30", check=False).returncode == 255


def test_one_that_does_not_listen_is_killed(podman: Podman) -> None:
    podman.start(IMAGE, "sleep", "100")
    started = time.monotonic()
    podman.run("stop", "--time", "1", "box")
    assert podman.inspect("{{.State.ExitCode}}") == "137"
    assert time.monotonic() - started < 10


def test_checkpoint_is_refused_in_words(podman: Podman) -> None:
    if podman.rootless:
        pytest.skip("Podman itself refuses")
    podman.start(IMAGE, "sleep", "100")
    assert "checkpoint" in podman.fails(125, "container", "checkpoint", "box")
    assert podman.inspect("{{.State.Status}}") == "running"
