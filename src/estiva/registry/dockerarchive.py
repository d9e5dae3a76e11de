"""``docker-archive:``: what ``docker save`` writes.  A tar with ``manifest.json``: a list of images, each with the path
of its configuration, its names and the paths of its layers, uncompressed tars.

Such an archive holds no manifests; each image gets one here, the same for the same archive.  Docker's image
specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import json

from estiva.errors import Invalid, NotFound, Unsupported
from estiva.registry.files import ArchiveFiles, read
from estiva.spec import digest as digests
from estiva.spec import oci
from estiva.spec.reference import ImageReference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from estiva.registry.files import Files
    from estiva.spec.oci import Descriptor

_MAGIC = ((b"\x1f\x8b", oci.DOCKER_LAYER_GZIP), (b"\x28\xb5\x2f\xfd", oci.DOCKER_LAYER_ZSTD))


class DockerArchiveSource:
    """One entry of ``manifest.json``.  *files* is closed with the source."""

    def __init__(self, files: Files, entry: dict[str, Any]) -> None:
        self.what = files.what
        self.names = [_reference(name) for name in entry.get("RepoTags") or []]
        self._files = files
        self._entry = entry
        self._paths: dict[str, str] = {}
        self._config: bytes = b""
        self._manifest: bytes = b""

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """See :class:`~estiva.registry.source.Source`; the manifest is made when first asked for."""
        if not self._manifest:
            self._manifest = oci.dump_json(self._make())
        if digest is not None:
            digests.verify(self._manifest, digest, f"{self.what}: manifest")
        return self._manifest, oci.DOCKER_MANIFEST

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """See :class:`~estiva.registry.source.Source`."""
        if not self._manifest:
            self.manifest()
        if descriptor["digest"] == digests.of(self._config):
            return iter([self._config])
        path = self._paths.get(descriptor["digest"])
        if path is None:
            raise NotFound(f"{self.what}: has no blob {descriptor['digest']}")
        return self._files.pieces(path)

    def interrupt(self) -> None:
        """Reading a file does not wait."""

    def close(self) -> None:
        """Close the archive."""
        self._files.close()

    def _make(self) -> dict[str, Any]:
        self._config = read(self._files, self._entry["Config"], oci.MAX_CONFIG)
        paths = self._entry.get("Layers") or []
        config = oci.check_config(self._config, self.what, len(paths))
        layers = [self._layer(path, diff_id) for path, diff_id in zip(paths, config["rootfs"]["diff_ids"], strict=True)]
        return {
            "schemaVersion": 2,
            "mediaType": oci.DOCKER_MANIFEST,
            "config": {
                "mediaType": oci.DOCKER_CONFIG,
                "size": len(self._config),
                "digest": digests.of(self._config),
            },
            "layers": layers,
        }

    def _layer(self, path: str, diff_id: str) -> dict[str, Any]:
        """The descriptor of the layer in the member *path*; that of a compressed one has to be read to be named."""
        magic = next(self._files.pieces(path), b"")[:4]
        media_type = next((kind for start, kind in _MAGIC if magic.startswith(start)), oci.DOCKER_LAYER)
        digest = diff_id if media_type == oci.DOCKER_LAYER else self._digest(path)
        self._paths[digest] = path
        return {"mediaType": media_type, "size": self._files.size(path), "digest": digest}

    def _digest(self, path: str) -> str:
        state = digests.new_hash("sha256")
        for piece in self._files.pieces(path):
            state.update(piece)
        return f"sha256:{state.hexdigest()}"


def open_archive(path: str, selector: str, what: str, tmp_dir: str | None = None) -> DockerArchiveSource:
    """The image of the archive with the name *selector*, ``@N`` for the Nth, or, for ``""``, the only one."""
    files = ArchiveFiles(path, what, tmp_dir)
    try:
        images = all_images(files)
        return _choose(images, selector, what)
    except BaseException:
        files.close()
        raise


def all_images(files: Files) -> list[DockerArchiveSource]:
    """A source for each image in the archive."""
    if not files.has("manifest.json"):
        raise Unsupported(f"{files.what}: not an archive of `docker save` 1.10 or newer", "it has no manifest.json")
    try:
        entries = json.loads(read(files, "manifest.json", oci.MAX_MANIFEST))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{files.what}: manifest.json: not JSON: {error}") from None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise Invalid(f"{files.what}: manifest.json: not a list of images")
    return [DockerArchiveSource(files, entry) for entry in entries]


def _is_entry(entry: object) -> bool:
    def strings(key: str) -> bool:
        value = entry.get(key)  # type: ignore[attr-defined]  # asked only after the check that it is a dict
        return value is None or (isinstance(value, list) and all(isinstance(each, str) for each in value))

    return (
        isinstance(entry, dict) and isinstance(entry.get("Config"), str) and strings("RepoTags") and strings("Layers")
    )


def _choose(images: list[DockerArchiveSource], selector: str, what: str) -> DockerArchiveSource:
    if selector.startswith("@") and selector[1:].isdigit():
        found = images[int(selector[1:]) :][:1]
    elif selector:
        wanted = ImageReference.parse(selector).canonical
        found = [each for each in images if wanted in [name.canonical for name in each.names]]
    elif len(images) > 1:
        raise Invalid(f"{what}: holds several images", f"name one: {_known(images)}")
    else:
        found = images
    if not found:
        raise NotFound(f"{what}: no image {selector!r} in it", f"there are: {_known(images)}")
    return found[0]


def _known(images: list[DockerArchiveSource]) -> str:
    names = [name.familiar for image in images for name in image.names]
    return ", ".join(names) or f"@0 to @{len(images) - 1}"


def _reference(text: str) -> ImageReference:
    return ImageReference.parse(text)
