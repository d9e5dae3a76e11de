"""Bytes that come in chunks of any size, taken in the amounts a tar is made of."""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class ChunkStream:
    """The concatenation of *chunks*; ``offset`` counts the bytes taken."""

    __slots__ = ("_at", "_chunk", "_chunks", "_start")

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0  # what of the chunk is taken
        self._start = 0  # offset of the chunk

    @property
    def offset(self) -> int:
        """Bytes taken so far."""
        return self._start + self._at

    def take(self, count: int) -> bytes:
        """The next *count* bytes; fewer only at the end."""
        end = self._at + count
        if end <= len(self._chunk):
            data = self._chunk[self._at : end]
            self._at = end
            return data
        return b"".join(bytes(piece) for piece in self._up_to(count))

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next *count* bytes as they lie in the chunks; raises Invalid if the stream ends before."""
        for piece in self._up_to(count):
            count -= len(piece)
            yield piece
        if count:
            raise Invalid(f"reading a tar: it ends {count} bytes too early")

    def skip(self, count: int) -> None:
        """Leave out *count* bytes; raises Invalid if the stream ends before."""
        if self._at + count <= len(self._chunk):
            self._at += count
            return
        for _ in self.pieces(count):
            pass

    def drain(self) -> None:
        """Take all that is left."""
        self._at = len(self._chunk)
        while self._next():
            self._at = len(self._chunk)

    def _up_to(self, count: int) -> Iterator[memoryview]:
        while count:
            if self._at == len(self._chunk) and not self._next():
                return
            piece = memoryview(self._chunk)[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def _next(self) -> bool:
        """Go to the next chunk that is not empty, if there is one; the present one has been taken."""
        for chunk in self._chunks:
            self._start += len(self._chunk)
            self._chunk = chunk
            self._at = 0
            if chunk:
                return True
        return False
