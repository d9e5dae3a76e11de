"""Layers' bytes as a tar, however they were compressed.

What they are is told by their first bytes, not by the media type, which is often wrong.  Decompression is bounded: a
step never makes more than about a megabyte, whatever a hostile archive holds.
"""

from __future__ import annotations

from estiva.errors import Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    class Decompressor(Protocol):
        """What isal, bz2 and lzma offer alike."""

        @property
        def eof(self) -> bool: ...
        @property
        def needs_input(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


_STEP = 1 << 20
_WINDOW = 1 << 27  # bytes a zstd stream may refer back: what zstd --long allows


def decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The uncompressed bytes of *chunks*, in chunks; raises Invalid for damaged data, Unsupported for zstd without a
    decoder."""
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) >= 6:
            break
    everything = _with_first(first, chunks)
    if first.startswith(b"\x1f\x8b"):
        return _gunzip(everything)
    if first.startswith(b"\x28\xb5\x2f\xfd") or (first[1:4] == b"\x2a\x4d\x18" and first[:1] and first[0] >> 4 == 5):
        return _unzstd(everything)
    if first.startswith(b"BZh"):
        import bz2

        return _steps(bz2.BZ2Decompressor, everything, (OSError,))
    if first.startswith(b"\xfd7zXZ\0"):
        import lzma

        return _steps(lzma.LZMADecompressor, everything, (lzma.LZMAError,))
    return everything


def _with_first(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """By isal where it is installed: nearly twice as fast as zlib."""
    try:
        from isal import igzip_lib
    except ImportError:
        import zlib

        return _steps(_ZlibDecompressor, chunks, (zlib.error,))
    isal: Any = igzip_lib  # its annotations are not quite right
    return _steps(lambda: isal.IgzipDecompressor(flag=isal.DECOMP_GZIP), chunks, (isal.IsalError,))


class _ZlibDecompressor:
    """zlib behind the interface the others have."""

    def __init__(self) -> None:
        import zlib

        self._zlib = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = _STEP) -> bytes:
        """At most *max_length* bytes; ``needs_input`` then tells whether there are more to have."""
        made = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.unconsumed_tail and len(made) < max_length
        return made


def _steps(
    make: Callable[[], Decompressor], chunks: Iterator[bytes], failures: tuple[type[Exception], ...]
) -> Iterator[bytes]:
    """What the decompressors made by *make* make of *chunks*; streams may follow one another."""
    decompressor = make()
    started = False
    try:
        for chunk in chunks:
            data = chunk
            while data or not decompressor.needs_input:
                if decompressor.eof:
                    if not data.strip(b"\0"):  # padding of tapes
                        break
                    decompressor = make()
                made = decompressor.decompress(data, _STEP)
                started = True
                data = decompressor.unused_data if decompressor.eof else b""
                if made:
                    yield made
                if decompressor.eof and not data:
                    break
    except failures as error:
        raise Invalid(f"decompressing a layer: {error}") from error
    if started and not decompressor.eof:
        raise Invalid("decompressing a layer: it ends too early")


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise Unsupported("decompressing a layer: it is compressed by zstd", "install the package zstandard") from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    source: Any = _Source(chunks)
    try:
        with decompressor.stream_reader(source, read_across_frames=True, closefd=False) as reader:
            while made := reader.read(_STEP):
                yield made
    except zstandard.ZstdError as error:
        raise Invalid(f"decompressing a layer: {error}") from error


class _Source:
    """Chunks as a file to read from, for zstandard: its reader is bounded, its decompressor object is not."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        """The rest of a chunk, at most *size* bytes; empty at the end."""
        data = self._left or next(self._chunks, b"")
        if 0 <= size < len(data):
            self._left = data[size:]
            return data[:size]
        self._left = b""
        return data
