"""Containers under SELinux, enforcing: scripts/test-vm --selinux tests/vm/test_selinux.py"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

ENFORCE = Path("/sys/fs/selinux/enforce")
pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.skipif(not ENFORCE.exists(), reason="needs SELinux: scripts/test-vm --selinux"),
]
LABEL = re.compile(r"system_u:system_r:container_t:(s0:c\d+,c\d+)")


@pytest.fixture(scope="module", autouse=True)
def enforcing() -> None:
    if ENFORCE.exists():
        assert ENFORCE.read_text() == "1"


@pytest.fixture
def estiva(estiva_root: Any) -> Any:
    estiva_root.load()
    return estiva_root


def label_of(path: Path) -> str:
    return os.getxattr(path, "security.selinux").rstrip(b"\0").decode()


def seen(estiva: Any, *words: str) -> str:
    return str(estiva.out("run", "--rm", "--network", "none", *words))


def refused(estiva: Any, *words: str) -> None:
    done = estiva.run("run", "--rm", "--network", "none", *words, check=False)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


def test_each_container_is_confined_with_categories_of_its_own(estiva: Any) -> None:
    labels = []
    for name in ("a", "b"):
        estiva.run("run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "100")
        pid = estiva.json("inspect", name)[0]["State"]["Pid"]
        label = Path(f"/proc/{pid}/attr/current").read_text().strip("\0\n")
        found = LABEL.fullmatch(label)
        assert found, label
        assert estiva.json("inspect", name)[0]["ProcessLabel"] == label
        assert label_of(Path(f"/proc/{pid}/root/etc")) == f"system_u:object_r:container_file_t:{found[1]}"
        assert estiva.out("exec", name, "cat", "/proc/self/attr/current").strip("\0") == label
        labels.append(label)
    assert labels[0] != labels[1]


def test_a_container_works_as_without_selinux(estiva: Any) -> None:
    script = "echo x > /new; cat /new; echo y > /dev/shm/f; cat /dev/shm/f; id -u; mkdir /tmp/d; ls /tmp; : > /dev/null"
    assert seen(estiva, "busybox", "sh", "-c", script).split() == ["x", "y", "0", "d"]
    assert seen(estiva, "-v", "data:/data", "busybox", "sh", "-c", "echo v > /data/f; cat /data/f") == "v"
    assert seen(estiva, "-v", "data:/data", "busybox", "cat", "/data/f") == "v"


def test_a_users_files_are_out_of_reach_until_they_are_relabelled(estiva: Any) -> None:
    (estiva.work / "dir").mkdir()
    (estiva.work / "dir/file").write_text("secret")
    place = str(estiva.work / "dir")
    before = label_of(estiva.work / "dir/file")
    refused(estiva, "-v", f"{place}:/m", "busybox", "cat", "/m/file")
    assert label_of(estiva.work / "dir/file") == before
    assert seen(estiva, "-v", f"{place}:/m:z", "busybox", "cat", "/m/file") == "secret"
    assert label_of(estiva.work / "dir/file") == "system_u:object_r:container_file_t:s0"
    assert seen(estiva, "-v", f"{place}:/m", "busybox", "cat", "/m/file") == "secret"


def test_private_files_are_of_one_container_alone(estiva: Any) -> None:
    (estiva.work / "dir").mkdir()
    (estiva.work / "dir/file").write_text("mine")
    place = str(estiva.work / "dir")
    estiva.run("run", "-d", "--name", "a", "--network", "none", "-v", f"{place}:/m:Z", "busybox", "sleep", "100")
    assert estiva.out("exec", "a", "cat", "/m/file") == "mine"
    level = estiva.json("inspect", "a")[0]["ProcessLabel"].split(":", 3)[3]
    assert label_of(estiva.work / "dir/file") == f"system_u:object_r:container_file_t:{level}"
    refused(estiva, "-v", f"{place}:/m", "busybox", "cat", "/m/file")
    same = ["--security-opt", f"label=level:{level}", "-v", f"{place}:/m"]
    assert seen(estiva, *same, "busybox", "cat", "/m/file") == "mine"


def test_one_container_cannot_read_anothers_files(estiva: Any) -> None:
    write = "echo x > /file; sleep 100"
    name = estiva.out("run", "-d", "--name", "a", "--network", "none", "busybox", "sh", "-c", write)
    full = estiva.json("inspect", name)[0]
    upper = f"{estiva.root}/containers/{full['Id']}/upper"
    estiva.run("exec", "a", "sh", "-c", "until test -s /file; do sleep 1; done")
    refused(estiva, "-v", f"{upper}:/m", "busybox", "cat", "/m/file")
    level = full["ProcessLabel"].split(":", 3)[3]
    same = ["--security-opt", f"label=level:{level}", "-v", f"{upper}:/m"]
    assert seen(estiva, *same, "busybox", "cat", "/m/file") == "x"


def test_labels_can_be_turned_off_and_chosen(estiva: Any) -> None:
    (estiva.work / "file").write_text("open")
    place = str(estiva.work)
    off = ["--security-opt", "label=disable"]
    assert seen(estiva, *off, "-v", f"{place}:/m", "busybox", "cat", "/m/file") == "open"
    assert "container_t" not in seen(estiva, *off, "busybox", "cat", "/proc/self/attr/current")
    chosen = ["--security-opt", "label=level:s0:c7,c8"]
    label = seen(estiva, *chosen, "busybox", "cat", "/proc/self/attr/current").strip("\0")
    assert label == "system_u:system_r:container_t:s0:c7,c8"
    unknown = ["--network", "none", "--security-opt", "label=type:nobody_has_this_t"]
    assert estiva.run("run", "--rm", *unknown, "busybox", "true", check=False).returncode in (125, 126)
