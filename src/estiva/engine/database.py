"""The state database: names, images, containers and volumes, in SQLite.

There is no lock over the engine: each change is one short transaction, and everything that lasts longer is guarded by
a lock of the one container it is about.  The journal is a write-ahead log: a reader never waits, and a power cut leaves
a consistent database.  What must also *survive* a power cut is written in a durable transaction, which costs a sync.
"""

from __future__ import annotations

import os
import sys

from estiva.errors import Conflict, Invalid, Unavailable

try:  # the C module itself: the sqlite3 package adds only datetime adapters, at 5 ms
    import _sqlite3 as sqlite
except ImportError:
    import sqlite3 as sqlite  # type: ignore[no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Any

VERSION = 2
BUSY_MS = 20_000

CHECKPOINT_PAGES = 200  # a log left behind is read by the next command, so it should be short

_left_open: list[object] = []  # or their end would close them
IntegrityError = sqlite.IntegrityError

_SCHEMA = """
CREATE TABLE images (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL, media_type TEXT NOT NULL, created INTEGER NOT NULL,
    size INTEGER NOT NULL, architecture TEXT NOT NULL, os TEXT NOT NULL,
    labels TEXT NOT NULL, diff_ids TEXT NOT NULL, layers TEXT NOT NULL, config TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE image_names (
    name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE) WITHOUT ROWID;
CREATE INDEX image_names_by_image ON image_names(image);
CREATE TABLE image_digests (
    reference TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE) WITHOUT ROWID;
CREATE TABLE image_users (
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE, user TEXT NOT NULL, answer TEXT NOT NULL,
    PRIMARY KEY (image, user)) WITHOUT ROWID;
CREATE TABLE containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, phase TEXT NOT NULL, created INTEGER NOT NULL,
    started INTEGER NOT NULL DEFAULT 0, image TEXT NOT NULL, image_name TEXT NOT NULL, command TEXT NOT NULL,
    labels TEXT NOT NULL, auto_remove INTEGER NOT NULL, restart TEXT NOT NULL, mounts TEXT NOT NULL,
    options TEXT NOT NULL, details TEXT NOT NULL);
CREATE INDEX containers_unfinished ON containers(phase) WHERE phase <> 'created';
CREATE INDEX containers_by_image ON containers(image);
CREATE TABLE volumes (
    name TEXT PRIMARY KEY, created INTEGER NOT NULL, driver TEXT NOT NULL, anonymous INTEGER NOT NULL,
    labels TEXT NOT NULL, options TEXT NOT NULL, fresh INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE container_volumes (
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    volume TEXT NOT NULL REFERENCES volumes(name), PRIMARY KEY (container, volume)) WITHOUT ROWID;
CREATE INDEX container_volumes_by_volume ON container_volumes(volume);
"""
# Since version 2: what containers have to themselves.  kind: 0 user, 1 group ids of ours.
_CLAIMS = """
CREATE TABLE used_ids (
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE, kind INTEGER NOT NULL,
    first INTEGER NOT NULL, count INTEGER NOT NULL);
CREATE INDEX used_ids_by_container ON used_ids(container);
CREATE TABLE used_levels (
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE, level TEXT NOT NULL);
CREATE INDEX used_levels_by_container ON used_levels(container);
"""


class Database:
    """One connection, opened when first used; safe to share between the threads of a process."""

    __slots__ = ("_connection", "_depth", "_lock", "path")

    def __init__(self, path: str) -> None:
        from _thread import RLock  # built in; threading itself would cost an import

        self.path = path
        self._lock = RLock()
        self._depth = 0
        self._connection: Any = None

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows a SELECT finds."""
        with self._lock:
            rows: list[tuple[Any, ...]] = self._open().execute(sql, values).fetchall()
        return rows

    def transaction(self, durable: bool = False) -> Transaction:
        """A context in which changes are made: all of them, or, when it is left by an exception, none.

        *durable* changes are on the disk when the context is left.  Contexts nest; the outermost decides.
        """
        return Transaction(self, durable)

    def close(self) -> None:
        """Close the connection; the next use opens one again.

        A command line that is about to leave by ``_exit`` (started without ``site``, see ``estiva.__main__``) does not:
        the last one to close would have to move the log into the database and sync it, which nobody should wait for.
        """
        with self._lock:
            if self._connection is not None:
                if sys.flags.no_site:
                    _left_open.append(self._connection)
                else:
                    self._connection.close()
                self._connection = None

    def _open(self) -> Any:
        if self._connection is None:
            try:
                self._connection = _connect(self.path)
            except sqlite.DatabaseError as error:
                raise _explain(self.path, error) from error
        return self._connection


class Transaction:
    """The context :meth:`Database.transaction` gives; its :meth:`execute` makes the changes."""

    __slots__ = ("_database", "_durable")

    def __init__(self, database: Database, durable: bool) -> None:
        self._database = database
        self._durable = durable

    def __enter__(self) -> Transaction:
        database = self._database
        database._lock.acquire()
        try:
            connection = database._open()
            if database._depth == 0:
                if self._durable:
                    connection.execute("PRAGMA synchronous=FULL")
                connection.execute("BEGIN IMMEDIATE")
            database._depth += 1
        except BaseException as error:
            database._lock.release()
            if isinstance(error, sqlite.DatabaseError):
                raise _explain(database.path, error) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        database = self._database
        try:
            database._depth -= 1
            if database._depth == 0:
                self._finish(database._connection, kind is None)
        finally:
            database._lock.release()

    def _finish(self, connection: Any, keep: bool) -> None:
        try:
            connection.execute("COMMIT" if keep else "ROLLBACK")
            if self._durable:
                connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite.DatabaseError as error:
            raise _explain(self._database.path, error) from error

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Carry out one statement; the number of rows it changed."""
        count: int = self._database._connection.execute(sql, values).rowcount
        return count

    def execute_many(self, sql: str, rows: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> None:
        """Carry out one statement for each of *rows*."""
        self._database._connection.executemany(sql, rows)

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows a SELECT finds, the changes made so far among them."""
        rows: list[tuple[Any, ...]] = self._database._connection.execute(sql, values).fetchall()
        return rows


def _connect(path: str) -> Any:
    """A connection to the database at *path*, which is made if need be."""
    try:
        connection = sqlite.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    except sqlite.OperationalError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        connection = sqlite.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version < VERSION:
        _create(connection)
    elif version > VERSION:
        connection.close()
        raise Invalid(f"opening {path}: written by a newer version (schema {version})", "use that version or newer")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _create(connection: Any) -> None:
    """Make the tables that are missing; of several processes that find them so, one does."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN EXCLUSIVE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for tables in ("", _SCHEMA, _CLAIMS)[version + 1 :]:
        for statement in tables.split(";"):
            if statement.strip():
                connection.execute(statement)
    if version == 1:
        _enter_used_ids(connection)
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def _enter_used_ids(connection: Any) -> None:
    """What version 1 kept with each container only."""
    from estiva.spec import quickjson as json

    for container, text in connection.execute("SELECT id, details FROM containers").fetchall():
        details = json.loads(text)
        for kind, key in enumerate(("uid_maps", "gid_maps")):
            for _, first, count in details.get(key, ()):
                connection.execute("INSERT INTO used_ids VALUES (?,?,?,?)", (container, kind, first, count))


def _explain(path: str, error: Exception) -> Unavailable | Conflict | Invalid:
    """The kind of failure behind an SQLite error."""
    text = str(error)
    if "locked" in text:
        return Conflict(f"changing {path}: another process has held it for {BUSY_MS // 1000} s")
    if "malformed" in text or "not a database" in text:
        return Invalid(f"reading {path}: {text}", "restore it from a backup, or remove it to start anew")
    return Unavailable(f"using {path}: {text}")
