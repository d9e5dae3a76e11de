"""Where saved images go: a tar archive or a directory, which appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import contextmanager

from estiva.errors import Conflict, Invalid
from estiva.storage.tarwrite import member_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO, Protocol

    class Output(Protocol):
        """What takes the files of an archive."""

        def add(self, name: str, size: int, pieces: Iterable[bytes]) -> None: ...


class TarOutput:
    """A tar that depends on nothing but its content: no times, no owners."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """Write one member of *size* bytes."""
        self._file.write(member_header(name.encode(), b"0", 0o644, 0, 0, size, 0))
        for piece in pieces:
            self._file.write(piece)
        self._file.write(bytes(-size % 512))

    def finish(self) -> None:
        """Write the end mark."""
        self._file.write(bytes(1024))
        self._file.flush()


class DirectoryOutput:
    """A new directory."""

    def __init__(self, path: str) -> None:
        self._path = path

    def add(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        """Write one file."""
        path = f"{self._path}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def archive(output: str | BinaryIO) -> Iterator[TarOutput]:
    """A tar at *output*; a path that is no device or pipe gets its content in one step."""
    if not isinstance(output, str):
        tar = TarOutput(output)
        yield tar
        tar.finish()
        return
    if os.path.exists(output) and not stat.S_ISREG(os.stat(output).st_mode):
        with open(output, "wb") as device, archive(device) as tar:
            yield tar
        return
    temporary = f"{output}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            tar = TarOutput(file)
            yield tar
            tar.finish()
            os.fsync(file.fileno())
        os.rename(temporary, output)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


@contextmanager
def directory(output: str | BinaryIO) -> Iterator[DirectoryOutput]:
    """A directory at the path *output*, which must not hold anything yet."""
    if not isinstance(output, str):
        raise Invalid("saving a directory: needs a path", "name it with --output")
    output = output.rstrip("/") or "/"
    if os.path.lexists(output) and not (os.path.isdir(output) and not os.listdir(output)):
        raise Conflict(f"saving to {output}: it exists", "choose another name, or remove it")
    temporary = f"{output}.{os.getpid()}.tmp"
    os.mkdir(temporary, 0o755)
    try:
        yield DirectoryOutput(temporary)
        os.rename(temporary, output)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
