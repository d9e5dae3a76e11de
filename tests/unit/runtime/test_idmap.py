from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid, Unavailable, Unsupported
from estiva.runtime.idmap import (
    IdMap,
    UserNamespace,
    container_maps,
    format_maps,
    mapping_programs,
    own_maps,
    parse_maps,
    subordinate_ids,
    to_outer,
)

OURS = own_maps(1000, [(100000, 65536)])
ROOT = [IdMap(0, 0, 4294967295)]


def maps(mode, ours=OURS, rootless=True, uid=1000, **options):
    return container_maps(UserNamespace.parse(mode), (ours, ours), rootless=rootless, uid=uid, gid=uid, **options)


def test_subordinate_ids_are_found_by_name_and_by_number(tmp_path):
    file = tmp_path / "subuid"
    file.write_text("# comment\nann:100000:65536\n1000:200000:10\nbob:300000:65536\nann:bad:1\nann:400000:0\n")
    assert subordinate_ids(str(file), "ann", 1000) == [(100000, 65536), (200000, 10)]
    assert subordinate_ids(str(file), "", 7) == []
    assert subordinate_ids(str(tmp_path / "none"), "ann", 1000) == []


def test_the_users_namespace_has_the_user_as_root_and_all_ranges_after():
    assert own_maps(1000, [(100000, 65536), (300000, 5)]) == [
        IdMap(0, 1000, 1),
        IdMap(1, 100000, 65536),
        IdMap(65537, 300000, 5),
    ]
    assert own_maps(1000, []) == [IdMap(0, 1000, 1)]


def test_maps_are_written_as_the_kernel_reads_them():
    assert format_maps(OURS) == "0 1000 1\n1 100000 65536\n"
    assert parse_maps("         0       1000          1\n         1     100000      65536\n") == OURS
    assert to_outer(OURS, 33) == 100032
    assert to_outer(OURS, 70000) is None


@given(st.integers(0, 1 << 31), st.integers(0, 1 << 31), st.integers(1, 1 << 16))
def test_an_id_map_reads_what_it_prints(ctr, host, size):
    entry = IdMap(ctr, host, size)
    assert IdMap.parse(str(entry)) == entry
    assert entry.oci() == {"containerID": ctr, "hostID": host, "size": size}


@pytest.mark.parametrize("text", ["", "1", "a:b:c", "0:0:0", "0:4294967295:1", "1:2:3:4", "-1:0:1", "²:0:1"])
def test_what_is_no_id_map_is_refused(text):
    with pytest.raises(Invalid):
        IdMap.parse(text)


@pytest.mark.parametrize(
    "text",
    ["host", "private", "nomap", "keep-id", "keep-id:uid=5,gid=6", "auto", "auto:size=2000", "ns:/proc/1/ns/user",
     "container:web", "auto:size=70000,uidmapping=0:1000:1,gidmapping=0:5:2"],
)  # fmt: skip
def test_user_namespace_modes_read_what_they_print(text):
    assert str(UserNamespace.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["hosts", "keep-id:size=5", "auto:uid=1", "auto:size=x", "ns:", "container", "nomap:x", "keep-id:"]
)
def test_other_modes_are_refused(text):
    with pytest.raises(Invalid):
        UserNamespace.parse(text)


def test_host_and_joined_namespaces_have_no_maps_of_their_own():
    for mode in ("host", "ns:/x", "container:web"):
        assert maps(mode) is None
    with pytest.raises(Invalid, match="uidmap"):
        maps("private")


def test_keep_id_shows_the_user_under_the_users_own_number():
    result = maps("keep-id")
    assert result.uids == result.gids == [IdMap(0, 1, 1000), IdMap(1000, 0, 1), IdMap(1001, 1001, 64536)]
    assert result.user == "1000:1000"


def test_keep_id_works_with_a_single_id():
    assert maps("keep-id", own_maps(1000, [])).uids == [IdMap(1000, 0, 1)]


@given(st.integers(0, 70000), st.integers(0, 200), st.booleans(), st.integers(0, 300))
def test_keep_id_maps_every_id_exactly_once(at, subordinate, rootless, uid):
    ours = own_maps(1000, [(100000, subordinate)] if subordinate else [])
    total = subordinate + 1
    uid = uid % total if not rootless else uid
    result = maps(f"keep-id:uid={at},gid={at}", ours, rootless=rootless, uid=uid)
    owner = 0 if rootless else uid
    assert to_outer(result.uids, at) == owner
    outer = sorted(entry.host + i for entry in result.uids for i in range(entry.size))
    inner = sorted(entry.ctr + i for entry in result.uids for i in range(entry.size))
    assert outer == list(range(total))
    assert len(set(inner)) == total


def test_nomap_leaves_the_user_out():
    assert maps("nomap").uids == [IdMap(0, 1, 65536)]
    with pytest.raises(Invalid, match="not for root"):
        maps("nomap", rootless=False)
    with pytest.raises(Unsupported, match="no subordinate ids"):
        maps("nomap", own_maps(1000, []))


def test_auto_takes_a_range_nobody_has():
    assert maps("auto").uids == [IdMap(0, 1, 1024)]
    assert maps("auto", used=[(1, 1024)]).uids == [IdMap(0, 1025, 1024)]
    assert maps("auto", used=[(2000, 500), (1, 500)]).uids == [IdMap(0, 501, 1024)]
    assert maps("auto", used=[(1200, 500)], needed=2000).uids == [IdMap(0, 1700, 2000)]
    assert maps("auto:size=30000", used=[(1, 30000)]).uids == [IdMap(0, 30001, 30000)]
    with pytest.raises(Unavailable, match="40000 ids in a row"):
        maps("auto:size=40000", used=[(30000, 1)])


def test_roots_auto_takes_the_ids_of_the_user_containers():
    ranges = ([(500000, 65536)], [(500000, 2048)])
    result = maps("auto", ROOT, rootless=False, user_ranges=ranges)
    assert result.uids == result.gids == [IdMap(0, 500000, 1024)]
    with pytest.raises(Unavailable, match='user "containers"'):
        maps("auto:size=4096", ROOT, rootless=False, user_ranges=ranges)


def test_auto_keeps_the_maps_that_were_asked_for():
    result = maps("auto:uidmapping=100:0:2")
    assert result.uids == [IdMap(0, 1, 100), IdMap(100, 0, 2), IdMap(102, 103, 922)]
    assert result.gids == [IdMap(0, 1, 1024)]


def test_both_mapping_programs_are_needed(tmp_path):
    program = tmp_path / "newuidmap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    found = mapping_programs(str(tmp_path))
    assert found is None or found[0] == str(program)
