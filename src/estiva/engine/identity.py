"""Who a container's program runs as: looked up in the image's user database once, then remembered with the image."""

from __future__ import annotations

import os

from estiva.engine.spec.context import User
from estiva.engine.spec.users import resolve_user
from estiva.engine.union import read_union
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.engine import Engine

PASSWD, GROUP = "/etc/passwd", "/etc/group"


def image_user(engine: Engine, image_id: str, diff_ids: list[str], user: str, add: list[str]) -> User:
    """The user in the image as it was pulled; the answer is kept in the database."""
    key = ",".join((user, *sorted(add)))
    rows = engine.database.query("SELECT answer FROM image_users WHERE image=? AND user=?", (image_id, key))
    if rows:
        return User(*json.loads(rows[0][0]))
    passwd, group = image_databases(engine, diff_ids)
    found = resolve_user(user, passwd, group, add)
    with engine.database.transaction() as change:
        answer = json.dumps(found.to_json())
        change.execute("INSERT OR REPLACE INTO image_users VALUES (?,?,?)", (image_id, key, answer))
    return found


def image_databases(engine: Engine, diff_ids: list[str], upper: str = "") -> tuple[str, str]:
    """The texts of /etc/passwd and /etc/group in the layers *diff_ids* with the directory *upper* over them."""
    if engine.settings.rootless:
        return tuple(engine.inside("estiva.engine.identity:read_databases", diff_ids=diff_ids, upper=upper))
    return _read(engine, diff_ids, upper)


def read_databases(root: str, run_root: str, driver: str, diff_ids: list[str], upper: str) -> list[str]:
    """The same, called in the user's namespace."""
    from estiva.engine.engine import Engine

    with Engine(root, run_root, storage_driver=driver) as engine:
        return list(_read(engine, diff_ids, upper))


def _read(engine: Engine, diff_ids: list[str], upper: str) -> tuple[str, str]:
    with engine.store.layers.acquire(diff_ids) as lease:
        layers = [upper, *lease.lowerdirs] if upper else lease.lowerdirs
        return read_union(layers, PASSWD) or "", read_union(layers, GROUP) or ""


def directory_user(path: str, user: str, add: list[str]) -> User:
    """The user in the root file system at *path*, a directory of the host."""
    return resolve_user(user, read_union([path], PASSWD) or "", read_union([path], GROUP) or "", add)


def running_user(pid: int, user: str, add: list[str]) -> User:
    """The user in the file system that process *pid* has as its root."""
    return resolve_user(user, read_in_root(pid, PASSWD), read_in_root(pid, GROUP), add)


def read_in_root(pid: int, path: str, limit: int = 1 << 20) -> str:
    """The text of *path* in the root of process *pid*, ``""`` if it is not a file; nothing outside is reached."""
    from estiva.linux.path import openat2

    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = openat2(root, path, os.O_PATH)
    except OSError:
        return ""
    finally:
        os.close(root)
    try:
        if os.fstat(place).st_mode & 0o170000 != 0o100000:
            return ""  # not even opened: that alone starts some devices, and no rule of the container's holds for us
        fd = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)
    try:
        return os.read(fd, limit).decode("utf-8", "replace")
    finally:
        os.close(fd)


def changed_user_database(upper: str) -> bool:
    """Whether a container's writable layer has a user database, or hides the image's /etc."""
    for path in (f"{upper}{PASSWD}", f"{upper}{GROUP}"):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            pass
        return True
    return False
