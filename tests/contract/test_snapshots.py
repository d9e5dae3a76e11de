"""What every storage driver does alike, on the real kernel: as root, and in an ordinary user's namespace."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from estiva.errors import Conflict, Invalid, NotFound, Unsupported
from helpers.accounts import Account, root_account
from helpers.images import LayerTar
from helpers.storage import Bench, Place, digest

Check = Callable[[Bench], None]
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service=ep


@pytest.fixture(params=["erofs-root", "overlay-root", "copy-root", "overlay-user", "copy-user"])
def place(request: pytest.FixtureRequest, public_directory: Path) -> Place:
    """Each driver, as root and where it works also as a user."""
    driver, _, who = request.param.partition("-")
    if who == "user":
        return Place(driver, request.getfixturevalue("user"), public_directory)
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if driver == "erofs" and tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12):
        pytest.skip("needs Linux 6.12")
    return Place(driver, root_account(public_directory), public_directory)


def tree(path: str) -> dict[str, str]:
    """Path → content, link target or type, of everything below *path*."""
    found = {}
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            full = f"{directory}/{name}"
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                what = "-> " + os.readlink(full)
            elif stat.S_ISREG(mode):
                what = Path(full).read_text(errors="replace")
            else:
                what = {stat.S_IFDIR: "dir", stat.S_IFIFO: "fifo", stat.S_IFCHR: "char"}[stat.S_IFMT(mode)]
            found[os.path.relpath(full, path)] = what
    return found


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


# ---- one layer ----


def test_files_have_the_attributes_the_tar_says(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = LayerTar()
        tar.add("./", mode=0o751, mtime=5)
        tar.add("dir/", mode=0o1777, mtime=1_600_000_000.25, uid=1, gid=2)
        tar.add("dir/file", b"content", mode=0o640, uid=1000, gid=2000, pax_headers={"mtime": "1600000000.123456789"})
        tar.add("dir/setuid", b"#!", mode=0o6755)
        tar.add("dir/early", b"", pax_headers={"mtime": "-1.5"})
        tar.link("dir/link", "../somewhere/else", uid=3, mtime=7)
        tar.add("fifo", type=tarfile.FIFOTYPE, mode=0o622)
        root = bench.see(tar.bytes())
        file = os.stat(f"{root}/dir/file")
        assert (file.st_mode, file.st_uid, file.st_gid, file.st_size) == (0o100640, 1000, 2000, 7)
        assert file.st_mtime_ns == 1_600_000_000_123_456_789
        assert os.stat(f"{root}/dir/setuid").st_mode == 0o106755
        directory = os.stat(f"{root}/dir")
        assert (directory.st_mode, directory.st_uid, directory.st_gid) == (0o41777, 1, 2)
        assert directory.st_mtime_ns == 1_600_000_000_250_000_000
        link = os.lstat(f"{root}/dir/link")
        assert (link.st_uid, link.st_mtime, os.readlink(f"{root}/dir/link")) == (3, 7, "../somewhere/else")
        assert os.stat(f"{root}/fifo").st_mode == stat.S_IFIFO | 0o622
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o751
        if bench.driver != "erofs":  # whose times are unsigned
            assert os.stat(f"{root}/dir/early").st_mtime_ns == -1_500_000_000

    place(check)


def test_hard_links_are_one_file(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = LayerTar().add("a/one", b"same")
        tar.add("b/two", type=tarfile.LNKTYPE, linkname="a/one")
        tar.add("b/three", type=tarfile.LNKTYPE, linkname="./b/two")
        tar.add("b/three", type=tarfile.LNKTYPE, linkname="b/three")
        root = bench.see(tar.bytes())
        one, two, three = (os.stat(f"{root}/{name}") for name in ("a/one", "b/two", "b/three"))
        assert one.st_ino == two.st_ino == three.st_ino
        assert one.st_nlink == 3
        assert Path(f"{root}/b/three").read_text() == "same"

    place(check)


def test_a_hard_link_to_a_symbolic_link_is_that_link(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = LayerTar().link("link", "target").add("hard", type=tarfile.LNKTYPE, linkname="link")
        assert os.readlink(bench.see(tar.bytes()) + "/hard") == "target"

    place(check)


def test_attributes_and_capabilities_are_kept(place: Place) -> None:
    def check(bench: Bench) -> None:
        pax = {"SCHILY.xattr.user.note": "näh", "SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}
        header = pax_tar("tool", pax, b"x", latin=True)
        root = bench.see(header)
        assert os.getxattr(f"{root}/tool", "user.note") == "näh".encode("latin-1")
        assert os.getxattr(f"{root}/tool", "security.capability") == CAPABILITY

    place(check)


def test_access_control_lists_are_kept(place: Place) -> None:
    def check(bench: Bench) -> None:
        entries = [(1, 6, -1), (2, 4, 1), (4, 4, -1), (16, 6, -1), (32, 0, -1)]  # user::rw- user:1:r-- group::r-- ...
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
        header = pax_tar("file", {"SCHILY.xattr.system.posix_acl_access": acl.decode("latin-1")}, b"x", latin=True)
        root = bench.see(header)
        if not bench.in_userns:  # ids in an attribute are not translated on the way in
            assert os.getxattr(f"{root}/file", "system.posix_acl_access") == acl
        assert Path(f"{root}/file").read_text() == "x"

    place(check)


def test_overlay_marks_in_a_tar_mean_nothing(place: Place) -> None:
    def check(bench: Bench) -> None:
        below = LayerTar().add("d/", mode=0o755).add("d/below", b"1").bytes()
        pax = {"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y"}
        above = LayerTar().add("d/", pax_headers=pax).bytes()
        assert tree(bench.see(below, above)) == {"d": "dir", "d/below": "1"}

    place(check)


def test_a_layer_does_not_label_its_files(place: Place) -> None:
    def check(bench: Bench) -> None:
        pax = {"SCHILY.xattr.security.selinux": "system_u:object_r:shadow_t:s0", "SCHILY.xattr.user.a": "b"}
        root = bench.see(LayerTar().add("file", b"x", pax_headers=pax).bytes())
        assert os.getxattr(f"{root}/file", "user.a") == b"b"
        assert "shadow_t" not in str([os.getxattr(f"{root}/file", name) for name in os.listxattr(f"{root}/file")])

    place(check)


def test_directories_the_tar_forgot_are_made(place: Place) -> None:
    def check(bench: Bench) -> None:
        root = bench.see(LayerTar().add("a/b/c", b"x").bytes())
        assert stat.S_IMODE(os.stat(f"{root}/a").st_mode) == 0o755
        assert tree(root) == {"a": "dir", "a/b": "dir", "a/b/c": "x"}

    place(check)


def test_names_of_all_kinds(place: Place) -> None:
    def check(bench: Bench) -> None:
        long = "/".join(["directory-with-a-name" * 3] * 8) + "/" + "f" * 255
        names = ["new\nline", "sp ace", "ünicode", "...", ".hidden", "..almost", "a,b:c\\d", "-x", long]
        for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
            tar = formatted(form, {name: name[-20:].encode() for name in names})
            found = tree(bench.see(tar))
            assert {name: found[name] for name in names} == {name: name[-20:] for name in names}

    place(check)


def test_names_need_not_be_text(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = formatted(tarfile.GNU_FORMAT, {os.fsdecode(b"\xff\xfe"): b"1"})
        assert Path(os.fsdecode(os.fsencode(bench.see(tar)) + b"/\xff\xfe")).read_bytes() == b"1"

    place(check)


def test_big_numbers_in_either_format(place: Place) -> None:
    def check(bench: Bench) -> None:
        uid = 60_000 if bench.in_userns else 3_000_000_000
        for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
            status = os.stat(bench.see(formatted(form, {"f": b""}, uid=uid, mtime=1 << 33)) + "/f")
            assert (status.st_uid, int(status.st_mtime)) == (uid, 1 << 33)

    place(check)


def test_content_of_all_sizes(place: Place) -> None:
    def check(bench: Bench) -> None:
        sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097, 99_999, 3_000_000]
        contents = {f"f{size}": os.urandom(size) for size in sizes}
        root = bench.see(formatted(tarfile.PAX_FORMAT, contents))
        for name, content in contents.items():
            assert Path(f"{root}/{name}").read_bytes() == content

    place(check)


def test_many_files_in_one_directory(place: Place) -> None:
    def check(bench: Bench) -> None:
        names = {f"d/{'n' * (number % 200)}{number}": b"" for number in range(1500)}
        root = bench.see(formatted(tarfile.PAX_FORMAT, names))
        assert sorted(os.listdir(f"{root}/d")) == sorted(name[2:] for name in names)
        assert all(os.path.exists(f"{root}/{name}") for name in names)

    place(check)


def test_devices(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = LayerTar().add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
        tar.add("disk", type=tarfile.BLKTYPE, devmajor=259, devminor=70_000)
        root = bench.see(tar.add("after", b"").bytes())
        assert os.path.exists(f"{root}/after")
        if bench.in_userns:
            assert not os.path.exists(f"{root}/null")
        else:
            null, disk = os.stat(f"{root}/null"), os.stat(f"{root}/disk")
            assert (null.st_mode, null.st_rdev) == (0o020666, os.makedev(1, 3))
            assert stat.S_ISBLK(disk.st_mode)
            assert disk.st_rdev == os.makedev(259, 70_000)

    place(check)


def test_ids_the_namespace_does_not_have_stay_roots_and_lose_setuid(place: Place) -> None:
    def check(bench: Bench) -> None:
        root = bench.see(LayerTar().add("f", b"", uid=900_000, gid=900_000, mode=0o4755).bytes())
        status = os.stat(f"{root}/f")
        expected = (0, 0, 0o755) if bench.in_userns else (900_000, 900_000, 0o4755)
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == expected

    place(check)


@pytest.mark.parametrize("version", ["gnu", "0.0", "0.1", "1.0"])
def test_files_with_holes(place: Place, version: str, tmp_path: Path) -> None:
    tar = sparse_tar(tmp_path, version)

    def check(bench: Bench) -> None:
        root = bench.see(tar)
        with open(f"{root}/sparse", "rb") as file:
            content = file.read()
        assert len(content) == 3_000_000
        assert content[1_000_000:1_000_005] == b"first"
        assert content[2_500_000:2_500_006] == b"second"
        assert sum(map(len, content.split(b"\0"))) == sum(map(len, (b"first", b"second"))) + 100 * 5
        assert Path(f"{root}/zz").read_text() == "after"
        assert bench.driver == "copy" or os.stat(f"{root}/sparse").st_blocks * 512 < 1_000_000

    place(check)


def test_a_later_member_of_the_same_name_wins(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = LayerTar().add("f", b"old").add("f", b"new").add("d/", mode=0o700).add("d/x", b"1").add("d/", mode=0o711)
        tar.add("dir-then-file/", mode=0o755).add("dir-then-file/gone", b"").add("dir-then-file", b"file")
        tar.add("file-then-dir", b"").add("file-then-dir/").add("file-then-dir/x", b"2")
        tar.link("link-then-dir", "d").add("link-then-dir/").add("link-then-dir/y", b"3")
        tar.add("a", b"a").add("b", type=tarfile.LNKTYPE, linkname="a").add("a", b"other")
        root = bench.see(tar.bytes())
        assert tree(root) == {
            "f": "new",
            "d": "dir",
            "d/x": "1",
            "dir-then-file": "file",
            "file-then-dir": "dir",
            "file-then-dir/x": "2",
            "link-then-dir": "dir",
            "link-then-dir/y": "3",
            "a": "other",
            "b": "a",
        }
        assert stat.S_IMODE(os.stat(f"{root}/d").st_mode) == 0o711
        assert os.stat(f"{root}/b").st_nlink == 1

    place(check)


def test_links_within_a_layer_are_followed_inside_it(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = LayerTar().add("usr/lib/").link("lib", "usr/lib").link("abs", "/usr/../usr/lib").link("up", "../../usr")
        tar.add("lib/one", b"1").add("abs/two", b"2").add("up/lib/three", b"3").add("lib/deep/four", b"4")
        tar.add("hard", type=tarfile.LNKTYPE, linkname="abs/one")
        found = tree(bench.see(tar.bytes()))
        expected = {"usr/lib/one": "1", "usr/lib/two": "2", "usr/lib/three": "3", "usr/lib/deep/four": "4", "hard": "1"}
        assert {name: found[name] for name in expected} == expected

    place(check)


# ---- layers above layers ----


def test_whiteouts_hide_what_is_below(place: Place) -> None:
    def check(bench: Bench) -> None:
        below = LayerTar().add("a", b"1").add("b", b"2").add("d/e/f", b"3").add("g/h", b"4").bytes()
        above = LayerTar().add(".wh.a", b"").add("d/.wh.e", b"").add(".wh.g", b"").add(".wh.absent", b"").bytes()
        assert tree(bench.see(below, above)) == {"b": "2", "d": "dir"}

    place(check)


@pytest.mark.parametrize("marker_first", [True, False])
def test_opaque_directories_hide_what_is_below_but_nothing_of_their_own(place: Place, marker_first: bool) -> None:
    def check(bench: Bench) -> None:
        below = LayerTar().add("d/old", b"1").add("d/sub/old", b"2").add("keep", b"3").bytes()
        above = LayerTar().add("d/", mode=0o755)
        if marker_first:
            above.add("d/.wh..wh..opq", b"")
        above.add("d/new", b"4").add("d/sub/new", b"5")
        if not marker_first:
            above.add("d/.wh..wh..opq", b"")
        assert tree(bench.see(below, above.bytes())) == {
            "d": "dir",
            "d/new": "4",
            "d/sub": "dir",
            "d/sub/new": "5",
            "keep": "3",
        }

    place(check)


@pytest.mark.parametrize("order", ["whiteout first", "whiteout last", "no entry for the directory"])
def test_a_directory_that_is_removed_and_made_again_has_only_the_new_files(place: Place, order: str) -> None:
    def check(bench: Bench) -> None:
        below = LayerTar().add("d/old", b"1").bytes()
        above = LayerTar()
        if order != "whiteout last":
            above.add(".wh.d", b"")
        if order != "no entry for the directory":
            above.add("d/", mode=0o755)
        above.add("d/new", b"2")
        if order == "whiteout last":
            above.add(".wh.d", b"")
        assert tree(bench.see(below, above.bytes())) == {"d": "dir", "d/new": "2"}

    place(check)


@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_does_not_hide_a_file_of_its_own_layer(place: Place, first: bool) -> None:
    def check(bench: Bench) -> None:
        below = LayerTar().add("f", b"old").bytes()
        above = LayerTar()
        for name in (".wh.f", "f") if first else ("f", ".wh.f"):
            above.add(name, b"new" if name == "f" else b"")
        assert tree(bench.see(below, above.bytes())) == {"f": "new"}

    place(check)


def test_upper_layers_change_types(place: Place) -> None:
    def check(bench: Bench) -> None:
        below = LayerTar().add("d/x", b"1").add("f", b"2").link("l", "d").add("m/1", b"a").bytes()
        above = LayerTar().add("d", b"file").add("f/y", b"3").add("l/").add("l/z", b"4").add("m/2", b"b").bytes()
        assert tree(bench.see(below, above)) == {
            "d": "file",
            "f": "dir",
            "f/y": "3",
            "l": "dir",
            "l/z": "4",
            "m": "dir",
            "m/1": "a",
            "m/2": "b",
        }

    place(check)


def test_the_layer_on_top_says_what_a_directory_is_like(place: Place) -> None:
    def check(bench: Bench) -> None:
        below = LayerTar().add("./", mode=0o700).add("d/", mode=0o700, uid=1).bytes()
        above = LayerTar().add("d/", mode=0o555, uid=2, mtime=9).bytes()
        root = bench.see(below, above)
        status = os.stat(f"{root}/d")
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime) == (0o555, 2, 9)
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o700

    place(check)


def test_a_layer_that_comes_twice(place: Place) -> None:
    def check(bench: Bench) -> None:
        one = bench.layer(LayerTar().add("f", b"1").add("g", b"1").bytes())
        two = bench.layer(LayerTar().add("f", b"2").add(".wh.g", b"").bytes())
        assert tree(bench.start("c", [one, two, one])) == {"f": "1", "g": "1"}

    place(check)


def test_no_layers_and_empty_layers(place: Place) -> None:
    def check(bench: Bench) -> None:
        assert tree(bench.start("none", [])) == {}
        assert tree(bench.see(LayerTar().bytes())) == {}
        assert tree(bench.start("bytes", [bench.layer(b"", b"")])) == {}
        write(bench.start("again", []) + "/file", "can be written")

    place(check)


def test_too_many_layers_are_refused_with_their_number(place: Place) -> None:
    def check(bench: Bench) -> None:
        with pytest.raises(Unsupported, match="401 layers"):
            bench.store.layers.acquire([digest(b"%d" % number) for number in range(401)])

    place(check)


# ---- containers ----


def test_what_a_container_writes_nobody_else_sees(place: Place) -> None:
    def check(bench: Bench) -> None:
        image = [bench.layer(LayerTar().add("d/f", b"image").add("d/g", b"image").bytes())]
        one, two = bench.start("one", image), bench.start("two", image)
        write(f"{one}/d/f", "changed")
        os.unlink(f"{one}/d/g")
        shutil.rmtree(f"{one}/d")
        os.mkdir(f"{one}/d")
        write(f"{one}/d/new", "new")
        assert tree(one) == {"d": "dir", "d/new": "new"}
        assert tree(two) == tree(bench.start("three", image)) == {"d": "dir", "d/f": "image", "d/g": "image"}

    place(check)


def test_a_stopped_container_finds_what_it_wrote(place: Place) -> None:
    def check(bench: Bench) -> None:
        image = [bench.layer(LayerTar().add("f", b"image").bytes())]
        for volatile in (True, True, False):
            again = os.path.exists(f"{bench.base}/mnt-c")
            root = bench.start("c", image, volatile=volatile, again=again)
            assert Path(f"{root}/f").read_text() == ("written" if again else "image")
            write(f"{root}/f", "written")
            bench.stop("c")

    place(check)


def test_removing_leaves_nothing(place: Place) -> None:
    def check(bench: Bench) -> None:
        image = [bench.layer(LayerTar().add("d/f", b"image", uid=5).bytes())]
        root = bench.start("c", image, volatile=True)
        deep = f"{root}/d"
        os.chmod(deep, 0o000)
        path_fd = os.open(root, os.O_RDONLY)
        for _ in range(300):  # deeper than descriptors are kept open, and than recursion goes
            os.mkdir("deeper", dir_fd=path_fd)
            next_fd = os.open("deeper", os.O_RDONLY, dir_fd=path_fd)
            os.close(path_fd)
            path_fd = next_fd
        os.close(path_fd)
        write(f"{root}/file", "x" * 10_000)
        assert bench.store.snapshots.usage("c") >= 10_000
        bench.stop("c")
        bench.store.snapshots.remove("c")
        assert os.listdir(bench.store.snapshots.path("c")) == []
        bench.store.snapshots.remove("c")
        bench.store.snapshots.remove("never there")
        assert bench.store.snapshots.usage("c") == 0

    place(check)


def test_a_half_made_writable_layer_can_be_removed(place: Place) -> None:
    def check(bench: Bench) -> None:
        with pytest.raises(NotFound):
            bench.start("c", [digest(b"nothing")])
        bench.store.snapshots.remove("c")
        assert os.listdir(bench.store.snapshots.path("c")) == []

    place(check)


# ---- the store ----


def test_layers_are_kept_once_and_found_again(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = LayerTar().add("f", b"1").bytes()
        layers = bench.store.layers
        assert not layers.has(digest(tar))
        assert layers.list() == []
        diff_id = bench.layer(tar)
        assert bench.layer(tar) == diff_id
        assert layers.has(diff_id)
        assert layers.list() == [diff_id]
        assert layers.size(diff_id) == len(tar)
        assert all(map(bench.store.blobs.verify, bench.store.blobs.list()))
        layers.delete(diff_id)
        layers.delete(diff_id)
        assert not layers.has(diff_id)
        assert layers.list() == []
        assert os.listdir(layers.run) == []

    place(check)


def test_a_layer_can_be_made_again_from_its_blob(place: Place) -> None:
    def check(bench: Bench) -> None:
        diff_id = bench.layer(LayerTar().add("f", b"1").bytes())
        (blob,) = bench.store.blobs.list()
        for directory, _, files in os.walk(bench.store.layers.path(diff_id)):
            for name in files:
                write(f"{directory}/{name}", "damaged")
        bench.store.layers.unpack("", blob, diff_id)
        assert tree(bench.start("c", [diff_id])) == {"f": "1"}
        bench.store.layers.delete(diff_id)
        bench.store.layers.unpack("", blob, diff_id)
        assert tree(bench.start("d", [diff_id])) == {"f": "1"}
        with pytest.raises(NotFound):
            bench.store.layers.unpack("", digest(b"no blob"), diff_id)

    place(check)


def test_a_layer_in_use_is_neither_deleted_nor_unmounted_nor_replaced(place: Place) -> None:
    def check(bench: Bench) -> None:
        diff_id = bench.layer(LayerTar().add("f", b"1").bytes())
        (blob,) = bench.store.blobs.list()
        lease = bench.store.layers.acquire([diff_id])
        inherited = os.dup(lease.lock_fds[0])
        lease.close()
        bench.store.layers.release_unused([diff_id])
        with pytest.raises(Conflict):
            bench.store.layers.delete(diff_id)
        with pytest.raises(Conflict):
            bench.store.layers.unpack("", blob, diff_id)
        assert bench.store.layers.has(diff_id)
        os.close(inherited)
        bench.store.layers.release_unused([diff_id])
        assert not os.path.ismount(f"{bench.store.layers.run}/{diff_id[7:]}")
        bench.store.layers.delete(diff_id)

    place(check)


def test_containers_of_one_image_started_at_once_share_its_layers(place: Place) -> None:
    def check(bench: Bench) -> None:
        image = [bench.layer(LayerTar().add(f"f{number}", b"1").bytes()) for number in range(5)]
        seen: list[list[str]] = []

        def hold() -> None:
            for _ in range(20):
                with bench.store.layers.acquire(image) as lease:
                    seen.append([directory for directory in lease.lowerdirs if os.listdir(directory)])
                bench.store.layers.release_unused(image)

        threads = [threading.Thread(target=hold) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 80
        assert all(directories == seen[0] and len(directories) == 5 for directories in seen)
        assert not any("/run/layers" in point for point in mount_points())

    place(check)


def mount_points() -> list[str]:
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def test_ingesting_the_same_layer_at_once(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = formatted(tarfile.PAX_FORMAT, {f"f{number}": os.urandom(1000) for number in range(50)})
        threads = [threading.Thread(target=bench.layer, args=(tar,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tree(bench.start("c", [digest(tar)]))) == 50

    place(check)


def test_the_best_driver_that_works_is_found_and_remembered(place: Place) -> None:
    from estiva.storage.probe import kernel_version
    from estiva.storage.store import Store

    def check(bench: Bench) -> None:
        root, run = f"{bench.base}/root", f"{bench.base}/run"
        before = mount_points()
        found = Store(root, run, in_userns=bench.in_userns).driver
        assert found == ("overlay" if bench.in_userns or kernel_version() < (6, 12) else "erofs")
        assert mount_points() == before
        assert Path(f"{run}/storage-driver").read_text() == found
        assert Store("/nowhere", run, in_userns=bench.in_userns).driver == found

    place(check)


@pytest.mark.needs_root
def test_where_overlays_do_not_work_layers_are_copied(public_directory: Path) -> None:
    from estiva.linux import mount
    from estiva.storage.store import Store

    def check(bench: Bench) -> None:
        os.mkdir(f"{bench.base}/plain")
        mount.mount("ramfs", f"{bench.base}/plain", "ramfs")  # which has no extended attributes
        bench.store = Store(f"{bench.base}/plain/root", f"{bench.base}/run", in_userns=False)
        bench.driver = bench.store.driver
        assert bench.driver == "copy"
        below = LayerTar().add("d/old", b"1").bytes()
        above = LayerTar().add("d/.wh..wh..opq", b"").add("d/new", b"2").bytes()
        assert tree(bench.see(below, above)) == {"d": "dir", "d/new": "2"}

    Place("auto", root_account(public_directory), public_directory)(check)


@pytest.mark.needs_root
def test_files_of_other_ids_are_left_to_a_process_inside_the_namespace(user: Account) -> None:
    base = user.home / "foreign"
    inner = base / "containers/c/upper/d"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for path in (base, *base.rglob("*")):
        os.chown(path, user.uid, user.gid)
    os.chown(inner, 1_234_567, 1_234_567)
    inner.chmod(0o700)
    remove = f"""if True:
        import sys
        sys.path.insert(0, {str(user.sources)!r})
        from estiva.storage.store import Store
        Store({str(base)!r}, "/nowhere", driver="overlay", in_userns=True).snapshots.remove("c")"""
    done = user.run([user.python, "-I", "-S", "-c", remove])
    assert "PermissionError" in done.stderr.splitlines()[-1]
    os.chown(inner, user.uid, user.gid)
    assert user.run([user.python, "-I", "-S", "-c", remove]).returncode == 0
    assert os.listdir(base / "containers/c") == []


# ---- what must not happen ----

HOSTILE: dict[str, tuple[LayerTar, str]] = {
    "parent": (LayerTar().add("../evil", b""), "leads out"),
    "inner parent": (LayerTar().add("a/../../evil", b""), "leads out"),
    "through a file": (LayerTar().add("f", b"").add("f/x", b""), "not a directory"),
    "through a device": (LayerTar().add("f", type=tarfile.FIFOTYPE).add("f/x", b""), "not a directory"),
    "through a loop": (LayerTar().link("a", "b").link("b", "a").add("a/x", b""), "symbolic links"),
    "through a link to nowhere": (LayerTar().link("a", "nowhere").add("a/x", b""), "not a directory"),
    "link out": (LayerTar().add("h", type=tarfile.LNKTYPE, linkname="../../etc/passwd"), "leads out"),
    "link to nothing": (LayerTar().add("h", type=tarfile.LNKTYPE, linkname="nothing"), "does not have"),
    "link to a directory": (LayerTar().add("d/").add("h", type=tarfile.LNKTYPE, linkname="d"), "to the directory"),
    "link to the top": (LayerTar().add("h", type=tarfile.LNKTYPE, linkname="/"), "hard link"),
    "whiteout of nothing": (LayerTar().add("d/.wh.", b""), "whiteout of no name"),
    "whiteout of the parent": (LayerTar().add("d/.wh...", b""), "whiteout of no name"),
    "whiteout as directory": (LayerTar().add(".wh.d/x", b""), "cannot be a directory"),
    "long name": (LayerTar().add("n" * 256, b""), "name too long"),
    "file as top": (LayerTar().add("./", b"x", type=tarfile.REGTYPE), ""),
    "unknown type": (LayerTar().add("z", type=b"z"), "unknown type"),
    "no number": (LayerTar().add("f", b"", pax_headers={"size": "x"}), "not a number"),
    "holes out of order": (
        LayerTar().add("f", b"ab", pax_headers={"GNU.sparse.map": "5,1,0,1", "GNU.sparse.size": "9"}),
        "sparse",
    ),
    "holes beyond the end": (
        LayerTar().add("f", b"ab", pax_headers={"GNU.sparse.map": "8,2", "GNU.sparse.size": "9"}),
        "sparse",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(place: Place, what: str) -> None:
    tar, complaint = HOSTILE[what]
    content = tar.bytes()

    def check(bench: Bench) -> None:
        if place.driver == "copy" and what.startswith("whiteout of"):
            return  # whose whiteouts are names until containers are made
        with pytest.raises(Invalid, match=f"(?i){complaint}"):
            bench.layer(content)
        assert bench.store.layers.list() == []
        assert list(bench.store.blobs.list()) == []
        assert os.listdir(bench.base) == ["root"] or sorted(os.listdir(bench.base)) == ["root", "run"]

    place(check)


def test_links_to_the_outside_are_not_followed(place: Place) -> None:
    def check(bench: Bench) -> None:
        outside = f"{bench.base}/outside"
        os.mkdir(outside)
        write(f"{outside}/secret", "secret")
        tar = LayerTar().link("abs", outside).link("rel", "../" * 30 + outside[1:]).add("x", b"")
        root = bench.see(tar.bytes())
        assert os.readlink(f"{root}/abs") == outside  # kept as they are: harmless inside a container
        for name in ("abs", "rel"):
            evil = LayerTar().link(name, outside).add(f"{name}/evil", b"").bytes()
            with pytest.raises(Invalid):
                bench.layer(evil)
            steal = LayerTar().link(name, outside).add("h", type=tarfile.LNKTYPE, linkname=f"{name}/secret").bytes()
            with pytest.raises(Invalid):
                bench.layer(steal)
        assert os.listdir(outside) == ["secret"]
        assert os.stat(f"{outside}/secret").st_nlink == 1

    place(check)


def test_damaged_layers_are_refused_and_leave_nothing(place: Place) -> None:
    def check(bench: Bench) -> None:
        import gzip

        tar = formatted(tarfile.PAX_FORMAT, {"f": os.urandom(200_000)})
        blob = gzip.compress(tar, mtime=0)
        layers = bench.store.layers
        for digest_, size, diff_id, content in (
            (digest(b"else"), len(blob), digest(tar), blob),
            (digest(blob), len(blob) + 1, digest(tar), blob),
            (digest(blob), len(blob) - 1, digest(tar), blob),
            (digest(blob), len(blob), digest(b"else"), blob),
            (digest(blob[:-9]), len(blob) - 9, digest(tar), blob[:-9]),
            (digest(blob[:100_000]), 100_000, digest(tar), blob[:100_000]),
            (digest(b"no tar"), 6, digest(b"no tar"), b"no tar"),
            (digest(tar[:-150_000]), len(tar) - 150_000, digest(tar[:-150_000]), tar[:-150_000]),
        ):
            with pytest.raises(Invalid), layers.ingest("", digest_, size, diff_id) as ingest:  # noqa: PT012
                ingest.write(content)
                ingest.commit()
            assert layers.list() == []
            assert list(bench.store.blobs.list()) == []
            assert os.listdir(bench.store.blobs.staging.path) == []

    place(check)


def test_an_aborted_ingest_leaves_nothing(place: Place) -> None:
    def check(bench: Bench) -> None:
        tar = formatted(tarfile.PAX_FORMAT, {"f": os.urandom(3_000_000)})
        with bench.store.layers.ingest("", digest(tar), len(tar), digest(tar)) as ingest:
            ingest.write(tar[:2_000_000])
        assert bench.store.layers.list() == []
        assert os.listdir(bench.store.blobs.staging.path) == []

    place(check)


def test_running_out_of_space_is_told_and_leaves_nothing(place: Place) -> None:
    from estiva.errors import Unavailable
    from estiva.linux import mount
    from estiva.storage.store import Store

    def check(bench: Bench) -> None:
        os.makedirs(f"{bench.base}/small")
        mount.mount("tmpfs", f"{bench.base}/small", "tmpfs", 0, "size=2m")
        bench.store = Store(f"{bench.base}/small", f"{bench.base}/run", driver=bench.driver, in_userns=bench.in_userns)
        with pytest.raises(Unavailable, match="No space"):
            bench.layer(formatted(tarfile.PAX_FORMAT, {"f": bytes(5_000_000), "g": os.urandom(1_000_000)}))
        assert os.listdir(f"{bench.base}/small/staging") == []

    place(check)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz", "bzip2", "none", "gzip in two members"])
def test_every_compression(place: Place, compression: str) -> None:
    import bz2
    import gzip
    import lzma

    import zstandard

    tar = formatted(tarfile.PAX_FORMAT, {"f": b"content" * 300_000, "g": os.urandom(100_000)})
    blob = {
        "gzip": lambda: gzip.compress(tar),
        "zstd": lambda: zstandard.compress(tar[:100_000]) + zstandard.compress(tar[100_000:]),
        "xz": lambda: lzma.compress(tar, preset=0),
        "bzip2": lambda: bz2.compress(tar),
        "none": lambda: tar,
        "gzip in two members": lambda: gzip.compress(tar[:70_000]) + gzip.compress(tar[70_000:]) + bytes(100),
    }[compression]()

    def check(bench: Bench) -> None:
        diff_id = bench.layer(tar, blob)
        assert os.stat(bench.start("c", [diff_id]) + "/f").st_size == 2_100_000

    place(check)


# ---- making tars ----


def formatted(form: int, contents: dict[str, bytes], **fields: object) -> bytes:
    """A tar of files in one of tarfile's formats."""
    import io

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in fields.items():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def pax_tar(name: str, records: dict[str, str], content: bytes, *, latin: bool) -> bytes:
    """A tar of one file with pax records whose values may be any bytes (characters up to 255)."""
    import io

    buffer = io.BytesIO()
    encoding = "latin-1" if latin else "utf-8"
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        data = b""
        for key, value in records.items():
            body = key.encode() + b"=" + value.encode(encoding) + b"\n"
            length = next(n for n in range(len(body), len(body) + 10) if n == len(body) + 1 + len(str(n)))
            data += b"%d " % length + body
        header = tarfile.TarInfo("pax")
        header.type, header.size = tarfile.XHDTYPE, len(data)
        tar.addfile(header, io.BytesIO(data))
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sparse_tar(directory: Path, version: str) -> bytes:
    """A tar by GNU tar of a file with seven pieces of data between holes."""
    with open(directory / "sparse", "wb") as file:
        for offset, text in ((1_000_000, b"first"), (2_500_000, b"second")):
            file.seek(offset)
            file.write(text)
        for number in range(5):
            file.seek(200_000 * number)
            file.write(b"x" * 100)
        file.truncate(3_000_000)
    (directory / "zz").write_text("after")
    form = ["--format=gnu"] if version == "gnu" else ["--format=posix", f"--sparse-version={version}"]
    command = ["tar", "-C", str(directory), "--sparse", *form, "-cf", "-", "sparse", "zz"]
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout
    except FileNotFoundError:
        pytest.skip("needs GNU tar")


def test_writing_into_an_image_is_not_possible(place: Place) -> None:
    def check(bench: Bench) -> None:
        diff_id = bench.layer(LayerTar().add("f", b"1").bytes())
        with bench.store.layers.acquire([diff_id]) as lease:
            if bench.driver == "erofs":
                with pytest.raises(OSError, match="Read-only") as caught:
                    write(lease.lowerdirs[0] + "/f", "2")
                assert caught.value.errno == errno.EROFS
            assert os.path.dirname(lease.lowerdirs[0]).startswith(bench.base)

    place(check)
