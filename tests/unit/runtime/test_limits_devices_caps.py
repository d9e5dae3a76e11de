from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid, NotFound
from estiva.runtime import capabilities, devices, rlimits
from estiva.runtime.devices import DeviceOption


@pytest.mark.parametrize(
    ("text", "soft", "hard"),
    [
        ("nofile=1024", 1024, 1024),
        ("nofile=1024:2048", 1024, 2048),
        ("RLIMIT_NOFILE=-1", rlimits.UNLIMITED, rlimits.UNLIMITED),
        ("nofile=0:unlimited", 0, rlimits.UNLIMITED),
    ],
)
def test_ulimits_are_soft_and_hard(text, soft, hard):
    assert rlimits.parse_ulimit(text) == {"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}


@pytest.mark.parametrize("text", ["nofile", "nofile=", "files=5", "nofile=2:1", "nofile=x", "nofile=5:²", "=1"])
def test_bad_ulimits_are_refused_with_the_users_words(text):
    with pytest.raises(Invalid, match=f'ulimit "{text}"'):
        rlimits.parse_ulimit(text)


def test_limits_above_the_present_hard_limit_are_lowered_when_they_must_be():
    wanted = [rlimits.parse_ulimit("nofile=500:1048576"), rlimits.parse_ulimit("core=0")]
    result, lowered = rlimits.clamp(wanted, may_raise=False, own_hard=lambda kind: 20000)
    assert result[0] == {"type": "RLIMIT_NOFILE", "soft": 500, "hard": 20000}
    assert lowered == ["RLIMIT_NOFILE"]
    assert rlimits.clamp(wanted, may_raise=True) == (wanted, [])
    high = [rlimits.parse_ulimit("nofile=-1")]
    own = rlimits.hard_limit("RLIMIT_NOFILE")
    assert rlimits.clamp(high, may_raise=False)[0] == [{"type": "RLIMIT_NOFILE", "soft": own, "hard": own}]


def test_rlimits_of_a_bundle_are_checked():
    with pytest.raises(Invalid, match="RLIMIT_HOPE"):
        rlimits.clamp([{"type": "RLIMIT_HOPE", "hard": 1, "soft": 1}], may_raise=True)
    with pytest.raises(Invalid, match="twice"):
        rlimits.clamp([rlimits.parse_ulimit("core=0")] * 2, may_raise=True)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("/dev/null", "/dev/null:/dev/null:rwm"),
        ("/dev/null:r", "/dev/null:/dev/null:r"),
        ("/dev/null:/dev/x", "/dev/null:/dev/x:rwm"),
        ("/dev/null:/dev/x:rm", "/dev/null:/dev/x:rm"),
    ],
)
def test_device_options_have_three_parts(text, printed):
    assert str(DeviceOption.parse(text)) == printed
    assert str(DeviceOption.parse(printed)) == printed


@pytest.mark.parametrize("text", ["", "null", "/dev/null:q", "/dev/null:/dev/x:", "/dev/null:/x:r:w", "/dev/null:rr"])
def test_bad_device_options_are_refused(text):
    with pytest.raises(Invalid, match=f'device "{text}"'):
        DeviceOption.parse(text)


def test_device_rules_of_the_command_line():
    assert devices.parse_rule("c 10:200 rw") == {
        "allow": True, "type": "c", "access": "rw", "major": 10, "minor": 200,
    }  # fmt: skip
    assert devices.parse_rule("b 7:* rwm") == {"allow": True, "type": "b", "access": "rwm", "major": 7}
    for text in ("", "c 1:3", "d 1:3 r", "c 1 r", "c x:3 r", "c 1:3 q"):
        with pytest.raises(Invalid, match="device cgroup rule"):
            devices.parse_rule(text)


def test_a_device_of_the_host_becomes_a_node_and_a_rule():
    nodes, rules = devices.host_devices([DeviceOption.parse("/dev/null:/dev/nothing:r")])
    assert (nodes[0]["path"], nodes[0]["type"], nodes[0]["major"], nodes[0]["minor"]) == ("/dev/nothing", "c", 1, 3)
    assert rules == [{"allow": True, "type": "c", "access": "r", "major": 1, "minor": 3}]
    with pytest.raises(NotFound, match="/dev/never"):
        devices.host_devices([DeviceOption.parse("/dev/never")])
    with pytest.raises(Invalid, match="not a device"):
        devices.host_devices([DeviceOption.parse(os.path.abspath(__file__))])


def test_a_directory_stands_for_its_devices(tmp_path):
    with pytest.raises(Invalid, match="no devices"):
        devices.host_devices([DeviceOption.parse(str(tmp_path))])
    if os.geteuid() == 0:
        (tmp_path / "sub").mkdir()
        os.mknod(tmp_path / "sub" / "zero", 0o20600, os.makedev(1, 5))
        nodes, _ = devices.host_devices([DeviceOption.parse(f"{tmp_path}:/dev/dir")])
        assert [(node["path"], node["minor"]) for node in nodes] == [("/dev/dir/sub/zero", 5)]


def test_capability_names_are_taken_in_any_spelling():
    assert capabilities.normalize("net_raw") == capabilities.normalize("CAP_NET_RAW") == "CAP_NET_RAW"
    assert capabilities.normalize("all") == "ALL"
    with pytest.raises(Invalid, match="CAP_FLY"):
        capabilities.normalize("CAP_FLY")


@given(st.sets(st.sampled_from(capabilities.NAMES)))
def test_bits_and_names_are_inverse(chosen):
    assert set(capabilities.names(capabilities.bits(chosen))) == chosen


def test_bits_are_the_kernels_numbers():
    assert capabilities.bits(["CAP_CHOWN", "CAP_SYS_ADMIN"]) == 1 << 0 | 1 << 21
    assert capabilities.bits(["ALL"]) == (1 << 41) - 1
    assert capabilities.NAMES[40] == "CAP_CHECKPOINT_RESTORE"
    assert capabilities.last_cap() >= 37
    assert capabilities.bounding() & ~((1 << capabilities.last_cap() + 1) - 1) == 0


def test_capabilities_merge_as_podman_merges_them():
    default = capabilities.DEFAULT
    assert capabilities.merge(default) == sorted(default)
    assert "CAP_NET_RAW" in capabilities.merge(default, ["net_raw"])
    assert "CAP_CHOWN" not in capabilities.merge(default, [], ["chown"])
    assert capabilities.merge(default, ["chown"], ["all"]) == ["CAP_CHOWN"]
    everything = capabilities.merge(default, ["ALL"], ["SYS_ADMIN"])
    assert "CAP_SYS_ADMIN" not in everything
    assert set(everything) <= set(capabilities.names(capabilities.bounding()))
    with pytest.raises(Invalid, match="cannot be dropped and added"):
        capabilities.merge(default, ["KILL"], ["kill"])
