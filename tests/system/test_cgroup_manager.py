"""``--cgroup-manager systemd``, with a systemd that records what it is asked and makes scopes as the real one does.

The real one: tests/vm/test_cgroups.py.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from estiva.runtime.cgroup import hierarchy
from helpers.fakebus import FakeSystemd
from helpers.isolation import WORLD

pytestmark = pytest.mark.embedded("other runtimes talk to systemd themselves, with more words than the fake knows")
BOOT = 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec "$@"'


@pytest.fixture
def manager(tmp_path):
    found = hierarchy.detect()
    if not WORLD.cgroups_are_own or not found.v2 or Path("/run/systemd/system").is_dir():
        pytest.skip("needs cgroups of its own")
    roots = [mount for name, mount in found.v1.items() if name == "name=systemd"]
    fake = FakeSystemd(tmp_path / "bus", [*roots, found.v2])
    yield fake
    fake.close()


@pytest.fixture
def booted(estiva_root, manager, monkeypatch):
    """The command line on a machine that seems to have been booted with systemd."""
    plain = estiva_root.argv
    monkeypatch.setattr(
        estiva_root, "argv", lambda *words, **how: ["unshare", "-m", "sh", "-c", BOOT, "sh", *plain(*words, **how)]
    )
    estiva_root.env |= manager.environ
    estiva_root.load()
    return estiva_root


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_containers_are_scopes_from_start_to_removal(booted, manager):
    words = ("--cgroup-manager", "systemd", "run", "-d", "--name", "c", "--memory", "64m", "--pids-limit", "30")
    container_id = booted.out(*words, "busybox", "sleep", "1000")
    unit = f"estiva-{container_id}.scope"
    properties = manager.properties[unit]
    assert (properties["Slice"], properties["TasksMax"]) == ("machine.slice", 30)
    (inspected,) = booted.json("inspect", "c")
    assert inspected["HostConfig"]["CgroupManager"] == "systemd"
    assert inspected["State"]["CgroupPath"] == f"/machine.slice/{unit}"
    pid = inspected["State"]["Pid"]
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert {line.split(":", 2)[2] for line in lines} == {f"/machine.slice/{unit}"}
    assert booted.out("exec", "c", "cat", "/proc/self/cgroup").count(":/\n") + 1 >= len(lines)
    booted.run("rm", "-f", "-t", "0", "c")
    assert manager.units == {}


def test_a_restarted_container_is_in_its_scope_again(booted, manager):
    words = ("--cgroup-manager", "systemd", "run", "-d", "--name", "c", "--restart", "on-failure:3", "busybox")
    container_id = booted.out(*words, "sh", "-c", "[ -e /again ] && exec sleep 1000; touch /again; exit 3")
    wait_until(lambda: booted.json("inspect", "c")[0]["RestartCount"] == 1)
    pid = booted.json("inspect", "c")[0]["State"]["Pid"]
    assert f"estiva-{container_id}.scope" in Path(f"/proc/{pid}/cgroup").read_text()
    booted.run("rm", "-f", "-t", "0", "c")


def test_a_scope_that_cannot_be_had_is_one_line(booted, manager):
    manager.failures["StartTransientUnit"] = ("org.freedesktop.DBus.Error.AccessDenied", "Interactive authentication")
    said = booted.fails(125, "--cgroup-manager", "systemd", "run", "--rm", "busybox", "true")
    assert "Interactive authentication" in said
    manager.failures.clear()
    words = ("--cgroup-manager", "systemd", "run", "--rm", "--cgroup-parent", "/x", "busybox", "true")
    assert "not a slice" in booted.fails(125, *words)
    assert booted.out("ps", "-aq") == ""


def test_the_manager_may_be_set_in_containers_conf(booted, manager, tmp_path):
    conf = Path(booted.env["CONTAINERS_CONF"])
    conf.write_text('[engine]\ncgroup_manager = "systemd"\n')
    assert json.loads(booted.out("info", "--format", "json"))["host"]["cgroupManager"] == "systemd"
    booted.run("run", "--rm", "busybox", "true")
    assert "StartTransientUnit" in manager.members()
    assert "StopUnit" in manager.members()


def test_without_systemd_the_option_is_refused_and_the_configuration_passed_over(estiva_root):
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs here")
    estiva_root.load()
    said = estiva_root.fails(125, "--cgroup-manager", "systemd", "run", "--rm", "busybox", "true")
    assert "not booted with systemd" in said
    Path(estiva_root.env["CONTAINERS_CONF"]).write_text('[engine]\ncgroup_manager = "systemd"\n')
    estiva_root.run("run", "--rm", "busybox", "true")
