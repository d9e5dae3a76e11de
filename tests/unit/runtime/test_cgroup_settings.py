"""What resources become in control files, and the driver on recorded trees that no kernel serves."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Conflict, Invalid, Unsupported
from estiva.runtime.cgroup import detail, devicerules, driver, hierarchy, ownership, settings

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
    assert hierarchy.own_paths(f"{proc}/self/cgroup") == {"name=systemd": "/x", "": "/estiva/c"}
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
    assert writes("cpu", settings.V2, cpu={"quota": -1}) == [("cpu.max", "max")]


def test_nothing_asked_is_nothing_written():
    for version in (settings.V1, settings.V2):
        for controller in version:
            assert writes(controller, version) == []
            assert writes(controller, version, memory={"limit": 0}, pids={}, cpu={}) == []
    assert settings.needed({"memory": {}, "pids": {}, "devices": [{"allow": False}]}) == {}


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
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": True, "major": 7, "access": "m"},
        {"allow": True, "type": "p", "access": "rwm"},
    ]
    assert devicerules.v1_writes(rules) == [
        ("devices.deny", "a"),
        ("devices.allow", "b 7:* m"),
        ("devices.allow", "c 1:3 rw"),
        ("devices.allow", "c 7:* m"),
    ]
    for rule in ({"type": "x"}, {"access": "rx"}):
        with pytest.raises(Invalid, match=r"devices\[0\]"):
            devicerules.v1_writes([rule])


def test_v1_device_rules_change_without_a_moment_of_refusal():
    before = ["c 1:3 rwm", "c 1:5 r", "b 8:0 rw"]
    rules = [{"allow": True, "type": "c", "major": 1, "minor": minor, "access": "r"} for minor in (3, 5, 7)]
    assert devicerules.v1_writes(rules, before) == [
        ("devices.allow", "c 1:3 r"),
        ("devices.allow", "c 1:7 r"),
        ("devices.deny", "b 8:0 rw"),
        ("devices.deny", "c 1:3 wm"),
    ]


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


def oci_allows(rules, kind, major, minor, access):
    """The specification: the last rule that matches decides."""
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


class V1Controller:
    """security/device_cgroup.c: behaviour and exceptions, as writes change them and checks use them."""

    def __init__(self):
        self.allow_all, self.exceptions = True, {}

    def write(self, file, text):
        allow = file == "devices.allow"
        if text == "a":
            self.allow_all, self.exceptions = allow, {}
            return
        kind, numbers, access = text.split()
        key = (kind, *numbers.split(":"))
        if allow == self.allow_all:
            self.exceptions[key] = self.exceptions.get(key, set()) - set(access)
        else:
            self.exceptions[key] = self.exceptions.get(key, set()) | set(access)

    def lines(self):
        if self.allow_all:
            return ["a *:* rwm"]
        found = ((key, "".join(a for a in "rwm" if a in access)) for key, access in self.exceptions.items() if access)
        return [f"{kind} {major}:{minor} {access}" for (kind, major, minor), access in found]

    def allows(self, kind, major, minor, accesses):
        matching = [
            access
            for (its_kind, *numbers), access in self.exceptions.items()
            if its_kind == kind and numbers[0] in ("*", str(major)) and numbers[1] in ("*", str(minor))
        ]
        if self.allow_all:
            return not any(access & accesses for access in matching)
        return any(access >= accesses for access in matching)


devices = st.tuples(
    st.sampled_from("bc"), st.integers(0, 3), st.integers(0, 3), st.sets(st.sampled_from("mrw"), min_size=1)
)


@given(st.lists(rule, max_size=8), devices)
def test_the_last_rule_that_matches_decides_about_each_access(rules, device):
    kind, major, minor, accesses = device
    code = devicerules.v2_program(rules)
    mask = sum({"m": 1, "r": 2, "w": 4}[access] for access in accesses)
    expected = all(oci_allows(rules, kind, major, minor, access) for access in accesses)
    assert bpf_run(code, {"b": 1, "c": 2}[kind], major, minor, mask) == expected


@given(st.lists(rule, max_size=8), st.lists(rule, max_size=6), devices)
def test_the_v1_controller_decides_as_the_program_of_v2_does_or_is_not_used(rules, others, device):
    controller = V1Controller()
    try:
        for turn in (others, rules):
            present = controller.lines() if turn is rules else ()
            for file, text in devicerules.v1_writes(turn, present):
                controller.write(file, text)
    except Unsupported:
        return
    kind, major, minor, accesses = device
    assert controller.allows(kind, major, minor, accesses) == all(
        oci_allows(rules, kind, major, minor, access) for access in accesses
    )


@given(st.lists(rule, max_size=8))
def test_v1_can_be_told_every_list_that_only_allows(rules):
    devicerules.v1_writes([{"allow": False, "access": "rwm"}, *({**entry, "allow": True} for entry in rules)])


def test_v1_refuses_what_it_cannot_express():
    allow, deny = {"allow": True, "access": "rwm"}, {"allow": False, "access": "rwm"}
    with pytest.raises(Unsupported, match="denies a part of what it allows"):
        devicerules.v1_writes([deny, {**allow, "type": "c", "major": 1}, {**deny, "type": "c", "major": 1, "minor": 3}])


@pytest.mark.parametrize(
    ("resources", "v1", "v2"),
    [
        ({"cpu": {"quota": 50000}}, "cpu.cfs_quota_us=50000", "cpu.max=50000"),
        ({"cpu": {"burst": 0}}, "cpu.cfs_burst_us=0", "cpu.max.burst=0"),
        ({"cpu": {"idle": 1, "shares": 512}}, "cpu.shares=512 cpu.idle=1", "cpu.idle=1"),
        ({"cpu": {"realtimeRuntime": 950, "realtimePeriod": 1000}},
         "cpu.rt_period_us=1000 cpu.rt_runtime_us=950", None),
        ({"memory": {"limit": 10, "swap": 10}}, "memory.limit_in_bytes=10 memory.memsw.limit_in_bytes=10",
         "memory.swap.max=0 memory.max=10"),
        ({"memory": {"limit": -1, "swap": 10}}, "memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=10",
         "memory.swap.max=10 memory.max=max"),
        ({"memory": {"kernel": 5}}, "memory.kmem.limit_in_bytes=5", ""),
        ({"memory": {"kernelTCP": 5}}, "memory.kmem.tcp.limit_in_bytes=5", None),
        ({"memory": {"swappiness": 5}}, "memory.swappiness=5", None),
        ({"memory": {"disableOOMKiller": True}}, "memory.oom_control=1", None),
        ({"memory": {"useHierarchy": True}}, "memory.use_hierarchy=1", ""),
        ({"memory": {"useHierarchy": False}}, "memory.use_hierarchy=0", None),
        ({"pids": {"limit": 0}}, "pids.max=1", "pids.max=1"),
        ({"blockIO": {"leafWeight": 10}}, "blkio.leaf_weight=10", None),
        ({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}]}},
         "blkio.weight_device=8:0 500 blkio.leaf_weight_device=8:0 300", None),
        ({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500}]}},
         "blkio.weight_device=8:0 500", "io.bfq.weight=8:0 500"),
        ({"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]}},
         "blkio.throttle.write_iops_device=8:0 0", "io.max=8:0 wiops=max"),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]},
         "hugetlb.2MB.limit_in_bytes=9 hugetlb.2MB.rsvd.limit_in_bytes=9", "hugetlb.2MB.max=9 hugetlb.2MB.rsvd.max=9"),
        ({"network": {"classID": 7, "priorities": [{"name": "eth0", "priority": 5}]}},
         "net_cls.classid=7 net_prio.ifpriomap=eth0 5", ""),
        ({"rdma": {"mlx": {"hcaHandles": 3}}}, "rdma.max=mlx hca_handle=3", "rdma.max=mlx hca_handle=3"),
    ],
)  # fmt: skip
def test_each_field_becomes_its_file(resources, v1, v2):
    """``None``: the version cannot, and says so."""
    for version, expected in ((settings.V1, v1), (settings.V2, v2)):
        if expected is None:
            with pytest.raises(Unsupported, match=r"linux\.resources"):
                [writes(controller, version, **resources) for controller in version]
        else:
            found = [pair for controller in version for pair in writes(controller, version, **resources)]
            assert " ".join(f"{file}={value}" for file, value in found) == expected


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ([], "linux.resources: not an object"),
        ({"memory": 5}, "linux.resources.memory: not an object"),
        ({"memory": {"limit": "5"}}, "linux.resources.memory.limit: '5' is not a number"),
        ({"memory": {"limit": -5}}, "memory.limit: -5"),
        ({"memory": {"disableOOMKiller": 1}}, "disableOOMKiller: 1 is not true or false"),
        ({"cpu": {"shares": -1}}, "cpu.shares: -1 is not a number that is not negative"),
        ({"cpu": {"cpus": "0\n"}}, "cpu.cpus"),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "rate": 1}]}},
         r"throttleReadBpsDevice\[0\].minor: is missing"),
        ({"blockIO": {"weightDevice": {}}}, "weightDevice: not a list"),
        ({"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}, "neither weight nor leafWeight"),
        ({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}, r"hugepageLimits\[0\].pageSize"),
        ({"rdma": {"x": {}}}, "rdma.x: has neither"),
        ({"unified": {"memory.max": 5}}, "not a string"),
        ({"devices": [{"type": "c"}]}, r"devices\[0\].allow: is missing"),
    ],
)  # fmt: skip
def test_what_is_not_of_its_kind_is_named(v2_tree, resources, message):
    (v2_tree / "cgroup.controllers").write_text("cpu memory io pids cpuset rdma hugetlb")
    if isinstance(resources, dict) and "blockIO" in resources:
        (v2_tree / "estiva/c/io.bfq.weight").write_text("")
    with pytest.raises(Invalid, match=message):
        create(v2_tree, resources)


def test_a_period_alone_keeps_the_quota_and_a_swap_limit_knows_the_memory_limit(v2_tree):
    handle = create(v2_tree, {})
    (v2_tree / "estiva/c/cpu.max").write_text("20000 100000\n")
    (v2_tree / "estiva/c/memory.max").write_text("4096\n")
    handle.update({"cpu": {"period": 50000}, "memory": {"swap": 8192}})
    assert (v2_tree / "estiva/c/cpu.max").read_text().startswith("20000 50000")
    assert (v2_tree / "estiva/c/memory.swap.max").read_text().startswith("4096")


def test_check_before_update_refuses_what_would_kill(v2_tree):
    handle = create(v2_tree, {})
    with pytest.raises(Conflict, match="1048576 bytes are in use"):
        handle.update({"memory": {"limit": 4096, "checkBeforeUpdate": True}})
    assert (v2_tree / "estiva/c/memory.max").read_text() == "max\n"
    handle.update({"memory": {"limit": 4096}})


def test_a_refused_update_takes_back_what_came_before(v2_tree):
    handle = create(v2_tree, {})
    (v2_tree / "estiva/c/pids.max").unlink()
    with pytest.raises(Unsupported, match=r"pids\.max"):
        handle.update({"memory": {"limit": 8192, "swap": 8192}, "cpu": {"shares": 2}, "pids": {"limit": 5}})
    written = {file: (v2_tree / "estiva/c" / file).read_text() for file in ("memory.max", "cpu.weight")}
    assert written["memory.max"].startswith("max")
    assert written["cpu.weight"].startswith("100")


def test_unified_names_an_unknown_controller_and_an_unknown_file(v2_tree):
    with pytest.raises(Unsupported, match=r'"misc\.max": the misc controller is not available'):
        create(v2_tree, {"unified": {"misc.max": "x 1"}})
    with pytest.raises(Unsupported, match=r"setting memory\.zzz"):
        create(v2_tree, {"unified": {"memory.zzz": "1"}})
    create(v2_tree, {"memory": {"limit": 4096}, "unified": {"memory.max": "8192", "io.max": "8:0 rbps=1\n8:1 rbps=2"}})
    assert (v2_tree / "estiva/c/memory.max").read_text().startswith("8192")


MOUNT = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid"]}


@pytest.mark.parametrize(
    ("changes", "uid"),
    [
        ({}, 1000),
        ({"mounts": [{**MOUNT, "options": ["ro"]}]}, None),
        ({"mounts": []}, None),
        ({"linux": {"namespaces": []}}, None),
        ({"linux": {"namespaces": [{"type": "cgroup", "path": "/x"}]}}, None),
        ({"process": {"user": {"uid": 0}}}, None),
        (
            {
                "process": {"user": {"uid": 5}},
                "linux": {
                    "namespaces": [{"type": "cgroup"}],
                    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 10}],
                },
            },
            100005,
        ),
    ],
)
def test_the_cgroup_is_given_away_only_where_it_is_the_containers(tmp_path, changes, uid):
    spec = {
        "process": {"user": {"uid": 1000}},
        "mounts": [MOUNT],
        "linux": {"namespaces": [{"type": "cgroup"}]},
        **changes,
    }
    assert ownership.owner(spec) == uid
    if uid and os.geteuid() == 0:
        for name in ("cgroup.procs", "memory.max"):
            (tmp_path / name).write_text("")
        ownership.give(str(tmp_path), uid)
        owners = {path.name: path.stat().st_uid for path in (tmp_path, *tmp_path.iterdir())}
        assert owners == {tmp_path.name: uid, "cgroup.procs": uid, "memory.max": 0}


def test_every_counter_of_v2_is_in_the_shape_of_runcs_events(v2_tree):
    directory = v2_tree / "estiva/c"
    (directory / "cpu.pressure").write_text(
        "some avg10=1.50 avg60=0.20 avg300=0.00 total=17\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"
    )
    (directory / "cpuset.cpus.effective").write_text("0-2,5\n")
    (directory / "cpuset.mems.effective").write_text("0\n")
    (directory / "hugetlb.2MB.max").write_text("4194304\n")
    (directory / "hugetlb.2MB.current").write_text("2097152\n")
    (directory / "hugetlb.2MB.events").write_text("max 3\n")
    found = detail.detail(create(v2_tree, {}))
    assert found["cpu"] == {
        "usage": {"total": 1_500_000, "kernel": 500_000, "user": 1_000_000},
        "throttling": {"throttledTime": 7000},
        "psi": {
            "some": {"avg10": 1.5, "avg60": 0.2, "avg300": 0.0, "total": 17},
            "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 3},
        },
    }
    assert (found["cpuset"]["cpus"], found["cpuset"]["mems"]) == ([0, 1, 2, 5], [0])
    memory = found["memory"]
    assert memory["cache"] == 524288
    assert memory["usage"] == {"limit": detail.NO_LIMIT, "usage": 1048576, "max": 2097152, "failcnt": 3}
    assert memory["swap"] == {"limit": detail.NO_LIMIT, "usage": 1048576, "failcnt": 0}
    assert memory["raw"]["anon"] == 524288
    assert memory["event_count"] == {"max": 3, "oom": 1, "oom_kill": 2}
    assert found["pids"] == {"current": 4}
    assert found["blkio"]["ioServiceBytesRecursive"][:2] == [
        {"major": 8, "op": "Read", "value": 4096},
        {"major": 8, "op": "Write", "value": 8192},
    ]
    assert found["blkio"]["ioServicedRecursive"][0] == {"major": 8, "op": "Read", "value": 1}
    assert found["hugetlb"] == {"2MB": {"usage": 2097152, "failcnt": 3}}
