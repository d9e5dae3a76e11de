"""SELinux labels: reading, choosing, and what the options make of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.engine.spec.labels import (
    PRIVILEGED_LEVEL,
    Label,
    LabelChoice,
    choose_level,
    make_labels,
    overlay_option,
    parse_contexts,
    parse_level,
    shared,
)
from estiva.errors import Invalid, Unavailable

LEVEL = "s0:c5,c7"


def labels(*values: str, args: tuple[str, ...] = ("sh",), runtime: str = "", **contexts: str) -> tuple[str, str]:
    return make_labels(LabelChoice(values), LEVEL, args, runtime, contexts)


@pytest.mark.parametrize(
    "text", ["system_u:system_r:container_t:s0:c1,c2", "unconfined_u:unconfined_r:t:s0-s0:c0.c1023", "u:r:t"]
)
def test_labels_read_what_they_print(text: str) -> None:
    assert str(Label.parse(text)) == text


@pytest.mark.parametrize("text", ["", "a:b", "a::c:s0", "a:b:c d:s0", "a:b:c:"])
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Label.parse(text)


@pytest.mark.parametrize(
    ("text", "categories"),
    [
        ("s0", set()),
        ("s0:c1,c2", {1, 2}),
        ("s0:c0.c3", {0, 1, 2, 3}),
        ("s0-s0:c0.c1023", set(range(1024))),
        ("s1:c5,c7.c9", {5, 7, 8, 9}),
        ("s0:c1-s0:c1,c2", {1, 2}),
    ],
)
def test_levels_and_ranges(text: str, categories: set[int]) -> None:
    sensitivity, found = parse_level(text)
    assert found == categories
    assert sensitivity == text.rpartition("-")[2].partition(":")[0]


@pytest.mark.parametrize(
    "text", ["", "c1", "s", "s0:", "s0:c", "s0:c1024", "s0:c3.c1", "s0:1", "s0:c1,", "s0:c5-s0:c6"]
)
def test_bad_levels_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="SELinux level"):
        parse_level(text)


@given(st.integers(0, 523774))
def test_every_number_is_a_pair_of_its_own(number: int) -> None:
    level = choose_level((), lambda below: number % below)
    assert len(parse_level(level)[1]) == 2
    assert level != PRIVILEGED_LEVEL
    assert choose_level({level}, lambda below: number % below) != level


def test_pairs_are_unique_and_counted_through() -> None:
    taken: set[str] = set()
    for _ in range(3000):  # the worst case: the random number is always the same
        taken.add(choose_level(taken, lambda _: 1020))
    assert len(taken) == 3000


def test_when_all_pairs_are_taken_that_is_said() -> None:
    class Everything(set[str]):
        def __contains__(self, _: object) -> bool:
            return True

        def __len__(self) -> int:
            return 600000

    with pytest.raises(Unavailable, match="all pairs"):
        choose_level(Everything(), lambda _: 0)


# podman run --security-opt label=…; the labels as podman inspect shows them
@pytest.mark.parametrize(
    ("values", "process", "file"),
    [
        ((), "system_u:system_r:container_t:s0:c5,c7", "system_u:object_r:container_file_t:s0:c5,c7"),
        (("type:spc_t",), "system_u:system_r:spc_t:s0:c5,c7", "system_u:object_r:container_file_t:s0:c5,c7"),
        (("level:s0:c1,c2",), "system_u:system_r:container_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2"),
        (("user:u", "role:r"), "u:r:container_t:s0:c5,c7", "u:object_r:container_file_t:s0:c5,c7"),
        (("filetype:user_home_t",), "system_u:system_r:container_t:s0:c5,c7", "system_u:object_r:user_home_t:s0:c5,c7"),
        (("disable",), "", f"system_u:object_r:container_file_t:{PRIVILEGED_LEVEL}"),
        (("nested",), "system_u:system_r:container_t:s0:c5,c7", "system_u:object_r:container_file_t:s0:c5,c7"),
        (("type=t",), "system_u:system_r:t:s0:c5,c7", "system_u:object_r:container_file_t:s0:c5,c7"),
    ],
)
def test_options_change_the_labels(values: tuple[str, ...], process: str, file: str) -> None:
    assert labels(*values) == (process, file)


@pytest.mark.parametrize("value", ["odd", "odd:x", "type:", "level:c1", "disable:x", ""])
def test_bad_options_are_refused(value: str) -> None:
    with pytest.raises(Invalid):
        LabelChoice([value])


def test_inits_and_virtual_machines_have_types_of_their_own() -> None:
    assert ":container_init_t:" in labels(args=("/sbin/init",))[0]
    assert ":container_init_t:" in labels(args=("/lib/systemd/systemd", "--user"))[0]
    assert ":container_t:" in labels(args=("/usr/bin/init",))[0]
    assert ":mine_t:" in labels("type:mine_t", args=("/sbin/init",))[0]
    assert ":container_kvm_t:" in labels(runtime="/usr/bin/kata-runtime")[0]


def test_the_policys_own_labels_are_used() -> None:
    text = (
        'process = "system_u:system_r:svirt_lxc_net_t:s0"\n# file = "x:y:z"\nfile = "system_u:object_r:f_t:s0"\nbad\n'
    )
    contexts = parse_contexts(text)
    assert contexts == {"process": "system_u:system_r:svirt_lxc_net_t:s0", "file": "system_u:object_r:f_t:s0"}
    assert labels(**contexts) == ("system_u:system_r:svirt_lxc_net_t:s0:c5,c7", "system_u:object_r:f_t:s0:c5,c7")


def test_a_shared_label_has_no_categories() -> None:
    assert shared("system_u:object_r:container_file_t:s0:c1,c2") == "system_u:object_r:container_file_t:s0"


def test_nested_containers_may_label_their_files() -> None:
    assert overlay_option("a:b:c:s0", []) == "context=a:b:c:s0"
    assert overlay_option("a:b:c:s0", ["label=nested"]) == overlay_option("a:b:c:s0", ["label:nested"])
    assert overlay_option("a:b:c:s0", ["label=nested"]) == "rootcontext=a:b:c:s0"
