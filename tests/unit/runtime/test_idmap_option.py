"""The maps users write with --uidmap and --gidmap, against what Podman makes of the same words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid
from estiva.runtime.idmap import IdMap, own_maps
from estiva.runtime.idmap_option import check_overlap, option_maps, plain_maps, split

USER = own_maps(1000, [(100000, 65536)])
ROOT = [IdMap(0, 0, 4294967295)]


def uids(*texts, rootless=True, gidmap=()):
    ours = USER if rootless else ROOT
    return list(map(str, option_maps(texts, gidmap, (ours, ours), rootless=rootless)[0]))


# podman-run(1), and what podman 5's own tests expect
@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["0:1:1000"], ["0:1:1000"]),
        (["0:1"], ["0:1:1"]),
        (["0:1:10:20:30:5"], ["0:1:10", "20:30:5"]),
        (["20:30:5", "0:1:10"], ["0:1:10", "20:30:5"]),
        (["0:1:10", "10:11:10"], ["0:1:20"]),
        (["0:1:0"], []),
        (["0:@1000"], ["0:0:1"]),
        (["5:@100000:3"], ["5:1:3"]),
        (["+0:1000:1"], ["0:1000:1", "1:0:1000", "1001:1001:64536"]),
        (["+1000:@1000"], ["0:1:1000", "1000:0:1", "1001:1001:64536"]),
        (["0:0:100", "+50:5:1"], ["0:0:5", "6:6:44", "50:5:1", "51:51:49"]),
        (["0:10:20", "+5:100:5"], ["0:10:5", "5:100:5", "10:20:10"]),
        (["0:10:20", "+100:15:5"], ["0:10:5", "10:20:10", "100:15:5"]),
        (["u0:1:10"], ["0:1:10"]),
        (["ug0:1:10"], ["0:1:10"]),
        (["u+5:@1000"], ["0:1:5", "5:0:1", "6:6:65531"]),
    ],
)
def test_a_users_map(texts, expected):
    assert uids(*texts) == expected


def test_root_names_ids_of_the_machine_and_nothing_is_filled_in():
    assert uids("0:200000:1000", rootless=False) == ["0:200000:1000"]
    assert uids("+0:200000:1000", rootless=False) == ["0:200000:1000"]
    assert uids("0:@200000:1000", rootless=False) == ["0:200000:1000"]


def test_one_option_stands_in_for_the_other():
    ours = (ROOT, ROOT)
    both = [IdMap(0, 5, 9)]
    assert option_maps(["0:5:9"], [], ours, rootless=False) == (both, both)
    assert option_maps([], ["0:5:9"], ours, rootless=False) == (both, both)
    assert option_maps(["0:5:9"], ["0:6:9"], ours, rootless=False) == (both, [IdMap(0, 6, 9)])


def test_an_entry_for_users_only_leaves_all_groups_to_an_ordinary_user():
    found = option_maps(["u1:2:3"], [], (USER, USER), rootless=True)
    assert found == ([IdMap(1, 2, 3)], [IdMap(0, 0, 65537)])
    assert option_maps(["g1:2:3"], [], (USER, USER), rootless=True) == (found[1], found[0])
    assert option_maps(["u1:2:3"], [], (ROOT, ROOT), rootless=False) == ([IdMap(1, 2, 3)], [])


@pytest.mark.parametrize(
    "text", ["1", "a:b:c", "0:4294967295:1", "1:2:3:4", "-1:0:1", "²:0:1", "x0:1:1", "+:1:1", "0::1", "0:1:", "0:@:1",
             "0:1:1:2:3", ":1:1", "0:@@1:1", "0:+1:1"],
)  # fmt: skip
def test_what_is_no_map_is_refused(text):
    with pytest.raises(Invalid, match="id map"):
        uids(text)


def test_an_id_that_was_not_delegated_is_refused():
    with pytest.raises(Invalid, match="5000 of the host is not among"):
        uids("0:@5000")
    assert option_maps(["u0:@1000"], [], (USER, []), rootless=True)[0] == [IdMap(0, 0, 1)]


def test_the_entry_of_auto_has_no_flags():
    assert plain_maps("5:@1000", 0, USER) == [IdMap(5, 0, 1)]
    for text in ("+5:1:1", "u5:1:1", "5:1:1:6:2:1", "5"):
        with pytest.raises(Invalid):
            plain_maps(text, 0, USER)


def test_entries_are_cut_where_those_around_end():
    ours = own_maps(1000, [(100000, 10), (200000, 10)])
    assert list(map(str, split([IdMap(0, 0, 21)], ours))) == ["0:0:1", "1:1:10", "11:11:10"]
    assert list(map(str, split([IdMap(5, 3, 4), IdMap(0, 9, 3)], ours))) == ["5:3:4", "0:9:2", "2:11:1"]
    assert split([IdMap(0, 500, 9)], ROOT) == [IdMap(0, 500, 9)]


def test_overlaps_are_told_before_the_kernel_refuses_them():
    check_overlap([IdMap(0, 5, 5), IdMap(5, 0, 5)], "user id")
    for maps in ([IdMap(0, 5, 5), IdMap(4, 100, 5)], [IdMap(0, 5, 5), IdMap(10, 9, 5)]):
        with pytest.raises(Invalid, match="overlap"):
            check_overlap(maps, "user id")


spans = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 12))


@given(st.lists(spans, max_size=5), st.booleans())
def test_plus_never_leaves_an_overlap_and_keeps_the_last_word(triples, rootless):
    """The oracle is a dictionary to which one id after the other is added."""
    ours = own_maps(1000, [(100000, 60)])
    found = option_maps([f"+{c}:{h}:{s}" for c, h, s in triples], [], (ours, ours), rootless=rootless)[0]
    check_overlap(found, "user id")
    table: dict[int, int] = {}
    for ctr, host, size in triples:
        new = {ctr + i: host + i for i in range(size)}
        table = {c: h for c, h in table.items() if c not in new and h not in new.values()} | new
    if rootless and triples:
        free = [i for i in range(61) if i not in table.values()]
        for at in range(200):
            if at not in table and free:
                table[at] = free.pop(0)
    assert {e.ctr + i: e.host + i for e in found for i in range(e.size)} == table
