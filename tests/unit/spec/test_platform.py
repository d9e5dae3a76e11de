"""Platforms and the choice of an image from an index."""

from __future__ import annotations

import pytest

from estiva.errors import Invalid, NotFound
from estiva.spec import platform
from estiva.spec.platform import Platform, choose


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("armhf", "linux/arm/v7"),
    ],
)
def test_a_platform_is_read_in_many_spellings(text: str, meaning: str) -> None:
    assert str(Platform.parse(text)) == meaning


def test_an_operating_system_alone_means_this_machines_architecture() -> None:
    assert Platform.parse("linux") == Platform("linux", platform.host().architecture)


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/../x"])
def test_a_malformed_platform_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="platform"):
        Platform.parse(text)


def index(*texts: str) -> list:
    made = []
    for number, text in enumerate(texts):
        parts = dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))
        made.append({"mediaType": "m", "digest": f"sha256:{number:064x}", "size": 1, "platform": parts})
    return made


@pytest.mark.parametrize(
    ("wanted", "there", "position"),
    [
        ("linux/amd64", ["linux/arm64/v8", "linux/amd64"], 1),
        ("linux/arm64", ["linux/arm64/v8", "linux/amd64"], 0),
        ("linux/arm64/v8", ["linux/arm64"], 0),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm", ["linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/amd64", ["unknown/unknown", "linux/amd64/v2", "linux/amd64"], 2),
    ],
)
def test_the_best_entry_is_chosen(wanted: str, there: list[str], position: int) -> None:
    entries = index(*there)
    assert choose(entries, Platform.parse(wanted), "x") is entries[position]


@pytest.mark.parametrize(("wanted", "there"), [("linux/arm/v6", "linux/arm/v7"), ("linux/amd64", "windows/amd64")])
def test_a_missing_platform_is_reported_with_those_there_are(wanted: str, there: str) -> None:
    with pytest.raises(NotFound, match=f"image x: not made for platform {wanted}; there are: {there}"):
        choose(index(there, "unknown/unknown"), Platform.parse(wanted), "x")
