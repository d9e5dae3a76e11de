"""User namespaces as people ask for them: what is mapped, whose the files are, seen from inside and from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from helpers import kernel

FIRST, COUNT = 700_000_000, 20_000  # the ids of the user "containers" here


@contextmanager
def lines_in_etc(line: str, *files: str) -> Iterator[None]:
    """A line more in files of the session's own /etc."""
    before = {file: Path(f"/etc/{file}").read_text() for file in files}
    for file, text in before.items():
        Path(f"/etc/{file}").write_text(f"{text.rstrip()}\n{line}\n".lstrip())
    try:
        yield
    finally:
        for file, text in before.items():
            Path(f"/etc/{file}").write_text(text)


@pytest.fixture
def automatic(estiva: Any) -> Iterator[Any]:
    """The command line with an image, and ids for --userns auto."""
    estiva.load()
    if estiva.rootless:
        yield estiva
        return
    with lines_in_etc(f"containers:{FIRST}:{COUNT}", "subuid", "subgid"):
        yield estiva


def sh(estiva: Any, script: str, *options: str, **how: Any) -> str:
    return str(estiva.out("run", "--rm", "--network", "none", *options, "busybox", "sh", "-c", script, **how))


def maps(text: str) -> list[str]:
    """uid_map or gid_map as the options spell it."""
    return [":".join(line.split()) for line in text.splitlines()]


MAP = "cat /proc/self/uid_map"
LOOK = "stat -c '%u %g' /bin/busybox; touch /new; stat -c '%u %g' /new"


def test_automatic_ids_are_nobody_elses(automatic: Any) -> None:
    first = 1 if automatic.rootless else FIRST
    assert maps(sh(automatic, MAP, "--userns", "auto")) == [f"0:{first}:2001"]  # the image has a user 2000
    assert maps(sh(automatic, MAP, "--userns", "auto", "--user", "3000")) == [f"0:{first}:3001"]
    automatic.run("create", "--name", "a", "--userns", "auto:size=3000", "busybox", "true")
    automatic.run("create", "--name", "b", "--userns", "auto:size=2000", "busybox", "true")
    assert maps(sh(automatic, MAP, "--userns", "auto:size=10")) == [f"0:{first + 5000}:10"]
    automatic.run("rm", "a")
    assert maps(sh(automatic, MAP, "--userns", "auto:size=2500")) == [f"0:{first}:2500"]
    assert sh(automatic, LOOK, "--userns", "auto").split("\n") == ["0 0", "0 0"]


def test_commands_at_the_same_moment_get_different_ids(automatic: Any) -> None:
    names = [f"c{number}" for number in range(8)]
    started = [
        automatic.popen("create", "--name", name, "--userns", "auto:size=500", "busybox", "true",
                        stdout=subprocess.DEVNULL)
        for name in names
    ]  # fmt: skip
    assert [process.wait(60) for process in started] == [0] * len(names)
    found = [automatic.json("inspect", name)[0]["HostConfig"]["IDMappings"] for name in names]
    for kind in ("UidMap", "GidMap"):
        spans = sorted(tuple(map(int, entry.split(":")))[1:] for each in found for entry in each[kind])
        assert len(spans) == len(names)
        assert all(first + size <= following for (first, size), (following, _) in pairwise(spans))


def test_when_ids_run_out_that_is_said(automatic: Any) -> None:
    automatic.run("create", "--name", "a", "--userns", "auto:size=15000", "busybox", "true")
    size = 60000 if automatic.rootless else 6000
    said = automatic.fails(125, "create", "--userns", f"auto:size={size}", "busybox", "true")
    assert "could not find enough available IDs" in said
    assert automatic.out("ps", "-aq", "--no-trunc").count("\n") == 0


@pytest.mark.needs_root
def test_roots_automatic_ids_need_a_user_containers(estiva_root: Any) -> None:
    estiva_root.load()
    assert 'user "containers"' in estiva_root.fails(125, "run", "--rm", "--userns", "auto", "busybox", "true")


def test_automatic_ids_with_maps_that_are_asked_for(automatic: Any) -> None:
    asked = "1" if automatic.rootless else "5000"
    found = maps(sh(automatic, MAP, "--userns", f"auto:size=100,uidmapping=50:{asked}:1,gidmapping=7:{asked}"))
    first = 2 if automatic.rootless else FIRST
    assert found == [f"0:{first}:50", f"50:{asked}:1", f"51:{first + 50}:49"]


@pytest.mark.parametrize(
    ("options", "uids", "gids"),
    [
        (["--uidmap", "0:1:1000"], ["0:1:1000"], ["0:1:1000"]),
        (["--gidmap", "0:1:500:500:1001:5"], ["0:1:500", "500:1001:5"], ["0:1:500", "500:1001:5"]),
        (["--uidmap", "0:1:10", "--uidmap", "10:11:5", "--gidmap", "0:1:7"], ["0:1:15"], ["0:1:7"]),
        (["--uidmap", "0:1:100", "--uidmap", "+50:5000"], ["0:1:50", "50:5000:1", "51:52:49"],
         ["0:1:50", "50:5000:1", "51:52:49"]),
        (["--uidmap", "u0:1:20", "--gidmap", "g0:3:30"], ["0:1:20"], ["0:3:30"]),
    ],
)  # fmt: skip
def test_maps_by_hand(estiva: Any, options: list[str], uids: list[str], gids: list[str]) -> None:
    estiva.load()
    assert maps(sh(estiva, MAP, *options)) == uids
    assert maps(sh(estiva, "cat /proc/self/gid_map", *options)) == gids


def test_a_users_maps_are_filled_and_name_ids_of_the_host(estiva_user: Any) -> None:
    estiva_user.load()
    me = estiva_user.account.uid
    filled = [f"0:1:{me}", f"{me}:0:1", f"{me + 1}:{me + 1}:{65536 - me}"]
    assert maps(sh(estiva_user, MAP, "--uidmap", f"+{me}:@{me}")) == filled
    assert maps(sh(estiva_user, MAP, "--userns", "keep-id")) == filled
    only_users = ["--uidmap", f"u{me}:@{me}", "--uidmap", "u0:1:10"]
    assert maps(sh(estiva_user, "cat /proc/self/gid_map", *only_users)) == ["0:0:1", "1:1:65536"]
    assert "not among those given" in estiva_user.fails(125, "run", "--rm", "--uidmap", "0:@5", "busybox", "true")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--userns", "private"], "no map is given"),
        (["--userns", "odd"], "unknown mode"),
        (["--userns", "keep-id", "--uidmap", "0:1:1"], "cannot be combined"),
        (["--uidmap", "0:1:10", "--uidmap", "5:100:10"], "overlap"),
        (["--uidmap", "x"], "not a map"),
        (["--subuidname", "nobody-at-all"], "has no ids in /etc/subuid"),
        (["--userns", "container:none"], "no container"),
        (["--userns", "ns:/none"], "no such file"),
        (["--group-add", "keep-groups", "--group-add", "5"], "not allowed with any other"),
    ],
)
def test_what_makes_no_sense_is_refused(estiva: Any, options: list[str], said: str) -> None:
    estiva.load()
    assert said in estiva.fails(125, "run", "--rm", *options, "busybox", "true")
    assert estiva.out("ps", "-aq") == ""


def test_ids_by_a_name_in_the_files(estiva: Any) -> None:
    estiva.load()
    if estiva.rootless:
        assert maps(sh(estiva, MAP, "--subuidname", estiva.account.name)) == ["0:1:65536"]
        return
    with lines_in_etc(f"tom:{FIRST}:500\ntom:{FIRST + 9000}:5", "subuid", "subgid"):
        assert maps(sh(estiva, MAP, "--subuidname", "tom")) == [f"0:{FIRST}:500", f"500:{FIRST + 9000}:5"]


def test_the_default_comes_from_the_environment_and_the_configuration(estiva_user: Any) -> None:
    estiva_user.load()
    me = str(estiva_user.account.uid)
    assert sh(estiva_user, "id -u", env={"PODMAN_USERNS": "keep-id"}) == me
    assert sh(estiva_user, "id -u", "--userns", "", env={"PODMAN_USERNS": "keep-id"}) == "0"
    (estiva_user.base / "containers.conf").write_text('[containers]\nuserns = "keep-id"\n')
    assert sh(estiva_user, "id -u") == me
    assert sh(estiva_user, "id -u", "--userns", "host") == "0"
    assert sh(estiva_user, "id -u", env={"PODMAN_USERNS": "host"}) == "0"


@contextmanager
def short_directory(account: Any) -> Iterator[str]:
    path = f"/tmp/p{os.getpid()}"
    os.mkdir(path, 0o700)
    os.chown(path, account.uid, account.gid)
    try:
        yield path
    finally:
        pause = account.runtime_dir / "libpod/tmp/pause.pid"  # it keeps the user's namespace, as ours does
        if pause.exists():
            os.kill(int(pause.read_text()), signal.SIGKILL)
            pause.unlink()
        kernel.remove_tree(Path(path))


# podman's own words for the same things
PODMAN = [["--userns", "keep-id"], ["--userns", "nomap"], ["--userns", "keep-id:uid=5,gid=6"],
          ["--uidmap", "0:1:1000"], ["--uidmap", "0:0:1", "--uidmap", "1:5:20", "--gidmap", "0:3:9"]]  # fmt: skip


@pytest.mark.skipif(not shutil.which("podman") or not shutil.which("runc"), reason="needs podman and runc")
@pytest.mark.parametrize("options", PODMAN, ids=" ".join)
def test_podman_makes_the_same_maps(estiva_user: Any, options: list[str]) -> None:
    estiva_user.load()
    ours = [maps(sh(estiva_user, f"cat /proc/self/{kind}_map", *options)) for kind in ("uid", "gid")]
    estiva_user.base.chmod(0o755)
    rootfs = estiva_user.base / "podman-rootfs"
    for name in ("bin", "proc", "dev", "sys", "etc", "run/secrets", "tmp"):
        (rootfs / name).mkdir(parents=True)
    for name in ("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/passwd", "etc/group", "run/.containerenv"):
        (rootfs / name).touch()
    shutil.copy("/bin/busybox", rootfs / "bin" / "busybox")
    for path in (rootfs, *rootfs.rglob("*")):
        path.chmod(0o777)
    with short_directory(estiva_user.account) as run_root:  # podman takes 50 characters at most
        store = ["--root", f"{estiva_user.base}/podman", "--runroot", run_root, "--runtime", "runc",
                 "--cgroup-manager", "cgroupfs", "--storage-driver", "vfs"]  # fmt: skip
        run = ["run", "--rm", "--network", "none", *options, "--user", "0", "--rootfs"]
        theirs = []
        for kind in ("uid", "gid"):
            words = ["podman", *store, *run, str(rootfs), "/bin/busybox", "cat", f"/proc/self/{kind}_map"]
            done = estiva_user.account.run(words)
            assert done.returncode == 0, done.stderr
            theirs.append(maps(done.stdout))
    assert ours == theirs
