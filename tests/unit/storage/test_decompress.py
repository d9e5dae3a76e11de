"""Decompression: told by the bytes, in any pieces, never much at once."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid, Unsupported
from estiva.storage.decompress import decompressed

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "plain": bytes,
}


@pytest.fixture(params=["isal", "zlib"])
def gunzip_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    else:
        pytest.importorskip("isal")
    return str(request.param)


MAGIC = (b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("how", COMPRESS)
@given(parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=3), piece=st.integers(1, 700))
def test_streams_one_after_the_other_in_any_pieces(how: str, parts: list[bytes], piece: int) -> None:
    blob = b"".join(map(COMPRESS[how], parts))
    if how == "plain" and (blob.startswith(MAGIC) or blob[1:4] == b"\x2a\x4d\x18"):
        return  # not plain to whoever looks at the content
    assert b"".join(decompressed(pieces(blob, piece))) == b"".join(parts)


@pytest.mark.parametrize("how", ["gzip", "zstd", "xz", "bzip2"])
def test_a_bomb_comes_in_bearable_pieces(how: str, gunzip_by: str) -> None:
    bomb = COMPRESS[how](bytes(40_000_000))
    assert len(bomb) < 50_000
    sizes = [len(made) for made in decompressed(iter([bomb]))]
    assert sum(sizes) == 40_000_000
    assert max(sizes) <= 1 << 20


def test_padding_after_the_end_is_nothing(gunzip_by: str) -> None:
    assert b"".join(decompressed(pieces(gzip.compress(b"x") + bytes(5000), 100))) == b"x"


@pytest.mark.parametrize("how", ["gzip", "xz", "bzip2"])
def test_a_cut_stream_is_refused(how: str, gunzip_by: str) -> None:
    blob = COMPRESS[how](b"content" * 1000)
    with pytest.raises(Invalid, match="too early"):
        list(decompressed(iter([blob[: len(blob) // 2]])))


@pytest.mark.parametrize("how", ["gzip", "zstd", "xz", "bzip2"])
def test_a_damaged_stream_is_refused(how: str, gunzip_by: str) -> None:
    blob = bytearray(COMPRESS[how](zlib.compress(b"content") * 1000))
    blob[12:40] = b"\xff" * 28
    with pytest.raises(Invalid):
        list(decompressed(iter([bytes(blob)])))


def test_rubbish_behind_a_stream_is_refused(gunzip_by: str) -> None:
    with pytest.raises(Invalid):
        list(decompressed(iter([gzip.compress(b"x") + b"rubbish, and more of it"])))


def test_a_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(Unsupported, match="install the package zstandard"):
        list(decompressed(iter([zstandard.compress(b"x")])))


def test_nothing_is_nothing() -> None:
    assert list(decompressed(iter([]))) == []
