"""The index of the OCI image layout that the store is: what other tools read to find the images in it."""

from __future__ import annotations

import os

from estiva.engine.files import write_whole
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.database import Transaction

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def write_index(change: Transaction, root: str) -> None:
    """Make ``index.json`` say what the database will say after *change*.  image-layout.md "index.json"

    It is written inside the transaction, so that two processes cannot overtake each other.
    """
    names: dict[str, list[str]] = {}
    for image_id, name in change.query("SELECT image, name FROM image_names ORDER BY name"):
        names.setdefault(image_id, []).append(name)
    manifests: list[dict[str, Any]] = []
    for image_id, digest, media_type in change.query("SELECT id, digest, media_type FROM images ORDER BY id"):
        entry = {"mediaType": media_type, "digest": digest, "size": _blob_size(root, digest)}
        for name in names.get(image_id, []):
            manifests.append({**entry, "annotations": {REF_NAME: name, CONTAINERD_NAME: name}})
        if image_id not in names:
            manifests.append(entry)
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
    layout = f"{root}/oci-layout"
    if not os.path.exists(layout):
        write_whole(layout, b'{"imageLayoutVersion": "1.0.0"}')
    write_whole(f"{root}/index.json", json.dumps(index, separators=(",", ":")).encode())


def _blob_size(root: str, digest: str) -> int:
    algorithm, _, value = digest.partition(":")
    try:
        return os.stat(f"{root}/blobs/{algorithm}/{value}").st_size
    except FileNotFoundError:
        return 0
