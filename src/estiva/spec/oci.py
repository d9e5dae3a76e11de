"""OCI (and Docker) image documents: media types, shapes, and the checks at the border.

Documents stay the dicts ``json`` made; the TypedDicts are for the type checker.  Each ``check_…`` looks once at what we
are going to use, raises Invalid naming the field, and returns the document with its unknown keys.  image-spec
descriptor.md, manifest.md, image-index.md, config.md; Docker's "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import json

from estiva.errors import Invalid, Unsupported
from estiva.spec.digest import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NotRequired, TypedDict

    class PlatformDoc(TypedDict, total=False):
        architecture: str
        os: str
        variant: str

    class Descriptor(TypedDict):
        mediaType: str
        digest: str
        size: int
        urls: NotRequired[list[str]]
        annotations: NotRequired[dict[str, str]]
        platform: NotRequired[PlatformDoc]
        data: NotRequired[str]

    class Manifest(TypedDict):
        schemaVersion: int
        mediaType: NotRequired[str]
        artifactType: NotRequired[str]
        config: Descriptor
        layers: list[Descriptor]
        annotations: NotRequired[dict[str, str]]

    class Index(TypedDict):
        schemaVersion: int
        mediaType: NotRequired[str]
        manifests: list[Descriptor]
        annotations: NotRequired[dict[str, str]]

    class RootFS(TypedDict):
        type: str
        diff_ids: list[str]

    class History(TypedDict, total=False):
        created: str
        created_by: str
        author: str
        comment: str
        empty_layer: bool

    class ImageConfig(TypedDict):
        architecture: str
        os: str
        rootfs: RootFS
        variant: NotRequired[str]
        created: NotRequired[str]
        author: NotRequired[str]
        config: NotRequired[dict[str, Any]]
        history: NotRequired[list[History]]


OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"

MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG)
REF_NAME = "org.opencontainers.image.ref.name"

MAX_MANIFEST = 4 << 20
"""Bytes of the largest manifest or index taken (distribution-spec "Pushing Manifests" asks for no more)."""
MAX_CONFIG = 8 << 20

_COMPRESSION = {
    OCI_LAYER: "",
    DOCKER_LAYER: "",
    OCI_LAYER_GZIP: "gzip",
    DOCKER_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    DOCKER_LAYER_ZSTD: "zstd",
}


def compression(media_type: str) -> str:
    """How a layer of this media type is compressed: ``"gzip"``, ``"zstd"`` or ``""``.

    Raises Unsupported for layers we cannot use: foreign, encrypted, or no file-system change sets at all.
    """
    try:
        return _COMPRESSION[media_type]
    except KeyError:
        pass
    if "encrypted" in media_type:
        raise Unsupported(f"layer of type {media_type!r}: encrypted layers cannot be read")
    if "foreign" in media_type or "nondistributable" in media_type:
        raise Unsupported(f"layer of type {media_type!r}: must be had from its maker, not from a registry")
    raise Unsupported(f"layer of type {media_type!r}: not a file-system layer", "is it an artifact, not an image?")


def load_json(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in *data*; Invalid, calling it *what*, for anything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{what}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Invalid(f"{what}: not a JSON object")
    return document


def dump_json(document: object) -> bytes:
    """*document* as compact JSON bytes, keys in the order they have."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def media_type_of(document: dict[str, Any], told: str = "") -> str:
    """The media type of a manifest or index: what it says, else what its keys say, else what the server *told*."""
    own = document.get("mediaType")
    if isinstance(own, str) and own:
        return own
    if document.get("schemaVersion") == 1:
        return DOCKER_SCHEMA1
    if "manifests" in document and "layers" not in document:
        return told if told in INDEX_TYPES else OCI_INDEX
    return told if told in MANIFEST_TYPES else OCI_MANIFEST


def check_document(data: bytes, told: str, what: str) -> tuple[Index | Manifest, str]:
    """The index or manifest in *data* and its media type; *told* is the server's ``Content-Type``.

    Raises Invalid for a malformed one, Unsupported for one that describes no image we can use.
    """
    if len(data) > MAX_MANIFEST:
        raise Invalid(f"{what}: manifest of more than {MAX_MANIFEST >> 20} MiB")
    document = load_json(data, f"{what}: manifest")
    media_type = media_type_of(document, told)
    if media_type.startswith(DOCKER_SCHEMA1):
        raise Unsupported(f"{what}: manifest of Docker's obsolete schema 1", "push it again with a current tool")
    if media_type in INDEX_TYPES:
        return check_index(document, what), media_type
    if media_type in MANIFEST_TYPES:
        return check_manifest(document, what), media_type
    raise Unsupported(f"{what}: manifest of type {media_type!r}: not known")


def check_descriptor(value: object, where: str) -> Descriptor:
    """*value*, if it is a descriptor; *where* is its field path."""
    if not isinstance(value, dict):
        raise Invalid(f"{where}: not a descriptor")
    if not isinstance(value.get("mediaType", ""), str):
        raise Invalid(f"{where}.mediaType: not a string")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise Invalid(f"{where}.digest: {digest!r} is not a digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Invalid(f"{where}.size: {size!r} is not a number of bytes")
    value.setdefault("mediaType", "")
    return value  # type: ignore[return-value]  # its shape is what was just checked


def check_manifest(document: dict[str, Any], what: str) -> Manifest:
    """*document*, if it is the manifest of an image."""
    config = check_descriptor(document.get("config"), f"{what}: config")
    if config["mediaType"] and config["mediaType"] not in CONFIG_TYPES:
        raise Unsupported(f"{what}: an artifact of type {config['mediaType']!r}, not an image")
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise Invalid(f"{what}: layers: not a list")
    for number, layer in enumerate(layers):
        compression(check_descriptor(layer, f"{what}: layers[{number}]")["mediaType"])
    _check_annotations(document, what)
    return document  # type: ignore[return-value]


def check_index(document: dict[str, Any], what: str) -> Index:
    """*document*, if it is an image index (or manifest list)."""
    manifests = document.get("manifests")
    if not isinstance(manifests, list):
        raise Invalid(f"{what}: manifests: not a list")
    for number, each in enumerate(manifests):
        check_descriptor(each, f"{what}: manifests[{number}]")
        _check_annotations(each, f"{what}: manifests[{number}]")
    return document  # type: ignore[return-value]


def check_config(data: bytes, what: str, layer_count: int | None = None) -> ImageConfig:
    """The image configuration in *data*, which must list *layer_count* diff_ids."""
    document = load_json(data, f"{what}: configuration")
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if diff_ids is None and isinstance(rootfs, dict) and not layer_count:
        rootfs["diff_ids"] = diff_ids = []  # Go writes null for an image without layers
    if not isinstance(diff_ids, list) or not all(isinstance(each, str) and is_digest(each) for each in diff_ids):
        raise Invalid(f"{what}: configuration: rootfs.diff_ids: not a list of digests")
    if layer_count is not None and len(diff_ids) != layer_count:
        raise Invalid(f"{what}: {layer_count} layers, but rootfs.diff_ids names {len(diff_ids)}")
    _check_shapes(document, _CONFIG_SHAPES, f"{what}: configuration: ")
    if isinstance(document.get("config"), dict):
        _check_shapes(document["config"], _PROCESS_SHAPES, f"{what}: configuration: config.")
    return document  # type: ignore[return-value]


_CONFIG_SHAPES: tuple[tuple[str, type, type | None], ...] = (
    ("architecture", str, None),
    ("os", str, None),
    ("created", str, None),
    ("config", dict, None),
    ("history", list, dict),
)
_PROCESS_SHAPES: tuple[tuple[str, type, type | None], ...] = (
    ("User", str, None),
    ("Env", list, str),
    ("Entrypoint", list, str),
    ("Cmd", list, str),
    ("Shell", list, str),
    ("WorkingDir", str, None),
    ("StopSignal", str, None),
    ("Labels", dict, str),
    ("Volumes", dict, None),
    ("ExposedPorts", dict, None),
)


def _check_shapes(document: dict[str, Any], shapes: tuple[tuple[str, type, type | None], ...], prefix: str) -> None:
    """Each listed key is absent, null or of its type; so are the members of a list or map."""
    for key, kind, member in shapes:
        value = document.get(key)
        if value is None:
            continue
        members: Any = value
        if not isinstance(value, kind):
            raise Invalid(f"{prefix}{key}: not a {_WORDS[kind]}")
        if kind is dict:
            members = members.values()
        if member is not None and not all(isinstance(each, member) for each in members):
            raise Invalid(f"{prefix}{key}: holds something that is not a {_WORDS[member]}")


_WORDS: dict[type, str] = {str: "string", list: "list", dict: "map"}


def _check_annotations(document: dict[str, Any], what: str) -> None:
    annotations = document.get("annotations")
    if annotations is None:
        return
    if not isinstance(annotations, dict) or not all(isinstance(value, str) for value in annotations.values()):
        raise Invalid(f"{what}: annotations: not a map of strings")
