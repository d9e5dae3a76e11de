"""maskedPaths and readonlyPaths: of every kind, missing, linked, many, and never what is outside."""

from __future__ import annotations

import time

import pytest

from estiva.errors import EstivaError, Invalid

pytestmark = pytest.mark.needs_root


def test_files_directories_links_and_what_is_missing(box):
    upper = box.base / "upper"
    for name in ("secret", "dir", "target"):
        (upper / name).mkdir()
        (upper / name / "file").write_text("secret\n")
    (upper / "file").write_text("secret\n")
    (upper / "link").symlink_to("target")
    (upper / "dangling").symlink_to("nowhere")
    (upper / "up").symlink_to("../../../../../../../../file")
    masked = ["/file", "/dir", "/link", "/missing", "/file/below", "/dangling", "/secret/file"]
    box.spec["linux"]["maskedPaths"] += masked
    out = box.shell("cat /file; ls /dir /target; cat /secret/file; touch /dir/x 2>&1 || echo; cat /up")
    assert out.split("\n")[:4] == ["/dir:", "", "/target:", "touch: /dir/x: Read-only file system"]
    assert "secret" not in out


def test_directories_share_one_empty_file_system(box):
    for index in range(5):
        (box.base / f"upper/dir{index}").mkdir()
    box.spec["linux"]["maskedPaths"] = [f"/dir{index}" for index in range(5)]
    out = box.shell("stat -c %d /dir*; grep ' /dir' /proc/self/mountinfo")
    assert len(set(out.split("\n")[:5])) == 1
    lines = out.splitlines()[5:]
    assert len(lines) == 5
    for line in lines:
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(line.split()[5].split(","))


def test_hundreds_of_them_cost_little(box):
    for index in range(400):
        (box.base / f"upper/dir{index}").mkdir()
        (box.base / f"upper/file{index}").write_text("x")
    names = [f"/{kind}{index}" for index in range(400) for kind in ("dir", "file")]
    box.spec["linux"]["maskedPaths"] = names
    began = time.monotonic()
    assert box.shell("cat /file* | wc -c; grep -c ' /dir\\| /file' /proc/self/mountinfo").split() == ["0", "800"]
    assert time.monotonic() - began < 10


def test_read_only_paths_and_what_is_mounted_below_them(box):
    upper = box.base / "upper"
    (upper / "keep/sub").mkdir(parents=True)
    (upper / "keep/file").write_text("content\n")
    (upper / "alone").write_text("content\n")
    (upper / "link").symlink_to("alone")
    box.spec["mounts"].append({"destination": "/keep/sub", "type": "tmpfs", "source": "tmpfs"})
    box.spec["linux"]["readonlyPaths"] += ["/keep", "/link", "/missing", "/tmp"]
    box.spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]})
    out = box.shell(
        "cat /keep/file; for f in /keep/x /keep/sub/x /alone /tmp/x; do (echo x > $f) 2>/dev/null || echo no; done; "
        "grep ' /tmp ' /proc/self/mountinfo"
    )
    assert out.split()[:5] == ["content", "no", "no", "no", "no"]
    assert "ro,nosuid" in out.splitlines()[-1]


def test_a_link_that_leads_out_is_followed_inside_only(box, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("outside\n")
    (box.base / "upper/out").symlink_to(f"../../../../../../..{outside}")
    box.spec["linux"]["maskedPaths"] = ["/out"]
    box.spec["linux"]["readonlyPaths"] = ["/out"]
    box.shell("true")
    assert outside.read_text() == "outside\n"
    outside.write_text("still writable\n")


def test_a_magic_link_of_proc_is_refused(box):
    box.spec["linux"]["maskedPaths"] = ["/proc/self/root/etc"]
    with pytest.raises(EstivaError, match="mask /proc/self/root/etc"):
        box.run("true")


@pytest.mark.parametrize("field", ["maskedPaths", "readonlyPaths"])
@pytest.mark.parametrize(("path", "words"), [("proc", "'proc' is not an absolute path"), ("//", "is the root itself")])
def test_relative_paths_and_the_root_are_refused(box, field, path, words):
    box.spec["linux"][field] = [path]
    with pytest.raises(Invalid, match=f"linux.{field}: .*{words}"):
        box.run("true")


def test_the_root_itself_may_be_read_only_with_writable_mounts_in_it(box):
    box.spec["root"]["readonly"] = True
    box.spec["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "tmpfs"})
    assert box.shell("touch /x 2>/dev/null || echo no; touch /data/x && echo yes").split() == ["no", "yes"]
