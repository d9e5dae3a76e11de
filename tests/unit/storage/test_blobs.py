"""Blobs: what is in the store is whole and is what its name says."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from estiva.errors import Invalid, NotFound
from estiva.storage.blobs import BlobStore, split_digest


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "store"))


@pytest.mark.parametrize(
    "digest",
    ["", "sha256", "sha256:", "sha256:" + "a" * 63, "sha256:" + "A" * 64, "md5:" + "a" * 32, "sha256:../" + "a" * 61],
)
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(Invalid, match="digest"):
        split_digest(digest)


def test_what_was_put_is_read_again(blobs: BlobStore) -> None:
    digest = blobs.put(b"content")
    assert digest == sha256(b"content")
    assert blobs.read(digest) == b"content"
    assert blobs.size(digest) == 7
    assert list(blobs.list()) == [digest]
    with blobs.open(digest) as file:
        assert file.read() == b"content"
    assert Path(blobs.path(digest)) == Path(blobs.root) / "blobs/sha256" / digest[7:]


def test_other_algorithms_have_directories_of_their_own(blobs: BlobStore) -> None:
    digest = blobs.put(b"content", "sha512")
    assert digest == f"sha512:{hashlib.sha512(b'content').hexdigest()}"
    assert blobs.verify(digest)
    assert list(blobs.list()) == [digest]


def test_what_is_not_there_is_not_found(blobs: BlobStore) -> None:
    missing = sha256(b"missing")
    assert not blobs.has(missing)
    assert list(blobs.list()) == []
    for call in (blobs.size, blobs.open, blobs.read, blobs.verify):
        with pytest.raises(NotFound, match="not in the store"):
            call(missing)
    blobs.delete(missing)


def test_damage_is_found(blobs: BlobStore) -> None:
    digest = blobs.put(b"content")
    Path(blobs.path(digest)).write_bytes(b"c0ntent")
    assert not blobs.verify(digest)
    with pytest.raises(Invalid, match="damaged"):
        blobs.read(digest)


def test_documents_have_a_limit(blobs: BlobStore) -> None:
    digest = blobs.put(b"12345")
    assert blobs.read(digest, limit=5) == b"12345"
    with pytest.raises(Invalid, match="longer than 4"):
        blobs.read(digest, limit=4)


@pytest.mark.parametrize(
    ("expected", "size"), [(sha256(b"other"), None), (None, 6), (None, 8), (sha256(b"content"), 8)]
)
def test_a_blob_that_is_not_the_announced_one_is_not_kept(blobs: BlobStore, expected: str | None, size: int) -> None:
    with pytest.raises(Invalid), blobs.writer(expected, size) as writer:  # noqa: PT012
        writer.write(b"content")
        writer.commit()
    assert list(blobs.list()) == []
    assert os.listdir(blobs.staging.path) == []


def test_a_writer_that_is_left_keeps_nothing(blobs: BlobStore) -> None:
    with blobs.writer() as writer:
        writer.write(b"content")
    assert list(blobs.list()) == []
    assert os.listdir(blobs.staging.path) == []


def test_a_blob_may_be_written_twice(blobs: BlobStore) -> None:
    for _ in range(2):
        with blobs.writer(sha256(b"content"), 7) as writer:
            writer.write(memoryview(b"con"))
            writer.write(b"tent")
            assert writer.commit() == sha256(b"content")
    assert blobs.read(sha256(b"content")) == b"content"


def test_what_a_dead_process_left_is_swept_but_not_what_is_being_made(blobs: BlobStore) -> None:
    working = blobs.writer()
    working.write(b"working")
    left = Path(blobs.staging.path) / "left"
    left.mkdir()
    (left / "file").write_text("x")
    BlobStore(blobs.root).put(b"another")  # a new process comes
    assert not left.exists()
    assert blobs.read(working.commit()) == b"working"
