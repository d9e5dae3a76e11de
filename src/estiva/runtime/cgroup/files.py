"""Reading and writing control files.

Every write goes through os.open, os.write and os.close: with a buffered file object the kernel's refusal would
arrive at close, where it is easily lost.  Nothing is truncated or created: a file that is missing is an answer.
"""

from __future__ import annotations

import errno
import os

from estiva.errors import Conflict, Denied, EstivaError, Invalid, Unavailable, Unsupported


def read_text(path: str) -> str:
    """The whole content of *path*, without the last newline."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while chunk := os.read(fd, 65536):
            parts.append(chunk)
    finally:
        os.close(fd)
    return b"".join(parts).decode(errors="replace").rstrip("\n")


def write_text(path: str, text: str) -> None:
    """Give *text* to the kernel in one write.  Raises OSError with the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(fd)


def write_lines(path: str, text: str) -> None:
    """Give *text* to the kernel line by line: files with a line per device take one in a write.  Raises OSError."""
    for line in text.split("\n") if "\n" in text else (text,):
        write_text(path, line)


def read_int(path: str) -> int | None:
    """The number in *path*; ``None`` for ``max`` and for a file that is not there."""
    try:
        text = read_text(path)
    except (FileNotFoundError, OSError) as error:
        if isinstance(error, FileNotFoundError) or error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return None
        raise
    return None if text == "max" else int(text)


def read_keyed(path: str) -> dict[str, int]:
    """A flat keyed file (``key value`` lines) as numbers; empty when the file is not there."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        return {}
    result = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.lstrip("-").isdigit():
            result[key] = int(value)
    return result


def failure(doing: str, cause: OSError, cure: str = "") -> EstivaError:
    """The kind of failure that *cause* is, with *doing* ("setting pids.max of cgroup /x to 5") before its text."""
    kinds: dict[int | None, type[EstivaError]] = {
        errno.EINVAL: Invalid,
        errno.ERANGE: Invalid,
        errno.ENOSPC: Invalid,  # cpuset: none of the processors asked for
        errno.ENODEV: Invalid,  # io.max: no such block device
        errno.EBUSY: Conflict,
        errno.EEXIST: Conflict,
        errno.EACCES: Denied,
        errno.EPERM: Denied,
        errno.EROFS: Denied,
        errno.ENOENT: Unsupported,
        errno.EOPNOTSUPP: Unsupported,
    }
    return kinds.get(cause.errno, Unavailable)(f"{doing}: {(cause.strerror or str(cause)).lower()}", cure)
