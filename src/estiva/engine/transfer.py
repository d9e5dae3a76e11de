"""Copying one image from a source into the store: what `pull` and `load` share.

Layers come in parallel, each straight from its connection or file into ``LayerStore.ingest``.  A copy that fails or is
interrupted takes back the layers and blobs it made, except those another image has come to use meanwhile.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from estiva.engine.workers import Stopped, Workers
from estiva.errors import EstivaError, Invalid, NotFound, Unavailable, Unsupported
from estiva.spec import digest as digests
from estiva.spec import oci
from estiva.spec.platform import Platform, choose, host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from estiva.engine.images import ImageRecord, Images
    from estiva.registry.source import Source
    from estiva.spec.oci import Descriptor, ImageConfig, Manifest
    from estiva.storage.store import Store

    Progress = Callable[[str, str, int, int], None]

WORKERS = 4
_MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Resolved:
    """Which image a source holds for a platform: its manifest, and the digests of the indexes that led there."""

    data: bytes
    media_type: str
    manifest: Manifest
    indexes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digests.of(self.data)


def parse_platform(platform: Platform | str | None) -> Platform | None:
    """What a caller means: nothing and ``""`` are this machine's, None."""
    if isinstance(platform, str):
        return Platform.parse(platform) if platform else None
    return platform


def resolve(source: Source, platform: Platform | None) -> Resolved:
    """The image of *source* for *platform* (None: this machine's).  Raises NotFound if it has none."""
    data, told = source.manifest()
    indexes: list[str] = []
    for _ in range(_MAX_DEPTH):
        document, media_type = oci.check_document(data, told, source.what)
        if media_type in oci.MANIFEST_TYPES:
            manifest: Any = {**document, "mediaType": media_type}
            return Resolved(data, media_type, manifest, tuple(indexes))
        indexes.append(digests.of(data))
        entries: Any = document["manifests"]  # type: ignore[typeddict-item]  # it is an index
        entry = choose(entries, platform or host(), source.what)
        data, told = source.manifest(entry["digest"])
        if len(data) != entry["size"]:
            raise Invalid(f"{source.what}: manifest {entry['digest']} is not {entry['size']} bytes long")
    raise Invalid(f"{source.what}: indexes inside indexes, {_MAX_DEPTH} deep")


def copy(
    store: Store,
    images: Images,
    source: Source,
    resolved: Resolved,
    *,
    names: Iterable[str],
    repo_digests: Iterable[str] = (),
    platform: Platform | None = None,
    progress: Progress | None = None,
) -> ImageRecord:
    """The record of the image, made when all its blobs and layers are in the store."""
    tell = _Teller(progress)
    manifest = resolved.manifest
    config_data, config = _config(source, manifest, platform)
    jobs = _jobs(manifest["layers"], config["rootfs"]["diff_ids"])
    images.list()  # opens the database, which makes it: with no space left that fails here, before anything is made
    made = Made(store, images)
    try:
        Workers(WORKERS, source.interrupt).run([_Layer(store, source, made, tell, *job) for job in jobs])
        made.blob(config_data, manifest["config"]["digest"])
        tell("config", manifest["config"]["digest"], len(config_data), len(config_data))
        made.blob(resolved.data, resolved.digest)
        tell("manifest", resolved.digest, len(resolved.data), len(resolved.data))
        record = images.record(
            list(names),
            resolved.digest,
            dict(manifest),
            manifest["config"]["digest"],
            dict(config),
            repo_digests,
        )
        # an image that shared layers may have been removed between our finding them and our recording them
        Workers(WORKERS, source.interrupt).run(
            [_Layer(store, source, made, tell, *job) for job in jobs if not _whole(store, *job)]
        )
    except OSError as error:
        made.undo()
        raise Unavailable(f"storing {source.what}: {error.strerror or error}") from error
    except BaseException:
        made.undo()
        raise
    return record


def _config(source: Source, manifest: Manifest, platform: Platform | None) -> tuple[bytes, ImageConfig]:
    descriptor = manifest["config"]
    what = f"{source.what}: configuration"
    if descriptor["size"] > oci.MAX_CONFIG:
        raise Invalid(f"{what}: more than {oci.MAX_CONFIG >> 20} MiB")
    data = bytearray()
    for piece in source.blob(descriptor):
        data += piece
        if len(data) > descriptor["size"]:
            raise Invalid(f"{what}: longer than the {descriptor['size']} bytes its descriptor says")
    digests.verify(bytes(data), descriptor["digest"], what)
    config = oci.check_config(bytes(data), source.what, len(manifest["layers"]))
    _check_platform(Platform.of(config), platform, source.what)
    return bytes(data), config


def _check_platform(is_for: Platform, wanted: Platform | None, what: str) -> None:
    if is_for.os not in ("", "linux"):
        raise Unsupported(f"{what}: made for {is_for.os}, not for Linux")
    if wanted is not None and is_for.architecture and wanted.rank(is_for) < 0:
        raise NotFound(f"{what}: not made for platform {wanted}", f"it is for {is_for}")


def _jobs(layers: list[Descriptor], diff_ids: list[str]) -> list[tuple[Descriptor, str]]:
    """Each different layer once, with its diff_id."""
    return list({diff_id: (layer, diff_id) for layer, diff_id in zip(layers, diff_ids, strict=True)}.values())


def _whole(store: Store, layer: Descriptor, diff_id: str) -> bool:
    return store.layers.has(diff_id) and store.blobs.has(layer["digest"])


class _Layer:
    """One layer to be fetched; called with what tells whether to stop."""

    def __init__(
        self, store: Store, source: Source, made: Made, tell: _Teller, layer: Descriptor, diff_id: str
    ) -> None:
        self._store = store
        self._source = source
        self._made = made
        self._tell = tell
        self._layer = layer
        self._diff_id = diff_id

    def __call__(self, stopped: Callable[[], bool]) -> None:
        layer, digest, size = self._layer, self._layer["digest"], self._layer["size"]
        had_layer, had_blob = self._store.layers.has(self._diff_id), self._store.blobs.has(digest)
        if had_layer and had_blob:
            self._tell("exists", digest, size, size)
            return
        if had_blob:
            self._store.layers.unpack(layer["mediaType"], digest, self._diff_id)
            self._tell("exists", digest, size, size)
        elif had_layer:
            with self._store.blobs.writer(digest, size) as writer:
                self._pour(writer, stopped)
        else:
            ingest = self._store.layers.ingest(layer["mediaType"], digest, size, self._diff_id)
            try:
                self._pour(ingest, stopped)
            finally:
                ingest.abort()
        self._made.add(None if had_layer else self._diff_id, None if had_blob else digest)

    def _pour(self, writer: Any, stopped: Callable[[], bool]) -> None:
        digest, size = self._layer["digest"], self._layer["size"]
        done = 0
        self._tell("blob", digest, 0, size)
        pieces: Iterator[bytes] = self._source.blob(self._layer)
        for piece in pieces:
            if stopped():
                raise Stopped
            writer.write(piece)
            done += len(piece)
            self._tell("blob", digest, min(done, size), size)
        writer.commit()
        if not size:
            self._tell("blob", digest, 0, 0)


class _Teller:
    """A progress callback that several threads may call."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def __call__(self, event: str, subject: str, done: int, total: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(event, subject, done, total)


class Made:
    """What this copy put into the store, to be taken back if it fails."""

    def __init__(self, store: Store, images: Images) -> None:
        self._store = store
        self._images = images
        self._layers: list[str] = []
        self._blobs: list[str] = []

    def add(self, diff_id: str | None, digest: str | None) -> None:
        """Note a layer and a blob that were not there before."""
        self._layers += [diff_id] if diff_id else []
        self._blobs += [digest] if digest else []

    def blob(self, data: bytes, digest: str) -> None:
        """Store a small blob."""
        if not self._store.blobs.has(digest):
            self._store.blobs.put(data, digests.split(digest)[0])
            self.add(None, digest)

    def undo(self) -> None:
        """Delete what no recorded image uses."""
        if not self._layers and not self._blobs:
            return
        used: set[str] = set()
        try:
            for record in self._images.list():
                used.update(record.diff_ids, (record.digest, record.config_digest))
                used.update(layer["digest"] for layer in record.layers)
            for diff_id in set(self._layers) - used:
                self._store.layers.delete(diff_id)
            for digest in set(self._blobs) - used:
                self._store.blobs.delete(digest)
        except (EstivaError, OSError):
            return  # the failure that brought us here says more; what stays is whole, and a prune takes it
