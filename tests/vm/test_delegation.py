"""Limits of an ordinary user's containers, in the part of cgroup v2 that systemd has given to the user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from estiva.runtime.cgroup import hierarchy

pytestmark = pytest.mark.skipif(os.geteuid() == 0, reason="is root's session: scripts/test-vm --user")

INSIDE = "/sys/fs/cgroup"


@pytest.mark.parametrize(
    ("options", "file", "value"),
    [
        (["--memory", "64m"], "memory.max", str(64 << 20)),
        (["--memory", "64m", "--memory-swap", "96m"], "memory.swap.max", str(32 << 20)),
        (["--memory-reservation", "32m"], "memory.low", str(32 << 20)),
        (["--cpus", "0.5"], "cpu.max", "50000 100000"),
        (["--cpu-shares", "1024"], "cpu.weight", "100"),
        (["--cpuset-cpus", "0"], "cpuset.cpus.effective", "0"),
        (["--pids-limit", "17"], "pids.max", "17"),
        (["--blkio-weight", "500"], "io.weight", None),
        (["--cgroup-conf", "memory.high=50331648"], "memory.high", "50331648"),
    ],
)
def test_a_limit_is_the_kernels(estiva_user: Any, options: list[str], file: str, value: str | None) -> None:
    estiva_user.load()
    command = ["run", "--rm", "--network", "none", "--cgroupns", "private", *options, "busybox"]
    seen = estiva_user.out(*command, "cat", f"{INSIDE}/{file}")
    assert seen == value if value is not None else seen.startswith("default")


def test_memory_beyond_the_limit_ends_the_container_and_is_told(estiva_user: Any) -> None:
    estiva_user.load()
    limits = ["--memory", "24m", "--memory-swap", "24m"]
    eats = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived"
    done = estiva_user.run(
        "run", "--name", "big", "--network", "none", *limits, "busybox", "sh", "-c", eats, check=False
    )
    assert "survived" not in done.stdout
    assert done.returncode in (1, 2, 137)  # the shell, or what it had started, was killed
    assert estiva_user.json("inspect", "big")[0]["State"]["OOMKilled"] is True


def test_forks_beyond_the_limit_fail(estiva_user: Any) -> None:
    estiva_user.load()
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 20 & done; wait"
    done = estiva_user.run(
        "run", "--rm", "--network", "none", "--pids-limit", "4", "busybox", "sh", "-c", script, check=False
    )
    assert "can't fork" in done.stderr


def test_the_cgroup_is_below_the_users_own_and_goes_with_the_container(estiva_user: Any) -> None:
    parent = hierarchy.delegated_parent(hierarchy.detect())
    estiva_user.load()
    name = estiva_user.out("run", "-d", "--network", "none", "--memory", "64m", "busybox", "sleep", "100")
    pid = estiva_user.json("inspect", name)[0]["State"]["Pid"]
    path = Path(f"/proc/{pid}/cgroup").read_text().removeprefix("0::").strip()
    assert parent is not None
    assert path.startswith(f"{parent}/")
    assert Path(f"{INSIDE}{path}/memory.max").read_text().strip() == str(64 << 20)
    estiva_user.run("rm", "-f", "-t", "0", name)
    assert not Path(f"{INSIDE}{path}").exists()


def test_exec_joins_the_containers_cgroup(estiva_user: Any) -> None:
    estiva_user.load()
    name = estiva_user.out("run", "-d", "--network", "none", "--pids-limit", "9", "busybox", "sleep", "100")
    assert estiva_user.out("exec", name, "cat", f"{INSIDE}/pids.max") == "9"
    assert estiva_user.out("exec", name, "cat", "/proc/self/cgroup") == "0::/"
