"""Whether the program of a container that waits for ``start`` is there.

Engines expect a program that is missing to be reported by ``create``.  It is looked for where the container will: in
its own mount namespace, under its own root, with symbolic links that cannot lead out of it.
"""

from __future__ import annotations

import errno
import os
import stat

from estiva.errors import CommandNotExecutable, CommandNotFound
from estiva.linux.path import RESOLVE_IN_ROOT, openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check_program(pid: int, process: dict[str, Any]) -> None:
    """Raise CommandNotFound or CommandNotExecutable for the program that *process* names in the container of *pid*.

    What this process may not look at is left for ``start`` to find out.
    """
    program = str(process["args"][0])
    try:
        root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        found = [_look(root_fd, path) for path in _candidates(program, process)]
    finally:
        os.close(root_fd)
    if "unknown" in found or "program" in found:
        return
    if "other" in found:
        raise CommandNotExecutable(f"executing '{program}': permission denied")
    where = "" if "/" in program else " in $PATH"
    raise CommandNotFound(f"executable file '{program}' not found{where}: no such file or directory")


def _candidates(program: str, process: dict[str, Any]) -> list[str]:
    """The paths, in the container, at which the program may be."""
    cwd = str(process.get("cwd") or "/")
    if "/" in program:
        return [os.path.join(cwd, program)]
    path = DEFAULT_PATH
    for entry in process.get("env") or ():
        if entry.startswith("PATH="):
            path = entry[5:]
    return [os.path.join(cwd, folder, program) for folder in path.split(":")]


def _look(root_fd: int, path: str) -> str:
    """``program``, ``other`` (a file that cannot be executed), ``missing`` or ``unknown``."""
    try:
        fd = openat2(root_fd, path, os.O_PATH, resolve=RESOLVE_IN_ROOT)
    except OSError as error:
        return "missing" if error.errno in (errno.ENOENT, errno.ENOTDIR) else "unknown"
    try:
        mode = os.fstat(fd).st_mode
    finally:
        os.close(fd)
    return "program" if stat.S_ISREG(mode) and mode & 0o111 else "other"
