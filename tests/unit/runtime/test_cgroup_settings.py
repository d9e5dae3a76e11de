"""What resources become in control files, and the driver on recorded trees that no kernel serves."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid, Unsupported
from estiva.runtime.cgroup import devicerules, driver, hierarchy, settings

# The files a kernel 6.1 puts into a cgroup whose parent hands these controllers down.
V2_FILES = {
    "cgroup.procs": "",
    "cgroup.controllers": "cpuset cpu io memory pids",
    "cgroup.subtree_control": "",
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.freeze": "0\n",
    "cgroup.kill": "",
    "cpu.max": "max 100000\n",
    "cpu.max.burst": "0\n",
    "cpu.weight": "100\n",
    "cpu.idle": "0\n",
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 0\nnr_throttled 0\nthrottled_usec 7\n",
    "cpuset.cpus": "\n",
    "cpuset.mems": "\n",
    "io.max": "",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n253:0 rbytes=1 wbytes=2\n",
    "io.weight": "default 100\n",
    "memory.current": "1048576\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n",
    "memory.high": "max\n",
    "memory.low": "0\n",
    "memory.max": "max\n",
    "memory.peak": "2097152\n",
    "memory.stat": "anon 524288\nfile 524288\ninactive_file 262144\n",
    "memory.swap.current": "0\n",
    "memory.swap.max": "max\n",
    "pids.current": "4\n",
    "pids.max": "max\n",
}


@pytest.fixture
def v2_tree(tmp_path):
    """A recorded unified hierarchy with the container's directory there already."""
    for directory in ("", "estiva", "estiva/c"):
        (tmp_path / directory).mkdir(exist_ok=True)
        for file, text in V2_FILES.items():
            (tmp_path / directory / file).write_text(text)
    return tmp_path


def create(tree, resources, path="/estiva/c", **options):
    return driver.create(hierarchy.detect(str(tree)), path, resources, **options)


def test_a_unified_root_is_recognised_without_the_mount_table(v2_tree):
    found = hierarchy.detect(str(v2_tree), proc="/nowhere")
    assert (found.mode, found.v2, found.v1) == ("v2", str(v2_tree), {})
    assert "memory" in found.v2_controllers


def test_limits_are_written_in_the_words_of_v2(v2_tree):
    resources = {
        "memory": {"limit": 1 << 30, "swap": 3 << 29, "reservation": 1 << 20},
        "cpu": {"shares": 1024, "quota": 150000, "period": 100000, "burst": 1000, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 100},
        "blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}]},
        "unified": {"memory.high": "900M"},
    }
    create(v2_tree, resources)
    written = {file: (v2_tree / "estiva/c" / file).read_text() for file in V2_FILES}
    assert written["memory.max"].startswith("1073741824")
    assert written["memory.swap.max"].startswith("536870912")
    assert written["memory.low"].startswith("1048576")
    assert written["memory.high"].startswith("900M")
    assert written["cpu.weight"].startswith("100")
    assert written["cpu.max"].startswith("150000 100000")
    assert written["cpu.max.burst"].startswith("1000")
    assert (written["cpuset.cpus"][:3], written["cpuset.mems"][:1]) == ("0-1", "0")
    assert written["pids.max"].startswith("100")
    assert written["io.weight"].startswith("4950")
    assert written["io.max"] == "8:0 rbps=1048576"


def test_controllers_are_enabled_on_the_way_down_but_not_in_the_container(v2_tree):
    create(v2_tree, {})
    assert (v2_tree / "cgroup.subtree_control").read_text().startswith("+")
    assert (v2_tree / "estiva/cgroup.subtree_control").read_text().startswith("+")
    assert (v2_tree / "estiva/c/cgroup.subtree_control").read_text() == ""


def test_enabling_is_skipped_where_it_was_done(v2_tree):
    done = " ".join(driver.ACCOUNTING)
    (v2_tree / "estiva/cgroup.subtree_control").write_text(done)
    create(v2_tree, {})
    assert (v2_tree / "estiva/cgroup.subtree_control").read_text() == done
    assert (v2_tree / "cgroup.subtree_control").read_text() == ""


def test_a_limit_without_its_controller_is_unsupported(v2_tree):
    (v2_tree / "cgroup.controllers").write_text("cpu pids")
    with pytest.raises(Unsupported, match=r"linux\.resources\.memory\.limit: the memory controller"):
        create(v2_tree, {"memory": {"limit": 1 << 20}})


def test_swap_accounting_may_be_off(v2_tree):
    (v2_tree / "estiva/c/memory.swap.max").unlink()
    create(v2_tree, {"memory": {"limit": 1 << 20, "swap": 2 << 20}})
    assert (v2_tree / "estiva/c/memory.max").read_text().startswith("1048576")


def test_a_limit_whose_file_is_missing_names_the_file(v2_tree):
    (v2_tree / "estiva/c/pids.max").unlink()
    with pytest.raises(Unsupported, match=r"setting pids\.max of cgroup .* to 5"):
        create(v2_tree, {"pids": {"limit": 5}})


def test_rootless_without_delegation_has_no_cgroup_and_no_limits(v2_tree):
    handle = create(v2_tree, {"devices": [{"allow": False, "access": "rwm"}]}, path="", rootless=True)
    assert (handle.dirs, handle.procs_paths, handle.v2_dir, handle.pids()) == ([], [], None, [])
    with pytest.raises(Unsupported, match=r"pids\.limit: the pids controller is not available to this user"):
        create(v2_tree, {"pids": {"limit": 5}}, path="", rootless=True)


def test_statistics_are_read_from_the_unified_tree(v2_tree):
    handle = create(v2_tree, {})
    stats = handle.stats()
    assert (stats.cpu_usage_ns, stats.cpu_user_ns, stats.cpu_throttled_ns) == (1_500_000, 1_000_000, 7000)
    assert (stats.memory_usage, stats.memory_cache, stats.memory_limit) == (1048576 - 262144, 524288, None)
    assert (stats.pids, stats.pids_limit, stats.oom_kills) == (4, None, 2)
    assert (stats.block_read, stats.block_written) == (4097, 8194)
    assert handle.oom_source() == (f"{v2_tree}/estiva/c/memory.events", "oom_kill")


def test_hybrid_and_v1_mount_tables_are_read(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(
        "30 23 0:28 / / rw - ext4 /dev/sda rw\n"
        "32 31 0:29 / /cg/cpu,cpuacct rw,nosuid shared:3 - cgroup cgroup rw,cpu,cpuacct\n"
        "33 31 0:30 / /cg/my\\040memory rw - cgroup cgroup rw,memory\n"
        "34 31 0:37 / /cg/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n"
        "35 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    found = hierarchy.detect(str(tmp_path / "none"), proc=str(tmp_path))
    assert found.mode == "hybrid"
    assert found.v1 == {
        "cpu": "/cg/cpu,cpuacct",
        "cpuacct": "/cg/cpu,cpuacct",
        "memory": "/cg/my memory",
        "name=systemd": "/cg/systemd",
    }
    assert found.mounts() == ["/cg/cpu,cpuacct", "/cg/my memory", "/cg/systemd", "/cg/unified"]
    assert hierarchy.Hierarchies(found.v1, None, frozenset()).mode == "v1"
    assert hierarchy.Hierarchies({}, None, frozenset()).mode == "none"


def test_the_delegated_parent_is_the_highest_that_is_ours(v2_tree, tmp_path_factory, monkeypatch):
    proc = tmp_path_factory.mktemp("proc")
    (proc / "self").mkdir()
    (proc / "self/cgroup").write_text("1:name=systemd:/x\n0::/estiva/c\n")
    found = hierarchy.detect(str(v2_tree))
    assert hierarchy.own_paths(str(proc)) == {"name=systemd": "/x", "": "/estiva/c"}
    assert hierarchy.delegated_parent(found, str(proc)) == "/estiva"
    denied = str(v2_tree / "estiva")
    monkeypatch.setattr(os, "access", lambda path, mode: not path.startswith(denied + "/cgroup"))
    assert hierarchy.delegated_parent(found, str(proc)) == "/estiva/c"
    assert hierarchy.delegated_parent(hierarchy.Hierarchies({}, None, frozenset()), str(proc)) is None


@pytest.mark.parametrize(
    ("cgroups_path", "expected"),
    [
        ("", "/estiva/abc"),
        ("/pods/x", "/pods/x"),
        ("pods/x", "/estiva/pods/x"),
        ("../../etc", "/estiva/etc"),
        ("/../../etc", "/etc"),
        ("system.slice:libpod:abc", "/system.slice/libpod-abc.scope"),
        ("user-1000.slice:libpod:abc", "/user.slice/user-1000.slice/libpod-abc.scope"),
        ("-.slice::abc", "/abc.scope"),
    ],
)
def test_cgroups_paths_stay_in_the_tree(cgroups_path, expected):
    assert hierarchy.container_path("abc", cgroups_path) == expected


def writes(controller, version, **resources):
    return [(setting.file, setting.value) for setting in version[controller](resources)]


@pytest.mark.parametrize(
    ("shares", "weight"), [(1, 1), (2, 1), (1024, 100), (512, 59), (262144, 10000), (300000, 10000)]
)
def test_the_default_shares_are_the_default_weight(shares, weight):
    assert settings.weight_of_shares(shares) == weight


@given(st.integers(2, 262144), st.integers(2, 262144))
def test_more_shares_never_weigh_less(one, other):
    low, high = sorted((one, other))
    assert 1 <= settings.weight_of_shares(low) <= settings.weight_of_shares(high) <= 10000


def test_unlimited_is_spelled_as_each_version_wants_it():
    assert writes("memory", settings.V1, memory={"limit": -1}) == [
        ("memory.limit_in_bytes", "-1"),
        ("memory.memsw.limit_in_bytes", "-1"),
    ]
    assert writes("memory", settings.V2, memory={"limit": -1}) == [("memory.swap.max", "max"), ("memory.max", "max")]
    assert writes("pids", settings.V1, pids={"limit": -1}) == [("pids.max", "max")]
    assert writes("cpu", settings.V2, cpu={"quota": -1}) == [("cpu.max", "max 100000")]


def test_nothing_asked_is_nothing_written():
    for version in (settings.V1, settings.V2):
        for controller in version:
            assert writes(controller, version) == []
            assert writes(controller, version, memory={"limit": 0}, pids={"limit": 0}, cpu={}) == []
    assert settings.needed({"memory": {}, "pids": {"limit": 0}, "devices": [{"allow": False}]}) == {}


def test_impossible_swap_is_invalid():
    with pytest.raises(Invalid, match="needs a memory limit"):
        writes("memory", settings.V2, memory={"swap": 5})
    with pytest.raises(Invalid, match="less than the memory limit"):
        writes("memory", settings.V2, memory={"limit": 10, "swap": 5})


def test_unified_files_cannot_leave_the_cgroup():
    for name in ("../memory.max", "nodot"):
        with pytest.raises(Invalid, match="control file"):
            list(settings.unified({"unified": {name: "1"}}))


def test_v1_device_rules_are_one_write_each():
    assert devicerules.v1_writes(
        [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
            {"allow": True, "major": 7, "access": "m"},
            {"allow": True, "type": "p", "access": "rwm"},
        ]
    ) == [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 rw"),
        ("devices.allow", "b 7:* m"),
        ("devices.allow", "c 7:* m"),
    ]
    for rule in ({"type": "x"}, {"access": "rx"}):
        with pytest.raises(Invalid, match=r"devices\[0\]"):
            devicerules.v1_writes([rule])


def bpf_run(code, kind, major, minor, access):
    """The verdict of the eBPF program for one access."""
    import struct

    registers = [0] * 10
    context = [access << 16 | kind, major, minor]
    instructions = list(struct.iter_unpack("=BBhI", code))
    at = 0
    while True:
        op, both, offset, immediate = instructions[at]
        dst, src = both & 15, both >> 4
        at += 1
        if op == 0x61:
            registers[dst] = context[offset // 4]
        elif op == 0xB7:
            registers[dst] = immediate
        elif op == 0xBF:
            registers[dst] = registers[src]
        elif op == 0x57:
            registers[dst] &= immediate
        elif op == 0x77:
            registers[dst] >>= immediate
        elif op == 0x95:
            return bool(registers[0])
        elif {0x15: registers[dst] == immediate}.get(op, registers[dst] != immediate):
            at += offset


rule = st.fixed_dictionaries(
    {"allow": st.booleans(), "access": st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"])},
    optional={
        "type": st.sampled_from(["a", "b", "c"]),
        "major": st.integers(-1, 2),
        "minor": st.integers(-1, 2),
    },
)


@given(
    st.lists(rule, max_size=8),
    st.sampled_from(["b", "c"]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sets(st.sampled_from("mrw"), min_size=1),
)
def test_the_last_rule_that_matches_decides_about_each_access(rules, kind, major, minor, accesses):
    def allowed(access):
        verdict = False
        for entry in rules:
            if (
                entry.get("type", "a") in ("a", kind)
                and entry.get("major", -1) in (-1, major)
                and entry.get("minor", -1) in (-1, minor)
                and access in entry["access"]
            ):
                verdict = entry["allow"]
        return verdict

    code = devicerules.v2_program(rules)
    mask = sum({"m": 1, "r": 2, "w": 4}[access] for access in accesses)
    assert bpf_run(code, {"b": 1, "c": 2}[kind], major, minor, mask) == all(map(allowed, accesses))
