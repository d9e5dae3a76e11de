"""Images with other ids: copies for the containers of ordinary users that map ids of their own.

Only who owns a file system may have its ids mapped on the way (mount_setattr(2) ``MOUNT_ATTR_IDMAP``), and an ordinary
user owns none of those with files on a disk.  So the image is copied once for each map, every file given to the id it
has in the container, and the copy is the layer below all containers with the same map: the second one costs nothing.

``<root>/shifted/KEY`` is a copy, ``KEY.lock`` is held by who makes or removes it.  A copy is in use if the details of a
container name it; the container's row is there before the copy is asked for, so nobody removes it in between.  Of the
others the latest few are kept, as long as there is the image.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from hashlib import sha256

from estiva.engine.userfiles import host_id
from estiva.linux.tree import rmtree
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.database import Database
    from estiva.engine.engine import Engine

    Maps = list[tuple[int, int, int]]

KEEP = 4  # copies that no container has, for the next one that asks for the same ids
CAPABILITY = "security.capability"
_REVISION, _REVISION_3 = 0xFF000000, 0x03000000


def key_of(diff_ids: list[str], uid_maps: Maps, gid_maps: Maps) -> str:
    """The name of the copy of an image with these layers, for these maps."""
    return f"{_digest(diff_ids)}-{_digest([[list(entry) for entry in maps] for maps in (uid_maps, gid_maps)])}"


def _digest(value: object) -> str:
    return sha256(json.dumps(value).encode()).hexdigest()[:24]


def place(root: str, key: str) -> str:
    """The directory of the copy *key*."""
    return f"{root}/shifted/{key}"


def ensure_inside(
    root: str, run_root: str, driver: str, key: str, diff_ids: list[str], uid_maps: Maps, gid_maps: Maps
) -> None:
    """Make the copy *key* unless it is there.  Called in the user's namespace."""
    from estiva.engine.engine import Engine

    path = place(root, key)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    lock = _lock(path, wait=True)
    try:
        if os.path.isdir(path):
            os.utime(f"{path}.lock")
            return
        with Engine(root, run_root, storage_driver=driver) as engine:
            make_copy(engine, f"{path}.new", diff_ids, uid_maps, gid_maps)
            os.rename(f"{path}.new", path)
            sweep(root, engine.database)
    finally:
        os.close(lock)


def make_copy(engine: Engine, path: str, diff_ids: list[str], uid_maps: Maps, gid_maps: Maps) -> None:
    """Copy the image to *path* and give each file to the id that the container's id is here."""
    from estiva.linux.path import syncfs
    from estiva.storage.copying import copy_layers

    rmtree(path)  # of one who was killed
    with engine.store.layers.acquire(diff_ids) as lease:
        copy_layers(lease.lowerdirs[::-1], path, engine.store.layers.top_directory(diff_ids))
    _shift(path, uid_maps, gid_maps)
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            _shift(f"{directory}/{name}", uid_maps, gid_maps)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(fd)  # a name that is there after a power cut promises a whole copy
    finally:
        os.close(fd)


def _shift(path: str, uid_maps: Maps, gid_maps: Maps) -> None:
    """Change the owner; mode and capabilities are set again, because a change of owner takes them."""
    status = os.lstat(path)
    uid, gid = host_id(uid_maps, status.st_uid), host_id(gid_maps, status.st_gid)
    regular = status.st_mode & 0o170000 == 0o100000
    capability = _capability(path, host_id(uid_maps, 0)) if regular else b""
    os.chown(path, uid, gid, follow_symlinks=False)
    if status.st_mode & 0o6000 and regular:
        os.chmod(path, status.st_mode & 0o7777)
    if capability:
        os.setxattr(path, CAPABILITY, capability)


def _capability(path: str, root_id: int) -> bytes:
    """The file's capabilities for programs in a namespace whose root is our *root_id*.  capabilities(7)"""
    try:
        value = os.getxattr(path, CAPABILITY)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return b""
        raise
    (magic,) = struct.unpack_from("<I", value)
    return struct.pack("<I", magic & ~_REVISION | _REVISION_3) + value[4:20] + struct.pack("<I", root_id)


def sweep(root: str, database: Database) -> None:
    """Remove copies that no container has: all but the latest few, and those of images that are gone.  Called in the
    user's namespace."""
    try:
        names = os.listdir(f"{root}/shifted")
    except FileNotFoundError:
        return
    images = {_digest(diff_ids.split()) for (diff_ids,) in database.query("SELECT diff_ids FROM images")}
    unused = []
    for name in names:
        key, dot, end = name.partition(".")
        if end == "new":  # half of one, if nobody is at it
            _remove_half(root, key)
        elif not dot and not _in_use(database, key):
            try:
                unused.append((os.stat(f"{place(root, key)}.lock").st_mtime, key))
            except FileNotFoundError:
                continue  # another command removes it
    unused.sort(reverse=True)
    for rank, (_, key) in enumerate(unused):
        if rank >= KEEP or key.partition("-")[0] not in images:
            _remove(root, key, database)


def _remove_half(root: str, key: str) -> None:
    lock = _lock(place(root, key), wait=False)
    if lock >= 0:
        rmtree(f"{place(root, key)}.new")
        if not os.path.isdir(place(root, key)):
            os.unlink(f"{place(root, key)}.lock")
        os.close(lock)


def _in_use(database: Database, key: str) -> bool:
    return bool(database.query("SELECT 1 FROM containers WHERE instr(details, ?)", (key,)))


def _remove(root: str, key: str, database: Database) -> None:
    path = place(root, key)
    lock = _lock(path, wait=False)
    if lock < 0:
        return  # somebody is about to use it
    try:
        if _in_use(database, key):
            return
        if os.path.isdir(path):
            os.rename(path, f"{path}.new")  # what is half removed is no copy any more
            rmtree(f"{path}.new")
        os.unlink(f"{path}.lock")
    finally:
        os.close(lock)


def _lock(path: str, wait: bool) -> int:
    """A descriptor with the lock on the copy at *path*; -1 if *wait* is false and somebody has it."""
    while True:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(fd)
            return -1
        if os.fstat(fd).st_nlink:  # else it was removed with its copy while we waited
            return fd
        os.close(fd)
