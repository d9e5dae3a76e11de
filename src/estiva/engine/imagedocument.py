"""What ``inspect`` tells about an image, with Podman's keys."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.images import ImageRecord


def describe_image(record: ImageRecord, driver: str) -> dict[str, Any]:
    """The document of one image; *driver* is what keeps its layers."""
    document = record.config
    config = {key: value for key, value in (document.get("config") or {}).items() if value not in (None, "", [], {})}
    history = document.get("history") or []
    return {
        "Id": record.id,
        "Digest": record.digest,
        "RepoTags": list(record.names),
        "RepoDigests": list(record.repo_digests),
        "Parent": "",
        "Comment": next((str(each["comment"]) for each in reversed(history) if each.get("comment")), ""),
        "Created": document.get("created") or "0001-01-01T00:00:00Z",
        "Config": config,
        "Version": "",
        "Author": document.get("author", ""),
        "Architecture": record.architecture,
        "Os": record.os,
        "Size": record.size,
        "VirtualSize": record.size,
        "GraphDriver": {"Name": driver, "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(record.diff_ids)},
        "Labels": dict(record.labels) or None,
        "Annotations": {},
        "ManifestType": record.media_type,
        "User": config.get("User", ""),
        "History": history,
        "NamesHistory": list(record.names),
    }
