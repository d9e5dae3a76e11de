"""The index of a tar: what real writers write, and what hostile ones do."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid, NotFound
from estiva.registry.tarindex import TarIndex


def archive(*members: tuple[str, Any], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                tar.addfile(info)
    return buffer.getvalue()


def read(data: bytes, name: str) -> bytes:
    offset, size = TarIndex(io.BytesIO(data), "the archive").find(name)
    return data[offset : offset + size]


LONG = "d/" * 70 + "é" + "x" * 120


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_are_found_in_every_format(form: int) -> None:
    members = [("./a", b"1"), ("dir", (tarfile.DIRTYPE, "")), ("dir/b", b"22" * 600), ("empty", b"")]
    members += [] if form == tarfile.USTAR_FORMAT else [(LONG, b"long")]
    data = archive(*members, form=form)
    assert read(data, "a") == b"1"
    assert read(data, "dir/b") == b"22" * 600
    assert read(data, "empty") == b""
    if form != tarfile.USTAR_FORMAT:
        assert read(data, LONG) == b"long"


def test_a_later_member_hides_an_earlier_one() -> None:
    assert read(archive(("a", b"1"), ("a", b"2")), "a") == b"2"


def test_links_lead_to_other_members_only() -> None:
    data = archive(
        ("x/layer.tar", b"content"),
        ("y/layer.tar", (tarfile.SYMTYPE, "../x/layer.tar")),
        ("hard", (tarfile.LNKTYPE, "x/layer.tar")),
        ("out", (tarfile.SYMTYPE, "../../../../etc/passwd")),
        ("loop", (tarfile.SYMTYPE, "loop")),
    )
    assert read(data, "y/layer.tar") == b"content"
    assert read(data, "hard") == b"content"
    for name in ("out", "loop", "absent", "/etc/passwd", "x"):
        with pytest.raises(NotFound, match="the archive: has no file"):
            read(data, name)


def test_names_that_climb_are_only_names() -> None:
    assert read(archive(("../../a", b"1")), "a") == b"1"


def patched(data: bytes, offset: int, field: bytes) -> bytes:
    header = bytearray(data[:512])
    header[offset : offset + len(field)] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"x" * 600, "not a tar archive"),
        (b"x" * 100, "cut short"),
        (archive(("a", b"1" * 2000))[:1024], "cut short inside the member"),
        (patched(archive(("a", b"1")), 124, b"\xff" * 12), "out of range"),
        (patched(archive(("a", b"1")), 124, b"\x80" + b"\x7f" * 11), "out of range"),
        (patched(archive(("a", b"1")), 124, b"-0000000001\0"), "not a number"),
        (patched(archive(("a", b"1")), 156, b"S"), "sparse"),
        (patched(archive(("a", b"junk")), 156, b"x"), "extension header"),
        (patched(archive(("a", b"9" * 30)), 156, b"x"), "extension header"),
        (patched(archive(("a", b"x" * (2 << 20))), 156, b"L"), "extension header of"),
    ],
)
def test_damage_is_reported_not_followed(data: bytes, cause: str) -> None:
    with pytest.raises(Invalid, match=cause):
        TarIndex(io.BytesIO(data), "the archive")


def test_base_256_sizes_are_read() -> None:
    field = b"\x80" + (5).to_bytes(11, "big")
    assert read(patched(archive(("a", b"hello")), 124, field), "a") == b"hello"


@given(st.binary(max_size=30), st.integers(0, 2000))
def test_no_damage_breaks_the_reader(junk: bytes, position: int) -> None:
    data = bytearray(archive(("a", b"1" * 600), (LONG, b"2"), ("c", (tarfile.SYMTYPE, "a"))))
    data[position : position + len(junk)] = junk
    try:
        index = TarIndex(io.BytesIO(bytes(data)), "x")
        for name in ("a", LONG, "c"):
            index.has(name)
    except Invalid:
        pass


def test_an_empty_archive_has_nothing() -> None:
    assert not TarIndex(io.BytesIO(b""), "x").has("a")
    assert not TarIndex(io.BytesIO(bytes(10240)), "x").has("a")
