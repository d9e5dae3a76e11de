"""The session's own clearing up never reaches through a mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import kernel
from helpers.isolation import WORLD


@pytest.mark.needs_root
def test_a_directory_bound_into_the_tree_keeps_its_files(tmp_path: Path) -> None:
    kept, tree = tmp_path / "kept", tmp_path / "tree"
    for directory in (kept, tree / "bound"):
        directory.mkdir(parents=True)
    (kept / "file").write_text("precious")
    kernel.mount(str(kept), str(tree / "bound"), None, kernel.MS_BIND)
    kernel.remove_tree(tree)
    assert (kept / "file").read_text() == "precious"
    assert not tree.exists()


def test_what_cannot_be_unmounted_is_not_walked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound" / "file").touch()
    monkeypatch.setattr(kernel, "mounts", lambda: [(str(tmp_path / "bound"), "ext4", "rw")])
    monkeypatch.setattr(kernel, "unmount", lambda point: None)
    with pytest.raises(OSError, match="still mounted"):
        kernel.remove_tree(tmp_path)
    assert (tmp_path / "bound" / "file").exists()


@pytest.mark.needs_root
def test_what_is_shown_to_other_users_cannot_be_changed_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shown = Path(WORLD.shown(str(tmp_path), f"shown-{tmp_path.name}"))
    with pytest.raises(OSError, match="Read-only"):
        (shown / "file").unlink()
    kernel.unmount(str(shown))
    shown.rmdir()
