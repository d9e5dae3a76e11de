"""A full disk: one clear line, nothing half-made, and work goes on once there is space again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.cli import Estiva

pytestmark = pytest.mark.needs_root


@pytest.fixture
def small(estiva_root: Estiva) -> Iterator[Estiva]:
    """Root's store on a file system of eight MiB."""
    estiva_root.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "small", estiva_root.root], check=True)
    yield estiva_root
    subprocess.run(["umount", estiva_root.root], check=True)


def fill(small: Estiva, leave: int) -> Path:
    """Take all space but *leave* bytes."""
    filler = small.root / "filler"
    status = os.statvfs(small.root)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - leave, 1))
    return filler


def content(store: Path) -> set[str]:
    """The files of blobs, layers and containers."""
    return {
        str(path.relative_to(store))
        for part in ("blobs", "layers", "containers", "staging")
        for path in (store / part).rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kib", [64, 300, 1000, 2000])
def test_a_pull_without_space_says_so_and_leaves_nothing(small: Estiva, busybox_oci: Path, kib: int) -> None:
    filler = fill(small, kib << 10)
    message = small.fails(125, "pull", "--quiet", f"oci:{busybox_oci}:latest")
    assert "no space left" in message.lower() or "full" in message
    assert content(small.root) == set()
    filler.unlink()
    small.run("pull", f"oci:{busybox_oci}:latest")


def test_a_container_without_space_says_so_and_leaves_nothing(small: Estiva, busybox_oci: Path) -> None:
    image = small.run("pull", "--quiet", f"oci:{busybox_oci}:latest").stdout.strip()
    before = content(small.root)
    filler = fill(small, 0)
    message = small.fails(125, "run", "--rm", image, "true")
    assert "no space left" in message.lower() or "full" in message
    filler.unlink()
    assert content(small.root) == before
    assert small.run("ps", "--all", "--quiet").stdout == ""
    assert small.run("run", "--rm", image, "echo", "again").stdout == "again\n"


def test_a_container_that_fills_the_disk_ends_on_its_own_and_gives_it_back(small: Estiva, busybox_oci: Path) -> None:
    image = small.run("pull", "--quiet", f"oci:{busybox_oci}:latest").stdout.strip()
    before = content(small.root)
    script = "dd if=/dev/zero of=/big bs=1M count=100 2>/dev/null; echo $?"
    assert small.run("run", "--rm", image, "sh", "-c", script).stdout == "1\n"
    assert content(small.root) == before
