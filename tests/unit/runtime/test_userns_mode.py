"""--userns: what each mode maps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid, Unavailable, Unsupported
from estiva.runtime.idmap import IdMap, own_maps, to_outer
from estiva.runtime.idmap_option import check_overlap
from estiva.runtime.userns_mode import UserNamespace, auto_maps, auto_size, auto_spans, fixed_maps

OURS = own_maps(1000, [(100000, 65536)])
ROOT = [IdMap(0, 0, 4294967295)]


def maps(mode, ours=OURS, rootless=True, uid=1000):
    return fixed_maps(UserNamespace.parse(mode), (ours, ours), rootless=rootless, uid=uid, gid=uid)


def auto(mode="auto", used=(), needed=0, ours=OURS, spans=None, kind=0):
    namespace = UserNamespace.parse(mode)
    spans = auto_spans(True, ours, ()) if spans is None else spans
    taken = [IdMap(0, first, count) for first, count in used]
    return list(map(str, auto_maps(namespace, kind, ours, spans, taken, auto_size(namespace, needed), "yours")))


@pytest.mark.parametrize(
    "text",
    ["host", "private", "nomap", "keep-id", "keep-id:uid=5,gid=6", "keep-id:size=5", "auto", "auto:size=2000",
     "ns:/proc/1/ns/user", "container:web", "auto:size=70000,uidmapping=0:@1000:1,gidmapping=0:5:2"],
)  # fmt: skip
def test_modes_read_what_they_print(text):
    assert str(UserNamespace.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["hosts", "keep-id:gid=", "auto:uid=1", "auto:size=x", "auto:size=4294967296", "ns:", "container", "nomap:x",
     "keep-id:", "auto:uidmapping="],
)  # fmt: skip
def test_other_modes_are_refused(text):
    with pytest.raises(Invalid):
        UserNamespace.parse(text)


def test_host_and_joined_namespaces_have_no_maps_of_their_own():
    for mode in ("host", "ns:/x", "container:web"):
        assert maps(mode) is None
    with pytest.raises(Invalid, match="uidmap"):
        maps("private")


# The maps podman prints: podman run --userns MODE … cat /proc/self/uid_map, for user 1000 with 65536 subordinate ids
@pytest.mark.parametrize(
    ("mode", "expected", "user"),
    [
        ("keep-id", ["0:1:1000", "1000:0:1", "1001:1001:64536"], "1000:1000"),
        ("keep-id:uid=0,gid=0", ["0:0:65537"], "0:0"),
        ("keep-id:uid=70000,gid=70000", ["0:1:65536", "70000:0:1"], "70000:70000"),
        ("keep-id:size=2000", ["0:1:1000", "1000:0:1", "1001:1001:999"], "1000:1000"),
        ("keep-id:size=500", ["0:1:499", "1000:0:1"], "1000:1000"),
        ("nomap", ["0:1:65536"], ""),
    ],
)
def test_a_users_fixed_modes(mode, expected, user):
    result = maps(mode)
    assert list(map(str, result.uids)) == list(map(str, result.gids)) == expected
    assert result.user == user


def test_keep_id_can_part_user_and_group():
    result = maps("keep-id:uid=5,gid=7")
    assert str(result.uids[1]) == "5:0:1"
    assert str(result.gids[1]) == "7:0:1"


def test_keep_id_works_with_a_single_id():
    assert maps("keep-id", own_maps(1000, [])).uids == [IdMap(1000, 0, 1)]


def test_root_keeps_all_ids_in_a_namespace_of_its_own():
    result = maps("keep-id", ROOT, rootless=False, uid=0)
    assert result.uids == ROOT
    assert result.user == "0:0"
    assert maps("keep-id:uid=5,gid=6", ROOT, rootless=False).user == "5:6"
    with pytest.raises(Invalid, match="size"):
        maps("keep-id:size=5", ROOT, rootless=False)


@given(st.integers(0, 70000), st.integers(0, 200))
def test_keep_id_maps_every_id_exactly_once(at, subordinate):
    ours = own_maps(1000, [(100000, subordinate)] if subordinate else [])
    result = maps(f"keep-id:uid={at},gid={at}", ours)
    assert to_outer(result.uids, at) == 0
    assert sorted(entry.host + i for entry in result.uids for i in range(entry.size)) == list(range(subordinate + 1))
    check_overlap(result.uids, "user id")


def test_nomap_is_for_users_with_subordinate_ids():
    with pytest.raises(Invalid, match="rootless"):
        maps("nomap", rootless=False)
    with pytest.raises(Unsupported, match="no subordinate ids"):
        maps("nomap", own_maps(1000, []))


def test_auto_takes_ids_nobody_has():
    assert auto() == ["0:1:1024"]
    assert auto(used=[(1, 1024)]) == ["0:1025:1024"]
    assert auto(used=[(2000, 500), (1, 500)]) == ["0:501:1024"]
    assert auto(used=[(1200, 500)], needed=2000) == ["0:1700:2000"]
    assert auto("auto:size=30000", used=[(1, 30000)]) == ["0:30001:30000"]
    with pytest.raises(Unavailable, match="40000 user ids are not free"):
        auto("auto:size=40000", used=[(1, 30000)])
    with pytest.raises(Unavailable):
        auto(ours=own_maps(1000, []))


def test_auto_takes_several_pieces_when_no_piece_is_large_enough():
    assert auto("auto:size=40000", used=[(30000, 1)]) == ["0:1:4464", "4464:30001:35536"]


def test_roots_auto_takes_users_and_groups_from_their_own_lists():
    for kind, first in ((0, 500000), (1, 900000)):
        spans = auto_spans(False, ROOT, [(first, 2048)])
        assert auto(ours=ROOT, spans=spans, kind=kind) == [f"0:{first}:1024"]


def test_an_image_with_high_ids_needs_a_word():
    with pytest.raises(Unsupported, match="bigger than the maximum"):
        auto_size(UserNamespace.parse("auto"), 70000)
    assert auto_size(UserNamespace.parse("auto:size=70000"), 70000) == 70000


def test_auto_keeps_the_maps_that_were_asked_for_and_takes_their_ids_from_nobody():
    assert auto("auto:uidmapping=100:0:2") == ["0:2:100", "100:0:2", "102:102:922"]
    assert auto("auto:uidmapping=100:0:2", kind=1) == ["0:1:1024"]
    assert auto("auto:size=10,uidmapping=5000:@1000") == ["0:1:10", "5000:0:1"]
    assert auto("auto:size=10,uidmapping=0:1:1") == ["0:1:10"]


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 40)), max_size=8), st.integers(1, 200))
def test_auto_never_overlaps(used, size):
    ours = own_maps(1000, [(100000, 300)])
    taken = {first + i for first, count in used for i in range(count)}
    free = len(set(range(1, 301)) - taken)
    if size > free:
        with pytest.raises(Unavailable):
            auto(f"auto:size={size}", used, ours=ours)
        return
    found = [tuple(map(int, text.split(":"))) for text in auto(f"auto:size={size}", used, ours=ours)]
    ids = [host + i for _, host, count in found for i in range(count)]
    assert len(ids) == len(set(ids)) == size
    assert not taken & set(ids)
    assert sorted(ctr + i for ctr, _, count in found for i in range(count)) == list(range(size))
