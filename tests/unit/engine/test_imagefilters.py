"""Images are chosen as podman-images(1) says."""

from __future__ import annotations

import json

import pytest

from estiva.engine.imagedocument import describe_image
from estiva.engine.imagefilters import choose, matches
from estiva.engine.images import ImageRecord
from estiva.errors import Invalid


def record(number: int, names: list[str], labels: dict[str, str] | None = None) -> ImageRecord:
    config = json.dumps({"config": {"Cmd": ["sh"], "Env": []}, "created": "2026-11-24T01:05:35Z", "author": "me"})
    row = (f"{number}" * 64, f"sha256:{'d' * 64}", "type", number * 10**9, 7, "amd64", "linux",
           json.dumps(labels or {}), "sha256:a sha256:b", "[]", config)  # fmt: skip
    return ImageRecord(row, names, [f"{name.rpartition(':')[0]}@sha256:{'d' * 64}" for name in names])


RECORDS = [
    record(3, ["docker.io/library/debian:12", "localhost/deb:x"], {"a": "1", "b": "2"}),
    record(2, ["registry.example:5000/team/app:latest"], {"a": "2"}),
    record(1, []),
]


class Store:
    """The face of Images that choosing needs."""

    def list(self) -> list[ImageRecord]:
        return RECORDS

    def find(self, name: str) -> ImageRecord:
        return next(each for each in RECORDS if name in each.names)

    def containers(self, image: ImageRecord) -> list[str]:
        return ["c"] if image.id.startswith("2") else []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], "321"),
        (["dangling=true"], "1"),
        (["dangling=false"], "32"),
        (["label=a"], "32"),
        (["label=a=1"], "3"),
        (["label=a", "label=b"], "3"),
        (["label!=a"], "1"),
        (["reference=debian"], "3"),
        (["reference=debian:*"], "3"),
        (["reference=*/app"], "2"),
        (["reference=team/app:latest"], "2"),
        (["reference=debian", "reference=app"], "32"),
        (["reference=deb*", "label=a=2"], ""),
        (["id=33"], "3"),
        (["since=registry.example:5000/team/app:latest"], "3"),
        (["before=registry.example:5000/team/app:latest"], "1"),
        (["until=3"], "21"),
        (["containers=true"], "2"),
        (["readonly=false"], "321"),
        (["intermediate=true"], ""),
        ([f"digest=sha256:{'d' * 64}"], "321"),
    ],
)
def test_filters(filters: list[str], expected: str) -> None:
    chosen = choose(Store(), filters, moment=lambda text: int(text) * 10**9)  # type: ignore[arg-type]
    assert "".join(each.id[0] for each in chosen) == expected


@pytest.mark.parametrize("text", ["nonsense", "foo=bar", "dangling=maybe"])
def test_wrong_filters_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        choose(Store(), [text], moment=int)  # type: ignore[arg-type]


def test_a_digest_reference_matches_whole() -> None:
    assert matches(RECORDS[0], f"library/debian@sha256:{'d' * 64}")
    assert not matches(RECORDS[2], "x@sha256:0")


def test_the_document_has_podmans_keys() -> None:
    document = describe_image(RECORDS[0], "overlay")
    assert document["Config"] == {"Cmd": ["sh"]}
    assert document["RootFS"] == {"Type": "layers", "Layers": ["sha256:a", "sha256:b"]}
    assert document["RepoTags"] == RECORDS[0].names
    assert document["Created"] == "2026-11-24T01:05:35Z"
