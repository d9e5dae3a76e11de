"""Image records: names, lookups, and the OCI layout's index that follows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estiva.engine.database import Database
from estiva.engine.imagenames import candidates
from estiva.engine.images import Images, parse_time
from estiva.errors import Conflict, Invalid, NotFound

BUSYBOX = "docker.io/library/busybox:latest"


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(str(tmp_path / "db.sqlite"))


@pytest.fixture
def images(database: Database, tmp_path: Path) -> Images:
    return Images(database, str(tmp_path))


def record(images: Images, letter: str, *names: str, layers: str = "1"):
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-02T03:04:05.5Z",
        "config": {"Labels": {"k": "v"}},
        "rootfs": {"type": "layers", "diff_ids": [digest(c) for c in layers]},
    }
    manifest = {"layers": [{"mediaType": "x", "digest": digest(c.replace("1", "7")), "size": 5} for c in layers]}
    return images.record(list(names), digest(letter), manifest, digest(letter), config)


def test_a_recorded_image_is_found_by_each_of_its_names(images: Images) -> None:
    made = record(images, "a", BUSYBOX)
    for name in ("busybox", "busybox:latest", "library/busybox", "docker.io/busybox", BUSYBOX, "a" * 12, digest("a")):
        assert images.find(name).id == made.id
    assert images.find(f"busybox@{digest('a')}").names == [BUSYBOX]
    assert made.created == 1704164645_500000000
    assert made.labels == {"k": "v"}
    assert made.size == 5


def test_a_local_name_comes_before_the_hub(images: Images) -> None:
    record(images, "a", BUSYBOX)
    local = record(images, "b", "localhost/busybox:latest")
    assert images.find("busybox").id == local.id


def test_a_short_name_finds_an_image_of_any_registry_unless_two_match(images: Images) -> None:
    made = record(images, "a", "quay.io/team/app:1")
    assert images.find("app:1").id == made.id
    assert images.find("team/app:1").id == made.id
    record(images, "b", "ghcr.io/team/app:1")
    with pytest.raises(Invalid, match="several"):
        images.find("app:1")


def test_unknown_and_ambiguous_images_are_told_apart(images: Images) -> None:
    record(images, "a", BUSYBOX)
    with pytest.raises(NotFound, match="nosuch"):
        images.find("nosuch")
    with pytest.raises(NotFound):
        images.find("busybox:other")
    with pytest.raises(NotFound):
        images.find("")


def test_a_name_moves_to_the_image_recorded_last(images: Images, tmp_path: Path) -> None:
    old = record(images, "a", BUSYBOX)
    new = record(images, "b", BUSYBOX)
    assert images.find("busybox").id == new.id
    assert images.find(old.id).names == []
    index = json.loads((tmp_path / "index.json").read_text())
    names = {m["digest"]: m.get("annotations", {}).get("org.opencontainers.image.ref.name") for m in index["manifests"]}
    assert names == {digest("a"): None, digest("b"): BUSYBOX}
    assert json.loads((tmp_path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}


def test_tags_come_and_go_in_the_index_too(images: Images, tmp_path: Path) -> None:
    made = record(images, "a", BUSYBOX)
    assert images.tag(made, "localhost/b:1").names == [BUSYBOX, "localhost/b:1"]
    assert len(json.loads((tmp_path / "index.json").read_text())["manifests"]) == 2
    assert images.untag(made, BUSYBOX).names == ["localhost/b:1"]
    with pytest.raises(NotFound):
        images.untag(made, BUSYBOX)


def test_removal_returns_only_what_no_other_image_shares(images: Images) -> None:
    first = record(images, "a", BUSYBOX, layers="12")
    record(images, "b", "localhost/b:1", layers="1")
    layers, blobs = images.remove(first)
    assert layers == [digest("2")]
    assert blobs == sorted([digest("2"), digest("a")])
    with pytest.raises(NotFound):
        images.find("busybox")


def test_an_image_in_use_is_not_removed(images: Images, database: Database) -> None:
    made = record(images, "a", BUSYBOX)
    with database.transaction() as change:
        change.execute(
            "INSERT INTO containers VALUES ('c','web','created',0,0,?,'','','{}',0,'','','{}','{}')", (made.id,)
        )
    with pytest.raises(Conflict, match="web"):
        images.remove(made)
    assert images.exists("busybox")


def test_a_failed_transaction_changes_nothing(images: Images, database: Database) -> None:
    record(images, "a", BUSYBOX)

    def fail() -> None:
        with database.transaction() as change:
            change.execute("DELETE FROM images")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert images.exists("busybox")


def test_what_is_not_a_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "db.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(Invalid, match="not a database"):
        Database(str(tmp_path / "db.sqlite")).query("SELECT 1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("debian", ["localhost/debian:latest", "docker.io/library/debian:latest"]),
        ("me/app:2", ["localhost/me/app:2", "docker.io/me/app:2"]),
        ("host:5000/app", ["host:5000/app:latest"]),
        ("quay.io/a/b", ["quay.io/a/b:latest"]),
        ("docker.io/a", ["docker.io/library/a:latest"]),
        ("a:1@sha256:ff", ["localhost/a@sha256:ff", "docker.io/library/a@sha256:ff"]),
        ("docker://a", ["localhost/a:latest", "docker.io/library/a:latest"]),
    ],
)
def test_candidates_of_a_name(name: str, expected: list[str]) -> None:
    assert candidates(name) == expected


def test_times_with_offsets() -> None:
    assert parse_time("1970-01-01T01:00:00+01:00") == 0
    assert parse_time("1970-01-01T00:00:01.000000001Z") == 1_000_000_001
    with pytest.raises(Invalid):
        parse_time("yesterday")
