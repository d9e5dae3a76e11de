"""``--security-opt seccomp=learn:FILE``: a profile of what a container did, with which it runs and others do not."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from estiva.runtime.learned import ALLOW
from helpers import kernel
from helpers.cli import BUSYBOX
from helpers.images import busybox_layer
from helpers.isolation import WORLD
from helpers.learning import agents, allowed, no_agent_left

pytestmark = pytest.mark.embedded("no other runtime can learn")
REFUSED = "Function not implemented"


def learn(file: Path) -> list[str]:
    return ["--security-opt", f"seccomp=learn:{file}"]


def use(file: Path) -> list[str]:
    return ["--security-opt", f"seccomp={file}"]


@pytest.mark.parametrize("options", [[], ["--security-opt", "no-new-privileges"], ["--init"], ["--user", "1000"]])
def test_a_shell_runs_under_what_was_learned_and_one_thing_more_fails(estiva, options):
    estiva.load()
    file = estiva.work / "learned.json"
    script = "ls /etc | wc -l; cat /etc/os-release > /tmp/x; sleep 0"
    first = estiva.out("run", "--rm", *options, *learn(file), BUSYBOX, "sh", "-c", script)
    assert {"openat", "getdents64", "wait4"} & allowed(file)
    assert "mkdir" not in allowed(file)
    assert "mount" not in allowed(file)
    assert estiva.out("run", "--rm", *options, *use(file), BUSYBOX, "sh", "-c", script) == first
    done = estiva.run("run", "--rm", *options, *use(file), BUSYBOX, "sh", "-c", f"{script}; mkdir /tmp/d", check=False)
    assert done.returncode == 1
    assert REFUSED in done.stderr
    assert no_agent_left()


def test_runs_are_merged_and_executed_programs_and_restarts_teach_too(estiva):
    estiva.load()
    file = estiva.work / "learned.json"
    estiva.out("run", "--rm", *learn(file), BUSYBOX, "mkdir", "/tmp/d")
    assert "rmdir" not in allowed(file)
    estiva.out("run", "-d", "--name", "a", *learn(file), BUSYBOX, "sleep", "100")
    estiva.out("exec", "a", "rmdir", "/home/tester")
    assert {"mkdir", "rmdir"} <= allowed(file)
    estiva.out("exec", "a", "ln", "-s", "x", "/tmp/y")
    assert "symlink" in allowed(file) or "symlinkat" in allowed(file)
    estiva.out("rm", "-f", "-t0", "a")
    script = "[ -e /tmp/again ] && chown 0:0 /tmp/again; touch /tmp/again; exit 1"
    again = ["--name", "b", "--restart", "on-failure:1"]
    done = estiva.run("run", *again, *learn(file), BUSYBOX, "sh", "-c", script, check=False)
    assert done.returncode in (0, 1)
    assert any("chown" in name for name in allowed(file))
    estiva.out("rm", "-f", "-t0", "b")
    script = "mkdir /tmp/d && rmdir /tmp/d && ln -s x /tmp/y"
    estiva.out("run", "--rm", *use(file), BUSYBOX, "sh", "-c", script)
    assert no_agent_left()


def test_socket_families_are_conditions(estiva_root):
    estiva_root.load()
    file = estiva_root.work / "learned.json"
    estiva_root.out("run", "--rm", *learn(file), BUSYBOX, "sh", "-c", "ping -c1 127.0.0.1 || nc 127.0.0.1 9 || true")
    rules = [rule for rule in json.loads(file.read_text())["syscalls"] if "socket" in rule["names"]]
    families = {rule["args"][0]["value"] for rule in rules if rule["action"] == ALLOW}
    assert families == {2}
    done = estiva_root.run("run", "--rm", *use(file), BUSYBOX, "ip", "link", check=False)  # AF_NETLINK
    assert REFUSED in done.stderr


def test_a_killed_agent_does_not_hold_the_container_up(estiva):
    estiva.load()
    file = estiva.work / "learned.json"
    estiva.out("run", "-d", "--name", "a", *learn(file), BUSYBOX, "sh", "-c", "while :; do sleep 0.05; done")
    for pid in agents():
        os.kill(pid, signal.SIGKILL)
    assert estiva.run("wait", "a", check=False, timeout=20).returncode == 0  # nothing it calls exists any more
    assert json.loads(file.read_text())["syscalls"]
    estiva.out("rm", "-f", "-t0", "a")


def test_what_cannot_be_learned_is_said_before_anything_starts(estiva_root):
    estiva_root.load()
    line = estiva_root.fails(125, "run", "--rm", *learn(estiva_root.work / "no/such.json"), BUSYBOX, "true")
    assert "no such directory" in line
    mine = estiva_root.work / "mine.json"
    for text in ('{"defaultAction": "SCMP_ACT_ALLOW"}', "[]", '{"syscalls": [1]}', "{"):
        mine.write_text(text)
        line = estiva_root.fails(125, "run", "--rm", *learn(mine), BUSYBOX, "true")
        assert "not a learned profile" in line or "not JSON" in line
        assert mine.read_text() == text
    line = estiva_root.fails(125, "run", "--rm", "--runtime", "runc", *learn(mine), BUSYBOX, "true")
    assert "not with runtime 'runc'" in line
    line = estiva_root.fails(127, "run", "--rm", *learn(estiva_root.work / "l.json"), BUSYBOX, "nonesuch")
    assert "nonesuch" in line
    assert no_agent_left()


@pytest.mark.timeout(900)
def test_python_of_debian_runs_under_its_profile(estiva_root, debian_oci):
    estiva_root.run("pull", "--quiet", f"oci:{debian_oci}:latest", timeout=300)
    image = estiva_root.json("images", "--format", "json")[0]["Id"]
    file = estiva_root.work / "learned.json"
    program = "import os, sys; print(len(os.listdir('/usr')) > 3, sys.version_info >= (3,))"
    run = ["run", "--rm"]
    told = estiva_root.out(*run, *learn(file), image, "python3", "-c", program, timeout=120)
    assert told == "True True"
    assert estiva_root.out(*run, *use(file), image, "python3", "-c", program) == told
    more = program + "; os.mkdir('/tmp/x')"
    done = estiva_root.run(*run, *use(file), image, "python3", "-c", more, check=False)
    assert REFUSED in done.stderr
    more = program + "; import socket; socket.socket()"
    assert REFUSED in estiva_root.run(*run, *use(file), image, "python3", "-c", more, check=False).stderr


def test_a_foreign_runtime_takes_the_profile(estiva_root):
    estiva_root.load()
    file = estiva_root.work / "learned.json"
    estiva_root.out("run", "--rm", *learn(file), BUSYBOX, "ls", "/")
    command = ["--runtime", "runc", "run", "--rm", *use(file), BUSYBOX]
    assert "bin" in estiva_root.out(*command, "ls", "/")
    assert REFUSED in estiva_root.run(*command, "mkdir", "/x", check=False).stderr


def test_podman_takes_the_profile_as_it_is(estiva_root):
    """Podman reads the file itself: archMap, names, conditions."""
    podman, runc = shutil.which("podman"), shutil.which("runc")
    if not podman or not runc:
        pytest.skip("needs podman and runc")
    estiva_root.load()
    file = estiva_root.work / "learned.json"
    estiva_root.out("run", "--rm", *learn(file), BUSYBOX, "ls", "/")
    place = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))  # Podman wants short paths
    try:
        with tarfile.open(fileobj=io.BytesIO(busybox_layer())) as archive:
            archive.extractall(place / "rootfs")
        base = [
            podman,
            "--root",
            place / "root",
            "--runroot",
            place / "run",
            "--storage-driver",
            "vfs",
            "--runtime",
            runc,
        ]
        run = [
            *base,
            "--cgroup-manager",
            "cgroupfs",
            "run",
            "--rm",
            "--network",
            "none",
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1024:1024",
        ]
        run += ["--security-opt", f"seccomp={file}", "--rootfs", place / "rootfs"]
        done = subprocess.run([*run, "ls", "/"], capture_output=True, text=True, check=False, timeout=60)
        assert "bin" in done.stdout, done.stderr
        done = subprocess.run([*run, "mkdir", "/tmp/x"], capture_output=True, text=True, check=False, timeout=60)
        assert REFUSED in done.stderr
        subprocess.run([*base, "rm", "-af"], capture_output=True, check=False, timeout=60)
    finally:
        for group in sorted(WORLD.cgroups(), reverse=True):
            with suppress(OSError):
                os.rmdir(group)
        kernel.remove_tree(place)
