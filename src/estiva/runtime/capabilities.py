"""Capabilities: their names, their bits, and which of them a container gets.

Names are the OCI's and Podman's: ``CAP_`` and upper case.  A set of capabilities for the kernel is an integer with
bit *n* set for capability number *n*.  capabilities(7), include/uapi/linux/capability.h
"""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# By number: the index is the bit.
NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)

# What a container gets when nothing is asked for.  containers.conf(5) "default_capabilities"
DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)


def normalize(name: str) -> str:
    """The full name of a capability given as ``CAP_CHOWN``, ``chown`` or ``Chown``; ``ALL`` stays ``ALL``.

    Raises Invalid for a name no kernel knows.
    """
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else "CAP_" + upper
    if full not in NAMES:
        raise Invalid(f'capability "{name}": no such capability', "see capabilities(7) for the names")
    return full


def bits(names: Iterable[str]) -> int:
    """The kernel's bit set for *names* (any spelling; ``ALL`` is every capability this module knows)."""
    result = 0
    for name in names:
        full = normalize(name)
        result |= (1 << len(NAMES)) - 1 if full == "ALL" else 1 << NAMES.index(full)
    return result


def known_bits(names: Iterable[str] | None) -> int:
    """The bit set of a bundle's list: exact names; what is unknown is left out, see :func:`unknown`."""
    result = 0
    for name in names or ():
        if name in NAMES:
            result |= 1 << NAMES.index(name)
    return result


def unknown(sets: dict[str, list[str] | None]) -> list[str]:
    """The names in a bundle's ``process.capabilities`` that no kernel knows.

    runtime-spec config.md: they are worth a warning, not a failure.
    """
    return sorted({name for names in sets.values() for name in names or () if name not in NAMES})


def names(bit_set: int) -> list[str]:
    """The names in *bit_set*, in the kernel's order; bits newer than this module are left out."""
    return [name for number, name in enumerate(NAMES) if bit_set >> number & 1]


def last_cap(proc: str = "/proc") -> int:
    """The number of the running kernel's highest capability."""
    with open(f"{proc}/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def bounding(proc: str = "/proc") -> int:
    """The bounding set of this process: no container can be given more.  proc_pid_status(5) "CapBnd" """
    with open(f"{proc}/self/status") as file:
        for line in file:
            if line.startswith("CapBnd:"):
                return int(line[7:], 16)
    return (1 << len(NAMES)) - 1


def merge(base: Iterable[str], add: Iterable[str] = (), drop: Iterable[str] = ()) -> list[str]:
    """The capabilities of a container: *base* and what ``--cap-add`` and ``--cap-drop`` change, sorted by name.

    ``ALL`` means what Podman means: dropping it leaves exactly *add*; adding it gives everything in this process's
    bounding set except *drop*.  Raises Invalid for unknown names and for a capability in both lists.
    """
    added = {normalize(name) for name in add}
    dropped = {normalize(name) for name in drop}
    both = sorted(added & dropped)
    if both:
        raise Invalid(f'capability "{both[0]}" cannot be dropped and added')
    if "ALL" in dropped:
        return sorted(added)
    if "ALL" in added:
        return sorted(set(names(bounding())) - dropped)
    return sorted(({normalize(name) for name in base} - dropped) | added)
