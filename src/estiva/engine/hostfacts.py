"""What a container's configuration has to know of this host."""

from __future__ import annotations

import os

from estiva.engine.spec.context import Host

CAP_SYS_RESOURCE = 1 << 24
# Those that defaults ask for.  asm-generic/resource.h
_RLIMITS = {"RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7}


def observe(rootless: bool) -> Host:
    """The facts, at the price of a few system calls."""
    uname = os.uname()
    return Host(
        hostname=uname.nodename,
        arch=uname.machine,
        selinux=os.path.exists("/sys/fs/selinux/enforce"),
        apparmor=_apparmor(),
        rlimits=_most(rootless),
    )


def read_or_empty(path: str, limit: int = 1 << 20) -> str:
    """The text of a host file, ``""`` if there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
    try:
        return os.read(fd, limit).decode("utf-8", "replace")
    finally:
        os.close(fd)


def _apparmor() -> bool:
    return read_or_empty("/sys/module/apparmor/parameters/enabled", 8).startswith("Y")


def _most(rootless: bool) -> dict[str, int]:
    """The hard limits that cannot be raised: all, without CAP_SYS_RESOURCE on the host."""
    from estiva.runtime.capabilities import bounding

    if not rootless and bounding() & CAP_SYS_RESOURCE:
        return {}
    import resource

    found = {name: resource.getrlimit(number)[1] for name, number in _RLIMITS.items()}
    return {name: hard for name, hard in found.items() if hard != resource.RLIM_INFINITY}
