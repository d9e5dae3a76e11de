import re
from pathlib import Path

from estiva.runtime import plan
from estiva.runtime.plan import Plan

HEADER = Path(__file__).parents[3] / "native" / "plan.h"


def test_operations_have_the_numbers_the_helper_knows():
    in_c = {name: int(number) for number, name in re.findall(r"\bOP\((\d+), (\w+)\)", HEADER.read_text())}
    in_python = {name: number for number, name in plan.NAMES.items()}
    assert in_python == in_c


def test_flags_have_the_values_the_helper_knows():
    for name, value in re.findall(r"#define (MOUNT_(?!ATTR)\w+) (\d+)", HEADER.read_text()):
        assert getattr(plan, name) == int(value)


def test_encoding_is_length_prefixed_and_terminated():
    encoded = Plan().add(plan.HOSTNAME, "ab").add(plan.UMASK, 0o22).encode()
    assert encoded == (
        b"ESTIVA01\x17\0\0\0\x07\0\0\0" + b"\x02\0\0\0ab\0" + b"\x3d\0\0\0\x08\0\0\0" + b"\x12\0\0\0\0\0\0\0"
    )


def test_lists_negative_numbers_and_bytes_that_are_not_text_are_carried():
    encoded = Plan().add(plan.CLEANUP, ["a", "\udcff"]).add(plan.OOM_SCORE, -500).encode()
    assert b"\x02\0\0\0\0\0\0\0" + b"\x01\0\0\0a\0" + b"\x01\0\0\0\xff\0" in encoded
    assert encoded.endswith((-500 & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little"))


def test_a_plan_describes_itself():
    assert str(Plan().add(plan.HOSTNAME, "box")) == "HOSTNAME 'box'"
