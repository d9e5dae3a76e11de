"""The systemd driver against a peer that speaks D-Bus, and makes real cgroups as systemd does.

With a real systemd the same is tried in the virtual machine: tests/vm/test_cgroups.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from estiva.errors import Conflict, Invalid, Unavailable, Unsupported
from estiva.linux import bpf
from estiva.runtime.cgroup import bus, hierarchy, systemd
from estiva.runtime.cgroup.files import read_text
from helpers.fakebus import FakeSystemd
from helpers.isolation import WORLD

pytestmark = pytest.mark.needs_root
SCOPE = "estiva-c.scope"


@pytest.fixture
def unified():
    found = hierarchy.detect()
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here: tests/vm/test_cgroups.py")
    if os.geteuid() != 0 or not found.v2 or not WORLD.cgroups_are_own:
        pytest.skip("needs root and a unified hierarchy")
    return hierarchy.Hierarchies({}, found.v2, found.v2_controllers)


@pytest.fixture
def manager(tmp_path, unified, monkeypatch):
    """A systemd for whom the machine is booted; at the end nothing of it may be left."""
    (tmp_path / "booted").mkdir()
    monkeypatch.setattr(systemd, "BOOTED", str(tmp_path / "booted"))
    before = WORLD.cgroups()
    fake = FakeSystemd(tmp_path / "bus", [unified.v2])
    yield fake
    fake.close()
    assert WORLD.cgroups() <= before
    assert placeholders() == []


def placeholders():
    found = []
    for pid in WORLD.processes():
        try:
            if Path(f"/proc/{pid}/comm").read_text() == "estiva-hold\n":
                found.append(pid)
        except OSError:
            continue
    return found


def create(manager, unified, resources=None, annotations=None, name=SCOPE, slice_name="system.slice"):
    unit = systemd.UnitName(slice_name, name)
    return systemd.create(unified, unit, resources or {}, annotations or {}, manager.environ)


def test_a_scope_is_made_entered_and_stopped(manager, unified):
    annotations = {"org.systemd.property.TimeoutStopSec": "5"}
    handle = create(manager, unified, {"pids": {"limit": 50}} if "pids" in unified.v2_controllers else {}, annotations)
    properties = manager.properties[SCOPE]
    assert properties["Slice"] == "system.slice"
    assert (properties["Delegate"], properties["DefaultDependencies"]) == (True, False)
    assert properties["TimeoutStopUSec"] == 5_000_000
    assert properties["CollectMode"] == "inactive-or-failed"
    (held,) = placeholders()
    assert properties["PIDs"] == [held]
    assert handle.path == f"/system.slice/{SCOPE}"
    assert handle.pids() == [held]
    program = f"import os,time;f=os.open({handle.procs_paths[0]!r},os.O_WRONLY);os.write(f,b'0');print('in',flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", program + ";time.sleep(60)"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    handle.release()
    wait_until(lambda: handle.pids() == [process.pid])
    handle.remove()
    assert process.wait(10) == -9
    process.stdout.close()
    assert manager.members()[-2:] == ["StopUnit", "ResetFailedUnit"]
    assert not handle.exists()
    handle.remove()


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_placeholder_ends_with_who_started_it(manager, unified):
    """Also if that is killed: then nothing is in the scope, and systemd ends it."""
    program = f"""
import sys; sys.path[:] = {sys.path!r}
from estiva.runtime.cgroup import hierarchy, systemd
systemd.BOOTED = "/"
unified = hierarchy.Hierarchies({{}}, {unified.v2!r}, frozenset())
systemd.create(unified, systemd.UnitName("system.slice", {SCOPE!r}), {{}}, {{}}, {manager.environ!r})
print("made", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "made\n"
    assert len(placeholders()) == 1
    process.kill()
    process.wait()
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.close()
    wait_until(lambda: placeholders() == [])


def test_limits_go_to_systemd_and_into_the_files(manager, unified):
    if "hugetlb" not in unified.v2_controllers:
        pytest.skip("the unified hierarchy has no hugetlb controller")
    Path(f"{unified.v2}/cgroup.subtree_control").write_text("+hugetlb")
    os.makedirs(f"{unified.v2}/system.slice")
    Path(f"{unified.v2}/system.slice/cgroup.subtree_control").write_text("+hugetlb")
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    handle = create(manager, unified, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}], "devices": rules})
    assert read_text(f"{handle.v2_dir}/hugetlb.2MB.max") == str(4 << 20)
    assert manager.properties[SCOPE]["DeviceAllow"] == [("/dev/char/1:3", "rw")]
    fd = os.open(handle.v2_dir, os.O_RDONLY)
    assert len(bpf.prog_query(fd, bpf.BPF_CGROUP_DEVICE)) == 1
    os.close(fd)
    handle.update({"pids": {}, "hugepageLimits": [{"pageSize": "2MB", "limit": 2 << 20}]})
    assert read_text(f"{handle.v2_dir}/hugetlb.2MB.max") == str(2 << 20)
    handle.update({"unified": {"hugetlb.2MB.max": "0"}})
    assert "SetUnitProperties" not in manager.members(), "there is nothing in it that systemd knows"
    with pytest.raises(Unsupported, match="the misc controller is not available"):
        create(manager, unified, {"unified": {"misc.max": "1"}}, name="other.scope")
    assert "other.scope" not in manager.units, "stopped again"
    handle.remove()


def test_an_update_tells_systemd_and_is_taken_back_if_it_refuses(manager, unified):
    handle = create(manager, unified)
    manager.calls.clear()
    unit = handle.unit
    assert unit is not None
    unit.set({"memory": {"limit": 1 << 30}, "pids": {"limit": 9}}, True)
    assert manager.members() == ["Hello", "Get", "SetUnitProperties"]
    assert (manager.properties[SCOPE]["MemoryMax"], manager.properties[SCOPE]["TasksMax"]) == (1 << 30, 9)
    manager.failures["SetUnitProperties"] = ("org.freedesktop.DBus.Error.InvalidArgs", "no such property")
    with pytest.raises(Unavailable, match=f'changing the limits of unit "{SCOPE}": systemd: no such property'):
        unit.set({"pids": {"limit": 5}}, True)
    handle.remove()


@pytest.mark.parametrize("result", ["failed", "canceled", "timeout", "dependency"])
def test_a_job_that_fails_is_reported_and_forgotten(manager, unified, result):
    manager.results["StartTransientUnit"] = result
    with pytest.raises(Unavailable, match=f'starting unit "{SCOPE}": systemd says "{result}"'):
        create(manager, unified)
    assert manager.members()[-1] == "ResetFailedUnit"
    wait_until(lambda: placeholders() == [])


def test_a_unit_of_that_name_is_reset_once_and_then_a_conflict(manager, unified):
    manager.failures["StartTransientUnit"] = ("org.freedesktop.systemd1.UnitExists", f"Unit {SCOPE} was already loaded")
    with pytest.raises(Conflict, match="was already loaded"):
        create(manager, unified)
    assert manager.members()[-3:] == ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]
    wait_until(lambda: placeholders() == [])


@pytest.mark.parametrize("member", ["Subscribe", "Get", "AddMatch", "StartTransientUnit"])
def test_a_refusal_at_any_step_leaves_nothing(manager, unified, member):
    manager.failures[member] = ("org.freedesktop.DBus.Error.AccessDenied", "not you")
    with pytest.raises((Unavailable, bus.BusError), match="not you"):
        create(manager, unified)
    wait_until(lambda: placeholders() == [])


def test_no_answer_is_not_waited_for_for_ever(manager, unified, monkeypatch):
    monkeypatch.setattr(bus, "PATIENCE_S", 0.3)
    manager.silent.add("StartTransientUnit")
    with pytest.raises(Unavailable, match="talking to systemd: no answer"):
        create(manager, unified)
    wait_until(lambda: placeholders() == [])


def test_stopping_what_is_gone_is_fine_and_a_refusal_is_told(manager, unified):
    handle = create(manager, unified)
    handle.release()
    wait_until(lambda: placeholders() == [])
    manager.collect(SCOPE)
    handle.remove()
    handle = create(manager, unified)
    manager.failures["StopUnit"] = ("org.freedesktop.DBus.Error.AccessDenied", "not you")
    with pytest.raises(Unavailable, match="stopping unit"):
        handle.remove()
    del manager.failures["StopUnit"]
    handle.remove()


def test_without_systemd_it_says_so(unified, tmp_path, monkeypatch):
    monkeypatch.setattr(systemd, "BOOTED", str(tmp_path / "nowhere"))
    with pytest.raises(Unsupported, match="not booted with systemd"):
        systemd.create(unified, systemd.UnitName("system.slice", SCOPE), {}, {}, {})
    monkeypatch.setattr(systemd, "BOOTED", str(tmp_path))
    with pytest.raises(Unavailable, match="No such file"):
        systemd.create(
            unified, systemd.UnitName("s.slice", SCOPE), {}, {}, {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/x"}
        )


def test_impossible_resources_are_found_before_anything_is_made(manager, unified):
    with pytest.raises(Invalid, match="not a list of numbers"):
        create(manager, unified, {"cpu": {"cpus": "x"}})
    assert "StartTransientUnit" not in manager.members()


def test_a_systemd_outside_of_the_cgroup_namespace_is_not_used(manager, unified, monkeypatch):
    monkeypatch.setattr(systemd, "own_paths", lambda name: {"": f"/../../system.slice/{SCOPE}"})
    with pytest.raises(Unsupported, match="outside of this cgroup namespace"):
        create(manager, unified)
    wait_until(lambda: placeholders() == [])
    monkeypatch.setattr(systemd, "own_paths", lambda name: {"": "/session"})
    with pytest.raises(Unavailable, match='left its process in cgroup "/session"'):
        create(manager, unified, name="other.scope")
    wait_until(lambda: placeholders() == [])


def test_many_at_once_each_get_their_own(manager, unified):
    problems = []

    def one(number):
        try:
            handle = create(manager, unified, name=f"n{number}.scope")
            handle.remove()
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_the_user_manager_is_asked_in_the_users_name(manager, unified, monkeypatch):
    """The caller is moved first, if it is where the user may not divide."""
    monkeypatch.setattr(systemd, "delegated_parent", lambda found: None)
    moved = []
    monkeypatch.setattr(manager, "_StartTransientUnit", moved_start(manager, moved), raising=False)
    handle = systemd.create(unified, systemd.UnitName("user.slice", SCOPE), {}, {}, manager.environ, user=True)
    assert moved[0] == [os.getpid()]
    handle.remove()
    mixed = hierarchy.Hierarchies({"cpu": "/x"}, unified.v2, frozenset())
    with pytest.raises(Unsupported, match="without root it needs cgroup v2"):
        systemd.create(mixed, systemd.UnitName("user.slice", SCOPE), {}, {}, manager.environ, user=True)


def moved_start(manager, moved):
    """As the real one, but this test's process stays where it is."""
    original = FakeSystemd._StartTransientUnit

    def start(unit, mode, properties, aux):
        pids = dict(properties)["PIDs"].value
        moved.append(list(pids))
        if os.getpid() in pids:
            properties = [(name, value) for name, value in properties if name != "PIDs"]
            properties.append(("PIDs", systemd.Variant("au", [])))
        return original(manager, unit, mode, properties, aux)

    return start
