"""From the bytes of a compressed layer to a layer that can be used, in one pass.

    write() ── hash, blob ──▶ decompress ──▶ hash ──┬──▶ tar and index      (erofs)
                                                    └──▶ unpacked files     (overlay, copy)

Each arrow crosses into another thread.  Nothing has its final name before all of it is verified and on disk.
"""

from __future__ import annotations

import errno
import hashlib
import os

from estiva.errors import Invalid, Unavailable
from estiva.storage.blobs import split_digest, write_all
from estiva.storage.decompress import decompressed
from estiva.storage.layers import ABOUT, FILES, INDEX, TAR, TREE
from estiva.storage.pipeline import Stage
from estiva.storage.tarread import read_tar
from estiva.storage.tarstream import ChunkStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from estiva.storage.store import Store

    Top = tuple[int, int, int] | None

_READ = 1 << 18
_WRITEBACK = 8 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


class LayerIngest:
    """A blob and the layer made of it: ``write`` its bytes, then ``commit``.

    Leaving the context without commit keeps nothing.  Failures are Invalid for what the blob holds, Unavailable when
    there is no space.
    """

    def __init__(self, store: Store, media_type: str, digest: str, size: int, diff_id: str) -> None:
        self._blob = store.blobs.writer(digest, size)
        try:
            self._layer = LayerBuilder(store, media_type, diff_id)
        except BaseException:
            self._blob.abort()
            raise

    def write(self, data: bytes) -> None:
        """Take the next bytes of the blob."""
        with _Space(self._blob.blobs.root):
            self._blob.write(data)
            self._layer.feed(data)

    def commit(self) -> None:
        """Verify and publish the blob, then the layer; raises Invalid if they are not what they should be."""
        try:
            with _Space(self._blob.blobs.root):
                self._blob.verify()
                self._blob.flush()
                self._layer.finish()
                self._blob.commit()
                self._layer.publish()
        finally:
            self.abort()

    def abort(self) -> None:
        """Keep nothing; after commit this does nothing."""
        self._layer.abort()
        self._blob.abort()

    def __enter__(self) -> LayerIngest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abort()


def unpack_blob(store: Store, media_type: str, digest: str, diff_id: str) -> None:
    """Make the layer *diff_id* anew of the blob *digest*."""
    with _Space(store.root), store.blobs.open(digest) as file:
        layer = LayerBuilder(store, media_type, diff_id)
        try:
            while chunk := file.read(_READ):
                layer.feed(chunk)
            layer.finish()
            store.layers.alone(diff_id, lambda diff_id: layer.publish(replace=True))
        finally:
            layer.abort()


class _Space:
    """A context in which running out of space becomes Unavailable."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise Unavailable(
                f"storing a layer in {self.root}: {os.strerror(error.errno)}", "remove images or choose another --root"
            ) from error


class LayerBuilder:
    """Makes the layer's directory in the staging area of the bytes of its blob."""

    def __init__(self, store: Store, media_type: str, diff_id: str) -> None:
        if media_type.endswith("+encrypted"):
            raise Invalid(f"unpacking layer {diff_id}: it is encrypted")
        self.store = store
        self.diff_id = diff_id
        self._hash = hashlib.new(split_digest(diff_id)[0])
        self._size = 0
        self._top: Top = None
        self._staged = store.blobs.staging.directory()
        self._tar_fd = -1
        self._maker = Stage(self._index if store.driver == "erofs" else self._unpack, "layer")
        self._decompressor = Stage(self._decompress, "decompress")

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the blob."""
        self._decompressor.feed(chunk)

    def finish(self) -> None:
        """Wait until the layer is made and on disk, and verify it; raises Invalid."""
        self._decompressor.finish()
        self._maker.finish()
        found = f"{self._hash.name}:{self._hash.hexdigest()}"
        if found != self.diff_id:
            raise Invalid(f"unpacking layer {self.diff_id}: its content has the diff_id {found}")
        top = "-" if self._top is None else "{:o}:{}:{}".format(*self._top)
        os.symlink(f"{self._size} {top}", f"{self._staged.path}/{ABOUT}")
        self._sync()

    def publish(self, replace: bool = False) -> None:
        """Give the layer its name.  One that is there is kept, and gets what it lacks, unless *replace*."""
        final = self.store.layers.path(self.diff_id)
        try:
            self._staged.publish(final)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        for name in sorted(os.listdir(self._staged.path), key=lambda name: name == INDEX):  # what tells it is whole
            if replace:
                exchange(f"{self._staged.path}/{name}", f"{final}/{name}")
            elif not os.path.lexists(f"{final}/{name}"):
                os.rename(f"{self._staged.path}/{name}", f"{final}/{name}")
        _fsync_path(final)

    def abort(self) -> None:
        """Keep nothing that has not been published."""
        self._decompressor.cancel()
        self._maker.cancel()
        if self._tar_fd != -1:
            os.close(self._tar_fd)
            self._tar_fd = -1
        self._staged.discard()

    def _decompress(self, chunks: Iterator[bytes]) -> None:
        unpacking = self.store.driver != "erofs"  # which is the more work in the other thread: hash in this one
        for chunk in decompressed(chunks):
            if unpacking:
                self._account(chunk)
            self._maker.feed(chunk)

    def _account(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self._size += len(chunk)

    def _index(self, chunks: Iterator[bytes]) -> None:
        """Keep the tar and make an index of it; what cannot be indexed is unpacked from the tar."""
        from estiva.storage.erofs_tree import NotIndexable, Tree
        from estiva.storage.erofs_write import write_index

        self._tar_fd = os.open(f"{self._staged.path}/{TAR}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        stream = ChunkStream(self._kept(chunks))
        tree = Tree()
        try:
            for member in read_tar(stream):
                tree.add(member)
        except NotIndexable:
            stream.drain()
            self._unpack_tar()
            return
        stream.drain()
        self._top = tree.top
        tar_size = max(self._size + -self._size % 512, 1024)  # whole blocks, and never none
        os.ftruncate(self._tar_fd, tar_size)
        index = write_index(tree.root, tar_size)
        fd = os.open(f"{self._staged.path}/{INDEX}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, index)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def _kept(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks, once they are hashed and in the file."""
        from estiva.linux.path import start_writeback

        begun = 0
        for chunk in chunks:
            write_all(self._tar_fd, chunk)
            self._account(chunk)
            if self._size - begun >= _WRITEBACK:
                start_writeback(self._tar_fd, begun, self._size - begun)
                begun = self._size
            yield chunk

    def _unpack_tar(self) -> None:
        os.lseek(self._tar_fd, 0, os.SEEK_SET)
        chunks = iter(lambda: os.read(self._tar_fd, 1 << 20), b"")
        self._unpack(chunks)
        os.close(self._tar_fd)
        self._tar_fd = -1
        os.unlink(f"{self._staged.path}/{TAR}")

    def _unpack(self, chunks: Iterator[bytes]) -> None:
        from estiva.storage.extract import Extractor

        plain = self.store.driver == "copy"
        directory = f"{self._staged.path}/{FILES if plain else TREE}"
        os.mkdir(directory, 0o755)
        root_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fchmod(root_fd, 0o755)
            extractor = Extractor(root_fd, in_userns=self.store.in_userns, plain_whiteouts=plain)
            stream = ChunkStream(chunks)
            try:
                for member in read_tar(stream):
                    extractor.add(member, stream)
                stream.drain()
                extractor.finish()
            finally:
                extractor.close()
            self._top = extractor.top
        finally:
            os.close(root_fd)

    def _sync(self) -> None:
        """Wait until the layer is on disk: one file by itself, many by way of their file system."""
        if self._tar_fd != -1:
            os.fdatasync(self._tar_fd)
            os.fsync(self._staged.fd)
            return
        from estiva.linux.path import syncfs

        syncfs(self._staged.fd)


def exchange(new: str, old: str) -> None:
    """Put *new* where *old* is, or would be; what was there is then at *new*."""
    from estiva.linux.path import RENAME_EXCHANGE, renameat2

    if os.path.lexists(old):
        renameat2(new, old, RENAME_EXCHANGE)
    else:
        os.rename(new, old)


def _fsync_path(path: str) -> None:
    from estiva.linux.path import fsync_directory

    fsync_directory(path)
