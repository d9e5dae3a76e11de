"""Image references: short forms, canonical forms, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid
from estiva.spec.reference import ImageReference, is_short

SHA = "sha256:" + "0123456789abcdef" * 4

FORMS = [
    ("debian", "docker.io/library/debian:latest", "debian"),
    ("debian:12", "docker.io/library/debian:12", "debian:12"),
    ("library/debian:12", "docker.io/library/debian:12", "debian:12"),
    ("docker.io/debian", "docker.io/library/debian:latest", "debian"),
    ("index.docker.io/debian", "docker.io/library/debian:latest", "debian"),
    ("someone/tool:v1", "docker.io/someone/tool:v1", "someone/tool:v1"),
    ("library/a/b", "docker.io/library/a/b:latest", "library/a/b"),
    ("quay.io/a/b/c:x", "quay.io/a/b/c:x", "quay.io/a/b/c:x"),
    ("localhost/mine", "localhost/mine:latest", "localhost/mine"),
    ("localhost:5000/mine", "localhost:5000/mine:latest", "localhost:5000/mine"),
    ("127.0.0.1:5000/mine:1", "127.0.0.1:5000/mine:1", "127.0.0.1:5000/mine:1"),
    ("[::1]:5000/mine:1", "[::1]:5000/mine:1", "[::1]:5000/mine:1"),
    ("HOST/mine", "HOST/mine:latest", "HOST/mine"),
    ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest", "a__b/c--d.e_f"),
    (f"debian@{SHA}", "docker.io/library/debian:latest", f"debian@{SHA}"),
    (f"debian:12@{SHA}", "docker.io/library/debian:12", f"debian:12@{SHA}"),
]


@pytest.mark.parametrize(("text", "canonical", "familiar"), FORMS)
def test_a_short_form_is_completed_and_can_be_shortened_again(text: str, canonical: str, familiar: str) -> None:
    reference = ImageReference.parse(text)
    assert reference.canonical == canonical
    assert reference.familiar == familiar
    assert ImageReference.parse(str(reference)) == reference
    assert ImageReference.parse(familiar) == reference


def test_a_digest_is_what_a_registry_is_asked_for_even_beside_a_tag() -> None:
    assert ImageReference.parse(f"debian:12@{SHA}").selector == SHA
    assert ImageReference.parse("debian:12").selector == "12"
    assert ImageReference.parse("debian").selector == "latest"


def test_another_default_registry_takes_names_as_they_are() -> None:
    assert ImageReference.parse("debian", "quay.io").canonical == "quay.io/debian:latest"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "bad repository"),
        ("Debian", "upper-case"),
        ("debian:", "bad tag"),
        ("debian:-x", "bad tag"),
        ("debian:" + "x" * 129, "bad tag"),
        ("debian@sha256:abc", "hexadecimal"),
        ("debian@md5:" + "a" * 32, "not of the form"),
        ("debian@", "not of the form"),
        ("a//b", "bad repository"),
        ("/a", "bad repository"),
        ("a/", "bad repository"),
        ("../a", "bad registry"),
        ("a/../b", "bad repository"),
        ("a b", "bad repository"),
        ("-host.x/a", "bad registry"),
        ("host:port/a", "bad registry"),
        ("0123456789abcdef" * 4, "image id"),
        ("quay.io/" + "a" * 250, "longer"),
        ("debian\n", "bad repository"),
    ],
)
def test_what_the_grammar_forbids_is_refused_with_its_cause(text: str, cause: str) -> None:
    with pytest.raises(Invalid, match=cause):
        ImageReference.parse(text)


def test_a_name_without_a_registry_is_short() -> None:
    assert [is_short(text) for text in ("debian", "a/b:1", f"a@{SHA}")] == [True, True, True]
    assert [is_short(text) for text in ("localhost/a", "a.b/c", "a:1/c", "Abc/d")] == [False] * 4


def test_a_reference_does_not_change() -> None:
    with pytest.raises(AttributeError):
        ImageReference.parse("debian").tag = "13"


@given(st.text(alphabet="aZ0._-/:@[]\n é", max_size=40))
def test_any_text_is_refused_or_survives_a_round_trip(text: str) -> None:
    try:
        reference = ImageReference.parse(text)
    except Invalid:
        return
    assert ImageReference.parse(str(reference)) == reference
    assert ".." not in reference.name.split("/")
