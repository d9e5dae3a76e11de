"""Digests: form, computation, verification."""

from __future__ import annotations

import pytest

from estiva.errors import Invalid
from estiva.spec import digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_content_is_named_by_its_hash() -> None:
    assert digest.of(b"") == EMPTY
    assert digest.of(b"", "sha512").startswith("sha512:cf83e1357eefb8bd")
    assert digest.verify(b"", EMPTY, "nothing") == b""
    assert digest.split(EMPTY) == ("sha256", EMPTY[7:])


def test_other_content_is_refused_naming_both_digests() -> None:
    with pytest.raises(Invalid, match=r"the blob: the content has digest sha256:2d7.*, not sha256:e3b"):
        digest.verify(b"x", EMPTY, "the blob")


@pytest.mark.parametrize(
    "text", ["", "sha256", "sha256:", "sha256:../../etc/passwd", EMPTY.upper(), EMPTY + "0", "md5:" + "0" * 32]
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    assert not digest.is_digest(text)
    with pytest.raises(Invalid):
        digest.split(text)
