"""Digests: ``algorithm:hex``, the names of all content.  image-spec descriptor.md "Digests"."""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

SIZES = {"sha256": 64, "sha384": 96, "sha512": 128}
"""Hex digits of each algorithm we can compute."""

_HEX = frozenset("0123456789abcdef")


def split(digest: str) -> tuple[str, str]:
    """``(algorithm, hex)`` of a well-formed digest; Invalid for any other text, so the parts are safe in a path."""
    algorithm, colon, value = digest.partition(":")
    if not colon or algorithm not in SIZES:
        raise Invalid(f"digest {digest!r}: not of the form sha256:HEX", "known algorithms: " + ", ".join(SIZES))
    if len(value) != SIZES[algorithm] or not _HEX.issuperset(value):
        raise Invalid(f"digest {digest!r}: {algorithm} has {SIZES[algorithm]} lower-case hexadecimal digits")
    return algorithm, value


def is_digest(text: str) -> bool:
    """Whether *text* is a well-formed digest."""
    algorithm, _, value = text.partition(":")
    return len(value) == SIZES.get(algorithm) and _HEX.issuperset(value)


def new_hash(algorithm: str) -> _Hash:
    """A hash object of one of the algorithms in :data:`SIZES`."""
    import hashlib  # 5 ms: only where content is hashed

    return hashlib.new(algorithm, usedforsecurity=False)


def of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of *data*."""
    state = new_hash(algorithm)
    state.update(data)
    return f"{algorithm}:{state.hexdigest()}"


def verify(data: bytes, digest: str, what: str) -> bytes:
    """*data*, if it has this *digest*; else Invalid, calling it *what*."""
    algorithm, _ = split(digest)
    found = of(data, algorithm)
    if found != digest:
        raise Invalid(f"{what}: the content has digest {found}, not {digest}")
    return data
