"""Blobs by digest, kept as an OCI image layout keeps them.  image-layout.md

A digest is a string ``algorithm:hex``.  A blob appears under its name only when it is whole, verified and on disk.
"""

from __future__ import annotations

import os

from estiva.errors import Invalid, NotFound
from estiva.storage.staging import Staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import BinaryIO

ALGORITHMS = {"sha256": 64, "sha512": 128}
_READ = 1 << 20
_WRITEBACK = 8 << 20  # bytes after which the kernel is asked to begin writing


def split_digest(digest: str) -> tuple[str, str]:
    """The algorithm and the hexadecimal part of a digest; raises Invalid if it is not one.  descriptor.md "Digests" """
    algorithm, _, value = digest.partition(":")
    if len(value) != ALGORITHMS.get(algorithm) or value.strip("0123456789abcdef"):
        raise Invalid(f"digest {digest!r}: not of the form sha256:<64 hexadecimal digits>")
    return algorithm, value


class BlobStore:
    """The ``blobs`` directory of the image layout at *root*."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.staging = Staging(root)

    def path(self, digest: str) -> str:
        """Where the blob is, or would be."""
        algorithm, value = split_digest(digest)
        return f"{self.root}/blobs/{algorithm}/{value}"

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return os.path.exists(self.path(digest))

    def size(self, digest: str) -> int:
        """Its bytes; raises NotFound."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise _not_found(digest) from None

    def open(self, digest: str) -> BinaryIO:
        """A file to read it from, which is not verified; raises NotFound."""
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError:
            raise _not_found(digest) from None

    def read(self, digest: str, limit: int = 4 << 20) -> bytes:
        """Its content, verified; raises NotFound, and Invalid when it is damaged or longer than *limit* bytes."""
        import hashlib  # 5 ms: not needed to run a container

        with self.open(digest) as file:
            if os.fstat(file.fileno()).st_size > limit:
                raise Invalid(f"reading blob {digest}: longer than {limit} bytes")
            data = file.read()
        algorithm, value = split_digest(digest)
        if hashlib.new(algorithm, data).hexdigest() != value:
            raise Invalid(f"reading blob {digest}: its content is damaged", "pull the image again")
        return data

    def put(self, data: bytes, algorithm: str = "sha256") -> str:
        """Keep *data* and return its digest."""
        import hashlib

        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        if not self.has(digest):
            with self.writer(digest, len(data)) as writer:
                writer.write(data)
                writer.commit()
        return digest

    def writer(self, expected: str | None = None, size: int | None = None) -> BlobWriter:
        """A writer of one blob, which must turn out to have the digest *expected* and *size* bytes where given."""
        return BlobWriter(self, expected, size)

    def delete(self, digest: str) -> None:
        """Remove it; that it is not there is fine."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            pass

    def list(self) -> Iterator[str]:
        """The digests of all blobs."""
        for algorithm in ALGORITHMS:
            try:
                names = os.listdir(f"{self.root}/blobs/{algorithm}")
            except FileNotFoundError:
                continue
            yield from (f"{algorithm}:{name}" for name in sorted(names))

    def verify(self, digest: str) -> bool:
        """Whether the blob's content is what its name says; raises NotFound."""
        import hashlib

        algorithm, value = split_digest(digest)
        found = hashlib.new(algorithm)
        with self.open(digest) as file:
            while chunk := file.read(_READ):
                found.update(chunk)
        return found.hexdigest() == value


class BlobWriter:
    """One blob being written: ``write`` repeatedly, then ``commit``; leaving the context without it keeps nothing."""

    def __init__(self, blobs: BlobStore, expected: str | None, size: int | None) -> None:
        import hashlib

        algorithm = split_digest(expected)[0] if expected else "sha256"
        self.blobs = blobs
        self.expected = expected
        self.size = size
        self.written = 0
        self._unsent = 0  # bytes the kernel has not been asked to write
        self._hash = hashlib.new(algorithm)
        self._staged = blobs.staging.file()

    def write(self, data: bytes | memoryview) -> None:
        """Append *data*; raises Invalid once there is more than announced, OSError when it cannot be written."""
        self.written += len(data)
        if self.size is not None and self.written > self.size:
            raise Invalid(f"storing blob {self.expected}: longer than the announced {self.size} bytes")
        self._hash.update(data)
        write_all(self._staged.fd, data)
        self._unsent += len(data)
        if self._unsent >= _WRITEBACK:
            self.flush()

    def flush(self) -> None:
        """Let the disk begin now with what ``commit`` will wait for."""
        from estiva.linux.path import start_writeback

        start_writeback(self._staged.fd, self.written - self._unsent, self._unsent)
        self._unsent = 0

    def verify(self) -> str:
        """The digest of what was written; raises Invalid if it, or the size, is not the expected one."""
        digest = f"{self._hash.name}:{self._hash.hexdigest()}"
        if self.size is not None and self.written != self.size:
            raise Invalid(
                f"storing blob {self.expected or digest}: {self.written} bytes instead of the announced {self.size}"
            )
        if self.expected is not None and digest != self.expected:
            raise Invalid(f"storing blob {self.expected}: the content has the digest {digest}")
        return digest

    def commit(self) -> str:
        """Publish the blob and return its digest; raises Invalid as :meth:`verify` does, and nothing is kept."""
        try:
            digest = self.verify()
            os.fdatasync(self._staged.fd)
            self._staged.publish(self.blobs.path(digest))
            return digest
        finally:
            self.abort()

    def abort(self) -> None:
        """Forget what was written; after ``commit`` this does nothing."""
        self._staged.discard()

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abort()


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of *data* to *fd*, which write(2) need not do at once."""
    written = os.write(fd, data)
    while written < len(data):
        data = memoryview(data)[written:]
        written = os.write(fd, data)


def _not_found(digest: str) -> NotFound:
    return NotFound(f"blob {digest}: not in the store", "pull the image again")
