"""The options of run, each seen from inside the container, as root and as an ordinary user."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

PASSWD = "root:x:0:0:root:/root:/bin/sh\njoe:x:1000:1001:Joe:/home/joe:/bin/sh\n"
GROUP = "root:x:0:\njoe:x:1001:\nwheel:x:10:joe\n"


def seen(estiva: Any, *words: str) -> str:
    """What a command in a new container prints."""
    estiva.load()
    network = () if "--network" in words else ("--network", "none")
    return str(estiva.out("run", "--rm", *network, *words))


def sh(estiva: Any, script: str, *options: str) -> str:
    return seen(estiva, *options, "busybox", "sh", "-c", script)


@pytest.mark.parametrize(
    ("options", "script", "expected"),
    [
        (["-e", "A=1", "-e", "B=2"], "echo $A$B$container", "12estiva"),
        pytest.param(
            ["--unsetenv", "PATH", "-e", "A=1"],
            "echo $A",
            "1",
            marks=pytest.mark.embedded("without PATH, runc finds no program"),
        ),
        (["-w", "/made/here"], "pwd", "/made/here"),
        (["--hostname", "box"], "hostname; cat /etc/hostname", "box\nbox"),
        (["--uts", "host"], "hostname", os.uname().nodename),
        (["-u", "12:34", "--group-add", "56"], "id -u; id -g; id -G", "12\n34\n34 56"),
        (["--umask", "077"], "umask", "0077"),
        (["--ulimit", "nofile=100:200"], "ulimit -n; ulimit -Hn", "100\n200"),
        (["--shm-size", "2m"], "df -k /dev/shm | tail -1 | awk '{print $2}'", "2048"),
        (["--read-only"], "touch /x 2>/dev/null || touch /tmp/x && echo yes", "yes"),
        (
            ["--tmpfs", "/t:size=1m,exec"],
            "df -k /t | tail -1 | awk '{print $2}'; echo true > /t/x; chmod +x /t/x; /t/x",
            "1024",
        ),
        (["--mount", "type=tmpfs,dst=/t,tmpfs-size=1m"], "df -k /t | tail -1 | awk '{print $2}'", "1024"),
        (["--cap-drop", "ALL"], "grep CapEff /proc/self/status | cut -f2", "0000000000000000"),
        (["--cap-drop", "ALL", "--cap-add", "chown"], "grep CapEff /proc/self/status | cut -f2", "0000000000000001"),
        (["--security-opt", "no-new-privileges"], "grep NoNew /proc/self/status | cut -f2", "1"),
        (["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status | cut -f2", "0"),
        ([], "grep Seccomp: /proc/self/status | cut -f2", "2"),
        (["--privileged"], "grep Seccomp: /proc/self/status | cut -f2", "0"),
        (["--security-opt", "mask=/etc/hosts"], "wc -c < /etc/hosts", "0"),
        ([], "cat /proc/kcore /sys/firmware/* 2>/dev/null | wc -c", "0"),
        (["--init"], "cat /proc/1/comm", "init"),
        (["--oom-score-adj", "700"], "cat /proc/self/oom_score_adj", "700"),
        (["--add-host", "a:1.2.3.4"], "grep 1.2.3.4 /etc/hosts | tr '\\t' ' '", "1.2.3.4 a"),
        (["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward", "1"),
        (["--entrypoint", "echo"], "x", "sh -c x"),
        (["--dns", "9.9.9.9", "--network", "host"], "cat /etc/resolv.conf | grep nameserver", "nameserver 9.9.9.9"),
        ([], "ls /sys/class/net", "lo"),
        ([], "ls /proc/self/fd | wc -l", "4"),
    ],
)
def test_option(estiva: Any, options: list[str], script: str, expected: str) -> None:
    assert sh(estiva, script, *options) == expected


def test_a_users_directory_is_seen_and_can_be_protected(estiva: Any) -> None:
    (estiva.work / "dir").mkdir()
    os.chown(estiva.work / "dir", estiva.account.uid, estiva.account.gid)
    place = str(estiva.work / "dir")
    assert sh(estiva, "echo x > /m/f; cat /m/f", "-v", f"{place}:/m") == "x"
    assert sh(estiva, "echo y > /m/f; echo $?", "-v", f"{place}:/m:ro").endswith("1")
    assert sh(estiva, "echo y > /m/f; cat /m/f", "-v", f"{place}:/m:O") == "y"
    assert sh(estiva, "cat /m/f", "--mount", f"type=bind,src={place},dst=/m,ro") == "x"
    assert "no such file" in estiva.fails(125, "run", "--rm", "-v", f"{place}/none:/m", "busybox", "true")


def test_a_named_volume_outlives_containers_and_an_anonymous_one_does_not(estiva: Any) -> None:
    assert sh(estiva, "ls /etc > /v/list; ls /v", "-v", "data:/v") == "list"
    assert sh(estiva, "ls /v", "-v", "data:/v") == "list"
    assert sh(estiva, "touch /w/x; ls /w", "-v", "/w") == "x"
    assert os.listdir(estiva.root / "volumes") == ["data"]


def test_a_new_volume_starts_with_the_images_files(estiva: Any) -> None:
    inside = sh(estiva, "ls /bin | head -3")
    assert sh(estiva, "ls /bin | head -3", "-v", "copy:/bin") == inside


@pytest.mark.parametrize("mode", ["auto:size=2000", "keep-id", "keep-id:uid=5,gid=6", "nomap"])
def test_user_namespaces(estiva: Any, mode: str) -> None:
    if not estiva.rootless:
        pytest.skip(
            "needs the ranges of a user named containers" if "auto" in mode else "means something to users only"
        )
    expected = {"keep-id": estiva.account.uid, "keep-id:uid=5,gid=6": 5}.get(mode, 0)
    found = sh(estiva, "id -u; stat -c %u /bin/busybox; touch /tmp/x; stat -c %u /tmp/x", "--userns", mode).split()
    assert found == [str(expected), "0", str(expected)]


def let_pass(path: Path) -> None:
    """Let everybody through the directories to *path*, as they are in /var/lib."""
    while path != Path("/"):
        if not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
        path = path.parent


def test_uidmap_gives_the_image_to_the_mapped_ids(estiva: Any) -> None:
    outer = "1" if estiva.rootless else "200000"
    estiva.load()
    if "ESTIVA_RUNTIME" in estiva.env:  # other runtimes open what they mount as root of the container
        assert "chmod o+x" in estiva.fails(125, "run", "--rm", "--uidmap", f"0:{outer}:1000", "busybox", "true")
        let_pass(estiva.base)
    script = "cat /proc/self/uid_map; stat -c %u /bin/busybox; touch /x; stat -c %u /x"
    assert sh(estiva, script, "--uidmap", f"0:{outer}:1000").split() == ["0", outer, "1000", "0", "0"]


def test_the_images_own_users_are_found_also_in_a_changed_database(estiva: Any) -> None:
    estiva.load()
    script = f"printf '{PASSWD}' > /etc/passwd; printf '{GROUP}' > /etc/group; id -u"
    estiva.run("create", "--name", "c", "--network", "none", "busybox", "sh", "-c", script)
    assert estiva.out("start", "-a", "c").endswith("0")
    estiva.run("start", "c")
    estiva.run("wait", "c")
    assert "0" in estiva.out("logs", "c")
    assert "nobody-knows" in estiva.fails(125, "run", "--rm", "-u", "nobody-knows", "busybox", "true")


@pytest.mark.needs_root
def test_limits_bite(estiva_root: Any) -> None:
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; nproc"
    assert sh(estiva_root, script, "-m", "64m", "--cpuset-cpus", "0").split() == ["67108864", "1"]
    # with less than this runc itself cannot start
    assert sh(estiva_root, "for i in $(seq 40); do sleep 1 & done 2>&1 | grep -c fork", "--pids-limit", "24") != "0"


def test_a_limit_an_ordinary_user_cannot_have_is_one_clear_line(estiva_user: Any) -> None:
    estiva_user.load()
    result = estiva_user.run("run", "--rm", "-m", "64m", "busybox", "true", check=False)
    if result.returncode:
        assert "memory controller is not available to this user" in result.stderr


def test_namespaces_of_another_container_are_joined(estiva: Any) -> None:
    estiva.load()
    script = "echo hi > /dev/shm/f; sleep 60"
    first = ("--name", "one", "--ipc", "shareable", "--network", "none", "--hostname", "first")
    estiva.run("run", "-d", *first, "busybox", "sh", "-c", script)
    joins = [f"--{name}=container:one" for name in ("pid", "network", "ipc", "uts")]
    look = "until cat /dev/shm/f 2>/dev/null; do sleep 0.1; done; hostname; cat /proc/1/comm"
    assert estiva.out("run", "--rm", *joins, "busybox", "sh", "-c", look) == "hi\nfirst\nsleep"
    estiva.run("stop", "-t", "0", "one")
    assert "not running" in estiva.fails(125, "run", "--rm", "--pid", "container:one", "busybox", "true")


def test_the_id_is_written_to_a_file_that_goes_with_the_container(estiva: Any) -> None:
    path = estiva.work / "id"
    estiva.load()
    identity = estiva.out("run", "-d", "--name", "c", "--network", "none", "--cidfile", path, "busybox", "sleep", "60")
    assert path.read_text() == identity
    assert "exists already" in estiva.fails(125, "run", "--cidfile", path, "busybox", "true")


def test_names_are_unique_and_can_be_taken_over(estiva: Any) -> None:
    estiva.load()
    estiva.run("create", "--name", "c", "busybox", "true")
    assert "already in use" in estiva.fails(125, "create", "--name", "c", "busybox", "true")
    estiva.run("create", "--name", "c", "--replace", "busybox", "true")
    assert len(estiva.out("ps", "-aq").splitlines()) == 1
    assert "not valid" in estiva.fails(125, "create", "--name", "a b", "busybox", "true")


def test_restart_on_failure_counts(estiva: Any) -> None:
    estiva.load()
    estiva.run("run", "-d", "--name", "c", "--network", "none", "--restart", "on-failure:2", "busybox", "sh", "-c",
               "echo once; exit 3")  # fmt: skip
    assert estiva.out("wait", "c") == "3"
    assert estiva.out("logs", "c").splitlines() == ["once"] * 3


def test_a_timeout_kills(estiva: Any) -> None:
    estiva.load()
    before = time.monotonic()
    assert estiva.run("run", "--rm", "--timeout", "1", "busybox", "sleep", "60", check=False).returncode == 137
    assert time.monotonic() - before < 30


def test_exit_codes_of_programs_that_cannot_run(estiva: Any) -> None:
    estiva.load()
    estiva.fails(127, "run", "--rm", "busybox", "nosuch")
    estiva.fails(127, "run", "--rm", "busybox", "/no/such")
    estiva.fails(126, "run", "--rm", "busybox", "/etc")
    assert estiva.run("run", "--rm", "busybox", "sh", "-c", "exit 41", check=False).returncode == 41
    assert estiva.out("ps", "-aq") == ""


def test_exec_is_in_the_container(estiva: Any) -> None:
    estiva.load()
    estiva.run("run", "-d", "--name", "c", "--network", "none", "-e", "A=1", "busybox", "sleep", "60")
    assert estiva.out("exec", "-e", "B=2", "-w", "/tmp", "c", "sh", "-c", "echo $A$B; pwd; cat /proc/1/comm") == (
        "12\n/tmp\nsleep"
    )
    assert estiva.out(
        "exec", "-u", "7:8", "c", "sh", "-c", "id -u; id -g; grep CapEff /proc/self/status | cut -f2"
    ) == ("7\n8\n0000000000000000")
    assert estiva.run("exec", "c", "sh", "-c", "exit 9", check=False).returncode == 9
    estiva.fails(127, "exec", "c", "nosuch")
    estiva.run("exec", "-d", "c", "touch", "/done")
    assert estiva.run("exec", "-i", "c", "cat", input="typed").stdout == "typed"
    estiva.run("rm", "-f", "-t", "0", "c")
    assert "no container" in estiva.fails(125, "exec", "c", "true")


def test_what_a_killed_command_left_is_finished_by_the_next(estiva: Any) -> None:
    estiva.load()
    running = estiva.popen("run", "--rm", "--name", "c", "--network", "none", "busybox", "sh", "-c", "sleep 1; exit 3")
    deadline = time.monotonic() + 20
    while not estiva.out("ps", "-q"):
        assert time.monotonic() < deadline
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    while estiva.out("ps", "-aq"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    deadline = time.monotonic() + 5
    while os.listdir(Path(estiva.root) / "containers") or os.listdir(Path(estiva.run_root) / "containers"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_bad_options_leave_nothing(estiva: Any) -> None:
    estiva.load()
    for words in (["-v", "a:b"], ["--memory", "x"], ["--security-opt", "odd"], ["--user", "nosuch"], ["-w", "rel"],
                  ["--device", "/nonexistent"], ["--tz", "No/Where"], ["--runtime", "nosuch"]):  # fmt: skip
        assert estiva.fails(125, "run", "--rm", *words, "busybox", "true").count("\n") <= 1
    assert estiva.out("ps", "-aq") == ""
    assert os.listdir(Path(estiva.root) / "containers") == []
