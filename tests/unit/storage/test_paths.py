"""Removing and measuring trees, by descriptor."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from estiva.linux.path import openat2
from estiva.linux.tree import disk_usage, rmtree


def make_deep(top: Path, depth: int) -> None:
    fd = os.open(top, os.O_RDONLY)
    for number in range(depth):
        os.mkdir("deeper", dir_fd=fd)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        os.mkdir(f"sibling{number}", dir_fd=fd)
        child = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = child
    os.close(fd)


@pytest.mark.parametrize("depth", [1, 59, 60, 61, 1500])
def test_trees_of_any_depth_are_removed_with_few_descriptors(tmp_path: Path, depth: int) -> None:
    top = tmp_path / "top"
    top.mkdir()
    make_deep(top, depth)
    rmtree(str(top))
    assert os.listdir(tmp_path) == []


def test_links_are_removed_but_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(outside)
    rmtree(str(top))
    rmtree(str(top))
    assert os.listdir(tmp_path) == ["outside"]
    (tmp_path / "link").symlink_to(outside)
    rmtree(str(tmp_path / "link"))
    assert os.listdir(outside) == ["file"]


def test_directories_without_permissions_are_opened_up(tmp_path: Path) -> None:
    for mode in (0o000, 0o500, 0o300, 0o600):
        top = tmp_path / "top"
        (top / "a" / "b").mkdir(parents=True)
        (top / "a" / "file").touch()
        (top / "a").chmod(mode)
        rmtree(top.as_posix())
        assert not top.exists()


def test_files_and_nothing_can_be_removed_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    rmtree(str(tmp_path / "file"))
    rmtree(str(tmp_path / "file"))
    rmtree(str(tmp_path / "no" / "such" / "directory"))
    assert os.listdir(tmp_path) == []


def test_usage_counts_hard_links_once(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(os.urandom(100_000))
    once = disk_usage(str(tmp_path))
    os.link(tmp_path / "d" / "file", tmp_path / "again")
    assert 100_000 <= once == disk_usage(str(tmp_path)) < 120_000
    assert disk_usage(str(tmp_path / "missing")) == 0


def test_resolution_stays_in_the_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("inside")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../../../../etc/passwd")
    root_fd = os.open(tmp_path, os.O_PATH)
    for path in ("/etc/passwd", "link", "up", "../../etc/passwd"):
        with os.fdopen(openat2(root_fd, path, os.O_RDONLY)) as file:
            assert file.read() == "inside"
    os.close(root_fd)


def test_a_tree_can_be_removed_by_several_at_once(tmp_path: Path) -> None:
    for _ in range(20):
        top = tmp_path / "top"
        for number in range(30):
            (top / f"{number}/below").mkdir(parents=True)
            (top / f"{number}/below/file").touch()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(rmtree, [str(top)] * 4))
        assert os.listdir(tmp_path) == []
