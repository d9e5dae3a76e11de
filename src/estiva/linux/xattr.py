"""Extended attributes, where a file system or a user namespace may not know or allow them.  xattr(7)"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    Target = int | str | bytes

ABSENT = (errno.ENODATA, errno.ENOTSUP)


def get(target: Target, name: str | bytes) -> bytes | None:
    """The value of an attribute of *target* (a descriptor, or a path whose last link is not followed), or None."""
    try:
        if isinstance(target, int):
            return os.getxattr(target, name)
        return os.getxattr(target, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise


def everything(target: Target) -> dict[bytes, bytes]:
    """All attributes of *target* this process may see, sorted by name; empty where there can be none."""
    follow = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError as error:
        if error.errno in ABSENT:
            return {}
        raise
    values = ((os.fsencode(name), get(target, name)) for name in sorted(names))
    return {name: value for name, value in values if value is not None}


def put(target: Target, name: str | bytes, value: bytes) -> None:
    """Set an attribute of *target*; the last link of a path is not followed."""
    if isinstance(target, int):
        os.setxattr(target, name, value)
    else:
        os.setxattr(target, name, value, follow_symlinks=False)
