"""All containers of an engine: finding, listing, making them, and cleaning up after commands that were killed."""

from __future__ import annotations

from estiva.engine.container import COLUMNS, Container
from estiva.engine.locks import ContainerLock
from estiva.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from estiva.engine.engine import Engine
    from estiva.engine.options import ContainerOptions

    Found = list[Container]


class Containers:
    """The containers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, options: ContainerOptions) -> Container:
        """A new container, not started.  Raises NotFound for an unknown image, Conflict for a name in use, Invalid for
        options that make no sense; then nothing is left of it."""
        from estiva.engine.creation import create

        self.finish_unfinished()
        return create(self._engine, options)

    def get(self, name_or_id: str) -> Container:
        """The container with this name, id or beginning of an id.  Raises NotFound, or Invalid if it is ambiguous."""
        query = self._engine.database.query
        rows = query(f"SELECT {COLUMNS} FROM containers WHERE id=? OR name=?", (name_or_id, name_or_id))
        if not rows and name_or_id and not set(name_or_id) - set("0123456789abcdef"):
            sql = f"SELECT {COLUMNS} FROM containers WHERE id >= ? AND id < ? LIMIT 2"
            rows = query(sql, (name_or_id, name_or_id + "g"))
            if len(rows) > 1:
                raise Invalid(f"container id {name_or_id!r}: more than one begins so", "give more of the id")
        if not rows:
            raise NotFound(f"no container with name or ID {name_or_id!r} found: no such container")
        return Container(self._engine, rows[0])

    def list(self, all: bool = False, filters: Sequence[str] = ()) -> Found:
        """The containers that run (or *all*), the newest first, that match *filters* (``key=value``; of one key any,
        of several keys all must match)."""
        rows = self._engine.database.query(f"SELECT {COLUMNS} FROM containers ORDER BY created DESC")
        found = [Container(self._engine, row) for row in rows]
        doubtful = [container for container in found if container.phase != "created" or _may_be_abandoned(container)]
        if doubtful:
            gone = self._finish(doubtful)
            found = [container for container in found if container.id not in gone]
        if filters:
            from estiva.engine.filters import matching

            return matching(self._engine, found, filters, all)
        return found if all else [container for container in found if container.state().running]

    def finish_unfinished(self) -> set[str]:
        """Remove what a killed command left half made or half removed; the ids of those that are gone."""
        rows = self._engine.database.query(f"SELECT {COLUMNS} FROM containers WHERE phase <> 'created'")
        return self._finish([Container(self._engine, row) for row in rows])

    def _finish(self, containers: Found) -> set[str]:
        gone: set[str] = set()
        for container in containers:
            lock = ContainerLock(container.run_dir)
            if not lock.acquire(wait=False):
                continue  # whoever is at it still lives
            try:
                from estiva.engine.removal import is_abandoned, look_again, remove_locked, remove_run_dir

                # It may have been finished, by whoever was at it, between our look and our lock.
                if not look_again(container):
                    remove_run_dir(container)
                    gone.add(container.id)
                    continue
                if container.phase == "created" and not (container.auto_remove and is_abandoned(container)):
                    continue
                remove_locked(container, volumes=container.auto_remove or container.phase == "configured")
                gone.add(container.id)
            finally:
                lock.release()
        return gone


def _may_be_abandoned(container: Container) -> bool:
    """Whether it is worth taking the lock of a ``--rm`` container to see if nobody watches over it any more."""
    if not container.auto_remove:
        return False
    state = container.state()
    return not state.running and not state.monitored
