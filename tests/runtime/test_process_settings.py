"""How the kernel treats process 1: what it was asked for, by its own word."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from estiva.errors import Invalid
from estiva.runtime import plan, settings
from estiva.runtime.cgroup import hierarchy
from estiva.runtime.plan import Plan

pytestmark = pytest.mark.needs_root


def ask(box, probe, *words):
    assert box.run(probe, *words) == 0, box.err
    return box.out.decode().splitlines()


@contextmanager
def real_time_budget():
    """Where control groups have budgets of real time (v1), one for the session's own group, which starts with none."""
    found = [Path(f"{mount}/cpu.rt_runtime_us") for mount in hierarchy.detect().mounts()]
    files = [path for path in found if path.exists() and path.read_text() == "0\n"]
    for path in files:
        path.write_text("100000")
    yield
    for path in files:
        path.write_text("0")


@pytest.mark.parametrize(
    ("scheduler", "seen"),
    [
        ({"policy": "SCHED_OTHER", "nice": 7}, "policy=0 nice=7 priority=0 flags=0 "),
        ({"policy": "SCHED_OTHER", "nice": -5}, "policy=0 nice=-5 priority=0 flags=0 "),
        ({"policy": "SCHED_BATCH", "nice": 3}, "policy=3 nice=3 priority=0 flags=0 "),
        ({"policy": "SCHED_IDLE"}, "policy=5 nice=0 priority=0 flags=0 "),
        ({"policy": "SCHED_FIFO", "priority": 9}, "policy=1 nice=0 priority=9 flags=0 "),
        (
            {"policy": "SCHED_RR", "priority": 4, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
            "policy=2 nice=0 priority=4 flags=1 ",
        ),
        (
            {"policy": "SCHED_DEADLINE", "runtime": 1000000, "deadline": 20000000, "period": 30000000},
            "runtime=1000000 deadline=20000000 period=30000000",
        ),
    ],
)
def test_scheduler(box, probe, scheduler, seen):
    box.spec["process"]["scheduler"] = scheduler
    with real_time_budget():
        (line,) = ask(box, probe, "scheduler")
    assert seen in line


def test_what_the_kernel_refuses_is_named(box, probe):
    box.spec["process"]["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 9, "deadline": 8, "period": 7}
    with pytest.raises(Invalid, match=r"process\.scheduler: sched_setattr: invalid argument"):
        box.run(probe)


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        ({"class": "IOPRIO_CLASS_BE", "priority": 6}, 2 << 13 | 6),
        ({"class": "IOPRIO_CLASS_RT", "priority": 0}, 1 << 13),
        ({"class": "IOPRIO_CLASS_IDLE", "priority": 7}, 3 << 13 | 7),
    ],
)
def test_io_priority(box, probe, wanted, value):
    box.spec["process"]["ioPriority"] = wanted
    assert ask(box, probe, "ioprio") == [str(value)]


def test_personality(box, probe):
    box.spec["linux"]["personality"] = {"domain": "LINUX32"}
    assert (
        box.shell(f"{probe} personality; uname -m")
        == {"x86_64": "8\ni686\n", "aarch64": "8\narmv8l\n"}[os.uname().machine]
    )


def test_personality_is_in_force_although_a_filter_forbids_it(runtime):
    runtime.spec["linux"]["personality"] = {"domain": "LINUX32"}
    runtime.spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}],
    }
    runtime.process("uname", "-m")
    assert runtime("run", "a") in ("i686\n", "armv8l\n")


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "mode=2 nodes=1 errno=0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "mode=32771 nodes=1 errno=0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "mode=16386 nodes=1 errno=0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}, "mode=8194 nodes=1 errno=0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "mode=1 nodes=1 errno=0"),
        ({"mode": "MPOL_PREFERRED"}, "mode=4 nodes=0 errno=0"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "mode=5 nodes=1 errno=0"),
        ({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}, "mode=6 nodes=1 errno=0"),
        ({"mode": "MPOL_LOCAL"}, "mode=4 nodes=0 errno=0"),
        ({"mode": "MPOL_DEFAULT"}, "mode=0 nodes=0 errno=0"),
    ],
)
def test_memory_policy(box, probe, policy, seen):
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("a kernel without NUMA")
    box.spec["linux"]["memoryPolicy"] = policy
    assert ask(box, probe, "memory") == [seen]


def test_a_node_that_is_not_there_is_named(box, probe):
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("a kernel without NUMA")
    box.spec["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "60"}
    with pytest.raises(Invalid, match=r"linux\.memoryPolicy: set_mempolicy: invalid argument"):
        box.run(probe, "memory")


def test_exec_has_the_settings_and_its_own_processors(runtime, tmp_path):
    from helpers.bundle import compile_probe

    probe = compile_probe(runtime.bundle / "rootfs")
    runtime.spec["linux"]["personality"] = {"domain": "LINUX32"}
    runtime.spec["linux"]["memoryPolicy"] = {"mode": "MPOL_LOCAL"}
    process = {
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 5},
        "scheduler": {"policy": "SCHED_BATCH", "nice": 4},
        "execCPUAffinity": {"initial": "0", "final": "0-1"},
    }
    runtime.start("a", **process)
    words = [probe, "ioprio", "scheduler", "affinity", "personality", "memory"]
    seen = runtime("exec", "a", *words).splitlines()
    assert seen[0] == str(2 << 13 | 5)
    assert seen[1].startswith("policy=3 nice=4 ")
    assert seen[2].split() == [str(cpu) for cpu in sorted(os.sched_getaffinity(0) & {0, 1})]
    assert seen[3] == "8"
    assert seen[4].startswith("mode=4 ") or not os.path.exists("/proc/self/numa_maps")


def test_final_affinity_of_exec(runtime, tmp_path):
    from helpers.bundle import compile_probe

    probe = compile_probe(runtime.bundle / "rootfs")
    cpu = max(os.sched_getaffinity(0))
    runtime.start("a", execCPUAffinity={"final": str(cpu)})
    assert runtime("exec", "a", probe, "affinity").split() == [str(cpu)]
    runtime("delete", "--force", "a")
    runtime.start("a", execCPUAffinity={"final": "4000"})
    said = runtime("exec", "a", probe, "affinity", code=255)
    assert "process.execCPUAffinity: sched_setaffinity 4000: invalid argument" in said


@pytest.mark.parametrize(
    ("add", "value", "words"),
    [
        ("scheduler", {}, "process.scheduler.policy: missing"),
        ("scheduler", {"policy": "SCHED_SOON"}, "policy: unknown 'SCHED_SOON'"),
        ("scheduler", {"policy": "SCHED_OTHER", "nice": 20}, "nice: 20 is not between"),
        ("scheduler", {"policy": "SCHED_OTHER", "priority": 1}, "priority: SCHED_OTHER has none"),
        ("scheduler", {"policy": "SCHED_RR", "period": 1}, "are for SCHED_DEADLINE, not SCHED_RR"),
        ("scheduler", {"policy": "SCHED_RR", "flags": ["SCHED_FLAG_X"]}, "flags: unknown 'SCHED_FLAG_X'"),
        ("io_priority", {"class": "IOPRIO_CLASS_BE", "priority": 8}, "priority: 8 is not between 0 and 7"),
        ("io_priority", {"class": "BE"}, "class: unknown 'BE'"),
        ("memory_policy", {"mode": "MPOL_X"}, "mode: unknown"),
        ("memory_policy", {"mode": "MPOL_BIND"}, "nodes: missing; MPOL_BIND needs some"),
        ("memory_policy", {"mode": "MPOL_LOCAL", "nodes": "0"}, "nodes: MPOL_LOCAL has none"),
        ("memory_policy", {"mode": "MPOL_BIND", "nodes": "0-"}, "is not a list of numbers"),
        ("memory_policy", {"mode": "MPOL_BIND", "nodes": "5-3"}, "5 is above 3"),
        (
            "memory_policy",
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},
            "exclude each other",
        ),
        ("personality", {"domain": "BSD"}, "domain: unknown 'BSD'"),
        ("personality", {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}, '"ADDR_NO_RANDOMIZE" is not supported'),
    ],
)
def test_what_makes_no_sense_is_named(add, value, words):
    with pytest.raises(Invalid, match=words):
        getattr(settings, f"add_{add}")(Plan(), value)


def test_affinity_is_left_alone_unless_given():
    out = Plan()
    settings.add_affinity(out, {"initial": "0-2,64"}, "final")
    assert out.operations == []
    settings.add_affinity(out, {"initial": "0-2,64"}, "initial")
    assert out.operations == [(plan.AFFINITY, (b"\x07" + bytes(7) + b"\x01" + bytes(7), "0-2,64"))]
    with pytest.raises(Invalid, match=r"process\.execCPUAffinity\.final"):
        settings.add_affinity(out, {"final": "all"}, "final")
