"""What every transport offers: one image's documents and blobs, to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from estiva.spec.oci import Descriptor
    from estiva.spec.reference import ImageReference

CHUNK = 512 << 10
"""Bytes of the pieces blobs are given out in."""


class Source(Protocol):
    """One image (or index of images) somewhere else.  ``blob`` may be called by several threads at once."""

    @property
    def what(self) -> str:
        """How messages call it: the user's own words."""

    @property
    def names(self) -> Sequence[ImageReference]:
        """What it says its names are; none for an image that only lies in a directory.  Known after ``manifest()``."""

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """``(bytes, media type told)`` of the top document, or of the one with *digest*, which is verified.

        The media type is what the transport says beside the document; ``""`` if it says nothing.
        """

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The blob's bytes in large pieces, not verified; raises NotFound, Invalid, Unavailable."""

    def interrupt(self) -> None:
        """Make the readers of blobs that wait in other threads fail soon: nobody wants the image any more."""

    def close(self) -> None:
        """Let go of connections and files; harmless twice."""
