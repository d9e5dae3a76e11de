"""Users looked up in an image's own files, read from its layers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from estiva.engine.spec.users import resolve_user
from estiva.engine.union import read_union
from estiva.errors import Invalid, NotFound

PASSWD = "root:x:0:0:root:/root:/bin/sh\njoe:x:1000:1001:Joe:/home/joe:/bin/sh\nbroken\n12:x:7:8::/seven:\n"
GROUP = "root:x:0:\nwheel:x:10:joe,root\njoe:x:1001:joe\nbroken\n"


@pytest.mark.parametrize(
    ("text", "add", "expected"),
    [
        ("", [], [0, 0, [10], "/root", "root"]),
        ("joe", [], [1000, 1001, [10], "/home/joe", "joe"]),
        ("1000", [], [1000, 1001, [10], "/home/joe", "joe"]),
        ("joe:wheel", [], [1000, 10, [], "/home/joe", "joe"]),
        ("5000", [], [5000, 0, [], "/", ""]),
        ("5000:77", ["wheel", "99"], [5000, 77, [10, 99], "/", ""]),
        ("12", [], [12, 0, [], "/", ""]),
    ],
)
def test_users_by_name_and_number(text: str, add: list[str], expected: list[object]) -> None:
    assert resolve_user(text, PASSWD, GROUP, add).to_json() == expected


def test_unknown_names_are_errors_and_unknown_numbers_are_not() -> None:
    for text in ("ann", "joe:ann"):
        with pytest.raises(NotFound):
            resolve_user(text, PASSWD, GROUP)
    assert resolve_user("7", "", "").uid == 7
    with pytest.raises(Invalid):
        resolve_user("4294967295", "", "")


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    for name in ("top", "middle", "bottom"):
        (tmp_path / name / "etc").mkdir(parents=True)
    (tmp_path / "bottom/etc/passwd").write_text("bottom")
    (tmp_path / "bottom/etc/group").write_text("bottom")
    return [str(tmp_path / name) for name in ("top", "middle", "bottom")]


def test_the_highest_layer_wins(layers: list[str]) -> None:
    assert read_union(layers, "/etc/passwd") == "bottom"
    Path(layers[1], "etc/passwd").write_text("middle")
    assert read_union(layers, "/etc/passwd") == "middle"
    assert read_union(layers, "/etc/none") is None
    assert read_union(layers, "/etc") is None


def test_links_stay_inside(layers: list[str]) -> None:
    Path(layers[2], "etc/passwd").unlink()
    Path(layers[1], "etc/passwd").symlink_to("../../../usr/lib/passwd")
    assert read_union(layers, "/etc/passwd") is None
    Path(layers[2], "usr/lib").mkdir(parents=True)
    Path(layers[2], "usr/lib/passwd").write_text("linked")
    assert read_union(layers, "/etc/passwd") == "linked"
    Path(layers[0], "etc/passwd").symlink_to("/etc/passwd")
    with pytest.raises(NotFound, match="links"):
        read_union(layers, "/etc/passwd")


def test_an_opaque_directory_hides_those_below(layers: list[str]) -> None:
    try:
        os.setxattr(f"{layers[0]}/etc", "user.overlay.opaque", b"y")
    except OSError:
        pytest.skip("no user xattrs here")
    assert read_union(layers, "/etc/passwd") is None


@pytest.mark.needs_root
def test_a_whiteout_hides_a_file_and_a_directory(layers: list[str]) -> None:
    os.mknod(f"{layers[1]}/etc/passwd", 0o020000, 0)
    assert read_union(layers, "/etc/passwd") is None
    os.rmdir(f"{layers[0]}/etc")
    os.mknod(f"{layers[0]}/etc", 0o020000, 0)
    assert read_union(layers, "/etc/group") is None
