"""The machine is what its other tests take it for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from estiva.runtime.cgroup import hierarchy


def test_control_groups_are_v2_alone_and_have_every_controller() -> None:
    found = hierarchy.detect()
    assert (found.mode, found.v1) == ("v2", {})
    wanted = {"cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"}
    if os.geteuid() == 0:
        assert wanted <= found.v2_controllers
    assert wanted <= set(Path("/sys/fs/cgroup/cgroup.controllers").read_text().split())


def test_systemd_is_process_one() -> None:
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    assert Path("/run/systemd/system").is_dir()


def test_an_ordinary_user_has_a_cgroup_to_divide() -> None:
    if os.geteuid() == 0:
        pytest.skip("is root's session: scripts/test-vm --user")
    own = hierarchy.own_paths()[""]
    parent = hierarchy.delegated_parent(hierarchy.detect())
    assert parent is not None
    assert own.startswith(parent)
    controllers = Path(f"/sys/fs/cgroup{parent}/cgroup.controllers").read_text().split()
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(controllers)
