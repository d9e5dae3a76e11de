"""A container as a service: notifications out of it, sockets into it, descriptors, pid files, logs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from estiva.runtime.cli import records

pytestmark = pytest.mark.needs_root


class Host:
    """The socket of whoever runs services."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(20)
        self.env = {**os.environ, "NOTIFY_SOCKET": str(path)}

    def hear(self):
        """The lines of the next message; descriptors that came with it are closed."""
        data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
        for fd in fds:
            os.close(fd)
        return data.decode().splitlines()


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path / "notify")
    yield made
    made.socket.close()


def say(text):
    """A program of the container that sends *text* to its ``$NOTIFY_SOCKET``; busybox has no client for datagrams, so
    Python of the host does it, bound into the container."""
    code = f"import socket, os; s = socket.socket(1, 2); s.sendto({text!r}.encode(), os.environ['NOTIFY_SOCKET'])"
    return ["/usr/bin/python3", "-S", "-c", code]


@pytest.fixture
def with_python(runtime):
    for path in ("/usr", "/lib", "/lib64"):
        if Path(path).exists():
            runtime.spec["mounts"].append({"destination": path, "type": "bind", "source": path, "options": ["rbind"]})
    return runtime


def test_a_detached_container_says_that_it_is_ready_and_who_it_is(with_python, host, tmp_path):
    runtime = with_python
    speak = " ".join(f"'{word}'" if " " in word else word for word in say("STATUS=hi\nREADY=1")[:3])
    script = f'{speak} "$CODE"; sleep 100'
    code = say("STATUS=hi\nREADY=1")[-1]
    runtime.process("sh", "-c", script, env=["PATH=/bin:/usr/bin", f"CODE={code}"])
    command = runtime.command("run", "--detach", "a")
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=runtime.bundle, env=host.env, stdin=nowhere, stdout=nowhere, stderr=nowhere):
        assert host.hear() == ["READY=1", f"MAINPID={records.find(str(runtime.root), 'a').pid}"]
        assert host.hear() == ["BARRIER=1"]
    assert runtime.status("a") == "running"


def test_start_waits_until_a_created_container_is_ready(with_python, host):
    runtime = with_python
    runtime.process(*say("READY=1"), env=["PATH=/bin"])
    nowhere = subprocess.DEVNULL
    subprocess.run(
        runtime.command("create", "a"), cwd=runtime.bundle, env=host.env, stdin=nowhere, stdout=nowhere, stderr=nowhere,
        check=True,
    )  # fmt: skip
    pid = records.find(str(runtime.root), "a").pid
    with subprocess.Popen(runtime.command("start", "a"), env=host.env):
        assert host.hear() == ["READY=1", f"MAINPID={pid}"]
        assert host.hear() == ["BARRIER=1"]
    assert "NOTIFY_SOCKET=" not in (runtime.root / "a/config.json").read_text()


def test_in_the_foreground_all_is_passed_on_but_the_containers_own_numbers(with_python, host):
    runtime = with_python
    runtime.process(*say("READY=1\nSTATUS=fine\nMAINPID=7"), env=["PATH=/bin"])
    with subprocess.Popen(runtime.command("run", "a"), cwd=runtime.bundle, env=host.env) as running:
        assert host.hear() == ["READY=1", "STATUS=fine", f"MAINPID={running.pid}"]
    assert running.returncode == 0
    assert runtime("list", "-q") == ""


def test_a_program_that_ends_without_being_ready_is_not_waited_for(runtime, host):
    runtime.process("true")
    runtime("run", "--detach", "a", env=host.env)
    assert "notifications on to /nowhere" in runtime(
        "run", "b", env={**os.environ, "NOTIFY_SOCKET": "/nowhere"}, code=1
    )
    assert runtime("list", "-q") == "a\n"


def test_sockets_that_systemd_gives_are_passed_on(runtime):
    """sd_listen_fds(3): only those meant for this very process, then those of --preserve-fds."""
    runtime.process(
        "sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3; cat <&4; cat <&5; ls /proc/self/fd"
    )
    inherited = []
    for word in (b"one ", b"two ", b"more\n"):
        read_fd, write_fd = os.pipe()
        os.write(write_fd, word)
        os.close(write_fd)
        inherited.append(read_fd)
    # The shell puts them in their places and becomes the command, so that the number it says is the command's.
    moves = " ".join(f"{3 + n}<&{fd}" for n, fd in enumerate(inherited))
    closes = " ".join(f"{fd}<&-" for fd in inherited if fd > 5)
    script = f'exec {moves} {closes}; export LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=a:b; exec "$@"'
    command = ["bash", "-c", script, "x", *runtime.command("run", "--preserve-fds", "1", "a")]
    done = subprocess.run(
        command, pass_fds=inherited, cwd=runtime.bundle, capture_output=True, text=True, check=False, timeout=60
    )
    for fd in inherited:
        os.close(fd)
    assert done.stdout.splitlines()[:2] == ["2 1 a:b", "one two more"], done.stderr
    assert done.stdout.split()[-7:-1] == ["0", "1", "2", "3", "4", "5"]  # and the directory that ls reads
    other = {**os.environ, "LISTEN_FDS": "2", "LISTEN_PID": "1"}
    assert runtime("run", "a", env=other, code=None).splitlines()[0] == ""


def test_descriptors_that_are_not_there_are_named(runtime):
    runtime.process("true")
    assert "number 3 is not open" in runtime("run", "--preserve-fds", "1", "a", code=1)
    assert "-1 is negative" in runtime("run", "--preserve-fds", "-1", "a", code=1)


def test_a_pid_file_that_cannot_be_written_undoes_the_container(runtime, tmp_path):
    runtime.process("sleep", "100")
    for command in ("create", "run"):
        said = runtime(command, "--pid-file", f"{tmp_path}/no/pid", "a", code=1)
        assert "no/pid: No such file" in said
        assert runtime("list", "-q") == ""


def test_logs_are_logrus_lines_with_debug_ones_on_demand(runtime, tmp_path):
    runtime.process("true")
    log = tmp_path / "log"
    runtime("--log", str(log), "--debug", "run", "a")
    lines = log.read_text().splitlines()
    assert any(line.startswith('time="2') and " level=debug msg=" in line and "CLONE" in line for line in lines)
    log.unlink()
    runtime("--log", str(log), "--log-format", "json", "--debug", "delete", "nobody", code=1)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["level"] for entry in entries] == ["debug", "error"]
    assert "container does not exist" in entries[-1]["msg"]
    runtime("--log", f"{tmp_path}/no/log", "delete", "nobody", code=1)


def test_orphans_of_a_container_without_a_pid_namespace_are_adopted_and_reaped(runtime):
    runtime.spec["linux"]["namespaces"] = [
        entry for entry in runtime.spec["linux"]["namespaces"] if entry["type"] != "pid"
    ]
    runtime.spec["mounts"] = [mount for mount in runtime.spec["mounts"] if mount["destination"] == "/dev"]
    script = "(sh -c 'sleep 0.2; read a b c d rest < /proc/self/stat; echo $d' &) ; sleep 1.5"
    runtime.spec["mounts"].append({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]})
    runtime.process("sh", "-c", script)
    started = subprocess.Popen(
        runtime.command("run", "a"), cwd=runtime.bundle, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = started.communicate(timeout=30)
    assert out.split() == [str(started.pid)], err


def test_ps_shows_the_containers_processes_only(runtime):
    pid = runtime.start("a", "sh", "-c", "sleep 77 & wait")
    numbers = json.loads(runtime("ps", "--format", "json", "a"))
    assert len(numbers) == 2
    assert pid in numbers
    head, *rows = runtime("ps", "a").splitlines()
    assert "PID" in head
    assert len(rows) == 2
    assert any("sleep 77" in row for row in rows)
    assert runtime("ps", "a", "-o", "pid,comm").splitlines()[0].split() == ["PID", "COMMAND"]
    assert "has no column PID" in runtime("ps", "a", "-o", "comm", code=1)
    assert "invalid format option" in runtime("ps", "-f", "xml", "a", code=1)


def test_states_and_lists_have_what_callers_parse(runtime):
    assert runtime("list").split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert json.loads(runtime("list", "-f", "json")) == []
    runtime.spec["annotations"] = {"org.example": "yes"}
    pid = runtime.start("a")
    state = json.loads(runtime("state", "a"))
    assert list(state) == [
        "ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner",
    ]  # fmt: skip
    assert (state["pid"], state["status"], state["owner"]) == (pid, "running", "root")
    assert state["rootfs"] == str(runtime.bundle / "rootfs")
    assert state["annotations"] == {"org.example": "yes"}
    assert len(state["created"]) == len("2026-01-02T03:04:05.123456789Z")
    assert json.loads(runtime("list", "-f", "json")) == [state]
    assert runtime("list").splitlines()[1].split()[:3] == ["a", str(pid), "running"]
    runtime("kill", "a", "SIGRTMIN+40", code=1)
    runtime("kill", "--all", "a", "9")
    runtime.await_status("a", "stopped")
    assert json.loads(runtime("state", "a"))["pid"] == 0
    assert "container not running" in runtime("kill", "--all", "a", code=1)
    for word in ("pause", "resume"):
        runtime(word, "a", code=1)


def test_a_zombie_is_a_stopped_container(runtime):
    """Whoever is the parent has not waited yet."""
    runtime.process("true")
    nowhere = subprocess.DEVNULL
    starter = (
        "import ctypes, subprocess, sys, time; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0);"
        "subprocess.run(sys.argv[1:], check=True); print('up', flush=True); time.sleep(100)"
    )
    command = [sys.executable, "-c", starter, *runtime.command("run", "--detach", "a")]
    with subprocess.Popen(command, cwd=runtime.bundle, stdin=nowhere, stdout=subprocess.PIPE, stderr=nowhere) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        runtime.await_status("a", "stopped")
        pid = records.find(str(runtime.root), "a").pid
        assert ") Z " in Path(f"/proc/{pid}/stat").read_text()
        runtime("delete", "a")
        parent.kill()
