"""Reading a file of several layers as the overlay that unites them would show it, without mounting anything.

A layer says that a name is gone by a character device 0:0 (or, where the kernel cannot make one, an xattr on an empty
file), and that a directory hides those below by the xattr ``opaque``.  overlayfs.rst "whiteouts and opaque directories"
"""

from __future__ import annotations

import os

from estiva.errors import NotFound

MAX_LINKS = 40
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_WHITEOUT = ("trusted.overlay.whiteout", "user.overlay.whiteout")


def read_union(layers: list[str], path: str, limit: int = 1 << 20) -> str | None:
    """The text of *path*, absolute in the union of the directories *layers* (top first); None if it is no file there.

    Symbolic links are followed inside the union only; nothing else is opened than directories and regular files.
    """
    found = _locate(layers, path)
    if found is None:
        return None
    fd = os.open(found, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(fd, limit).decode("utf-8", "replace")
    finally:
        os.close(fd)


def _locate(layers: list[str], path: str) -> str | None:
    """The host path of the regular file that *path* is, resolved a name at a time."""
    names = [name for name in reversed(path.split("/")) if name]
    here: list[list[str]] = [list(layers)]  # for each directory on the way down, where it is in the layers
    links = 0
    while names:
        name = names.pop()
        if name in (".", ".."):
            here = here[:-1] if name == ".." and len(here) > 1 else here
            continue
        entries = _entries(here[-1], name)
        if not entries:
            return None
        kind = os.lstat(entries[0]).st_mode & 0o170000
        if kind == 0o120000:
            links += 1
            if links > MAX_LINKS:
                raise NotFound(f"reading {path} of the image: too many symbolic links")
            target = os.readlink(entries[0])
            here = here[:1] if target.startswith("/") else here
            names += [part for part in reversed(target.split("/")) if part]
        elif kind == 0o040000:
            here.append(entries)
        else:
            return entries[0] if kind == 0o100000 and not names else None
    return None


def _entries(directories: list[str], name: str) -> list[str]:
    """Where *name* is in the directories that make up one of the union, those a higher one hides left out.

    A directory is the union of all of them down to an opaque one; anything else is the first found.
    """
    found: list[str] = []
    for directory in directories:
        place = f"{directory}/{name}"
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            continue
        kind = status.st_mode & 0o170000
        if kind != 0o040000:
            if found or _is_whiteout(place, kind, status):
                break
            return [place]
        found.append(place)
        if _has(place, _OPAQUE, b"y"):
            break
    return found


def _is_whiteout(place: str, kind: int, status: os.stat_result) -> bool:
    if kind == 0o020000:
        return status.st_rdev == 0
    return kind == 0o100000 and status.st_size == 0 and _has(place, _WHITEOUT, None)


def _has(place: str, names: tuple[str, ...], value: bytes | None) -> bool:
    """Whether one of the xattrs is there (with *value*, if one is given)."""
    for name in names:
        try:
            found = os.getxattr(place, name, follow_symlinks=False)
        except OSError:
            continue
        if value is None or found == value:
            return True
    return False
