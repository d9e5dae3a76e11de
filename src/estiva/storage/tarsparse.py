"""Files with holes in tars: GNU's own format and its three ways of saying it in pax records.

GNU tar manual, "Storing Sparse Files".
"""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estiva.storage.tarstream import ChunkStream

_MOST_SEGMENTS = 1 << 20


class Sparse:
    """Where the stored bytes belong: ``segments`` (offset, length) in order, in a file of ``size`` bytes."""

    __slots__ = ("segments", "size")

    def __init__(self, size: int, numbers: list[int]) -> None:
        if len(numbers) % 2:
            raise Invalid("reading a tar: a damaged map of a sparse file")
        self.size = size
        self.segments = list(zip(numbers[::2], numbers[1::2], strict=True))

    @classmethod
    def of_text(cls, records: dict[bytes, bytes]) -> Sparse:
        """Of the pax records of formats 0.0 (joined) and 0.1."""
        size = records.get(b"GNU.sparse.size") or records.get(b"GNU.sparse.realsize") or b""
        return cls(_number(size), [_number(part) for part in records[b"GNU.sparse.map"].split(b",") if part])

    def verify(self, stored: int, name: str) -> None:
        """Raise Invalid unless the segments are in order, inside the file, and *stored* bytes long together."""
        at = total = 0
        for offset, length in self.segments:
            if offset < at or length < 0:
                raise Invalid(f"reading a tar: the map of the sparse file {name} is damaged")
            at = offset + length
            total += length
        if at > self.size or total != stored:
            raise Invalid(f"reading a tar: the map of the sparse file {name} does not fit its size")


def gnu_map(stream: ChunkStream, header: bytes, number: Callable[[bytes], int]) -> Sparse:
    """The map in an old GNU header (type ``S``) and the blocks that follow it."""
    numbers = [*_entries(header, 386, 4, number)]
    more = header[482]
    while more:
        block = stream.take(512)
        if len(block) != 512 or len(numbers) > 2 * _MOST_SEGMENTS:
            raise Invalid("reading a tar: a damaged map of a sparse file")
        numbers += _entries(block, 0, 21, number)
        more = block[504]
    return Sparse(number(header[483:495]), numbers)


def _entries(block: bytes, at: int, count: int, number: Callable[[bytes], int]) -> Iterator[int]:
    for start in range(at, at + 24 * count, 24):
        if not block[start]:  # the end: an unused entry
            return
        yield number(block[start : start + 12])
        yield number(block[start + 12 : start + 24])


def pax_map(stream: ChunkStream, size: int, records: dict[bytes, bytes]) -> Sparse:
    """The map of format 1.0: decimal lines at the start of the data of *size* bytes, filled up to a block."""
    text = b""
    wanted = 1
    lines: list[bytes] = []
    while len(lines) - 1 < wanted:  # the last one may be cut off
        if len(text) + 512 > size or wanted > 2 * _MOST_SEGMENTS:
            raise Invalid("reading a tar: a damaged map of a sparse file")
        text += stream.take(512)
        lines = text.split(b"\n", wanted)
        if len(lines) > 1:
            wanted = 1 + 2 * _number(lines[0])
            lines = text.split(b"\n", wanted)
    return Sparse(_number(records.get(b"GNU.sparse.realsize") or b""), [_number(line) for line in lines[1:wanted]])


def _number(text: bytes) -> int:
    if not text.isdigit():
        raise Invalid("reading a tar: a damaged map of a sparse file")
    return int(text)
