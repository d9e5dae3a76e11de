"""Control groups for real: limits that bite, in directories of their own that are gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from estiva.errors import Conflict, Invalid, Unsupported
from estiva.runtime.cgroup import apply, driver, hierarchy
from estiva.runtime.cgroup import handle as handle_module
from estiva.runtime.cgroup.files import read_text, write_text
from helpers.isolation import WORLD

pytestmark = pytest.mark.needs_root

# As the bundle of a container has it: refuse everything, then allow what a container's /dev needs.
DEVICES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
    {"allow": True, "type": "c", "minor": -1, "access": "m"},
]
PARENT = f"/estiva-test-{os.getpid()}"


def unified_only():
    """The unified hierarchy by itself, as if no v1 hierarchy were mounted."""
    found = hierarchy.detect()
    return hierarchy.Hierarchies({}, found.v2, found.v2_controllers)


@pytest.fixture
def hierarchies():
    if os.geteuid() != 0:
        pytest.skip("only root may make cgroups here")
    found = hierarchy.detect()
    if found.mode == "none":
        pytest.skip("no cgroup hierarchy is mounted")
    yield found
    left = [mount + PARENT for mount in found.mounts() if os.path.isdir(mount + PARENT)]
    for directory in left:
        handle_module.remove_tree(directory)
    assert left == []


@pytest.fixture
def make(hierarchies):
    """Makes cgroups; removes them and what runs in them at the end."""
    handles = []

    def make_one(resources, name="c", among=None):
        handle = driver.create(among or hierarchies, f"{PARENT}/{name}", resources)
        handles.append(handle)
        return handle

    yield make_one
    for handle in handles:
        handle.remove()  # the last one takes the parent along
    for handle in handles:
        assert not handle.exists()


def spawn(handle, code):
    """A Python process that joins the cgroup, then runs *code*."""
    join = "".join(f"f=os.open({path!r},os.O_WRONLY);os.write(f,b'0');os.close(f);" for path in handle.procs_paths)
    program = f"import os,sys,time;{join}\n{code}"
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", program], stdout=subprocess.PIPE, text=True)


def output(handle, code):
    process = spawn(handle, code)
    text, _ = process.communicate(timeout=60)
    return process.returncode, text.strip()


def sleeper(handle):
    process = spawn(handle, "print('in', flush=True); time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    return process


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


V2_NAMES = {"blkio": "io", "cpuacct": "cpu"}


def need(hierarchies, *controllers):
    """Skip where a controller is in no hierarchy; ``devices`` and ``freezer`` are a part of v2 itself."""
    for controller in controllers:
        here = controller in hierarchies.v1 or V2_NAMES.get(controller, controller) in hierarchies.v2_controllers
        if not here and not (hierarchies.mode == "v2" and controller in ("devices", "freezer")):
            pytest.skip(f"the {controller} controller is in no hierarchy here")


def need_v1(hierarchies, *controllers):
    for controller in controllers:
        if controller not in hierarchies.v1:
            pytest.skip(f"the {controller} controller is not in a v1 hierarchy here")


# what is read: (v1 controller, v1 file, v2 file, how v2's text becomes v1's)
FILES = {
    "memory": ("memory", "memory.limit_in_bytes", "memory.max", str),
    "both": ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max", str),
    "reservation": ("memory", "memory.soft_limit_in_bytes", "memory.low", str),
    "quota": ("cpu", "cpu.cfs_quota_us", "cpu.max", lambda text: text.split()[0].replace("max", "-1")),
    "period": ("cpu", "cpu.cfs_period_us", "cpu.max", lambda text: text.split()[1]),
    "burst": ("cpu", "cpu.cfs_burst_us", "cpu.max.burst", str),
    "shares": ("cpu", "cpu.shares", "cpu.weight", {"59": "512", "100": "1024", "13": "99"}.get),
    "idle": ("cpu", "cpu.idle", "cpu.idle", str),
    "cpus": ("cpuset", "cpuset.cpus", "cpuset.cpus", str),
    "pids": ("pids", "pids.max", "pids.max", str),
}


def value(handle, name):
    """What the kernel says a limit is, as v1 spells it."""
    controller, v1_file, v2_file, translate = FILES[name]
    directory = handle.v1_dir(controller)
    if directory:
        return read_text(f"{directory}/{v1_file}")
    text = translate(read_text(f"{handle.v2_dir}/{v2_file}"))
    if name == "both" and text != "max":
        return str(int(text) + int(read_text(f"{handle.v2_dir}/memory.max")))
    return text


def test_a_process_joins_every_hierarchy_and_all_is_gone_after_removal(hierarchies, make):
    handle = make({})
    process = sleeper(handle)
    own = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in open_lines(f"/proc/{process.pid}/cgroup")}
    assert set(own.values()) == {f"{PARENT}/c"}
    assert handle.pids() == [process.pid]
    assert len(handle.dirs) == len(hierarchies.mounts()) == len(handle.procs_paths)
    end(process)
    handle.remove()
    assert not handle.exists()
    assert not any(os.path.exists(mount + PARENT) for mount in hierarchies.mounts())
    handle.remove()


def open_lines(path):
    with open(path) as file:
        return file.read().splitlines()


def test_memory_beyond_the_limit_is_killed_and_counted(hierarchies, make):
    need(hierarchies, "memory")
    handle = make({"memory": {"limit": 32 << 20, "swap": 32 << 20}})
    code, _ = output(handle, "x = bytearray(100 << 20); print(len(x))")
    assert code == -signal.SIGKILL
    assert handle.oom_kills() == 1
    assert handle.stats().memory_limit == 32 << 20
    code, text = output(handle, "x = bytearray(4 << 20); print(len(x))")
    assert (code, text) == (0, str(4 << 20))
    assert handle.oom_kills() == 1


def test_memory_limits_can_be_raised_and_lowered(hierarchies, make):
    need(hierarchies, "memory")
    handle = make({"memory": {"limit": 32 << 20, "swap": 64 << 20}})
    for limit, swap in ((256 << 20, 512 << 20), (16 << 20, 16 << 20), (64 << 20, -1)):
        handle.update({"memory": {"limit": limit, "swap": swap}})
        assert value(handle, "memory") == str(limit)
        if swap > 0:
            assert value(handle, "both") == str(swap)


def test_pids_limit_stops_forks(hierarchies, make):
    need(hierarchies, "pids")
    handle = make({"pids": {"limit": 3}})
    forks = "n=0\ntry:\n  while n<9:\n    os.fork() or (time.sleep(30), os._exit(0)); n+=1\n"
    code = forks + "except BlockingIOError: print(n)"
    process = spawn(handle, code)
    assert process.stdout is not None
    assert process.stdout.readline() == "2\n"
    assert handle.stats().pids_limit == 3
    handle.kill()
    end(process)


def test_cpu_quota_throttles(hierarchies, make):
    need(hierarchies, "cpu")
    handle = make({"cpu": {"quota": 4000, "period": 100000, "shares": 512}})
    busy = "b=time.process_time();e=time.monotonic()+1\nwhile time.monotonic()<e: pass\nprint(time.process_time()-b)"
    _, text = output(handle, busy)
    assert float(text) < 0.5
    stats = handle.stats()
    assert stats.cpu_throttled_ns > 0
    assert stats.cpu_usage_ns > 0.005e9
    assert value(handle, "shares") == "512"


def test_cpuset_decides_where_it_runs(hierarchies, make):
    need(hierarchies, "cpuset")
    handle = make({"cpu": {"cpus": "0"}})
    assert output(handle, "print(os.sched_getaffinity(0))") == (0, "{0}")
    with pytest.raises(Invalid, match=r"cpuset\.cpus"):
        make({"cpu": {"cpus": "4090"}}, name="nowhere")
    assert not any(os.path.exists(f"{mount}{PARENT}/nowhere") for mount in hierarchies.mounts())


def test_block_throttle_is_written(hierarchies, make):
    need(hierarchies, "blkio")
    number = os.stat("/").st_dev
    device = {"major": os.major(number), "minor": 0, "rate": 10 << 20}
    if device["major"] == 0:
        pytest.skip("the root file system is on no block device")
    handle = make({"blockIO": {"throttleWriteBpsDevice": [device]}})
    if handle.v1_dir("blkio"):
        text = read_text(handle.v1_dir("blkio") + "/blkio.throttle.write_bps_device")
        assert text == f"{device['major']}:0 {10 << 20}"
        return
    assert f"wbps={10 << 20}" in read_text(f"{handle.v2_dir}/io.max")
    handle.update({"blockIO": {"throttleWriteBpsDevice": [{**device, "rate": 0}]}})
    assert read_text(f"{handle.v2_dir}/io.max") == ""


OPENS = """
def can(path, flags):
    try: os.close(os.open(path, flags)); return 1
    except PermissionError: return 0
def node(number):
    path = f"/tmp/.estiva-node-{os.getpid()}"
    try: os.mknod(path, 0o20600, number)
    except PermissionError: return 0
    os.unlink(path); return 1
print(can("/dev/null", os.O_RDWR), can("/dev/zero", os.O_RDONLY), can("/dev/zero", os.O_RDWR),
      can("/dev/full", os.O_RDONLY), can("/dev/null", os.O_WRONLY), node(os.makedev(1, 7)))
"""


@pytest.mark.parametrize("kind", ["v1", "bpf"])
def test_device_rules_decide_which_devices_open(hierarchies, make, kind):
    if kind == "v1":
        need_v1(hierarchies, "devices")
    elif not hierarchies.v2:
        pytest.skip("no unified hierarchy is mounted")
    handle = make({"devices": DEVICES}, among=None if kind == "v1" else unified_only())
    assert output(handle, OPENS) == (0, "1 1 0 0 1 1")
    handle.update({"devices": [*DEVICES, {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rw"}]})
    assert output(handle, OPENS) == (0, "1 1 0 1 1 1")
    handle.update({"devices": [{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "access": "wm"}]})
    assert output(handle, OPENS) == (0, "0 1 0 1 0 0")


@pytest.mark.parametrize("kind", ["all", "v1 only", "unified only"])
def test_freeze_stops_and_kill_reaches_what_is_frozen(hierarchies, make, kind):
    among = hierarchies
    if kind == "v1 only":
        need_v1(hierarchies, "freezer")
        among = hierarchy.Hierarchies(hierarchies.v1, None, frozenset())
    elif kind == "unified only":
        if not hierarchies.v2:
            pytest.skip("no unified hierarchy is mounted")
        among = unified_only()
    handle = make({}, among=among)
    process = spawn(handle, "while True: print('tick', flush=True); time.sleep(0.01)")
    assert process.stdout is not None
    process.stdout.readline()
    handle.freeze()
    assert handle.frozen()
    os.set_blocking(process.stdout.fileno(), False)
    process.stdout.buffer.read()
    time.sleep(0.1)
    assert process.stdout.buffer.read() is None
    handle.thaw()
    assert not handle.frozen()
    handle.freeze()
    handle.kill()
    if kind == "v1 only":
        assert not handle.frozen()
    assert process.wait(timeout=10) == -signal.SIGKILL
    process.stdout.close()


def test_a_signal_other_than_kill_reaches_every_process(make):
    handle = make({})
    process = sleeper(handle)
    handle.kill(signal.SIGTERM)
    assert process.wait(timeout=10) == -signal.SIGTERM
    process.stdout.close()


def test_remove_kills_and_takes_cgroups_made_inside_along(hierarchies, make):
    handle = make({})
    process = sleeper(handle)
    for directory in handle.dirs:
        os.makedirs(f"{directory}/inner/most")
    with pytest.raises(Conflict, match="processes are left"):
        handle.remove(kill=False)
    handle.remove()
    assert process.wait(timeout=10) == -signal.SIGKILL
    process.stdout.close()


def test_an_abandoned_cgroup_is_taken_over_and_a_living_one_is_not(hierarchies, make):
    need(hierarchies, "pids")
    handle = make({"pids": {"limit": 7}})
    again = driver.create(hierarchies, handle.path, {})
    assert value(again, "pids") == "max"
    process = sleeper(again)
    with pytest.raises(Conflict, match="has processes"):
        driver.create(hierarchies, handle.path, {})
    assert again.exists()
    end(process)


def test_another_process_finds_the_cgroup_by_its_path(hierarchies, make):
    handle = make({})
    found = driver.open_handle(hierarchies, handle.path)
    assert (found.dirs, found.v2_dir, found.procs_paths) == (handle.dirs, handle.v2_dir, handle.procs_paths)
    assert driver.open_handle(hierarchies, PARENT + "/never").dirs == []


def test_a_failed_creation_leaves_nothing(hierarchies):
    with pytest.raises((Invalid, Unsupported)):
        driver.create(hierarchies, f"{PARENT}/bad", {"unified": {"memory.max": "nonsense"}, "pids": {"limit": 5}})
    assert not any(os.path.exists(f"{mount}{PARENT}/bad") for mount in hierarchies.mounts())


def test_statistics_see_what_the_processes_use(hierarchies, make):
    need(hierarchies, "memory", "cpuacct", "pids")
    handle = make({})
    process = spawn(handle, "x = bytearray(b'1') * (20 << 20); print('in', flush=True); time.sleep(60)")
    assert process.stdout is not None
    process.stdout.readline()
    stats = handle.stats()
    assert stats.pids == 1
    assert stats.pids_limit is None
    assert 20 << 20 < stats.memory_usage < 200 << 20
    assert stats.memory_limit is None
    assert stats.cpu_usage_ns > 0
    end(process)


def test_nothing_stays_of_the_write_that_the_kernel_refuses(make):
    handle = make({})
    with pytest.raises(OSError, match="no-such-file"):
        write_text(f"{handle.dirs[0]}/no-such-file", "1")


STARTS = """
from estiva.runtime.cgroup import driver, hierarchy
found = hierarchy.detect()
for turn in range(60):
    handle = driver.create(found, f"{PARENT}/{os.getpid()}", {})
    assert len(handle.dirs) == len(found.mounts())
    handle.remove()
"""


def test_starts_and_ends_at_the_same_time_share_the_parent(hierarchies):
    """Whoever ends last removes it; nobody who starts meanwhile stumbles over that."""
    program = f"import os, sys\nsys.path[:] = {sys.path!r}\nPARENT = {PARENT!r}\n{STARTS}"
    processes = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(4)]
    said = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], said


def test_parents_that_others_made_stay(hierarchies, make):
    for mount in hierarchies.mounts():
        os.mkdir(mount + PARENT)
    handle = make({}, name="deep/c")
    handle.remove()
    for mount in hierarchies.mounts():
        assert [entry.name for entry in os.scandir(mount + PARENT) if entry.is_dir()] == []
        os.rmdir(mount + PARENT)


def test_a_cgroup_that_was_prepared_keeps_its_limits(hierarchies, make):
    need(hierarchies, "pids")
    for mount in hierarchies.mounts():
        os.makedirs(f"{mount}{PARENT}/mine")
    if "pids" not in hierarchies.v1:
        write_text(f"{hierarchies.v2}{PARENT}/cgroup.subtree_control", "+pids")
    write_text(f"{hierarchies.v1.get('pids', hierarchies.v2)}{PARENT}/mine/pids.max", "77")
    handle = make({}, name="mine")
    assert handle.stats().pids_limit == 77
    with pytest.raises(Invalid):
        driver.create(hierarchies, handle.path, {"cpu": {"cpus": "4090"}, "pids": {"limit": 5}})
    assert handle.stats().pids_limit == 77, "a failed start leaves what was there"
    handle.remove()
    for mount in hierarchies.mounts():
        os.rmdir(mount + PARENT)


def test_a_frozen_or_threaded_place_is_refused(hierarchies, make):
    if not hierarchies.v2:
        pytest.skip("no unified hierarchy is mounted")
    found = hierarchy.Hierarchies({}, hierarchies.v2, frozenset())  # domain controllers forbid threaded cgroups
    outer = make({}, name="outer", among=found)
    outer.freeze()
    with pytest.raises(Conflict, match="frozen"):
        driver.create(found, f"{PARENT}/outer/c", {})
    outer.thaw()
    write_text(f"{outer.v2_dir}/cgroup.type", "threaded")
    with pytest.raises(Conflict, match="domain invalid"):
        driver.create(found, f"{PARENT}/outer/c", {})
    assert not os.path.exists(f"{outer.v2_dir}/c")


def test_processes_beside_child_cgroups_are_named_as_the_trouble(hierarchies, make):
    """cgroup-v2.rst "No Internal Process Constraint"."""
    found = unified_only()
    controller = next((name for name in ("memory", "hugetlb") if name in found.v2_controllers), None)
    if controller is None:
        pytest.skip("the unified hierarchy hands out neither memory nor hugetlb")
    outer = make({}, name="outer", among=found)
    process = sleeper(outer)
    file, text = {"hugetlb": ("hugetlb.2MB.max", "0"), "memory": ("memory.high", "1048576")}[controller]
    with pytest.raises(Conflict, match=rf"enabling the {controller} controller in .*/outer: processes are in"):
        driver.create(found, f"{PARENT}/outer/c", {"unified": {file: text}})
    end(process)
    inner = driver.create(found, f"{PARENT}/outer/c", {"unified": {file: text}})
    assert read_text(f"{inner.v2_dir}/{file}") == text
    inner.remove()


def test_controllers_for_threads_beside_processes_are_found_out(hierarchies, make):
    """Enabling pids where processes are makes the cgroups below threaded: no container can be in them."""
    found = unified_only()
    if "pids" not in found.v2_controllers:
        pytest.skip("the unified hierarchy does not hand out pids")
    outer = make({}, name="outer", among=found)
    process = sleeper(outer)
    with pytest.raises(Conflict, match=r"enabling the pids controller in .*/outer: processes are in"):
        driver.create(found, f"{PARENT}/outer/c", {"unified": {"pids.max": "5"}})
    alone = hierarchy.Hierarchies({}, found.v2, frozenset({"pids"}))
    with pytest.raises(Conflict, match="domain invalid"):
        driver.create(alone, f"{PARENT}/outer/c", {"unified": {"pids.max": "5"}})
    end(process)


BOMB = """
def bomb():
    while True:
        try:
            if os.fork() == 0: continue
        except OSError: pass
print('in', flush=True)
bomb()
"""


@pytest.mark.parametrize("kind", ["all", "v1 only"])
def test_a_fork_bomb_is_ended(hierarchies, make, kind):
    among = hierarchies
    if kind == "v1 only":
        need_v1(hierarchies, "freezer", "pids")
        among = hierarchy.Hierarchies(hierarchies.v1, None, frozenset())
    handle = make({"pids": {"limit": 200}} if "pids" in {*among.v1, *among.v2_controllers} else {}, among=among)
    process = spawn(handle, BOMB)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    time.sleep(0.3)
    handle.kill()
    assert process.wait(timeout=20) == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while handle.pids():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.stdout.close()


def test_an_update_that_is_refused_changes_nothing(hierarchies, make):
    need(hierarchies, "memory", "cpu", "cpuset")
    handle = make({"memory": {"limit": 64 << 20, "swap": 64 << 20}, "cpu": {"quota": 20000, "period": 100000}})
    names = ("memory", "both", "quota", "shares")
    before = [value(handle, name) for name in names]
    change = {"memory": {"limit": 128 << 20, "swap": 256 << 20}, "cpu": {"quota": 40000, "shares": 99, "cpus": "4090"}}
    with pytest.raises(Invalid, match=r"cpuset\.cpus"):
        handle.update(change)
    assert [value(handle, name) for name in names] == before


def test_burst_quota_and_period_move_together(hierarchies, make):
    need(hierarchies, "cpu")
    handle = make({"cpu": {"quota": 20000, "period": 100000, "burst": 20000}})
    for quota, burst in ((90000, 80000), (10000, 5000), (-1, 0)):
        handle.update({"cpu": {"quota": quota, "burst": burst}})
        assert [value(handle, name) for name in ("quota", "burst")] == [str(quota), str(burst)]
    with pytest.raises(Invalid, match="burst"):
        handle.update({"cpu": {"quota": 10000, "burst": 20000}})
    assert value(handle, "quota") == "-1"
    handle.update({"cpu": {"quota": 30000, "period": 60000}})
    handle.update({"cpu": {"period": 50000}})
    assert [value(handle, name) for name in ("quota", "period")] == ["30000", "50000"]
    handle.update({"cpu": {"quota": 20000}})
    assert [value(handle, name) for name in ("quota", "period")] == ["20000", "50000"]


def test_check_before_update_refuses_what_would_kill(hierarchies, make):
    need(hierarchies, "memory")
    handle = make({"memory": {"limit": 256 << 20, "swap": 256 << 20}})
    process = spawn(handle, "x = bytearray(b'1') * (64 << 20); print('in', flush=True); time.sleep(60)")
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(Conflict, match="use"):
        handle.update({"memory": {"limit": 8 << 20, "swap": 8 << 20, "checkBeforeUpdate": True}})
    assert value(handle, "memory") == str(256 << 20)
    assert process.poll() is None
    end(process)


def test_idle_and_shares_and_reservation_are_set(hierarchies, make):
    need(hierarchies, "cpu", "memory")
    handle = make({"cpu": {"shares": 512, "idle": 0}, "memory": {"reservation": 8 << 20}})
    assert [value(handle, name) for name in ("shares", "idle", "reservation")] == ["512", "0", str(8 << 20)]
    handle.update({"cpu": {"idle": 1}})
    assert value(handle, "idle") == "1"


def test_programs_of_others_stay_and_ours_is_replaced(hierarchies, make):
    from estiva.linux import bpf

    if not hierarchies.v2:
        pytest.skip("no unified hierarchy is mounted")
    handle = make({"devices": DEVICES}, among=unified_only())
    fd = os.open(handle.v2_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        (first,) = bpf.prog_query(fd, bpf.BPF_CGROUP_DEVICE)
        handle.update({"pids": {}})
        assert bpf.prog_query(fd, bpf.BPF_CGROUP_DEVICE) == [first], "no rules, no change"
        handle.update({"devices": DEVICES})
        (second,) = bpf.prog_query(fd, bpf.BPF_CGROUP_DEVICE)
        assert second != first
        other_name, bpf.DEVICES_NAME = bpf.DEVICES_NAME, "not_ours"
        try:
            allow_all = bytes.fromhex("b7000000010000009500000000000000")
            apply.attach_device_program(handle.v2_dir, allow_all)
        finally:
            bpf.DEVICES_NAME = other_name
        assert len(bpf.prog_query(fd, bpf.BPF_CGROUP_DEVICE)) == 2
        handle.update({"devices": DEVICES})
        programs = bpf.prog_query(fd, bpf.BPF_CGROUP_DEVICE)
        assert len(programs) == 2
        assert second not in programs
    finally:
        os.close(fd)
    assert output(handle, OPENS) == (0, "1 1 0 0 1 1")


def test_inside_a_container_processes_make_room_at_the_root(hierarchies, make):
    """The root of a cgroup namespace is a cgroup like others: it cannot have processes and hand controllers down."""
    found = unified_only()
    if not found.v2 or not os.path.exists(f"{found.v2}/cgroup.type") or not WORLD.cgroups_are_own:
        pytest.skip("needs a cgroup namespace of its own, and v2")
    enabled = read_text(f"{found.v2}/cgroup.subtree_control").split()
    if "hugetlb" not in enabled and "pids" not in enabled:
        pytest.skip("the unified hierarchy hands out neither pids nor hugetlb")
    process = subprocess.Popen(["sleep", "60"])
    try:
        for controller in enabled:
            write_text(f"{found.v2}/cgroup.subtree_control", f"-{controller}")
        write_text(f"{found.v2}/cgroup.procs", str(process.pid))
        file = "pids.max" if "pids" in enabled else "hugetlb.2MB.max"
        handle = make({"unified": {file: "0"}}, among=found)
        assert read_text(f"{handle.v2_dir}/{file}") == "0"
        assert read_text(f"{found.v2}/{driver.ROOM}/cgroup.procs") == str(process.pid)
    finally:
        process.kill()
        process.wait()
        handle_module.remove_tree(f"{found.v2}/{driver.ROOM}")
        for controller in enabled:
            write_text(f"{found.v2}/cgroup.subtree_control", f"+{controller}")


def test_what_an_ordinary_user_may_not_join_is_passed_over(hierarchies, make, monkeypatch):
    """On v1 an administrator may have given the user a directory of some hierarchies."""
    first, *others = hierarchies.mounts()
    if not others:
        pytest.skip("there is one hierarchy only")
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: real(path, mode) and not (mode == os.W_OK and path.startswith(first + "/"))
    )
    handle = driver.create(hierarchies, f"{PARENT}/c", {}, rootless=True)
    assert handle.dirs == [mount + f"{PARENT}/c" for mount in others]
    handle.remove()
    handle_module.remove_tree(f"{first}{PARENT}/c")
    handle_module.remove_parents(f"{first}{PARENT}/c")
