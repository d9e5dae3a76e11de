"""The plan: what the helper is to do, as a flat list of small operations.

The table of operations and their arguments is in ``native/plan.h``, where each is described; the numbers here are the
same (a test compares them).  An argument is an int, a str, bytes, or a list of these.  Nothing here touches the system:
a plan is built, compared and printed like any other value.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Argument = int | str | bytes | Sequence[str] | Sequence[int]

MAGIC = b"ESTIVA01"
PLAN_FD = 3
REPORT_FD = 4

STATUS, LOG, ATTACH, CGROUP, RESTART, REMOVE, CLEANUP, TIMEOUT, STDIN, TERMINAL, ORPHAN, EXTERNAL = range(1, 13)
IDMAPPED, CLONE, LAYER, CHILD, CONFIRM, PROGRAM = range(13, 19)
MAP_ROOT, PREPARE, HOLD = 100, 101, 130
JOIN, JOIN_FD, UNSHARE, HOSTNAME, DOMAINNAME, LOOPBACK, SYSCTL, HIDE, OOM_SCORE, KEYRING, BECOME_ROOT = range(20, 31)
TIME_OFFSETS, SYNC, HOOK, SOURCE, REMOUNT, ENTER, PARENT_PRIVATE, ROOT_OPEN, NET_DEVICE = range(31, 40)

SYNC_MONITOR, SYNC_OWNER = 1, 2
PIVOT_MOVE, PIVOT_CHROOT = 1, 2
PROPAGATION, ROOT_OVERLAY, ROOT_BIND, ROOT_GIVEN, ROOT_ATTACH, MOUNT, BIND, SYMLINK, DEVICE, CONSOLE = range(40, 50)
MASK, READONLY, PIVOT, ROOT_READONLY, MKDIR, LISTEN = range(50, 56)
RLIMIT, UMASK, NO_NEW_PRIVILEGES, SECCOMP, BOUNDING, IDS, CAPABILITIES, CHDIR, PERSONALITY, INIT = range(60, 70)
WAIT_START, EXEC, PAUSE, KEEP_FDS, AGENT, LANDLOCK, LABELS, SCHEDULER, IO_PRIORITY, AFFINITY = range(70, 80)
MEMORY_POLICY, HOME, FORK_INSIDE = range(80, 83)
ENTRY, KEEP_GROUPS = 120, 121

MOUNT_COPY_UP = 1
MOUNT_NO_SYMLINKS = 2
MOUNT_RECURSIVE = 4
MOUNT_CHOWN = 8
MOUNT_OPTIONAL = 16
MOUNT_SOURCE_NOFOLLOW = 32
MOUNT_COPY_LINK = 64
MOUNT_TARGET_NOFOLLOW = 128
MOUNT_IDMAP_ALL = 256
MOUNT_GIVEN = 512

NAMES = {
    value: name
    for name, value in list(globals().items())
    if name.isupper() and type(value) is int and not name.startswith(("MOUNT_", "PLAN_", "REPORT_", "SYNC_", "PIVOT_"))
}


class Plan:
    """A list of operations under construction."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: list[tuple[int, tuple[Argument, ...]]] = []

    def add(self, operation: int, *arguments: Argument) -> Plan:
        """Append an operation; returns the plan, so that calls can be chained."""
        self.operations.append((operation, arguments))
        return self

    def extend(self, other: Plan) -> Plan:
        """Append all operations of *other*."""
        self.operations.extend(other.operations)
        return self

    def encode(self) -> bytes:
        """The bytes the helper reads."""
        parts = [MAGIC]
        for operation, arguments in self.operations:
            body = b"".join(map(_encode, arguments))
            parts.append(struct.pack("=II", operation, len(body)))
            parts.append(body)
        return b"".join(parts)

    def __str__(self) -> str:
        return "\n".join(
            f"{NAMES[operation]} {' '.join(map(repr, arguments))}" for operation, arguments in self.operations
        )


def _encode(argument: Argument) -> bytes:
    if isinstance(argument, int):
        # Masks and limits use all 64 bits: negative and unsigned numbers share them.
        return struct.pack("=Q", argument & 0xFFFFFFFFFFFFFFFF)
    if isinstance(argument, str):
        argument = argument.encode("utf-8", "surrogateescape")
    if isinstance(argument, bytes):
        return struct.pack("=I", len(argument)) + argument + b"\0"
    return struct.pack("=Q", len(argument)) + b"".join(map(_encode, argument))
