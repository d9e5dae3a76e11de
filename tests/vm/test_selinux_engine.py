"""What the engine chooses under SELinux, enforcing: scripts/test-vm --selinux tests/vm/test_selinux_engine.py"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.skipif(not Path("/sys/fs/selinux/enforce").exists(), reason="needs SELinux: scripts/test-vm --selinux"),
]


@pytest.fixture
def estiva(estiva_root: Any) -> Any:
    estiva_root.load()
    return estiva_root


def inspect(estiva: Any, name: str) -> tuple[str, str]:
    found = estiva.json("inspect", name)[0]
    return found["ProcessLabel"], found["MountLabel"]


def label_of(path: Path) -> str:
    return os.getxattr(path, "security.selinux", follow_symlinks=False).rstrip(b"\0").decode()


def test_levels_are_unique_among_containers_that_exist(estiva: Any) -> None:
    names = [f"c{number}" for number in range(6)]
    started = [estiva.popen("create", "--name", name, "busybox", "true") for name in names]
    assert [process.wait(120) for process in started] == [0] * len(names)
    levels = {inspect(estiva, name)[0].split(":", 3)[3] for name in names}
    assert len(levels) == len(names)


def test_containers_that_share_processes_or_memory_share_the_label(estiva: Any) -> None:
    first = ("--name", "one", "--network", "none", "--ipc", "shareable")
    estiva.run("run", "-d", *first, "busybox", "sh", "-c", "echo hi > /dev/shm/f; sleep 100")
    for option in ("--pid", "--ipc"):
        estiva.run("create", "--name", "two", option, "container:one", "busybox", "true")
        assert inspect(estiva, "two") == inspect(estiva, "one")
        estiva.run("rm", "two")
    script = "until cat /dev/shm/f; do sleep 1; done"
    assert (
        estiva.out("run", "--rm", "--network", "none", "--ipc", "container:one", "busybox", "sh", "-c", script) == "hi"
    )


def test_who_sees_the_hosts_processes_or_is_privileged_is_not_held_back(estiva: Any) -> None:
    for options in (["--pid", "host"], ["--ipc", "host"], ["--privileged"], ["--security-opt", "label=disable"]):
        estiva.run("create", "--name", "c", *options, "busybox", "true")
        process, mount = inspect(estiva, "c")
        assert process == ""
        assert mount.endswith(":s0:c1022,c1023")
        estiva.run("rm", "c")
    (estiva.base / "containers.conf").write_text("[containers]\nlabel = false\n")
    estiva.run("create", "--name", "c", "busybox", "true")
    assert inspect(estiva, "c") == ("", "")


def test_parts_of_the_system_keep_their_labels(estiva: Any) -> None:
    for path in ("/etc", "/usr", "/var", "/home"):
        before = label_of(Path(path))
        assert "not allowed" in estiva.fails(125, "run", "--rm", "-v", f"{path}:/m:Z", "busybox", "true")
        assert label_of(Path(path)) == before
    assert estiva.out("ps", "-aq") == ""


def test_new_volumes_are_for_every_container(estiva: Any) -> None:
    write = "echo x > /v/f; mkdir /v/d"
    estiva.run("run", "--rm", "--network", "none", "-v", "data:/v", "busybox", "sh", "-c", write)
    assert label_of(estiva.root / "volumes/data/_data").endswith(":container_file_t:s0")
    assert estiva.out("run", "--rm", "--network", "none", "-v", "data:/v", "busybox", "cat", "/v/f") == "x"


def test_files_of_a_container_with_mapped_ids_are_labelled(estiva: Any) -> None:
    script = "echo x > /new; cat /new /etc/hosts > /dev/null; stat -c %u /new"
    mapped = ("--uidmap", "0:200000:5000")
    assert estiva.out("run", "--rm", "--network", "none", *mapped, "busybox", "sh", "-c", script) == "0"


def test_nested_containers_see_selinux(estiva: Any) -> None:
    # that its files may be read, too, is up to the policy: Debian's does not let containers
    script = "grep -q ' - selinuxfs ' /proc/self/mountinfo && echo there"
    look = ("--network", "none", "busybox", "sh", "-c", script)
    assert "there" in estiva.out("run", "--rm", "--security-opt", "label=nested", *look, check=False)
    assert "there" not in estiva.out("run", "--rm", *look, check=False)
