"""Every mount option of config.md, as the container sees it."""

from __future__ import annotations

import os
import subprocess

import pytest

from estiva.errors import EstivaError, Invalid
from estiva.monitor.client import Attachment
from estiva.runtime.compile import compile_plan

pytestmark = pytest.mark.needs_root


@pytest.fixture
def tree(tmp_path):
    """A file system of the host with another mounted below it, with the usual options, whatever /tmp has."""
    top = tmp_path / "tree"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tree", top], check=True)
    (top / "below").mkdir()
    (top / "file").write_text("content\n")
    os.chmod(tmp_path, 0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "below", top / "below"], check=True)
    yield top
    subprocess.run(["umount", "-l", top], check=True)


def add(box, destination, kind="tmpfs", *options, source=None, **more):
    box.spec["mounts"].append(
        {"destination": destination, "type": kind, "source": str(source or kind), "options": list(options), **more}
    )


def options_at(box, *paths):
    """The options of the topmost mounts at *paths*: the mount's own, and the file system's."""
    found = {}
    for line in box.shell("cat /proc/self/mountinfo").splitlines():
        fields = line.split()
        dash = fields.index("-")
        found[fields[4]] = (set(fields[5].split(",")), set(fields[dash + 3].split(",")), fields[6:dash])
    return [found[path] for path in paths] if len(paths) > 1 else found[paths[0]]


@pytest.mark.parametrize(
    ("given", "seen", "not_seen"),
    [
        (["ro"], {"ro"}, {"rw"}),
        (["ro", "rw"], {"rw"}, {"ro"}),
        (["nosuid", "nodev", "noexec"], {"nosuid", "nodev", "noexec"}, set()),
        (["nosuid", "suid", "nodev", "dev", "noexec", "exec"], set(), {"nosuid", "nodev", "noexec"}),
        (["noatime"], {"noatime"}, {"relatime"}),
        (["noatime", "atime"], {"relatime"}, {"noatime"}),
        (["noatime", "relatime"], {"relatime"}, {"noatime"}),
        (["strictatime"], set(), {"relatime", "noatime"}),
        (["strictatime", "nostrictatime"], {"relatime"}, {"noatime"}),
        (["noatime", "norelatime"], {"relatime"}, {"noatime"}),
        (["nodiratime"], {"nodiratime"}, set()),
        (["nodiratime", "diratime"], set(), {"nodiratime"}),
        (["nosymfollow"], {"nosymfollow"}, set()),
        (["nosymfollow", "symfollow"], set(), {"nosymfollow"}),
        (["defaults", "silent", "loud", "iversion", "noiversion"], {"rw", "relatime"}, set()),
    ],
)
def test_attributes_of_a_new_mount_and_of_a_bind(box, tree, given, seen, not_seen):
    add(box, "/new", "tmpfs", *given)
    add(box, "/bound", "bind", "rbind", *given, source=tree)
    add(box, "/none", "none", "bind", *given, source=tree)
    for own, _, _ in options_at(box, "/new", "/bound", "/none"):
        assert seen <= own
        assert not not_seen & own


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
        ("rnodiratime", "nodiratime"),
        ("rnosymfollow", "nosymfollow"),
    ],
)
def test_recursive_attributes_hold_for_the_mounts_below_and_their_opposites_take_them_away(make_box, tree, given, seen):
    box = make_box()
    add(box, "/bound", "bind", "rbind", given, source=tree)
    add(box, "/plain", "bind", "rbind", seen, source=tree)
    top, below, plain, plain_below = options_at(box, "/bound", "/bound/below", "/plain", "/plain/below")
    assert seen in top[0] & below[0] & plain[0]
    assert seen not in plain_below[0]
    opposite = {"rro": "rrw"}.get(given) or (given.replace("rno", "r") if given != "rnoatime" else "rrelatime")
    subprocess.run(["mount", "-o", f"remount,bind,{seen}", tree / "below"], check=True)
    box = make_box()
    add(box, "/kept", "bind", "rbind", source=tree)
    add(box, "/bound", "bind", "rbind", opposite, source=tree)
    kept, below = options_at(box, "/kept/below", "/bound/below")
    assert seen in kept[0]
    assert seen not in below[0]


@pytest.mark.parametrize("word", ["rrelatime", "ratime", "rnorelatime", "rnostrictatime", "rstrictatime"])
def test_recursive_choices_of_the_access_time(box, tree, word):
    subprocess.run(["mount", "-o", "remount,bind,noatime", tree / "below"], check=True)
    add(box, "/bound", "bind", "rbind", word, source=tree)
    own, _, _ = options_at(box, "/bound/below")
    assert "noatime" not in own
    assert ("relatime" in own) == (word != "rstrictatime")


def test_a_source_that_is_read_only_is_not_made_writable_by_rw(box, tree):
    subprocess.run(["mount", "-o", "remount,bind,ro", tree / "below"], check=True)
    add(box, "/bound", "bind", "bind", "rw", source=tree / "below")
    assert "ro" in options_at(box, "/bound")[0]


@pytest.mark.parametrize("word", ["sync", "dirsync", "lazytime"])
def test_options_of_the_superblock(make_box, word):
    box = make_box()
    add(box, "/new", "tmpfs", word)
    assert word in options_at(box, "/new")[1]
    box = make_box()
    opposite = {"sync": "async", "lazytime": "nolazytime"}.get(word, "nomand")
    add(box, "/new", "tmpfs", word, opposite, "mand", "nomand")
    assert (word in options_at(box, "/new")[1]) == (word == "dirsync")


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (["private"], []),
        (["rprivate"], []),
        (["shared"], ["shared", "master"]),  # peers of each other, but not of the host's: see rootfsPropagation
        (["rshared"], ["shared", "master"]),
        (["slave"], ["master"]),
        (["rslave", "rshared"], ["shared", "master"]),
        (["unbindable"], ["unbindable"]),
        (["runbindable"], ["unbindable"]),
        (["shared", "private"], []),
    ],
)
def test_propagation_one_after_the_other(box, tree, words, seen):
    subprocess.run(["mount", "--make-shared", tree / "below"], check=True)
    add(box, "/bound", "bind", "rbind", *words, source=tree / "below")
    assert [field.split(":")[0] for field in options_at(box, "/bound")[2]] == seen


def test_recursive_propagation_reaches_the_mounts_below(make_box, tree):
    for words, below in (["rshared"], "shared"), (["shared"], None):
        box = make_box()
        add(box, "/bound", "bind", "rbind", "rprivate", *words, source=tree)
        fields = options_at(box, "/bound/below")[2]
        assert [field.split(":")[0] for field in fields] == ([below] if below else [])


def test_bind_takes_one_mount_and_rbind_those_below(box, tree):
    (tree / "below/inner").touch()
    add(box, "/one", "bind", "bind", source=tree)
    add(box, "/all", "none", "rbind", source=tree)
    assert box.shell("ls /one/below; echo -; ls /all/below").split() == ["-", "inner"]


def test_binds_of_files_sockets_pipes_and_devices(box, tmp_path):
    import socket

    (tmp_path / "file").write_text("content\n")
    os.mkfifo(tmp_path / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    for name in ("file", "fifo", "socket"):
        add(box, f"/run/deep/{name}", "bind", "bind", source=tmp_path / name)
    add(box, "/run/null", "bind", "bind", source="/dev/null")
    out = box.shell("cd /run; stat -c %F deep/file deep/fifo deep/socket null")
    assert out.splitlines() == ["regular file", "fifo", "socket", "character special file"]
    listener.close()


def test_mounts_are_made_in_order_over_each_other(box, tree):
    add(box, "/a", "tmpfs", "mode=755")
    add(box, "/a/b", "tmpfs", "mode=700")
    add(box, "/a/b/tree", "bind", "rbind", source=tree)
    add(box, "/a/b/tree/below", "tmpfs", "mode=711")
    out = box.shell("stat -c %a /a /a/b /a/b/tree/below; cat /a/b/tree/file")
    assert out.split() == ["755", "700", "711", "content"]


def test_a_relative_destination_is_below_the_root(box):
    add(box, "some/where", "tmpfs", "mode=711")
    assert box.shell("stat -c %a /some/where") == "711\n"


def test_a_relative_source_is_in_the_bundle(runtime):
    (runtime.bundle / "data").mkdir()
    (runtime.bundle / "data/mark").touch()
    runtime.spec["mounts"].append({"destination": "/data", "type": "bind", "source": "data", "options": ["bind"]})
    runtime.process("ls", "/data")
    assert runtime("run", "a") == "mark\n"


def test_symbolic_links_as_sources(box, tree, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("tree")
    add(box, "/followed", "bind", "rbind", source=link)
    add(box, "/itself", "bind", "bind", "src-nofollow", source=link)
    add(box, "/copied", "bind", "bind", "copy-symlink", source=link)
    add(box, "/no-link", "bind", "bind", "copy-symlink", source=tree / "file")
    (box.base / "upper/kept").symlink_to("elsewhere")
    add(box, "/kept", "bind", "bind", "src-nofollow", "dest-nofollow", source=link)
    out = box.shell(
        "cat /followed/file /no-link; readlink /copied; readlink /kept; "
        "grep -c ' /copied ' /proc/self/mountinfo; test ! -e /elsewhere && echo untouched"
    )
    assert out.split() == ["content", "content", "tree", "tree", "0", "untouched"]


def test_a_link_that_is_there_with_another_content_is_not_replaced(box, tmp_path):
    (tmp_path / "link").symlink_to("one")
    (box.base / "upper/copied").symlink_to("two")
    add(box, "/copied", "bind", "bind", "copy-symlink", source=tmp_path / "link")
    with pytest.raises(EstivaError, match="symlink /copied: file exists"):
        box.run("true")


def test_remount_changes_the_mount_that_is_there(box, tree):
    add(box, "/bound", "bind", "rbind", source=tree)
    add(box, "/bound", "none", "remount", "bind", "ro", "nosuid", source="none")
    add(box, "/new", "tmpfs", "noexec", "size=64k")
    add(box, "/new", "tmpfs", "remount", "exec", "nodev", "size=128k")
    add(box, "/deep", "bind", "rbind", source=tree)
    add(box, "/deep", "none", "remount", "bind", "rro", source="none")
    bound, below, new, deep = options_at(box, "/bound", "/bound/below", "/new", "/deep/below")
    assert {"ro", "nosuid"} <= bound[0]
    assert "ro" not in below[0]
    assert "nodev" in new[0]
    assert "noexec" not in new[0]
    assert "size=128k" in new[1]
    assert "ro" in deep[0]


def test_options_of_file_systems(box):
    add(box, "/t", "tmpfs", "size=1m", "nr_inodes=100", "mode=1711", "uid=7", "gid=8", "huge=never")
    add(box, "/r", "ramfs", "mode=700")
    add(box, "/q", "mqueue", "nosuid", "noexec", "nodev")
    out = box.shell("stat -c '%a %u %g' /t; df -k /t | tail -1 | awk '{print $2}'; touch /q/queue; ls /q; ls /dev/pts")
    assert out.split()[:5] == ["1711", "7", "8", "1024", "queue"]
    assert "ptmx" in out


def test_what_a_file_system_does_not_know_is_named_with_the_kernels_words(box):
    add(box, "/t", "tmpfs", "nonsense=1")
    with pytest.raises(EstivaError, match="nonsense"):
        box.run("true")


def test_tmpcopyup_keeps_owners_modes_and_links(box):
    upper = box.base / "upper/srv"
    (upper / "d").mkdir(parents=True)
    (upper / "d/file").write_text("x")
    os.chown(upper / "d/file", 12, 34)
    os.chmod(upper / "d/file", 0o4751)
    (upper / "link").symlink_to("d/file")
    add(box, "/srv", "tmpfs", "tmpcopyup", "ro")
    out = box.shell("stat -c '%a %u %g' /srv/d/file; readlink /srv/link; touch /srv/x 2>&1 || true")
    assert out.splitlines() == ["4751 12 34", "d/file", "touch: /srv/x: Read-only file system"]


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"type": "tmpfs"}, "mounts: one has no destination"),
        ({"destination": "/", "type": "tmpfs"}, "mount /: the root is what root.path says"),
        ({"destination": "x/../..", "type": "tmpfs"}, "the root is what root.path says"),
        ({"destination": "/x", "type": "tmpfs", "options": ["shared"] * 9}, "mount /x: too many options"),
        ({"destination": "/x", "type": "tmpfs", "options": ["a"] * 501}, "mount /x: too many options"),
        ({"destination": "/x", "source": "/y"}, "mount /x: neither a type nor the option bind is given"),
        ({"destination": "/x", "type": "bind"}, "mount /x: a bind mount without a source"),
        ({"destination": "/x", "type": "bind", "source": "/y", "options": ["size=1k"]}, "mount /x: option 'size=1k'"),
        ({"destination": "/x", "type": "tmpfs", "options": ["a=" + "b" * 256]}, "mount /x: option 'a=b.* is too long"),
        (
            {"destination": "/x", "type": "bind", "source": "/y", "options": ["idmap"]},
            "mount /x: ids cannot be mapped: no uidMappings",
        ),
        (
            {"destination": "/x", "type": "bind", "source": "/y", "uidMappings": [{}]},
            "mount /x: uidMappings and gidMappings are needed both or not at all",
        ),
        (
            {"destination": "/x", "type": "bind", "source": "/y", "uidMappings": [{}], "gidMappings": [{}]},
            r"mount /x: uidMappings\[0\]: containerID, hostID and a size above 0 are needed",
        ),
        (
            {
                "destination": "/x",
                "type": "tmpfs",
                "options": ["idmap"],
                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
                "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
            },
            "mount /x: only the ids of a bind mount can be mapped",
        ),
        ({"destination": "/x", "type": "bind", "source": "/y", "options": ["idmap=uids=1"]}, "write it as idmap=uids="),
    ],
)
def test_mounts_that_make_no_sense_are_refused_by_name(box, mount, words):
    box.spec["mounts"].append(mount)
    with pytest.raises(Invalid, match=words):
        box.run("true")


def test_a_source_can_be_a_descriptor_that_was_checked(box, tmp_path):
    """Whoever looked at a source hands on what he saw: what takes its place meanwhile is not what is mounted."""
    from estiva.runtime.helper import KEEP_FROM
    from estiva.runtime.launch import launch

    place = tmp_path / "place"
    place.mkdir()
    (place / "file").write_text("content\n")
    seen = os.open(place, os.O_PATH)
    (tmp_path / "other").mkdir()
    place.rename(tmp_path / "moved")
    place.symlink_to("other")
    add(box, "/data", "bind", "bind", source=f"/proc/self/fd/{KEEP_FROM}")
    box.spec["process"]["args"] = ["cat", "/data/file"]
    work = compile_plan(box.spec, box.around)
    try:
        launched = launch(work, box.monitor, ["estiva-monitor", "x"], attach=True, keep=[seen])
    finally:
        os.close(seen)
    assert box.collect(Attachment(launched.fd)) == 0
    os.close(launched.fd)
    assert box.out == b"content\n"


def test_a_missing_source_is_named(box):
    add(box, "/x", "bind", "bind", source="/no/such/source")
    with pytest.raises(EstivaError, match="bind /no/such/source: no such file or directory"):
        box.run("true")
