"""Giving a container its own cgroup: a program with users of its own, such as an init system, divides it further.

runtime-spec config-linux.md "Cgroup ownership"; cgroup-v2.rst "Delegation"
"""

from __future__ import annotations

import os

from estiva.runtime.cgroup.files import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DELEGATE = "/sys/kernel/cgroup/delegate"
_FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


def owner(spec: dict[str, Any]) -> int | None:
    """The user id, on the host, that the container's v2 cgroup is to belong to; ``None`` to leave it as it is.

    It changes hands where the container has a cgroup namespace of its own and its ``/sys/fs/cgroup`` is writable.
    """
    linux = spec.get("linux") or {}
    own = any(entry.get("type") == "cgroup" and not entry.get("path") for entry in linux.get("namespaces") or ())
    writable = any(
        mount.get("source") == "cgroup"
        and mount.get("destination") == "/sys/fs/cgroup"
        and "ro" not in (mount.get("options") or ())
        for mount in spec.get("mounts") or ()
    )
    if not own or not writable:
        return None
    ctr_uid = ((spec.get("process") or {}).get("user") or {}).get("uid", 0)
    for mapping in linux.get("uidMappings") or ():
        if mapping["containerID"] <= ctr_uid < mapping["containerID"] + mapping["size"]:
            return int(mapping["hostID"] + ctr_uid - mapping["containerID"])
    return None if linux.get("uidMappings") or not ctr_uid else int(ctr_uid)


def give(directory: str, uid: int) -> None:
    """Make *uid* the owner of *directory* and of those files in it that the kernel says may be given away."""
    try:
        names = read_text(DELEGATE).split()
    except FileNotFoundError:
        names = list(_FILES)
    for name in ("", *names):
        try:
            os.chown(f"{directory}/{name}".rstrip("/"), uid, -1)
        except FileNotFoundError:
            continue
        except PermissionError:
            return  # an ordinary user's: it belongs to that user already, or cannot be given
