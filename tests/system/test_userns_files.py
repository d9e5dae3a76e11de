"""Whose files are whose where containers map ids: from inside and from outside."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

OUTER = 200_000


def sh(estiva: Any, script: str, *options: str, image: str = "busybox", **how: Any) -> str:
    return str(estiva.out("run", "--rm", "--network", "none", *options, image, "sh", "-c", script, **how))


def maps(estiva: Any) -> list[str]:
    """The options of a container whose root is nobody here."""
    return ["--uidmap", f"0:{1 if estiva.rootless else OUTER}:5000"]


def outside(estiva: Any, ctr_id: int) -> int:
    """The machine's id of the container's *ctr_id*, for :func:`maps`."""
    if not estiva.rootless:
        return OUTER + ctr_id
    name = estiva.account.name
    lines = [line.split(":") for line in Path("/etc/subuid").read_text().splitlines()]
    return next(int(first) for who, first, _ in lines if who == name) + ctr_id


def owners(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def directory(estiva: Any, name: str = "data") -> Path:
    path = Path(estiva.work / name)
    path.mkdir()
    os.chown(path, estiva.account.uid, estiva.account.gid)
    return path


def test_what_a_container_writes_belongs_to_its_ids(estiva: Any) -> None:
    estiva.load()
    script = "touch /new; chown 33:44 /new; touch /bin/x; stat -c '%u %g' /new /bin/busybox /bin"
    estiva.run("run", "--name", "c", "--network", "none", *maps(estiva), "busybox", "sh", "-c", script)
    assert estiva.out("logs", "c").split("\n") == ["33 44", "0 0", "0 0"]
    upper = estiva.root / "containers" / estiva.json("inspect", "c")[0]["Id"] / "upper"
    assert owners(upper / "new") == (outside(estiva, 33), outside(estiva, 44))
    assert owners(upper / "bin" / "x") == (outside(estiva, 0), outside(estiva, 0))
    assert estiva.out("start", "-a", "c").split("\n") == ["33 44", "0 0", "0 0"]


def test_a_volume_given_by_u_is_the_containers(estiva: Any) -> None:
    estiva.load()
    path = directory(estiva)
    (path / "file").write_text("x")
    (path / "link").symlink_to("/etc/passwd")
    for name in ("file", "link"):
        os.chown(path / name, estiva.account.uid, estiva.account.gid, follow_symlinks=False)
    script = "stat -c %u /m /m/file; echo y >> /m/file"
    assert sh(estiva, script, *maps(estiva), "-v", f"{path}:/m:U", "-u", "7:8").split() == ["7", "7"]
    assert owners(path / "file") == owners(path / "link") == (outside(estiva, 7), outside(estiva, 8))
    assert owners(Path("/etc/passwd")) == (0, 0)


def test_new_named_volumes_are_the_users(estiva: Any) -> None:
    estiva.load()
    script = "stat -c %u /v; touch /v/x; stat -c %u /v/x"
    assert sh(estiva, script, *maps(estiva), "-v", "data:/v", "-u", "9").split() == ["9", "9"]
    assert owners(estiva.root / "volumes/data/_data")[0] == outside(estiva, 9)


@pytest.mark.needs_root
def test_idmapped_volumes_show_every_container_its_own_ids(estiva_root: Any) -> None:
    estiva_root.load()
    path = directory(estiva_root)
    (path / "file").write_text("x")
    os.chown(path / "file", 5, 6)
    for options in (["--uidmap", "0:200000:5000"], ["--uidmap", "0:300000:5000"]):
        script = "stat -c '%u %g' /m /m/file; touch /m/$$; stat -c %u /m/$$; rm /m/$$"
        assert sh(estiva_root, script, *options, "-v", f"{path}:/m:idmap").split("\n") == ["0 0", "5 6", "0"]
        mount = f"type=bind,src={path},dst=/m,idmap"
        assert sh(estiva_root, "stat -c '%u %g' /m/file", *options, "--mount", mount) == "5 6"
    shown = sh(estiva_root, "stat -c '%u %g' /m/file", "-v", f"{path}:/m:idmap=uids=5-1000-1;gids=6-2000-1")
    assert shown == "1000 2000"
    relative = f"{path}:/m:idmap=uids=@5-77-1;gids=@6-88-1"
    assert sh(estiva_root, "stat -c '%u %g' /m/file", "--uidmap", "0:200000:5000", "-v", relative) == "77 88"
    assert owners(path / "file") == (5, 6)
    named = sh(estiva_root, "touch /v/x; stat -c %u /v/x", "--uidmap", "0:200000:5000", "-v", "vol:/v:idmap")
    assert named == "0"
    assert owners(estiva_root.root / "volumes/vol/_data/x")[0] == 0


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("idmap", "no user namespace"),
        ("idmap=uids=1-2", "no map"),
        ("idmap=odd=0-0-1", "unknown part"),
        ("idmap=uids=0-0-1", "both uids and gids"),
        ("idmap,O", "cannot be combined"),
        ("idmap=uids=@0-5-1;gids=0-0-1", "could not find a user namespace mapping"),
    ],
)
def test_idmaps_that_make_no_sense(estiva: Any, word: str, said: str) -> None:
    estiva.load()
    path = directory(estiva)
    assert said in estiva.fails(125, "run", "--rm", "-v", f"{path}:/m:{word}", "busybox", "true")
    assert estiva.out("ps", "-aq") == ""


def test_a_user_cannot_map_a_file_system_of_the_machine(estiva_user: Any) -> None:
    estiva_user.load()
    path = directory(estiva_user)
    said = estiva_user.fails(125, "run", "--rm", "--userns", "keep-id", "-v", f"{path}:/m:idmap", "busybox", "true")
    assert "map the ids of a file system that does not allow it" in said


@pytest.mark.needs_root
def test_a_directory_as_root_file_system_with_mapped_ids(estiva_root: Any) -> None:
    rootfs = directory(estiva_root, "rootfs")
    for name in ("bin", "proc", "dev", "sys", "etc", "run", "tmp"):
        (rootfs / name).mkdir()
    subprocess.run(["cp", "/bin/busybox", rootfs / "bin"], check=True)
    os.symlink("busybox", rootfs / "bin/sh")
    script = "/bin/busybox stat -c %u /bin/busybox; /bin/busybox touch /made; /bin/busybox stat -c %u /made"
    mapped = ["--rootfs", "--uidmap", "0:200000:5000"]
    assert sh(estiva_root, script, *mapped, image=f"{rootfs}:idmap").split() == ["0", "0"]
    assert owners(rootfs / "made") == (0, 0)
    (rootfs / "made").unlink()
    assert sh(estiva_root, script, "--rootfs", image=f"{rootfs}:O").split() == ["0", "0"]
    assert not (rootfs / "made").exists()
    custom = f"{rootfs}:idmap=uids=0-7-1;gids=0-7-1"
    assert sh(estiva_root, "/bin/busybox stat -c %u /bin/busybox", "--rootfs", image=custom) == "7"
    assert "no user namespace" in estiva_root.fails(125, "run", "--rm", "--rootfs", f"{rootfs}:idmap", "/bin/sh")


def test_a_container_in_anothers_namespace_shares_its_ids_and_files(estiva: Any) -> None:
    estiva.load()
    estiva.run("run", "-d", "--name", "one", "--network", "none", *maps(estiva), "busybox", "sleep", "60")
    look = (
        "readlink /proc/self/ns/user; tr -s ' ' < /proc/self/uid_map; stat -c %u /bin/busybox; touch /x; stat -c %u /x"
    )
    first = estiva.out("exec", "one", "sh", "-c", look)
    assert first.split("\n")[2:] == ["0", "0"]
    assert sh(estiva, look, "--userns", "container:one") == first
    pid = estiva.json("inspect", "one")[0]["State"]["Pid"]
    if not estiva.rootless:
        assert sh(estiva, look, "--userns", f"ns:/proc/{pid}/ns/user") == first
    estiva.run("rm", "-f", "-t", "0", "one")


def test_keep_id_gives_the_user_a_name(estiva_user: Any) -> None:
    estiva_user.load()
    account = estiva_user.account
    line = f"{account.name}:*:{account.uid}:{account.gid}:test user:/tmp:/bin/sh"
    script = "id -un; tail -n1 /etc/passwd; tail -n1 /etc/group; echo $HOME; echo more >> /etc/passwd || echo no"
    estiva_user.run("create", "--name", "c", "--network", "none", "--userns", "keep-id", "-w", "/tmp", "busybox", "sh",
                    "-c", script)  # fmt: skip
    for _ in range(2):
        seen = estiva_user.out("start", "-a", "c", check=False).split("\n")
        assert seen[:4] == [account.name, line, f"{account.name}:x:{account.gid}:{account.name}", "/tmp"]
    fixed = sh(estiva_user, "tail -n1 /etc/passwd; echo $HOME", "--userns", "keep-id:uid=4321,gid=77")
    assert fixed.split("\n") == ["4321:*:4321:77:container user:/:/bin/sh", "/"]
    home = directory(estiva_user, "home")
    assert sh(estiva_user, "echo $HOME", "--userns", "keep-id", "-v", f"{home}:{account.home}") == str(account.home)


def test_a_number_without_a_name_gets_one_and_the_images_users_stay(estiva: Any) -> None:
    estiva.load()
    assert sh(estiva, "tail -n1 /etc/passwd", "-u", "4321:77") == "4321:*:4321:77:container user:/:/bin/sh"
    assert sh(estiva, "tail -n1 /etc/passwd", "-u", "4321", "--read-only") == "4321:*:4321:0:container user:/:/bin/sh"
    assert "container user" not in sh(estiva, "cat /etc/passwd", "-u", "1000")
    mine = Path(estiva.work / "passwd")
    mine.write_text("root:x:0:0::/:/bin/sh\n")
    mine.chmod(0o666)
    assert sh(estiva, "cat /etc/passwd", "-u", "4321", "-v", f"{mine}:/etc/passwd") == mine.read_text().rstrip()
    assert mine.read_text() == "root:x:0:0::/:/bin/sh\n"


def test_groups_of_the_caller_can_be_kept(estiva_user: Any) -> None:
    estiva_user.load()
    path = directory(estiva_user, "shared")
    os.chown(path, 0, 54321)
    path.chmod(0o770)
    command = estiva_user.argv("run", "--rm", "--network", "none", "-v", f"{path}:/m", "--group-add", "keep-groups",
                               "busybox", "touch", "/m/x")  # fmt: skip
    account = estiva_user.account
    for groups, code in (([54321], 0), ([], 1)):
        identity = {"user": account.uid, "group": account.gid, "extra_groups": groups}
        done = subprocess.run(
            command, env=estiva_user.env, cwd=estiva_user.work, capture_output=True, check=False, **identity
        )
        assert done.returncode == code, done.stderr
    command[-5] = "--user=0:0"
    for mode in ("keep-id", "nomap"):
        words = [*command[:-5], "--userns", mode, "--group-add", "keep-groups", "busybox", "ls", "/m"]
        identity = {"user": account.uid, "group": account.gid, "extra_groups": [54321]}
        assert subprocess.run(words, env=estiva_user.env, cwd=estiva_user.work, check=False, **identity).returncode == 0


def test_the_second_container_with_the_same_ids_costs_no_copy(estiva_user: Any) -> None:
    estiva_user.load()
    copies = estiva_user.root / "shifted"

    def trees() -> list[str]:
        return sorted(path.name for path in copies.iterdir() if "." not in path.name)

    half = copies / f"{'ab' * 12}-{'cd' * 12}.new"  # as a command leaves it that was killed
    half.mkdir(parents=True)
    for path in (copies, half):
        os.chown(path, estiva_user.account.uid, estiva_user.account.gid)
    sh(estiva_user, "true", "--userns", "keep-id")
    assert not half.exists()
    (first,) = trees()
    made = (copies / first).stat().st_ino
    assert (
        sh(
            estiva_user,
            "stat -c %u /bin/busybox; echo x > /bin/busybox.new; rm /bin/ls",
            "--userns",
            "keep-id:uid=0,gid=0",
        )
        == "0"
    )
    sh(
        estiva_user,
        "test -e /bin/busybox && ! test -e /bin/busybox.new && test -e /bin/ls",
        "--userns",
        "keep-id",
        "-u",
        "0",
    )
    assert len(trees()) == 2
    assert (copies / first).stat().st_ino == made
    estiva_user.run("create", "--name", "c", "--userns", "keep-id", "busybox", "true")
    for number in range(10, 17):
        sh(estiva_user, "true", "--userns", f"keep-id:uid={number}")
        time.sleep(0.01)
    assert first in trees()  # a container has it
    assert len(trees()) <= 6
    estiva_user.run("rm", "c")
    estiva_user.run("rmi", "busybox")
    assert list(copies.iterdir()) == []


def test_commands_at_the_same_moment_make_one_copy(estiva_user: Any) -> None:
    estiva_user.load()
    words = ("run", "--rm", "--network", "none", "--userns", "nomap", "busybox", "stat", "-c", "%u", "/bin/busybox")
    started = [estiva_user.popen(*words, stdout=subprocess.PIPE) for _ in range(4)]
    assert [process.communicate(timeout=60)[0] for process in started] == ["0\n"] * 4
    assert len([path for path in (estiva_user.root / "shifted").iterdir() if path.is_dir()]) == 1


def test_capabilities_and_set_user_id_survive_the_copy(estiva_user: Any, make_layer_with_capability: str) -> None:
    name = make_layer_with_capability
    script = "stat -c '%a %u' /suid; /caps/grep CapPrm /proc/self/status | cut -f2"
    assert sh(estiva_user, script, "--userns", "nomap", "-u", "5", image=name).split("\n") == [
        "4755 0",
        "0000000000000400",
    ]


@pytest.fixture
def make_layer_with_capability(estiva_user: Any) -> str:
    """An image with a set-user-id file and one with a capability (net_bind_service)."""
    from helpers.images import busybox_image

    estiva_user.load(busybox_image())
    value = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    tree = estiva_user.base / "tree"
    for name in ("bin", "caps"):
        (tree / name).mkdir(parents=True)
    for name in ("bin/busybox", "suid", "caps/grep"):
        subprocess.run(["cp", "/bin/busybox", tree / name], check=True)
    (tree / "suid").chmod(0o4755)
    os.setxattr(tree / "caps/grep", "security.capability", value)
    for name in ("sh", "stat", "grep", "cut", "od"):
        (tree / "bin" / name).symlink_to("busybox")
    archive = estiva_user.base / "tree.tar"
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-cf", archive, "-C", tree, "."], check=True)
    os.chown(archive, estiva_user.account.uid, estiva_user.account.gid)
    estiva_user.run("import", archive, "localhost/capable")
    archive.unlink()
    return "localhost/capable"
