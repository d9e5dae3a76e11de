"""Relabelling real files: their labels can be written as root also where the kernel has no SELinux."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from estiva.engine.options import MountOption
from estiva.engine.relabel import ATTRIBUTE, check_source, relabel, relabel_tree
from estiva.errors import Invalid

LABEL = "system_u:object_r:container_file_t:s0:c1,c2"


def label_of(path: Path) -> str:
    return os.getxattr(path, ATTRIBUTE, follow_symlinks=False).rstrip(b"\0").decode()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two directories, files and links, where labels can be written."""
    try:
        os.setxattr(tmp_path, ATTRIBUTE, b"a:b:c:s0\0")
    except OSError as error:
        pytest.skip(f"needs to write labels: {error.strerror}")
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (tmp_path / "outside").write_text("x")
    for name in ("file", "sub/file"):
        (top / name).write_text("x")
    (top / "link").symlink_to("../outside")
    (top / "sub" / "up").symlink_to("../..")
    os.mkfifo(top / "fifo")
    return top


@pytest.mark.needs_root
def test_a_tree_is_labelled_whole_and_no_link_is_followed(tree: Path) -> None:
    relabel_tree(str(tree), LABEL)
    for path in (tree, *tree.rglob("*")):
        assert label_of(path) == LABEL
    with pytest.raises(OSError, match="No data"):
        label_of(tree.parent / "outside")
    assert label_of(tree.parent) == "a:b:c:s0"


@pytest.mark.needs_root
def test_what_has_the_label_is_left_alone(tree: Path) -> None:
    relabel_tree(str(tree), LABEL)
    before = {path: path.lstat().st_ctime_ns for path in (tree, *tree.rglob("*"))}
    relabel_tree(str(tree), LABEL)
    assert {path: path.lstat().st_ctime_ns for path in before} == before


@pytest.mark.needs_root
def test_z_is_for_all_containers_and_capital_z_for_one(tree: Path) -> None:
    mounts = [
        MountOption("bind", str(tree / "sub"), "/a", ["z"]),
        MountOption("bind", str(tree / "file"), "/b", ["Z"]),
        MountOption("bind", str(tree / "fifo"), "/c", []),
    ]
    relabel(mounts, LABEL, [], {})
    assert label_of(tree / "sub" / "file") == "system_u:object_r:container_file_t:s0"
    assert label_of(tree / "file") == LABEL
    with pytest.raises(OSError, match="No data"):
        label_of(tree / "fifo")
    relabel(mounts[2:], LABEL, [str(tree / "fifo")], {})  # a new volume
    assert label_of(tree / "fifo") == "system_u:object_r:container_file_t:s0"


@pytest.mark.parametrize("path", ["/", "/etc", "/usr", "/home", "/var", "/var/lib", "/etc/../usr", "//etc/", "/proc"])
def test_parts_of_the_system_are_never_relabelled(path: str) -> None:
    with pytest.raises(Invalid, match="is not allowed"):
        check_source(path, {})


def test_nor_is_the_users_home_however_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    (tmp_path / "etc").symlink_to("/etc")
    for path in ("home", "link"):
        with pytest.raises(Invalid, match="not allowed"):
            check_source(str(tmp_path / path), {"HOME": str(tmp_path / "home")})
    with pytest.raises(Invalid, match="not allowed"):
        check_source(str(tmp_path / "etc"), {})
    check_source(str(tmp_path / "home"), {"HOME": "/root"})
