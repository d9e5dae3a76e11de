"""Layers and writable layers, as far as an ordinary user without any namespace has to do with them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from estiva.errors import Conflict, Invalid, NotFound, Unsupported
from estiva.storage.store import Store

HEX = "a" * 64
LAYER = f"sha256:{HEX}"
OTHER = "sha256:" + "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), driver="overlay", in_userns=True)
    for diff_id, about in ((LAYER, "100 751:0:0"), (OTHER, "20 -")):
        tree = Path(store.layers.path(diff_id)) / "tree"
        tree.mkdir(parents=True)
        (tree.parent / "about").symlink_to(about)
    return store


def test_making_a_store_touches_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), in_userns=True)
    assert store.layers.list() == []
    assert not store.blobs.has(LAYER)
    assert os.listdir(tmp_path) == []


def test_a_store_imports_only_what_starting_a_container_needs() -> None:
    code = "import os; before = set(sys.modules); import estiva.storage.store; print(*(set(sys.modules) - before))"
    source = Path(__file__).resolve().parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(source)!r}); {code}"],
        check=True,
        capture_output=True,
        text=True,
    )
    others = {name for name in done.stdout.split() if not name.startswith("estiva")}
    assert others <= {"errno", "fcntl", "__future__"}


def test_layers_tell_their_size_and_what_the_top_directory_is_like(store: Store) -> None:
    layers = store.layers
    assert layers.list() == [LAYER, OTHER]
    assert (layers.size(LAYER), layers.size(OTHER)) == (100, 20)
    assert layers.top_directory([LAYER, OTHER]) == (0o751, 0, 0)
    assert layers.top_directory([OTHER]) == (0o755, 0, 0)
    with pytest.raises(NotFound):
        layers.size("sha256:" + "c" * 64)
    with pytest.raises(Invalid):
        layers.has("../etc")


def test_a_lease_lists_directories_from_the_top(store: Store) -> None:
    with store.layers.acquire([LAYER, OTHER]) as lease:
        assert lease.lowerdirs == [f"{store.layers.path(OTHER)}/tree", f"{store.layers.path(LAYER)}/tree"]
        assert len(lease.lock_fds) == 2
        assert all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in lease.lock_fds)
    assert lease.lock_fds == []


def test_what_is_left_to_be_mounted_is_told(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), driver="erofs", in_userns=False)
    directory = Path(store.layers.path(LAYER))
    directory.mkdir(parents=True)
    (directory / "layer.erofs").touch()
    with store.layers.acquire([LAYER], mount=False) as lease:
        assert lease.lowerdirs == [f"{store.layers.run}/{HEX}"]
        assert lease.unmounted == [
            (0, str(directory), f"{directory}/layer.erofs", f"{directory}/layer.tar", lease.lowerdirs[0])
        ]


def test_a_lease_that_fails_holds_nothing(store: Store) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NotFound, match="c" * 64):
        store.layers.acquire([LAYER, "sha256:" + "c" * 64])
    assert os.listdir("/proc/self/fd") == before
    store.layers.delete(LAYER)


def test_whoever_inherits_the_lock_holds_the_layer(store: Store) -> None:
    lease = store.layers.acquire([LAYER])
    holder = subprocess.Popen(["sleep", "60"], pass_fds=lease.lock_fds)
    lease.close()
    try:
        with pytest.raises(Conflict):
            store.layers.delete(LAYER)
    finally:
        holder.kill()
        holder.wait()
    store.layers.delete(LAYER)
    assert store.layers.list() == [OTHER]


def test_a_layer_unpacked_for_another_driver_does_not_count(store: Store) -> None:
    tree = Path(store.layers.path(LAYER)) / "tree"
    tree.rename(tree.parent / "files")
    assert not store.layers.has(LAYER)
    assert Store(store.root, store.run_root, driver="copy", in_userns=True).layers.has(LAYER)


def test_a_writable_layer_has_the_mode_of_the_images_top(store: Store) -> None:
    store.snapshots.prepare("c", [LAYER, OTHER])
    directory = Path(store.snapshots.path("c"))
    assert (directory / "upper").stat().st_mode & 0o7777 == 0o751
    assert sorted(os.listdir(directory)) == ["upper", "work"]


@pytest.mark.parametrize(
    ("in_userns", "volatile", "expected"),
    [
        (True, False, ["userxattr"]),
        (True, True, ["userxattr", "volatile"]),
        (False, True, ["index=off", "metacopy=off", "redirect_dir=off", "volatile"]),
    ],
)
def test_what_to_mount(store: Store, in_userns: bool, volatile: bool, expected: list[str]) -> None:
    store.in_userns = in_userns
    store.snapshots.prepare("c", [LAYER])
    with store.layers.acquire([LAYER]) as lease:
        what = store.snapshots.rootfs("c", lease, volatile=volatile)
        assert (what.kind, what.lowerdirs, what.options) == ("overlay", lease.lowerdirs, expected)
    directory = store.snapshots.path("c")
    assert (what.upperdir, what.workdir, what.source) == (f"{directory}/upper", f"{directory}/work", "")


def test_an_image_without_layers_gets_an_empty_one(store: Store) -> None:
    store.snapshots.prepare("c", [])
    with store.layers.acquire([]) as lease:
        what = store.snapshots.rootfs("c", lease, volatile=True)
    assert [os.listdir(lower) for lower in what.lowerdirs] == [[]]
    store.snapshots.remove("c")
    assert os.listdir(store.snapshots.path("c")) == []


def test_the_driver_that_was_found_is_remembered(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "storage-driver").write_text("copy")
    assert Store(str(tmp_path), str(run), in_userns=True).driver == "copy"
    (run / "storage-driver").write_text("rubbish")
    assert Store(str(tmp_path / "root"), str(run), in_userns=True).driver in ("overlay", "copy")


def test_what_a_user_namespace_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="erofs"):
        Store(str(tmp_path), str(tmp_path), driver="erofs", in_userns=True)
