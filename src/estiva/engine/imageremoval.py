"""Removing images: names first, the image with its last name, and what nothing else needs of its layers and blobs."""

from __future__ import annotations

import os

from estiva.engine.imagenames import candidates, with_tag
from estiva.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from estiva.engine.engine import Engine
    from estiva.engine.images import ImageRecord
    from estiva.storage.store import Store


def remove_image(
    engine: Engine, name_or_id: str, *, force: bool, tell: Callable[[str, str], None], every_name: bool = False
) -> None:
    """Take the name from the image; with its last name, or when it was given by id, remove the image.

    :param force: remove the containers made from it, too, and an image with several names although given by id
    :param every_name: however many names it has
    :param tell: called with ``Untagged`` and a name, ``Deleted`` and an id, as each is done
    :raises NotFound: there is none
    :raises Conflict: a container is made from it, or it has several names
    """
    record = engine.images.find(name_or_id)
    name = matching_name(record, name_or_id)
    if name is not None and len(record.names) > 1:
        engine.images.untag(record, name)
        tell("Untagged", name)
        return
    if name is None and len(record.names) > 1 and not (force or every_name):
        names = " ".join(record.names)
        raise Conflict(
            f'unable to delete image "{name_or_id}" by ID with more than one tag ([{names}])', "force removal"
        )
    remove_containers(engine, record, force=force)
    layers, blobs = engine.images.remove(record)
    for each in record.names:
        tell("Untagged", each)
    engine.inside("estiva.engine.imageremoval:sweep", layers=layers, blobs=blobs)
    tell("Deleted", record.id)


def matching_name(record: ImageRecord, words: str) -> str | None:
    """Which of the image's names *words* mean; ``None`` if they are an id or a digest."""
    wanted = candidates(words)
    tail = "/" + with_tag(words)
    return next((name for name in record.names if name in wanted or name.endswith(tail)), None)


def remove_containers(engine: Engine, record: ImageRecord, *, force: bool) -> None:
    """Remove the containers made from the image, with their volumes.

    :raises Conflict: there are some, and *force* is not set
    """
    for container_id in engine.images.containers(record):
        if not force:
            raise Conflict(
                f"image used by {container_id}: image is in use by a container",
                "remove the container, or force removal",
            )
        engine.containers.get(container_id).remove(force=True, volumes=True)


def sweep(root: str, run_root: str, driver: str, layers: list[str], blobs: list[str]) -> None:
    """Delete those of the layers and blobs that still nothing needs.  Runs as user 0 of the store's namespace.

    Each is checked and deleted in one transaction: a pull that found the layer here records its image before, then it
    stays, or after, then the pull finds it gone when it looks again and fetches it.
    """
    from estiva.engine.config import Settings
    from estiva.engine.database import Database
    from estiva.storage.store import Store

    settings = Settings(root, run_root, storage_driver=driver)
    store = Store(root, run_root, driver=driver, in_userns=settings.in_userns)
    database = Database(f"{root}/db.sqlite")
    try:
        for diff_id in layers:
            with database.transaction() as change:
                used = (
                    "SELECT 1 FROM images WHERE instr(diff_ids,?) UNION SELECT 1 FROM containers WHERE instr(details,?)"
                )
                if not change.query(used, (diff_id, diff_id)):
                    _delete_layer(store, diff_id)
        for digest in blobs:
            with database.transaction() as change:
                used = "SELECT 1 FROM images WHERE digest = ? OR id = ? OR instr(layers, ?)"
                if not change.query(used, (digest, digest.removeprefix("sha256:"), digest)):
                    store.blobs.delete(digest)
        if os.path.isdir(f"{root}/shifted"):
            from estiva.engine import shifted

            shifted.sweep(root, database)
    finally:
        database.close()


def _delete_layer(store: Store, diff_id: str) -> None:
    try:
        store.layers.delete(diff_id)
    except Conflict:
        pass  # a container without a record still runs on it; its end releases it
