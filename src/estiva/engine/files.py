"""Files that appear whole."""

from __future__ import annotations

import os


def write_whole(path: str, data: bytes, mode: int = 0o600) -> None:
    """Put *data* at *path* so that a reader sees the old or the new file, and a power cut leaves one of them."""
    from _thread import get_native_id

    temporary = f"{path}.{os.getpid()}-{get_native_id()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    except OSError:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    os.rename(temporary, path)
