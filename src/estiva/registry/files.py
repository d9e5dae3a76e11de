"""The two places an image can lie as files: a directory and a tar archive.  One face for both."""

from __future__ import annotations

import os
import stat
from typing import cast

from estiva.errors import Denied, Invalid, NotFound, Unavailable
from estiva.registry.source import CHUNK
from estiva.registry.tarindex import TarIndex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, Protocol

    class Files(Protocol):
        """Regular files by their path inside the place."""

        what: str

        def has(self, name: str) -> bool: ...

        def size(self, name: str) -> int: ...

        def pieces(self, name: str) -> Iterator[bytes]: ...

        def close(self) -> None: ...


class DirectoryFiles:
    """The files below the directory *path*."""

    def __init__(self, path: str, what: str) -> None:
        self.what = what
        self._path = path
        if not os.path.isdir(path):
            raise NotFound(f"{what}: {'not a directory' if os.path.exists(path) else 'no such directory'}")

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return os.path.isfile(f"{self._path}/{name}")

    def size(self, name: str) -> int:
        """Its bytes; raises NotFound."""
        fd = self._open(name)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Its content; raises NotFound."""
        fd = self._open(name)
        try:
            while piece := os.read(fd, CHUNK):
                yield piece
        finally:
            os.close(fd)

    def close(self) -> None:
        """Nothing is open between calls."""

    def _open(self, name: str) -> int:
        try:
            fd = os.open(f"{self._path}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{self.what}: has no file {name!r}") from None
        except PermissionError as error:
            raise Denied(f"{self.what}: reading {name!r}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Invalid(f"{self.what}: {name!r} is not a regular file")
        return fd


class ArchiveFiles:
    """The files in the tar archive at *path*, which may be compressed: then it is unpacked to an unnamed file first."""

    def __init__(self, path: str, what: str, tmp_dir: str | None = None) -> None:
        self.what = what
        self._file = open_tar(path, what, tmp_dir)
        try:
            self._index = TarIndex(self._file, what)
        except BaseException:
            self._file.close()
            raise

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return self._index.has(name)

    def size(self, name: str) -> int:
        """Its bytes; raises NotFound."""
        return self._index.find(name)[1]

    def pieces(self, name: str) -> Iterator[bytes]:
        """Its content, read by position so that threads do not disturb each other; raises NotFound."""
        offset, left = self._index.find(name)
        while left > 0:
            piece = os.pread(self._file.fileno(), min(CHUNK, left), offset)
            if not piece:
                raise Invalid(f"{self.what}: became shorter while it was read")
            offset, left = offset + len(piece), left - len(piece)
            yield piece

    def close(self) -> None:
        """Close the archive."""
        self._file.close()


def read(files: Files, name: str, limit: int) -> bytes:
    """The whole content of a file of at most *limit* bytes."""
    size = files.size(name)
    if size > limit:
        raise Invalid(f"{files.what}: {name!r} is {size} bytes long, more than {limit >> 20} MiB")
    return b"".join(files.pieces(name))


def open_tar(path: str, what: str, tmp_dir: str | None = None) -> BinaryIO:
    """A seekable file with the uncompressed tar at *path*: gzip, bzip2, xz and zstd are recognised by their magic."""
    try:
        file: BinaryIO = open(path, "rb")  # noqa: SIM115  # given to the caller
    except FileNotFoundError:
        raise NotFound(f"{what}: no such file") from None
    except (PermissionError, IsADirectoryError) as error:
        raise Denied(f"{what}: {(error.strerror or '').lower()}") from error
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe, as `<(command)` gives
            with file:
                file = _spool(file, what, tmp_dir)
        magic = file.read(6)
        file.seek(0)
        plain = _decompressor(file, magic)
        if plain is None:
            return file
    except BaseException:
        file.close()
        raise
    with file, plain:
        return _spool(plain, what, tmp_dir)


def _decompressor(file: BinaryIO, magic: bytes) -> BinaryIO | None:
    """A file that reads as *file* uncompressed; None if it is not compressed.  Each module is loaded only if met."""
    if magic.startswith(b"\x1f\x8b"):
        import gzip

        return cast("BinaryIO", gzip.open(file))
    if magic.startswith(b"BZh"):
        import bz2

        return cast("BinaryIO", bz2.open(file))
    if magic.startswith(b"\xfd7zXZ\0"):
        import lzma

        return cast("BinaryIO", lzma.open(file))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return None


def _spool(plain: BinaryIO, what: str, tmp_dir: str | None) -> BinaryIO:
    """All of *plain* in a file without a name, so that a killed process leaves nothing."""
    import tempfile
    import zlib
    from lzma import LZMAError

    spool: BinaryIO = tempfile.TemporaryFile(dir=tmp_dir or "/var/tmp")  # noqa: SIM115
    try:
        while piece := plain.read(CHUNK):
            spool.write(piece)
        spool.seek(0)
    except (OSError, EOFError, zlib.error, LZMAError) as error:
        spool.close()
        if isinstance(error, OSError) and error.errno:
            raise Unavailable(f"{what}: unpacking: {error.strerror}") from error
        raise Invalid(f"{what}: its compressed data is damaged") from error
    except BaseException as error:
        spool.close()
        if type(error).__name__ == "ZstdError":  # the module is loaded only where it is used
            raise Invalid(f"{what}: its compressed data is damaged") from error
        raise
    return spool
