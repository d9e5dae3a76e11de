"""What exists now, so that a test can show that nothing was left behind."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

from helpers import kernel
from helpers.isolation import WORLD


class Snapshot:
    """The mounts, control groups, processes, network links and namespaces of the session, and files below *paths*."""

    def __init__(self, *paths: str | os.PathLike[str]) -> None:
        self.paths = paths
        self.counted: dict[str, set[str]] = {
            "mount": {point for point, _, _ in kernel.mounts()},
            "cgroup": WORLD.cgroups(),
            "process": _processes(),
            "namespace": _namespaces(),
            "link": {name for _, name in socket.if_nameindex()} if WORLD.active else set(),
            "file": set().union(*(_files(os.fspath(path)) for path in paths)),
        }

    def left_since(self, before: Snapshot) -> list[str]:
        """``kind: name`` of everything that exists now and did not *before*."""
        return [
            f"{kind}: {name}" for kind, names in self.counted.items() for name in sorted(names - before.counted[kind])
        ]


def leaked(before: Snapshot, seconds: float = 5.0) -> list[str]:
    """What has appeared since *before* and does not go away by itself within *seconds* (a monitor ends after its
    container)."""
    deadline = time.monotonic() + seconds
    while True:
        left = Snapshot(*before.paths).left_since(before)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _processes() -> set[str]:
    found = set()
    for pid in WORLD.processes() - {os.getpid()}:
        with suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as words:
                command = " ".join(words.read().split("\0"))[:120]
            # a zombie is its parent's affair: one whose parent is this very process is an unwaited-for child
            if rest.split()[0] != "Z" or int(rest.split()[1]) == os.getpid():
                found.add(f"{pid} {name}: {command}")
    return found


def _namespaces() -> set[str]:
    found = set()
    for pid in WORLD.processes():
        for kind in ("mnt", "net", "pid", "user", "ipc", "uts", "cgroup"):
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    return found


def _files(path: str) -> set[str]:
    found = set()
    for directory, names, files in os.walk(path):
        found.update(os.path.join(directory, name) for name in (*names, *files))
    return found
