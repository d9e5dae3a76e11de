"""Device nodes of config-linux.md: the default ones, those asked for, and what may be in their place."""

from __future__ import annotations

import os
import stat

import pytest

from estiva.errors import EstivaError, Invalid

pytestmark = pytest.mark.needs_root

LOOK = "stat -c '%n %F %t:%T %a %u:%g'"


def ask(box, *devices):
    box.spec["linux"]["devices"] = list(devices)


def null(path, **more):
    return {"path": path, "type": "c", "major": 1, "minor": 3, **more}


def test_the_default_devices_and_links_are_there(box):
    out = box.shell(
        f"cd /dev; {LOOK} null zero full random urandom tty; "
        "for link in fd stdin stdout stderr ptmx; do readlink $link; done; ls pts"
    )
    lines = out.splitlines()
    numbers = ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"]
    names = ["null", "zero", "full", "random", "urandom", "tty"]
    assert lines[:6] == [
        f"{name} character special file {number} 666 0:0" for name, number in zip(names, numbers, strict=True)
    ]
    assert lines[6:] == ["/proc/self/fd", *(f"/proc/self/fd/{n}" for n in range(3)), "pts/ptmx", "ptmx"]


def test_devices_of_every_type_with_their_mode_and_owner(box):
    ask(
        box,
        {"path": "/dev/one", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8},
        {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3},
        {"path": "/dev/disk", "type": "b", "major": 259, "minor": 1048575 - 5, "fileMode": 0o600},
        {"path": "/run/deep/pipe", "type": "p", "fileMode": 0o622, "uid": 5, "gid": 6},
        {"path": "/opt/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o4755},
    )
    out = box.shell(f"{LOOK} /dev/one /dev/unbuffered /dev/disk /run/deep/pipe /opt/null")
    assert out.splitlines() == [
        "/dev/one character special file a:e5 640 7:8",
        "/dev/unbuffered character special file 1:3 666 0:0",
        "/dev/disk block special file 103:ffffa 600 0:0",
        "/run/deep/pipe fifo 0:0 622 5:6",
        "/opt/null character special file 1:3 4755 0:0",
    ]


def test_a_default_device_can_be_given_another_mode(box):
    ask(box, null("/dev/null", fileMode=0o600, uid=3, gid=4))
    assert box.shell(f"{LOOK} /dev/null") == "/dev/null character special file 1:3 600 3:4\n"


def test_the_same_device_that_is_there_keeps_its_place(box):
    os.mkdir(box.base / "upper/opt")
    os.mknod(box.base / "upper/opt/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mkfifo(box.base / "upper/opt/pipe")
    ask(box, null("/opt/null", fileMode=0o644), {"path": "/opt/pipe", "type": "p"})
    assert box.shell(f"{LOOK} /opt/null /opt/pipe").splitlines() == [
        "/opt/null character special file 1:3 644 0:0", "/opt/pipe fifo 0:0 666 0:0",
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["file", "directory", "link", "other device", "block device", "pipe"])
def test_anything_else_in_its_place_is_refused_and_untouched(box, what, tmp_path):
    place = box.base / "upper/opt/null"
    place.parent.mkdir()
    if what == "file":
        place.write_text("mine")
    elif what == "directory":
        place.mkdir()
    elif what == "link":
        place.symlink_to("/dev/null")
    elif what == "pipe":
        os.mkfifo(place)
    else:
        kind = stat.S_IFBLK if what == "block device" else stat.S_IFCHR
        os.mknod(place, kind | 0o600, os.makedev(1, 3 if kind == stat.S_IFBLK else 5))
    before = place.lstat()
    ask(box, null("/opt/null"))
    with pytest.raises(EstivaError, match="something else is in the place of device /opt/null"):
        box.run("true")
    assert place.lstat() == before


def test_the_path_of_a_device_is_resolved_inside_the_root(box, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (box.base / "upper/out").symlink_to(f"../../../../../../../..{outside}")
    (box.base / "upper/in").symlink_to("/srv/made")
    ask(box, null("/in/null"))
    with pytest.raises(EstivaError, match="device /in/null: no such file or directory"):
        box.run("true")  # a dangling link is not followed to make directories
    (box.base / "work2").mkdir()
    box.around.rootfs.workdir = str(box.base / "work2")
    (box.base / "upper/srv/made").mkdir(parents=True)
    assert box.shell(f"{LOOK} /srv/made/null").startswith("/srv/made/null character special file 1:3")
    (box.base / "work3").mkdir()
    box.around.rootfs.workdir = str(box.base / "work3")
    ask(box, null("/out/null"))
    with pytest.raises(EstivaError, match="/out/null"):
        box.run("true")
    assert list(outside.iterdir()) == []


def test_where_no_node_can_be_made_the_hosts_is_bound(box):
    box.around.bind_devices = True
    ask(box, {"path": "/dev/full", "type": "c", "major": 1, "minor": 7})
    assert "/dev/full character special file 1:7" in box.shell(f"{LOOK} /dev/full; grep -c ' /dev/full ' /proc/mounts")
    assert box.out.split()[-1] == b"1"


def test_a_device_of_the_host_that_is_another_one_is_not_bound(box):
    box.around.bind_devices = True
    ask(box, {"path": "/dev/full", "type": "c", "major": 10, "minor": 229})
    with pytest.raises(EstivaError, match="the host has another device at /dev/full"):
        box.run("true")


def test_in_a_user_namespace_devices_are_the_hosts(box):
    box.in_user_namespace()
    out = box.shell("echo x > /dev/null; head -c 3 /dev/zero | wc -c; echo y > /dev/full 2>/dev/null || echo full")
    assert out.split() == ["3", "full"]


def test_a_bound_dev_is_left_alone(box, tmp_path):
    (tmp_path / "dev").mkdir()
    box.spec["mounts"] = [mount for mount in box.spec["mounts"] if not mount["destination"].startswith("/dev")]
    source = str(tmp_path / "dev")
    box.spec["mounts"].append({"destination": "/dev", "type": "bind", "source": source, "options": ["rbind"]})
    ask(box, null("/dev/mine"), null("/opt/null"))
    assert "character special" in box.shell("ls /dev; stat -c %F /opt/null")
    assert list((tmp_path / "dev").iterdir()) == []


def test_without_a_mount_at_dev_the_devices_are_in_the_root_itself(box):
    box.spec["mounts"] = [mount for mount in box.spec["mounts"] if not mount["destination"].startswith("/dev")]
    assert box.shell("stat -c %F /dev/null; readlink /dev/ptmx").splitlines() == ["character special file", "pts/ptmx"]
    assert stat.S_ISCHR((box.base / "upper/dev/null").lstat().st_mode)


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ({"path": "dev/x", "type": "c"}, r"linux.devices\[0\].path: 'dev/x' is not an absolute path"),
        ({"path": "/dev/x", "type": "z"}, "linux.devices /dev/x: type 'z' is unknown"),
        ({"path": "/dev/x", "type": "c"}, "linux.devices /dev/x: major None is no device number"),
        ({"path": "/dev/x", "type": "b", "major": 4096, "minor": 0}, "major 4096 is no device number"),
        ({"path": "/dev/x", "type": "b", "major": 1, "minor": -1}, "minor -1 is no device number"),
    ],
)  # fmt: skip
def test_devices_that_make_no_sense(box, device, words):
    ask(box, device)
    with pytest.raises(Invalid, match=words):
        box.run("true")


def test_the_console_is_the_terminal_and_cannot_be_lead_elsewhere(box, tmp_path):
    box.spec["process"]["terminal"] = True
    out = box.shell(f"{LOOK} /dev/console; tty; echo to-console > /dev/console; test -t 0 && echo terminal")
    lines = out.replace("\r", "").splitlines()
    assert lines[0].startswith("/dev/console character special file 88:0")
    assert lines[1:] == ["/dev/pts/0", "to-console", "terminal"]
