"""Images: the records in the database, and the index of the OCI layout that mirrors them for other tools.

An image is identified by the digest of its config.  Names are canonical (``docker.io/library/debian:12``).
"""

from __future__ import annotations

from estiva.engine.imagenames import candidates, repository, with_tag
from estiva.engine.layout import write_index
from estiva.errors import Conflict, Invalid, NotFound
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from estiva.engine.database import Database, Transaction

    Strings = list[str]
    Descriptors = list[dict[str, Any]]
    Records = list["ImageRecord"]

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"

_COLUMNS = "i.id, i.digest, i.media_type, i.created, i.size, i.architecture, i.os, i.labels, i.diff_ids, i.layers"


class ImageRecord:
    """One image as it is stored.

    ``id`` hex of the config's digest · ``digest`` of the manifest, whose type is ``media_type`` · ``names`` canonical
    ``registry/repository:tag`` · ``repo_digests`` ``registry/repository@digest`` · ``created`` Unix nanoseconds ·
    ``size`` bytes, unpacked · ``diff_ids`` bottom layer first · ``layers`` the manifest's descriptors, same order ·
    ``config`` the OCI image configuration document.
    """

    __slots__ = (
        "_config",
        "_layers",
        "architecture",
        "created",
        "diff_ids",
        "digest",
        "id",
        "labels",
        "media_type",
        "names",
        "os",
        "repo_digests",
        "size",
    )

    def __init__(self, row: tuple[Any, ...], names: list[str], repo_digests: list[str]) -> None:
        self.id: str = row[0]
        self.digest: str = row[1]
        self.media_type: str = row[2]
        self.created: int = row[3]
        self.size: int = row[4]
        self.architecture: str = row[5]
        self.os: str = row[6]
        self.labels: dict[str, str] = json.loads(row[7])
        self.diff_ids: list[str] = row[8].split()
        self._layers: str | list[dict[str, Any]] = row[9]
        self._config: str | dict[str, Any] = row[10]
        self.names = names
        self.repo_digests = repo_digests

    @property
    def config(self) -> dict[str, Any]:
        """The image configuration document, whole."""
        if isinstance(self._config, str):
            self._config = json.loads(self._config)
        assert isinstance(self._config, dict)
        return self._config

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The descriptors of the layers' blobs, bottom first."""
        if isinstance(self._layers, str):
            self._layers = json.loads(self._layers)
        assert isinstance(self._layers, list)
        return self._layers

    @property
    def config_digest(self) -> str:
        """The digest of the blob that holds the configuration."""
        return f"sha256:{self.id}" if ":" not in self.id else self.id


class Images:
    """The images of one store.  *layer_size* tells the unpacked bytes of a layer by its diff_id."""

    def __init__(self, database: Database, root: str, layer_size: Callable[[str], int] | None = None) -> None:
        self._database = database
        self._root = root
        self._layer_size = layer_size

    def record(
        self,
        names: Strings,
        manifest_digest: str,
        manifest: dict[str, Any],
        config_digest: str,
        config: dict[str, Any],
        repo_digests: Iterable[str] = (),
    ) -> ImageRecord:
        """Enter an image whose blobs and layers are in the store, and give it *names* (taken from other images).

        *repo_digests* are further ``repository@digest`` references, e.g. that of the index the manifest was found in.
        """
        image_id = config_digest.removeprefix("sha256:")
        diff_ids = config.get("rootfs", {}).get("diff_ids", [])
        row = (
            image_id,
            manifest_digest,
            manifest.get("mediaType") or MANIFEST_TYPE,
            parse_time(config.get("created")),
            self._size(diff_ids, manifest),
            config.get("architecture") or "",
            config.get("os") or "",
            _dumps((config.get("config") or {}).get("Labels") or {}),
            " ".join(diff_ids),
            _dumps(manifest.get("layers", [])),
            _dumps(config),
        )
        digests = {f"{repository(name)}@{manifest_digest}" for name in names} | set(repo_digests)
        with self._database.transaction(durable=True) as change:
            change.execute(
                "INSERT INTO images VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET"
                " digest=excluded.digest, media_type=excluded.media_type, layers=excluded.layers, size=excluded.size",
                row,
            )
            change.execute_many("INSERT OR REPLACE INTO image_names VALUES (?,?)", [(n, image_id) for n in names])
            change.execute_many("INSERT OR REPLACE INTO image_digests VALUES (?,?)", [(d, image_id) for d in digests])
            write_index(change, self._root)
        return self.find(image_id)

    def find(self, name_or_id: str) -> ImageRecord:
        """The image with this name (tag ``latest`` and registry may be left out), digest reference or (short) id.

        Raises NotFound, or Invalid if it could mean several images.
        """
        image_id = self._resolve(name_or_id)
        if image_id is None:
            raise NotFound(f"image {name_or_id!r}: not known", "see `estiva images`, or pull it")
        return self._load(image_id)

    def exists(self, name_or_id: str) -> bool:
        """Whether :meth:`find` would find one."""
        return self._resolve(name_or_id) is not None

    def list(self) -> Records:
        """Every image, the newest first."""
        names = _grouped(self._database.query("SELECT image, name FROM image_names ORDER BY name"))
        digests = _grouped(self._database.query("SELECT image, reference FROM image_digests ORDER BY reference"))
        rows = self._database.query(f"SELECT {_COLUMNS}, i.config FROM images i ORDER BY i.created DESC, i.id")
        return [ImageRecord(row, names.get(row[0], []), digests.get(row[0], [])) for row in rows]

    def tag(self, record: ImageRecord, name: str) -> ImageRecord:
        """Give the image one more canonical *name*; whatever had it loses it."""
        with self._database.transaction(durable=True) as change:
            change.execute("INSERT OR REPLACE INTO image_names VALUES (?,?)", (name, record.id))
            change.execute(
                "INSERT OR REPLACE INTO image_digests VALUES (?,?)",
                (f"{repository(name)}@{record.digest}", record.id),
            )
            write_index(change, self._root)
        return self._load(record.id)

    def untag(self, record: ImageRecord, name: str | None = None) -> ImageRecord:
        """Take one name from the image, or all of them; the image stays."""
        gone = record.names if name is None else [name]
        with self._database.transaction(durable=True) as change:
            for each in gone:
                sql = "DELETE FROM image_names WHERE name=? AND image=?"
                if not change.execute(sql, (each, record.id)):
                    raise NotFound(f"untagging {each!r}: image {record.id[:12]} has no such name")
            write_index(change, self._root)
        return self._load(record.id)

    def remove(self, record: ImageRecord) -> tuple[Strings, Strings]:
        """Forget the image; the layers (diff_ids) and blobs (digests) that nothing else needs now.

        Raises Conflict while a container is made from it.
        """
        with self._database.transaction(durable=True) as change:
            users = change.query("SELECT name FROM containers WHERE image=? AND phase<>'removing'", (record.id,))
            if users:
                names = ", ".join(str(u[0]) for u in users)
                raise Conflict(f"removing image {record.id[:12]}: used by container {names}", "remove that first")
            change.execute("DELETE FROM images WHERE id=?", (record.id,))
            write_index(change, self._root)
            return self._unneeded(change, record)

    def containers(self, record: ImageRecord) -> Strings:
        """The ids of the containers made from this image."""
        return [row[0] for row in self._database.query("SELECT id FROM containers WHERE image=?", (record.id,))]

    def _unneeded(self, change: Transaction, record: ImageRecord) -> tuple[Strings, Strings]:
        layers, blobs = set(record.diff_ids), {record.digest, record.config_digest}
        blobs.update(layer["digest"] for layer in record.layers)
        for digest, image_id, diff_ids, descriptors in change.query("SELECT digest, id, diff_ids, layers FROM images"):
            layers.difference_update(diff_ids.split())
            blobs -= {digest, image_id if ":" in image_id else f"sha256:{image_id}"}
            blobs.difference_update(layer["digest"] for layer in json.loads(descriptors))
        for (details,) in change.query("SELECT details FROM containers WHERE image=?", (record.id,)):
            layers.difference_update(json.loads(details).get("diff_ids", []))
        return sorted(layers), sorted(blobs)

    def _load(self, image_id: str) -> ImageRecord:
        rows = self._database.query(
            f"SELECT {_COLUMNS}, i.config,"
            " (SELECT group_concat(name, ' ') FROM (SELECT name FROM image_names WHERE image=i.id ORDER BY name)),"
            " (SELECT group_concat(reference, ' ') FROM image_digests WHERE image=i.id) FROM images i WHERE i.id=?",
            (image_id,),
        )
        if not rows:
            raise NotFound(f"image {image_id[:12]}: not known")
        return ImageRecord(rows[0], (rows[0][-2] or "").split(), (rows[0][-1] or "").split())

    def _resolve(self, name_or_id: str) -> str | None:
        for name in candidates(name_or_id):
            table, column = ("image_digests", "reference") if "@" in name else ("image_names", "name")
            rows = self._database.query(f"SELECT image FROM {table} WHERE {column}=?", (name,))
            if rows:
                return str(rows[0][0])
        return self._by_id(name_or_id) or self._by_suffix(name_or_id)

    def _by_id(self, name_or_id: str) -> str | None:
        prefix = name_or_id.removeprefix("sha256:")
        if len(prefix) < 3 or set(prefix) - set("0123456789abcdef"):
            return None
        rows = self._database.query("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", (prefix, prefix + "g"))
        if len(rows) > 1:
            raise Invalid(f"image id {name_or_id!r}: more than one image begins so", "give more of the id")
        return rows[0][0] if rows else None

    def _by_suffix(self, name: str) -> str | None:
        """The one image whose name ends with this short one, whatever registry it came from."""
        first = name.split("/")[0]
        if ("/" in name and ("." in first or ":" in first)) or "@" in name:
            return None
        tail = "/" + with_tag(name)
        rows = self._database.query(
            "SELECT DISTINCT image FROM image_names WHERE substr(name, ?)=?", (-len(tail), tail)
        )
        if len(rows) > 1:
            raise Invalid(f"image name {name!r}: several images end with it", "give the registry, too")
        return rows[0][0] if rows else None

    def _size(self, diff_ids: Strings, manifest: dict[str, Any]) -> int:
        if self._layer_size is not None:
            return sum(self._layer_size(diff_id) for diff_id in diff_ids)
        return sum(int(layer.get("size", 0)) for layer in manifest.get("layers", []))


def parse_time(text: str | None) -> int:
    """Unix nanoseconds of an RFC 3339 time; 0 without one."""
    if not text:
        return 0
    from calendar import timegm

    date, _, clock = text.strip().upper().partition("T")
    try:
        zone = 0
        if clock.endswith("Z"):
            clock = clock[:-1]
        elif clock[-6:-5] in ("+", "-"):
            zone = (int(clock[-5:-3]) * 60 + int(clock[-2:])) * (60 if clock[-6] == "+" else -60)
            clock = clock[:-6]
        whole, _, fraction = clock.partition(".")
        year, month, day = map(int, date.split("-"))
        hour, minute, second = map(int, whole.split(":"))
    except ValueError:
        raise Invalid(f"time {text!r}: not an RFC 3339 time") from None
    seconds = timegm((year, month, day, hour, minute, second)) - zone
    return seconds * 1_000_000_000 + int((fraction + "0" * 9)[:9])


def _grouped(rows: list[tuple[Any, ...]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in rows:
        groups.setdefault(key, []).append(value)
    return groups


def _dumps(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))
