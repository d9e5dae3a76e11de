"""Reading tars: what Python's tarfile writes is understood, what nobody writes is refused, in any pieces."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid
from estiva.storage.tarread import DIRECTORY, HARD_LINK, REGULAR, SYMLINK, Member, clean, nanoseconds, number, read_tar
from estiva.storage.tarstream import ChunkStream
from estiva.storage.tarwrite import member_header


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def members(data: bytes, size: int = 10_000) -> list[Member]:
    return list(read_tar(ChunkStream(pieces(data, size))))


def made(form: int, *infos: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return buffer.getvalue()


def info(name: str, **fields: object) -> tarfile.TarInfo:
    result = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(result, field, value)
    return result


component = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=80).filter(
    lambda text: text not in (".", "..")
)
path = st.lists(component, min_size=1, max_size=5).map("/".join)
FORMATS = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]


@given(
    form=st.sampled_from(FORMATS),
    names=st.lists(path, min_size=1, max_size=4),
    target=path,
    uid=st.integers(0, 2**32 - 2),
    mtime=st.integers(-(2**31), 2**40),
    size=st.integers(0, 2000),
    piece=st.integers(1, 3000),
)
def test_what_tarfile_writes_is_read(
    form: int, names: list[str], target: str, uid: int, mtime: int, size: int, piece: int
) -> None:
    infos = [info(name, uid=uid, gid=uid // 2, mtime=mtime, size=size, mode=0o4751) for name in names]
    infos.append(info("link", type=tarfile.SYMTYPE, linkname=target))
    found = members(made(form, *infos), piece)
    for name, member in zip(names, found, strict=False):
        assert member.path == clean(name.encode())
        assert (member.uid, member.gid, member.mtime, member.size, member.mode, member.type) == (
            uid,
            uid // 2,
            mtime * 10**9,
            size,
            0o4751,
            REGULAR,
        )
    assert (found[-1].type, found[-1].link) == (SYMLINK, target.encode())
    assert len(found) == len(infos)


@given(data=st.binary(max_size=2000))
def test_any_bytes_are_a_tar_or_refused(data: bytes) -> None:
    try:
        found = members(data)
    except Invalid:
        return
    assert len(found) <= len(data) // 512


@given(at=st.integers(0, 2047), value=st.integers(0, 255), form=st.sampled_from(FORMATS))
def test_a_damaged_byte_never_does_worse_than_being_refused(at: int, value: int, form: int) -> None:
    data = bytearray(made(form, info("n" * 150, size=100, mtime=1.5), info("d/", type=tarfile.DIRTYPE)))
    data[at] = value
    try:
        for member in members(bytes(data)):
            assert not member.path.startswith(b"/")
            assert b".." not in member.path.split(b"/")
    except Invalid:
        pass


@given(cut=st.integers(1, 4000))
def test_a_cut_tar_is_whole_members_or_refused(cut: int) -> None:
    data = made(tarfile.PAX_FORMAT, info("one", size=600), info("ü" * 90, size=1))
    whole = members(data)
    try:
        found = members(data[:cut])
    except Invalid:
        return
    assert [member.path for member in found] == [member.path for member in whole][: len(found)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a/b", b"a/b"),
        (b"./a/", b"a"),
        (b"/a//b/./c/", b"a/b/c"),
        (b"a/../b", b"b"),
        (b".", b""),
        (b"./", b""),
        (b"", b""),
        (b"a/...", b"a/..."),
        (b"..a/b..", b"..a/b.."),
    ],
)
def test_names_become_paths_below_the_top(name: bytes, expected: bytes) -> None:
    assert clean(name) == expected


@pytest.mark.parametrize("name", [b"..", b"../a", b"a/../../b", b"/..", b"a\0b"])
def test_names_that_lead_out_are_refused(name: bytes) -> None:
    with pytest.raises(Invalid):
        clean(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"1.123456789123", 1_123_456_789),
        (b"-1.25", -1_250_000_000),
        (b"-0.5", -500_000_000),
        (b"1600000000.000000001", 1_600_000_000_000_000_001),
    ],
)
def test_times_are_exact(text: bytes, expected: int) -> None:
    assert nanoseconds(text) == expected


@given(st.integers(-(2**62), 2**62))
def test_binary_numbers(value: int) -> None:
    field = (value & (1 << 95) - 1 | 1 << 95).to_bytes(12, "big")
    assert number(field) == value


def test_global_records_hold_until_the_end_and_are_overridden() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uid": "7"}) as tar:
        tar.addfile(info("one"))
        tar.addfile(info("two", pax_headers={"uid": "8"}))
        tar.addfile(info("three"))
    assert [member.uid for member in members(buffer.getvalue())] == [7, 8, 7]


def test_hard_links_have_no_data_whatever_their_size_says() -> None:
    link = info("link", type=tarfile.LNKTYPE, linkname="./one")
    data = bytearray(made(tarfile.USTAR_FORMAT, info("one", size=5), link, info("last")))
    at = 1024
    data[at + 124 : at + 136] = b"00000001000\0"
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    found = members(bytes(data))
    assert [(member.path, member.type) for member in found] == [
        (b"one", REGULAR),
        (b"link", HARD_LINK),
        (b"last", REGULAR),
    ]
    assert (found[1].link, found[1].size) == (b"one", 0)


def test_directories_of_old_tars_end_with_a_slash() -> None:
    data = member_header(b"d/", b"0", 0o755, 0, 0, 0, 0) + bytes(1024)
    assert [member.type for member in members(data)] == [DIRECTORY]


def test_a_tar_may_end_without_an_end_mark() -> None:
    assert [member.path for member in members(member_header(b"f", REGULAR, 0, 0, 0, 0, 0))] == [b"f"]


def test_extended_headers_are_not_believed_any_size() -> None:
    with pytest.raises(Invalid, match="extended header of"):
        members(member_header(b"x", b"x", 0, 0, 0, 1 << 30, 0) + bytes(1024))


def test_data_is_where_the_member_says() -> None:
    data = made(tarfile.PAX_FORMAT, info("one", size=5), info("é" * 120, size=7))
    for member in members(data, 100):
        assert member.offset % 512 == 0
        assert data[member.offset : member.offset + member.size] == bytes(member.size)


def test_a_stream_gives_exact_amounts_from_any_pieces() -> None:
    content = os.urandom(1000)
    stream = ChunkStream(iter([content[:3], b"", content[3:500], content[500:]]))
    assert stream.take(2) == content[:2]
    assert stream.take(10) == content[2:12]
    stream.skip(400)
    assert stream.offset == 412
    assert b"".join(stream.pieces(300)) == content[412:712]
    stream.drain()
    assert stream.offset == 1000
    assert stream.take(1) == b""
    with pytest.raises(Invalid, match="too early"):
        stream.skip(1)
