"""Classes of service on a recorded resctrl tree: no processor with them is at hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from estiva.errors import Conflict, Invalid, NotFound, Unsupported
from estiva.runtime import intel_rdt

# As Linux 6.1 shows a Xeon with CAT, MBA, CMT and MBM on two sockets
ROOT_SCHEMATA = "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n"
INFO = {
    "L3/cbm_mask": "7ff\n", "L3/min_cbm_bits": "1\n", "L3/num_closids": "16\n",
    "MB/bandwidth_gran": "10\n", "MB/delay_linear": "1\n", "MB/min_bandwidth": "10\n", "MB/num_closids": "8\n",
}  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    """The root group, and one that the administrator prepared."""
    for name, text in INFO.items():
        (tmp_path / "info" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "info" / name).write_text(text)
    (tmp_path / "info/last_cmd_status").write_text("mask f5 has non-consecutive 1-bits\n")
    for group in ("", "gold"):
        record_group(tmp_path / group)
    (tmp_path / "gold/schemata").write_text("    L3:0=00f;1=00f\n")
    return tmp_path


def record_group(path):
    """What the kernel puts into a group."""
    path.mkdir(exist_ok=True)
    (path / "tasks").write_text("")
    (path / "schemata").write_text(ROOT_SCHEMATA)
    (path / "mon_groups").mkdir()
    for domain, counted in (("mon_L3_00", "1000"), ("mon_L3_01", "Unavailable")):
        (path / "mon_data" / domain).mkdir(parents=True)
        for name in ("llc_occupancy", "mbm_total_bytes", "mbm_local_bytes"):
            (path / "mon_data" / domain / name).write_text(counted + "\n")


class Resctrl:
    """What the module ``os`` does there: a new directory is full, and one that is full can be removed."""

    path, listdir = os.path, os.listdir

    @staticmethod
    def mkdir(path, mode=0o777):
        os.mkdir(path, mode)
        if "mon_groups" in path:
            Path(path, "tasks").write_text("")
        else:
            os.rmdir(path)
            record_group(Path(path))

    @staticmethod
    def rmdir(path):
        os.stat(path)
        shutil.rmtree(path)


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setattr(intel_rdt, "os", Resctrl)


def create(tree, wanted):
    return intel_rdt.create(wanted, "abc", str(tree))


def test_a_container_gets_a_class_of_its_own(tree, kernel):
    group = create(tree, {"l3CacheSchema": "L3:0=f;1=f0", "memBwSchema": "MB:0=20;1=70"})
    assert (group.path, group.own, group.monitoring) == (f"{tree}/abc", True, "")
    assert (tree / "abc/schemata").read_text().startswith("L3:0=f;1=f0\nMB:0=20;1=70\n")
    group.join(4711)
    assert (tree / "abc/tasks").read_text() == "4711"
    assert intel_rdt.Group(**group.fields()).path == group.path
    group.remove()
    assert not (tree / "abc").exists()
    group.remove()


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        ({"l3CacheSchema": "L3:0=f\nMB:0=10"}, ["L3:0=f", "MB:0=10"]),
        ({"l3CacheSchema": "L3:0=f\nMB:0=10", "memBwSchema": "MB:0=20"}, ["L3:0=f", "MB:0=20"]),
        ({"l3CacheSchema": "L3:0=f", "schemata": ["L3:0=3", "MB:0=5"]}, ["L3:0=f", "L3:0=3", "MB:0=5"]),
        ({"schemata": ["L2:0=1"]}, ["L2:0=1"]),
    ],
)
def test_schemata_are_put_together_as_the_specification_says(tree, kernel, wanted, lines):
    create(tree, wanted)
    assert (tree / "abc/schemata").read_text().startswith("".join(f"{line}\n" for line in lines))


def test_no_schema_writes_none(tree, kernel):
    create(tree, {})
    assert (tree / "abc/schemata").read_text() == ROOT_SCHEMATA


def test_a_prepared_class_is_used_if_it_is_what_is_asked_for(tree, kernel):
    group = create(tree, {"closID": "gold"})
    assert (group.path, group.own) == (f"{tree}/gold", False)
    create(tree, {"closID": "gold", "l3CacheSchema": "L3:0=f;1=0f"})
    assert (tree / "gold/schemata").read_text() == "    L3:0=00f;1=00f\n", "not written"
    for schema in ({"l3CacheSchema": "L3:0=ff"}, {"memBwSchema": "MB:0=10"}):
        with pytest.raises(Conflict, match="is not what class of service"):
            create(tree, {"closID": "gold", **schema})
    group.remove()
    assert (tree / "gold").is_dir()
    with pytest.raises(NotFound, match='no class of service "silver"'):
        create(tree, {"closID": "silver"})
    assert create(tree, {"closID": "silver", "schemata": ["L3:0=1"]}).path == f"{tree}/silver"
    assert create(tree, {"closID": "/"}).path == str(tree)


def test_a_monitoring_group_counts_for_the_container_alone(tree, kernel):
    group = create(tree, {"closID": "gold", "enableMonitoring": True})
    assert group.monitoring == f"{tree}/gold/mon_groups/abc"
    group.join(5)
    assert (tree / "gold/mon_groups/abc/tasks").read_text() == "5"
    group.remove()
    assert not (tree / "gold/mon_groups/abc").exists()
    (tree / "gold/mon_groups").rmdir()
    with pytest.raises(Unsupported, match="does not monitor"):
        create(tree, {"closID": "gold", "enableMonitoring": True})


def test_a_refused_schema_says_why_and_leaves_no_class(tree, kernel, monkeypatch):
    def refuse(path, text):
        raise OSError(22, "Invalid argument", path)

    monkeypatch.setattr(intel_rdt, "write_text", refuse)
    with pytest.raises(Invalid, match="non-consecutive 1-bits"):
        create(tree, {"l3CacheSchema": "L3:0=f5"})
    assert not (tree / "abc").exists()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([], "not an object"),
        ({"closID": 5}, "closID: not a str"),
        ({"closID": "a/b"}, "cannot be the name"),
        ({"closID": ".."}, "cannot be the name"),
        ({"closID": "info"}, "cannot be the name"),
        ({"memBwSchema": "L3:0=1"}, "does not begin with MB:"),
        ({"memBwSchema": "MB:0=1\nMB:1=1"}, "more than one line"),
        ({"schemata": "L3:0=1"}, "schemata: not a list"),
    ],
)
def test_what_makes_no_sense_is_named(tree, wanted, message):
    with pytest.raises(Invalid, match=message):
        create(tree, wanted)


def test_without_resctrl_it_says_so(tmp_path):
    (tmp_path / "mountinfo").write_text("1 0 0:1 / / rw - ext4 /dev/x rw\n")
    with pytest.raises(Unsupported, match="no resctrl file system is mounted"):
        intel_rdt.mount_point(str(tmp_path / "mountinfo"))
    (tmp_path / "mountinfo").write_text("1 0 0:1 / /sys/fs/resctrl rw,relatime shared:1 - resctrl resctrl rw\n")
    assert intel_rdt.mount_point(str(tmp_path / "mountinfo")) == "/sys/fs/resctrl"


def test_statistics_are_those_of_runcs_events(tree):
    found = intel_rdt.statistics(intel_rdt.Group(f"{tree}/gold", False))
    assert found == {
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "l3_cache_schema": "L3:0=00f;1=00f",
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "",
        "mbm_stats": [{"mbm_total_bytes": 1000, "mbm_local_bytes": 1000}, {"mbm_total_bytes": 0, "mbm_local_bytes": 0}],
        "cmt_stats": [{"llc_occupancy": 1000}, {"llc_occupancy": 0}],
    }
