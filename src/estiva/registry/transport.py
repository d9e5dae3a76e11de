"""Which transport a user's words name.  containers-transports(5)

docker://REFERENCE, REFERENCE            an image in a registry
oci:PATH[:NAME]                          an OCI image layout
oci-archive:PATH[:NAME]                  a tar of one
docker-archive:PATH[:REFERENCE|:@N]      what `docker save` writes
dir:PATH                                 one image as skopeo leaves it in a directory
"""

from __future__ import annotations

from estiva.errors import Invalid, Unsupported
from estiva.registry import dockerarchive, layout
from estiva.registry.files import ArchiveFiles, DirectoryFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from estiva.registry.files import Files
    from estiva.registry.settings import RegistrySettings
    from estiva.registry.source import Source

TRANSPORTS = ("docker", "oci", "oci-archive", "docker-archive", "dir")
_ELSEWHERE = ("docker-daemon", "containers-storage", "ostree", "sif", "tarball", "atomic")


def split_transport(spec: str) -> tuple[str, str]:
    """``(transport, rest)``; a bare reference is ``("docker", reference)``.  Raises Unsupported for Podman's others."""
    transport, colon, rest = spec.partition(":")
    if transport in _ELSEWHERE and colon:
        raise Unsupported(f"transport {transport!r}: not known here", f"there are {', '.join(TRANSPORTS)}")
    if transport == "docker" and rest.startswith("//"):
        return "docker", rest[2:]
    if transport in TRANSPORTS[1:] and colon:
        return transport, rest
    if "://" in spec:
        raise Invalid(f"image {spec!r}: not a reference", f"the transports are {', '.join(TRANSPORTS)}")
    return "docker", spec


def open_source(spec: str, *, settings: RegistrySettings) -> Source:
    """The image *spec* names, ready to be read; no registry is asked yet.  Raises Invalid, NotFound, Unsupported."""
    transport, rest = split_transport(spec)
    if transport == "docker":
        return _remote(rest, settings)
    if transport == "dir":
        from estiva.registry.directory import DirectorySource

        return DirectorySource(_path(spec, rest), spec)
    path, _, selector = rest.partition(":")
    path = _path(spec, path)
    if transport == "oci":
        return layout.open_directory(path, selector, spec)
    opener = layout.open_archive if transport == "oci-archive" else dockerarchive.open_archive
    return opener(path, selector, spec, settings.environ.get("TMPDIR"))


def open_all(path: str, *, settings: RegistrySettings) -> Sequence[Source]:
    """A source for each image in the file or directory *path*, whatever kind it is.

    All of them read from one open file: close any one when done with all.
    """
    import os

    files: Files
    if os.path.isdir(path):
        files = DirectoryFiles(path, path)
        if files.has("manifest.json") and not files.has("oci-layout"):
            from estiva.registry.directory import DirectorySource

            return [DirectorySource(path, path)]
    else:
        files = ArchiveFiles(path, path, settings.environ.get("TMPDIR"))
    try:
        if files.has("manifest.json"):
            return dockerarchive.all_images(files)
        if files.has("oci-layout"):
            return layout.all_images(files)
        raise Invalid(f"{path}: holds no images", "it has neither manifest.json nor oci-layout")
    except BaseException:
        files.close()
        raise


def _remote(text: str, settings: RegistrySettings) -> Source:
    from estiva.registry import registriesconf
    from estiva.registry.remote import RemoteSource

    conf = registriesconf.load(settings)
    return RemoteSource(conf.expand(text), conf, settings)


def _path(spec: str, path: str) -> str:
    if not path:
        raise Invalid(f"image {spec!r}: names no path")
    return path
