"""``dir:``: one image as skopeo and podman put it into a directory: ``manifest.json``, and each blob under the
hexadecimal part of its digest.  Further manifests, of a list, are ``HEX.manifest.json``.  containers-transports(5)
"""

from __future__ import annotations

from estiva.registry.files import DirectoryFiles, read
from estiva.spec import oci
from estiva.spec.digest import split, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from estiva.spec.oci import Descriptor
    from estiva.spec.reference import ImageReference

VERSION = b"Directory Transport Version: 1.1\n"


class DirectorySource:
    """The image in the directory *path*; it has no name."""

    def __init__(self, path: str, what: str) -> None:
        self.what = what
        self.names: Sequence[ImageReference] = ()
        self._files = DirectoryFiles(path, what)

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """See :class:`~estiva.registry.source.Source`."""
        if digest is None:
            return read(self._files, "manifest.json", oci.MAX_MANIFEST), ""
        name = f"{split(digest)[1]}.manifest.json"
        if not self._files.has(name):
            name = "manifest.json"
        return verify(read(self._files, name, oci.MAX_MANIFEST), digest, f"{self.what}: manifest"), ""

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """See :class:`~estiva.registry.source.Source`."""
        return self._files.pieces(split(descriptor["digest"])[1])

    def interrupt(self) -> None:
        """Reading a file does not wait."""

    def close(self) -> None:
        """Nothing is open between calls."""
