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
    contexts = _selinux_contexts()
    return Host(
        hostname=uname.nodename,
        arch=uname.machine,
        selinux=bool(contexts),
        selinux_contexts=contexts,
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


def _selinux_contexts() -> dict[str, str]:
    """What SELinux's policy has for containers; empty where there is no SELinux, or no such policy.

    A kernel that has not loaded a policy yet calls every process ``kernel``.
    """
    if (
        not os.path.exists("/sys/fs/selinux/enforce")
        or read_or_empty("/proc/self/attr/current").strip("\0\n") == "kernel"
    ):
        return {}
    from estiva.engine.spec.labels import parse_contexts

    kind = "targeted"
    for line in read_or_empty("/etc/selinux/config").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "SELINUXTYPE":
            kind = value.strip()
    return parse_contexts(read_or_empty(f"/etc/selinux/{kind}/contexts/lxc_contexts"))


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
