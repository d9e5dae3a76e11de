"""After a container's end: what its start made is undone, and the container removed if that was asked for.

Removal marks the row ``removing`` first and deletes it last, so that a kill at any point leaves something that the next
command recognises and finishes; every step accepts that it was done before.  A ``--rm`` container needs no mark: that
it has ended, or that its config.json is gone (which goes first), says enough (:func:`is_abandoned`).
"""

from __future__ import annotations

import os

from estiva.engine.cgroups import find_cgroup
from estiva.engine.locks import ContainerLock, wait_for_monitor
from estiva.engine.state import RUNTIME_STATES
from estiva.errors import Conflict, NotFound, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.container import Container
    from estiva.engine.engine import Engine
    from estiva.monitor.client import Attachment

PATIENCE_S = 10.0
JUST_ENDED_S = 1.0
_RUN_FILES = ("attach", "cgroup", "lock", "runtime.log", "runtime.pid", "status", "stopping")


def remove(container: Container, force: bool, timeout: int | None, volumes: bool) -> None:
    """Remove the container; see :meth:`Container.remove`."""
    if force:
        container.stop(timeout)
    with ContainerLock(container.run_dir):
        if not look_again(container):
            remove_run_dir(container)
            if force:
                return  # another command was as quick
            raise NotFound(f"no container with name or ID {container.name!r} found: no such container")
        if not container.state().pid:
            wait_for_monitor(container.run_dir, JUST_ENDED_S)
        state = container.state()
        if state.running:
            raise Conflict(
                f"cannot remove container {container.id} as it is {state.status}: "
                "running or paused containers cannot be removed without force",
                "stop it, or use --force",
            )
        _wait_for_monitor(container)
        remove_locked(container, volumes=volumes or container.auto_remove)


def cleanup(container: Container) -> None:
    """What the monitor's command does in the end: undo the start, and remove a ``--rm`` container."""
    with ContainerLock(container.run_dir):
        if not look_again(container):
            remove_run_dir(container)
            return
        state = container.state()
        if state.running or state.monitored:
            return  # somebody has started it again
        if container.auto_remove:
            remove_locked(container, volumes=True)
        else:
            release(container)


def finish(container: Container, attachment: Attachment) -> None:
    """The same by the command in the foreground, which saw the end and still holds the owner's line."""
    with ContainerLock(container.run_dir):
        attachment.release()
        attachment.close()
        _wait_for_monitor(container)
        if container.auto_remove:
            remove_locked(container, volumes=True)
        else:
            release(container)


def release(container: Container) -> None:
    """Give back what only a running container needs."""
    find_cgroup(container).remove()
    remove_tree(container.engine, f"{container.engine.settings.run_root}/{RUNTIME_STATES}/{container.id}")
    container.engine.store.layers.release_unused(container.details["diff_ids"])
    if os.path.isdir(f"{container.bundle}/overlay"):
        remove_tree(container.engine, f"{container.bundle}/overlay")


def remove_locked(container: Container, volumes: bool) -> None:
    """Remove the container, whose lock is held and which does not run; with *volumes*, its anonymous ones, too."""
    engine = container.engine
    mark_removing(container)
    release(container)
    _unlink(f"{container.bundle}/config.json")
    anonymous = [name for name, is_anonymous in engine.volumes.used_by(container.id) if is_anonymous and volumes]
    _remove_layer(container)
    remove_tree(engine, container.bundle)
    _remove_cidfile(container)
    with engine.database.transaction() as change:
        change.execute("DELETE FROM containers WHERE id=?", (container.id,))
    if anonymous:
        for path in engine.volumes.forget_unused(anonymous):
            remove_tree(engine, path)
    remove_run_dir(container)


def mark_removing(container: Container) -> None:
    """Say in the database that the container is going; from now on it can only be removed."""
    if container.phase == "removing" or container.auto_remove:
        return
    with container.engine.database.transaction(durable=True) as change:
        change.execute("UPDATE containers SET phase='removing' WHERE id=?", (container.id,))
    container.phase = "removing"


def remove_tree(engine: Engine, path: str) -> None:
    """Remove a directory tree, also with files of other ids of the user's namespace; that it is gone is fine."""
    if not os.path.lexists(path):  # the usual case for --rm: the monitor was quicker
        return
    from estiva.linux.tree import rmtree

    try:
        rmtree(path)
    except PermissionError:
        if not engine.settings.rootless:
            raise
        engine.inside("estiva.engine.removal:remove_tree_inside", path=path)


def remove_tree_inside(root: str, run_root: str, driver: str, path: str) -> None:
    """The same, called in the user's namespace; only for what is in this store."""
    from estiva.linux.tree import rmtree

    if path.startswith(f"{root}/"):
        rmtree(path)


def _remove_layer(container: Container) -> None:
    try:
        container.engine.store.snapshots.remove(container.id)
    except PermissionError:
        if not container.engine.settings.rootless:
            raise
        remove_tree(container.engine, container.bundle)


def _wait_for_monitor(container: Container) -> None:
    if not wait_for_monitor(container.run_dir, PATIENCE_S):
        raise Unavailable(f"removing container {container.name}: its monitor does not end")


def look_again(container: Container) -> bool:
    """Whether the container is still there; its phase is then what it is now."""
    rows = container.engine.database.query("SELECT phase FROM containers WHERE id=?", (container.id,))
    if rows:
        container.phase = rows[0][0]
    return bool(rows)


def _remove_cidfile(container: Container) -> None:
    """The file that ``--cidfile`` wrote, if it still tells of this container."""
    path = container.options.cidfile
    if not path or not container.auto_remove:
        return
    try:
        with open(path, encoding="ascii") as file:
            ours = file.read().strip() == container.id
        if ours:
            os.unlink(path)
    except (OSError, UnicodeDecodeError):
        pass  # it was the user's file


def is_abandoned(container: Container) -> bool:
    """Whether this ``--rm`` container, whose lock is held, should be gone: the command that watched it was killed."""
    state = container.state()
    if state.running or state.monitored:
        return False
    return state.status == "exited" or not os.path.exists(f"{container.bundle}/config.json")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove_run_dir(container: Container) -> None:
    """Remove the directory of a container that is gone, with the lock that is held on it."""
    for name in _RUN_FILES:
        _unlink(f"{container.run_dir}/{name}")
    try:
        os.rmdir(container.run_dir)
    except FileNotFoundError:
        pass
    except OSError:
        remove_tree(container.engine, container.run_dir)
