"""Saving images to archives and directories that other tools read, and loading what they wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from estiva.engine.imagenames import candidates, with_tag
from estiva.engine.outputs import archive, directory
from estiva.engine.transfer import copy, parse_platform, resolve
from estiva.errors import Invalid, NotFound, Unavailable, Unsupported
from estiva.registry.transport import open_all
from estiva.spec import digest as digests
from estiva.spec import oci
from estiva.storage.decompress import decompressed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from estiva.engine.images import ImageRecord, Images
    from estiva.engine.outputs import Output
    from estiva.engine.transfer import Progress
    from estiva.registry.settings import RegistrySettings
    from estiva.spec.platform import Platform
    from estiva.storage.store import Store


FORMATS = ("docker-archive", "oci-archive", "oci-dir", "docker-dir")
_CHUNK = 1 << 20
_CONTAINERD_NAME = "io.containerd.image.name"
_TO_OCI = {
    oci.DOCKER_MANIFEST: oci.OCI_MANIFEST,
    oci.DOCKER_CONFIG: oci.OCI_CONFIG,
    oci.DOCKER_LAYER: oci.OCI_LAYER,
    oci.DOCKER_LAYER_GZIP: oci.OCI_LAYER_GZIP,
    oci.DOCKER_LAYER_ZSTD: oci.OCI_LAYER_ZSTD,
}
_TO_DOCKER = {theirs: ours for ours, theirs in _TO_OCI.items() if ours != oci.DOCKER_LAYER_ZSTD}


def load(
    store: Store,
    images: Images,
    path: str,
    *,
    settings: RegistrySettings,
    platform: Platform | str | None = None,
    progress: Progress | None = None,
) -> list[ImageRecord]:
    """The images in the archive or directory *path*, now in the store under the names they have there.

    docker-archive, oci-archive (either compressed or not), an OCI layout and ``dir:`` are told apart by what is in
    them.  Raises NotFound, Invalid, Unsupported; images before the one that failed stay.
    """
    wanted = parse_platform(platform)
    sources = open_all(path, settings=settings)
    try:
        loaded = []
        for source in sources:
            names = [name.canonical for name in source.names]
            resolved = resolve(source, wanted)
            loaded.append(copy(store, images, source, resolved, names=names, platform=wanted, progress=progress))
        return loaded
    finally:
        for source in sources:
            source.close()


def save(
    store: Store,
    images: Images,
    names: Iterable[str],
    output: str | BinaryIO,
    *,
    format: str = "docker-archive",
    progress: Progress | None = None,
) -> None:
    """Write the images with these *names* (or ids: then they have no name in it) to *output*.

    *output* is a path, which appears whole, or for the archives also an open file.  *format* is one of
    :data:`FORMATS`; only docker-archive and oci-archive hold several images.  Raises NotFound, Conflict (a directory
    that is there), Invalid, Unavailable.
    """
    if format not in FORMATS:
        raise Invalid(f"format {format!r}: unknown", f"choose one of {', '.join(FORMATS)}")
    chosen = _choose(images, names)
    if not chosen:
        raise Invalid("saving images: none named")
    if format.endswith("-dir") and len(chosen) > 1:
        raise Invalid(f"saving {len(chosen)} images: format {format} holds one", "use docker-archive or oci-archive")
    write = {"docker-archive": _docker_archive, "docker-dir": _docker_dir}.get(format, _layout)
    saver = _Saver(store, chosen, progress)
    try:
        with directory(output) if format.endswith("-dir") else archive(output) as place:
            write(saver, place)
    except OSError as error:
        where = output if isinstance(output, str) else "the output"
        raise Unavailable(f"saving to {where}: {error.strerror or error}") from error


@dataclass(slots=True)
class _Chosen:
    record: ImageRecord
    names: list[str] = field(default_factory=list)


def _choose(images: Images, names: Iterable[str]) -> list[_Chosen]:
    """Each image once, with the canonical names it was asked for by."""
    chosen: dict[str, _Chosen] = {}
    for name in names:
        record = images.find(name)
        each = chosen.setdefault(record.id, _Chosen(record))
        meant = [known for known in candidates(name) if known in record.names]
        meant = meant or [known for known in record.names if known.endswith(f"/{with_tag(name)}")]
        each.names += [known for known in meant[:1] if known not in each.names]
    return list(chosen.values())


class _Saver:
    """The images to save, and their content as pieces, verified as they go by."""

    def __init__(self, store: Store, chosen: list[_Chosen], progress: Progress | None) -> None:
        self.chosen = chosen
        self._store = store
        self._progress = progress

    def config(self, record: ImageRecord) -> bytes:
        """The image configuration as it is stored."""
        return self._store.blobs.read(record.config_digest, oci.MAX_CONFIG)

    def manifest(self, record: ImageRecord, types: dict[str, str]) -> bytes:
        """The manifest, its media types exchanged as *types* says; unchanged bytes where nothing is to change."""
        data = self._store.blobs.read(record.digest, oci.MAX_MANIFEST)
        document, media_type = oci.check_document(data, record.media_type, f"image {record.id[:12]}")
        descriptors: list[Any] = [document["config"], *document["layers"]]  # type: ignore[typeddict-item]
        kept = set(types.values())
        if media_type in kept and all(each["mediaType"] in kept for each in descriptors):
            return data
        for each in descriptors:
            if each["mediaType"] not in kept | set(types):
                raise Unsupported(f"saving image {record.id[:12]}: no such format for {each['mediaType']!r}")
            each["mediaType"] = types.get(each["mediaType"], each["mediaType"])
        changed: dict[str, Any] = {**document, "mediaType": types.get(media_type, media_type)}
        return oci.dump_json(changed)

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        """A blob's bytes."""
        with self._store.blobs.open(digest) as file:
            yield from self._verified(iter(lambda: file.read(_CHUNK), b""), digest, size)

    def layer(self, diff_id: str, digest: str, size: int) -> Iterator[bytes]:
        """A layer's uncompressed tar, from its blob."""
        with self._store.blobs.open(digest) as file:
            yield from self._verified(decompressed(iter(lambda: file.read(_CHUNK), b"")), diff_id, size)

    def layer_size(self, diff_id: str, digest: str) -> int:
        """Bytes of the uncompressed tar: known for a layer that is there, else found by reading its blob."""
        try:
            return self._store.layers.size(diff_id)
        except NotFound:
            with self._store.blobs.open(digest) as file:
                return sum(map(len, decompressed(iter(lambda: file.read(_CHUNK), b""))))

    def _verified(self, pieces: Iterator[bytes], digest: str, size: int) -> Iterator[bytes]:
        state, done = digests.new_hash(digests.split(digest)[0]), 0
        for piece in pieces:
            state.update(piece)
            done += len(piece)
            if self._progress:
                self._progress("blob", digest, min(done, size), size)
            yield piece
        if done != size or f"{state.name}:{state.hexdigest()}" != digest:
            raise Invalid(f"saving {digest}: what is stored is damaged", "pull the image again")


def _docker_archive(saver: _Saver, place: Output) -> None:
    """``manifest.json``, configurations and uncompressed layers, each once.  See registry.dockerarchive"""
    entries, written = [], set()
    for each in saver.chosen:
        record = each.record
        layers = []
        for diff_id, layer in zip(record.diff_ids, record.layers, strict=True):
            layers.append(f"{digests.split(diff_id)[1]}.tar")
            if diff_id not in written:
                written.add(diff_id)
                size = saver.layer_size(diff_id, layer["digest"])
                place.add(layers[-1], size, saver.layer(diff_id, layer["digest"], size))
        config = saver.config(record)
        name = f"{digests.split(record.config_digest)[1]}.json"
        place.add(name, len(config), [config])
        entries.append({"Config": name, "RepoTags": each.names or None, "Layers": layers})
    _add(place, "manifest.json", json.dumps(entries).encode())


def _layout(saver: _Saver, place: Output) -> None:
    """An OCI image layout.  image-layout.md"""
    _add(place, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    entries, written = [], set()
    for each in saver.chosen:
        manifest = saver.manifest(each.record, _TO_OCI)
        document = json.loads(manifest)
        for blob in (*document["layers"], document["config"]):
            if blob["digest"] not in written:
                written.add(blob["digest"])
                place.add(_blob_path(blob["digest"]), blob["size"], saver.blob(blob["digest"], blob["size"]))
        _add(place, _blob_path(digests.of(manifest)), manifest)
        entry = {"mediaType": oci.OCI_MANIFEST, "digest": digests.of(manifest), "size": len(manifest)}
        named = [{**entry, "annotations": {oci.REF_NAME: name, _CONTAINERD_NAME: name}} for name in each.names]
        entries += named or [entry]
    index = {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries}
    _add(place, "index.json", oci.dump_json(index))


def _docker_dir(saver: _Saver, place: Output) -> None:
    """What ``dir:`` is, with a manifest of Docker's types.  See registry.directory"""
    manifest = saver.manifest(saver.chosen[0].record, _TO_DOCKER)
    document = json.loads(manifest)
    for blob in {each["digest"]: each for each in (*document["layers"], document["config"])}.values():
        place.add(digests.split(blob["digest"])[1], blob["size"], saver.blob(blob["digest"], blob["size"]))
    _add(place, "version", b"Directory Transport Version: 1.1\n")
    _add(place, "manifest.json", manifest)


def _add(place: Output, name: str, data: bytes) -> None:
    place.add(name, len(data), [data])


def _blob_path(digest: str) -> str:
    return "blobs/" + "/".join(digests.split(digest))
