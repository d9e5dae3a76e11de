"""Tars that depend on nothing but the files, and are what other programs understand."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid
from estiva.storage.tarread import REGULAR, read_tar
from estiva.storage.tarstream import ChunkStream
from estiva.storage.tarwrite import TarWriter, member_header, write_tree

EPOCH = 1_700_000_000


def tar_of(directory: Path, **options: object) -> bytes:
    parts: list[bytes] = []
    write_tree(str(directory), parts.append, **options)  # type: ignore[arg-type]
    return b"".join(parts)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "b").mkdir(parents=True)
    (top / "b" / "file").write_bytes(b"content")
    (top / "a.txt").write_bytes(b"x" * 1000)
    (top / "link").symlink_to("b/" + "f" * 150)
    os.link(top / "a.txt", top / "b" / "same")
    (top / ("n" * 120)).write_text("long")
    os.mkfifo(top / "fifo")
    for path in (*top.rglob("*"), top):
        os.utime(path, ns=(0, 1_600_000_000_123_000_000), follow_symlinks=False)
    return top


def test_the_same_files_give_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    first = tar_of(tree)
    again = tmp_path / "again"
    tree.rename(again)
    assert tar_of(again) == first


def test_tarfile_reads_it(tree: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(tree))) as tar:
        found = {member.name: member for member in tar}
        assert list(found) == [".", "a.txt", "b", "b/file", "b/same", "fifo", "link", "n" * 120]
        content = tar.extractfile("b/file")
        assert content is not None
        assert content.read() == b"content"
    assert found["b/same"].islnk()
    assert found["b/same"].linkname == "a.txt"
    assert found["link"].linkname == "b/" + "f" * 150
    assert found["fifo"].isfifo()
    assert found["b"].mtime == 1_600_000_000
    assert not found["b"].uname


def test_fractions_of_times_are_kept_when_asked_for(tree: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(tree, subsecond=True))) as tar:
        assert tar.getmember("b").pax_headers["mtime"] == "1600000000.123"


def test_no_file_is_later_than_said(tree: Path) -> None:
    os.utime(tree / "b" / "file", (0, EPOCH + 5))
    with tarfile.open(fileobj=io.BytesIO(tar_of(tree, latest=EPOCH))) as tar:
        assert tar.getmember("b/file").mtime == EPOCH
        assert tar.getmember("a.txt").mtime == 1_600_000_000


def test_what_is_left_out_is_not_there(tree: Path) -> None:
    data = tar_of(tree, leave_out=lambda path: path in (b"b", b"fifo"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == [".", "a.txt", "link", "n" * 120]


def test_sockets_are_left_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        with tarfile.open(fileobj=io.BytesIO(tar_of(tmp_path))) as tar:
            assert tar.getnames() == ["."]


def test_a_file_that_shrinks_meanwhile_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1234")
    status = (tmp_path / "f").stat()
    tar = TarWriter(lambda data: None)
    with pytest.raises(Invalid, match="shorter"):
        tar.add(b"f", status, content=iter([b"12"]))


@given(
    name=st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name),
    link=st.binary(max_size=300).filter(lambda name: b"\0" not in name),
    uid=st.integers(0, 2**32 - 2),
    size=st.integers(0, 2**50),
    mtime=st.integers(-(2**62), 2**66),
    xattrs=st.dictionaries(
        st.binary(min_size=1, max_size=20).filter(lambda key: b"=" not in key and b"\0" not in key),
        st.binary(max_size=100),
        max_size=3,
    ),
)
def test_whatever_is_written_is_read_again(
    name: bytes, link: bytes, uid: int, size: int, mtime: int, xattrs: dict[bytes, bytes]
) -> None:
    name = b"x" + name.replace(b"/", b"_")
    header = member_header(name, REGULAR, 0o4755, uid, uid, size, mtime, link, 0, xattrs)
    member = next(read_tar(ChunkStream(iter([header]))))
    assert (member.path, member.link, member.uid, member.gid) == (name, link, uid, uid)
    assert (member.size, member.mtime, member.mode) == (size, mtime, 0o4755)
    assert (member.xattrs or {}) == {b"" + key: value for key, value in xattrs.items()}
