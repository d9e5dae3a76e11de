"""Control groups of bundles: where they are, what a container can do in them, ``update``, ``events``, systemd's."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from estiva.runtime.cgroup import hierarchy
from estiva.runtime.cgroup.files import read_text
from estiva.runtime.cli.events import duration
from helpers.bundle import Runtime
from helpers.fakebus import FakeSystemd
from helpers.isolation import WORLD

pytestmark = pytest.mark.needs_root
FOUND = hierarchy.detect()


@pytest.fixture(autouse=True)
def nothing_left(request):
    """No cgroup may be left, the parents included."""
    before = WORLD.cgroups()
    yield
    deadline = time.monotonic() + 5
    while WORLD.cgroups() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert WORLD.cgroups() - before == set()


def controller(name):
    """The directory of *name*'s hierarchy; skips without."""
    if name in FOUND.v1:
        return FOUND.v1[name]
    if name not in FOUND.v2_controllers or not FOUND.v2:
        pytest.skip(f"no {name} controller")
    return FOUND.v2


def memory_limit(path):
    """What the memory limit of the cgroup *path* is."""
    base = controller("memory") + path
    return int(read_text(f"{base}/memory.limit_in_bytes" if "memory" in FOUND.v1 else f"{base}/memory.max"))


@pytest.mark.parametrize(
    ("wanted", "path"),
    [("", "/estiva/a"), ("/estiva-t/deep/x", "/estiva-t/deep/x"), ("sub/x", "/estiva/sub/x")],
)
def test_the_cgroup_is_where_the_bundle_wants_it_and_all_of_it_goes(runtime, wanted, path):
    if wanted:
        runtime.spec["linux"]["cgroupsPath"] = wanted
    pid = runtime.start("a")
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert {line.split(":", 2)[2] for line in lines} == {path}
    runtime("delete", "--force", "a")
    top = path.split("/")[1]
    assert not any(os.path.exists(f"{mount}/{top}") for mount in FOUND.mounts())


def test_a_failed_start_leaves_no_cgroup(runtime):
    runtime.process("nosuch")
    runtime("run", "a", code=1)
    runtime.spec["linux"]["resources"]["hugepageLimits"] = [{"pageSize": "3MB", "limit": 1}]
    runtime.process("true")
    assert "huge" in runtime("run", "a", code=1)
    assert not any(os.path.exists(f"{mount}/estiva") for mount in FOUND.mounts())


def test_a_cgroup_in_use_is_refused(runtime):
    runtime.spec["linux"]["cgroupsPath"] = "/estiva/shared"
    runtime.start("a")
    runtime.process("true")
    assert "it exists and has processes" in runtime("run", "b", code=1)
    assert runtime.status("a") == "running"


FORKER = """awk 'BEGIN { while (1) system("sleep 9 & sleep 9 &") }'"""
BOMB = ("sh", "-c", f"exec >/dev/null 2>&1; for i in 1 2 3 4 5 6 7 8; do {FORKER} & done; while :; do wait; done")


@pytest.mark.parametrize("how", [(), ("--all",)])
def test_a_container_that_forks_as_fast_as_it_can_is_ended(runtime, how):
    runtime.spec["linux"]["resources"]["pids"] = {"limit": 300}
    runtime.spec["linux"]["namespaces"] = [e for e in runtime.spec["linux"]["namespaces"] if e["type"] != "pid"]
    runtime.spec["mounts"] = [mount for mount in runtime.spec["mounts"] if mount["type"] != "proc"]
    runtime.spec["linux"]["maskedPaths"] = runtime.spec["linux"]["readonlyPaths"] = []
    runtime.start("a", *BOMB)
    time.sleep(1)
    runtime("kill", *how, "a", "KILL")
    runtime.await_status("a", "stopped")
    base = (FOUND.v2 or FOUND.mounts()[0]) + "/estiva/a"
    deadline = time.monotonic() + 20
    while read_text(f"{base}/cgroup.procs"):
        assert time.monotonic() < deadline, "the others are gone, too, without a pid namespace"
        time.sleep(0.05)
    runtime("delete", "a")


def test_a_container_that_forks_ends_with_its_first_process(runtime):
    runtime.spec["linux"]["resources"]["pids"] = {"limit": 300}
    runtime.start("a", *BOMB)
    time.sleep(0.5)
    runtime("kill", "a", "KILL")
    runtime.await_status("a", "stopped")


def test_cgroups_made_inside_go_with_the_container(runtime):
    for mount in runtime.spec["mounts"]:
        if mount["destination"] == "/sys/fs/cgroup":
            mount["options"].remove("ro")
    script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir -p $d/one/two 2>/dev/null; done; echo made; sleep 100"
    runtime.start("a", "sh", "-c", script)
    base = (FOUND.v2 or FOUND.mounts()[0]) + "/estiva/a"
    deadline = time.monotonic() + 10
    while not os.path.isdir(f"{base}/one/two"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    runtime("delete", "--force", "a")


def test_a_container_sees_only_its_own_cgroups(runtime):
    runtime.process("sh", "-c", "cat /proc/self/cgroup; find /sys/fs/cgroup -name 'estiva*'; true")
    out = runtime("run", "a")
    assert {line.split(":", 2)[2] for line in out.splitlines() if line.count(":") >= 2} == {"/"}
    assert "estiva" not in out


def test_update_takes_every_option_and_remembers(runtime):
    controller("memory")
    runtime.spec["linux"]["resources"]["memory"] = {"limit": 64 << 20, "swap": 64 << 20}
    runtime.start("a")
    runtime(
        "update", "--memory", "96m", "--memory-swap", "128m", "--memory-reservation", "32m", "--pids-limit", "77", "a"
    )
    assert memory_limit("/estiva/a") == 96 << 20
    runtime("update", "--cpu-quota", "20000", "--cpu-period", "50000", "--cpu-burst", "1000", "--cpu-share", "512", "a")
    runtime("update", "--cpuset-cpus", "0", "--cpuset-mems", "0", "--blkio-weight", "100", "a")
    kept = json.loads((runtime.root / "a/config.json").read_text())["linux"]["resources"]
    assert kept["memory"] == {"limit": 96 << 20, "swap": 128 << 20, "reservation": 32 << 20}
    assert kept["cpu"] == {
        "quota": 20000, "period": 50000, "burst": 1000, "shares": 512, "cpus": "0", "mems": "0",
    }  # fmt: skip
    assert (kept["pids"], kept["blockIO"]) == ({"limit": 77}, {"weight": 100})
    assert kept["devices"] == [{"allow": False, "access": "rwm"}], "not touched"
    base = controller("cpu") + "/estiva/a"
    if "cpu" in FOUND.v1:
        assert [read_text(f"{base}/cpu.cfs_{name}_us") for name in ("quota", "period", "burst")] == [
            "20000",
            "50000",
            "1000",
        ]
        assert read_text(f"{base}/cpu.shares") == "512"
    else:
        assert (read_text(f"{base}/cpu.max"), read_text(f"{base}/cpu.max.burst")) == ("20000 50000", "1000")
    runtime("update", "--cpu-idle", "1", "a")
    assert read_text(f"{base}/cpu.idle") == "1"
    runtime("update", "--memory", "-1", "a")
    kept = json.loads((runtime.root / "a/config.json").read_text())["linux"]["resources"]
    assert kept["memory"]["limit"] == -1


def test_a_refused_update_changes_and_remembers_nothing(runtime):
    controller("memory")
    runtime.spec["linux"]["resources"]["memory"] = {"limit": 64 << 20, "swap": 64 << 20}
    runtime.start("a")
    before = (runtime.root / "a/config.json").read_text()
    assert "cpuset.cpus" in runtime("update", "--memory", "32m", "--cpuset-cpus", "4000", "a", code=1)
    assert memory_limit("/estiva/a") == 64 << 20
    assert (runtime.root / "a/config.json").read_text() == before


@pytest.mark.parametrize(
    ("words", "text", "message"),
    [
        (["--memory", "much"], "", 'option --memory: "much" is not a size'),
        (["--cpu-share", "x"], "", 'option --cpu-share: "x" is not a number'),
        (["-r", "-"], "nonsense", "reading -"),
        (["-r", "-"], "[1]", "not an object"),
        (["-r", "-"], '{"memory": {"limit": "5"}}', "linux.resources.memory.limit"),
        (["-r", "/nonexistent"], "", "/nonexistent: No such file"),
        (["--l3-cache-schema", "L3:0=f"], "", "no resctrl file system is mounted"),
        (["--memory-swap", "1m", "--memory", "64m"], "", "memory"),
    ],
)
def test_bad_updates_are_one_line(runtime, words, text, message):
    runtime.start("a")
    said = runtime("update", *words, "a", text=text, code=1)
    assert message in said
    assert said.count("\n") == 1


def test_a_process_limit_of_0_means_what_the_version_says(runtime):
    controller("pids")
    runtime.spec["linux"]["resources"]["pids"] = {"limit": 0}
    for version, shown in (("1.2.0", "max"), ("1.3.0", "1")):
        runtime.spec["ociVersion"] = version
        runtime.start("a")
        assert read_text(f"{controller('pids')}/estiva/a/pids.max") == shown
        runtime("delete", "--force", "a")


def test_events_tell_use_and_running_out_of_memory(runtime):
    controller("memory")
    runtime.spec["linux"]["resources"].update(memory={"limit": 64 << 20, "swap": 64 << 20}, pids={"limit": 50})
    runtime.start("a")
    once = json.loads(runtime("events", "--stats", "a"))
    assert (once["type"], once["id"]) == ("stats", "a")
    assert set(once["data"]) == {
        "cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces",
    }  # fmt: skip
    assert once["data"]["memory"]["usage"]["limit"] == 64 << 20
    assert once["data"]["memory"]["raw"]
    assert once["data"]["pids"] == {"current": 1, "limit": 50}
    assert once["data"]["cpu"]["usage"]["total"] > 0
    follower = subprocess.Popen(
        runtime.command("events", "--interval", "200ms", "a"), stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["type"] == "stats"
    subprocess.run(
        runtime.command("exec", "a", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"), check=False
    )
    kinds = []
    while "oom" not in kinds:
        kinds.append(json.loads(follower.stdout.readline())["type"])
    runtime("delete", "--force", "a")
    rest, _ = follower.communicate(timeout=20)
    assert follower.returncode == 0
    later = [json.loads(line)["type"] for line in rest.splitlines()]
    assert "oom" not in later, "the removal of the cgroup is no lack of memory"


def test_events_of_a_container_that_is_not_there_or_ended(runtime):
    assert "does not exist" in runtime("events", "a", code=1)
    runtime.start("a", "true")
    runtime.await_status("a", "stopped")
    assert "is not running" in runtime("events", "a", code=1)
    assert "is not running" in runtime("events", "--stats", "a", code=1)
    assert "not a duration" in runtime("events", "--interval", "soon", "a", code=1)
    assert "not running" in runtime("update", "--pids-limit", "5", "a", code=1)


def test_durations_are_gos():
    assert [duration(text) for text in ("5s", "100ms", "1m30s", "1.5h")] == [5.0, 0.1, 90.0, 5400.0]


class SystemdRuntime(Runtime):
    """The command on a machine that seems to have been booted with systemd."""

    def command(self, *words):
        boot = 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec "$@"'
        return ["unshare", "-m", "sh", "-c", boot, "sh", *super().command("--systemd-cgroup", *words)]


@pytest.fixture
def systemd_runtime(tmp_path, monkeypatch):
    if not WORLD.cgroups_are_own or os.path.isdir("/run/systemd/system"):
        pytest.skip("needs cgroups of its own, and no systemd: tests/vm/test_cgroups.py")
    roots = [mount for name, mount in FOUND.v1.items() if name == "name=systemd"]
    manager = FakeSystemd(tmp_path / "bus", [*roots, *([FOUND.v2] if FOUND.v2 else [])])
    for name, value in manager.environ.items():
        monkeypatch.setenv(name, value)
    made = SystemdRuntime(tmp_path)
    yield made, manager
    for name in made("list", "-q").split():
        made("delete", "--force", name)
    manager.close()


def test_systemd_makes_changes_and_stops_the_scope(systemd_runtime):
    runtime, manager = systemd_runtime
    runtime.spec["linux"]["cgroupsPath"] = "machine.slice:test:a"
    runtime.spec["linux"]["resources"]["pids"] = {"limit": 40}
    runtime.spec["annotations"] = {"org.systemd.property.CollectMode": "'inactive'"}
    pid = runtime.start("a")
    path = "/machine.slice/test-a.scope"
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert {line.split(":", 2)[2] for line in lines} == {path}
    properties = manager.properties["test-a.scope"]
    assert (properties["TasksMax"], properties["CollectMode"]) == (40, "inactive")
    deadline = time.monotonic() + 10
    while {Path(f"{mount}{path}/cgroup.procs").read_text() for mount in FOUND.mounts()} != {f"{pid}\n"}:
        assert time.monotonic() < deadline, "the placeholder goes"
        time.sleep(0.01)
    runtime("update", "--pids-limit", "50", "a")
    assert manager.properties["test-a.scope"]["TasksMax"] == 50
    if "pids" in FOUND.v1:
        assert read_text(f"{FOUND.v1['pids']}{path}/pids.max") == "50"
    runtime("exec", "a", "true")
    runtime("pause", "a")
    runtime("delete", "--force", "a")
    assert "StopUnit" in manager.members()
    assert manager.units == {}


def test_a_start_that_systemd_refuses_leaves_nothing(systemd_runtime):
    runtime, manager = systemd_runtime
    runtime.process("true")
    manager.failures["StartTransientUnit"] = ("org.freedesktop.DBus.Error.AccessDenied", "Permission denied")
    assert 'starting unit "estiva-a.scope": systemd: Permission denied' in runtime("run", "a", code=1)
    manager.failures.clear()
    runtime.spec["linux"]["cgroupsPath"] = "/a/path"
    runtime.process("true")
    assert "not of the form slice:prefix:name" in runtime("run", "a", code=1)
    runtime.spec["linux"]["cgroupsPath"] = ""
    runtime.process("nosuch")
    assert "not found" in runtime("run", "a", code=1)
    assert manager.units == {}
    assert runtime("list", "-q") == ""


def test_systemd_is_missed_by_name(runtime):
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here")
    runtime.process("true")
    assert "not booted with systemd" in runtime("--systemd-cgroup", "run", "a", code=1)
