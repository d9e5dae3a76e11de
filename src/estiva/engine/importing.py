"""Importing: a tar of a root file system becomes an image of one layer."""

from __future__ import annotations

import os
from contextlib import contextmanager

from estiva.engine.changes import apply_changes
from estiva.engine.transfer import Made, parse_platform
from estiva.errors import Invalid, NotFound, Unavailable
from estiva.registry.http import Http
from estiva.spec import digest as digests
from estiva.spec import oci
from estiva.spec.platform import host
from estiva.spec.reference import LOCAL_REGISTRY, ImageReference, is_short
from estiva.storage.decompress import decompressed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, BinaryIO

    from estiva.engine.images import ImageRecord, Images
    from estiva.engine.transfer import Progress
    from estiva.registry.settings import RegistrySettings
    from estiva.spec.platform import Platform
    from estiva.storage.store import Store

    Chunks = Callable[[], Iterator[bytes]]

CHUNK = 512 << 10
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KINDS = ((b"\x1f\x8b", oci.OCI_LAYER_GZIP), (b"\x28\xb5\x2f\xfd", oci.OCI_LAYER_ZSTD))
_OTHERS = (b"BZh", b"\xfd7zXZ\0")


def import_tar(
    store: Store,
    images: Images,
    path: str,
    *,
    name: str = "",
    message: str = "",
    changes: Iterable[str] = (),
    platform: Platform | str | None = None,
    environ: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ImageRecord:
    """The image made of the tar at *path*, which may be compressed; it gets *name* (a short one is local), if any.

    *changes* are Containerfile instructions; *message* goes into the history.  The image is dated now, or as
    SOURCE_DATE_EPOCH in *environ* says.  Raises NotFound, Invalid.
    """
    wanted = parse_platform(platform) or host()
    created = timestamp(os.environ if environ is None else environ)
    document = {
        "created": created,
        "architecture": wanted.architecture,
        "os": wanted.os,
        **({"variant": wanted.variant} if wanted.variant else {}),
        "config": apply_changes({"Env": [PATH]}, changes),
        "history": [{"created": created, "created_by": f"import {os.path.basename(path)}", "comment": message}],
    }
    names = [local_name(name)] if name else []
    chunks, media_type = _contents(path)
    return record_layer(store, images, chunks, media_type, document, names, progress)


def record_layer(
    store: Store,
    images: Images,
    chunks: Chunks,
    media_type: str,
    document: dict[str, Any],
    names: list[str],
    progress: Progress | None = None,
) -> ImageRecord:
    """Store one layer, which *chunks* () gives twice alike, and record the image of it.

    *document* is the image configuration without ``rootfs``.  A failure leaves nothing.
    """
    digest, size, diff_id = _identify(chunks, media_type)
    config = oci.dump_json({**document, "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
    layer = {"mediaType": media_type, "digest": digest, "size": size}
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": {"mediaType": oci.OCI_CONFIG, "digest": digests.of(config), "size": len(config)},
        "layers": [layer],
    }
    data = oci.dump_json(manifest)
    made = Made(store, images)
    try:
        _store(store, made, chunks, layer, diff_id, progress)
        made.blob(config, digests.of(config))
        made.blob(data, digests.of(data))
        return images.record(names, digests.of(data), manifest, digests.of(config), oci.load_json(config, "new image"))
    except OSError as error:
        made.undo()
        raise Unavailable(f"storing a layer: {error.strerror or error}") from error
    except BaseException:
        made.undo()
        raise


def local_name(text: str) -> str:
    """The canonical name of an image made here: a short *text* is below ``localhost/``."""
    return ImageReference.parse(f"{LOCAL_REGISTRY}/{text}" if is_short(text) else text).canonical


def timestamp(environ: Mapping[str, str]) -> str:
    """Now, or SOURCE_DATE_EPOCH, in RFC 3339.  reproducible-builds.org/specs/source-date-epoch"""
    import time

    told = environ.get("SOURCE_DATE_EPOCH")
    if told and not (told.isascii() and told.isdecimal()):
        raise Invalid(f"SOURCE_DATE_EPOCH {told!r}: not a number of seconds")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(told) if told else None))


@contextmanager
def spooled(source: BinaryIO | str, settings: RegistrySettings) -> Iterator[str]:
    """The path of a file with what *source* (an open file, or an http(s) address) gives; it goes with the context."""
    import tempfile

    directory = settings.environ.get("TMPDIR") or "/var/tmp"
    with tempfile.NamedTemporaryFile(dir=directory, prefix="estiva-") as spool:
        pieces = _download(source, settings) if isinstance(source, str) else iter(lambda: source.read(CHUNK), b"")
        for piece in pieces:
            spool.write(piece)
        spool.flush()
        yield spool.name


def _download(url: str, settings: RegistrySettings) -> Iterator[bytes]:
    import urllib3.exceptions as http

    from estiva.registry.http import failure, origin

    server = origin(url).partition("://")[2]
    client = Http(settings, server, insecure=settings.tls_verify is False)
    try:
        response = client.follow(url, {})
        if response.status != 200:
            raise Unavailable(f"downloading {url!r}: the server answers HTTP status {response.status}")
        while piece := response.read(CHUNK, decode_content=False):
            yield piece
    except (http.HTTPError, OSError) as error:
        raise failure(server, url, error) from error
    finally:
        client.close()


def _contents(path: str) -> tuple[Chunks, str]:
    """What gives the layer's bytes, and their media type: gzip and zstd stay as they are, bzip2 and xz are undone."""
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
    except FileNotFoundError:
        raise NotFound(f"importing {path}: no such file") from None
    except OSError as error:
        raise Invalid(f"importing {path}: {(error.strerror or '').lower()}") from error

    def read() -> Iterator[bytes]:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    if magic.startswith(_OTHERS):
        return lambda: decompressed(read()), oci.OCI_LAYER
    return read, next((kind for start, kind in _KINDS if magic.startswith(start)), oci.OCI_LAYER)


def _identify(chunks: Chunks, media_type: str) -> tuple[str, int, str]:
    """``(digest, size, diff_id)`` of a layer, by reading it once."""
    blob, plain, size = digests.new_hash("sha256"), digests.new_hash("sha256"), 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks():
            blob.update(chunk)
            size += len(chunk)
            yield chunk

    if not oci.compression(media_type):
        for _ in counted():
            pass
        return f"sha256:{blob.hexdigest()}", size, f"sha256:{blob.hexdigest()}"
    for chunk in decompressed(counted()):
        plain.update(chunk)
    return f"sha256:{blob.hexdigest()}", size, f"sha256:{plain.hexdigest()}"


def _store(
    store: Store, made: Made, chunks: Chunks, layer: dict[str, Any], diff_id: str, progress: Progress | None
) -> None:
    digest, size = layer["digest"], layer["size"]
    had_layer, had_blob = store.layers.has(diff_id), store.blobs.has(digest)
    if had_layer and had_blob:
        return
    with store.layers.ingest(layer["mediaType"], digest, size, diff_id) as ingest:
        done = 0
        for chunk in chunks():
            ingest.write(chunk)
            done += len(chunk)
            if progress:
                progress("blob", digest, done, size)
        ingest.commit()
    made.add(None if had_layer else diff_id, None if had_blob else digest)
