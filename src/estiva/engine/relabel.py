"""SELinux labels for what is mounted with option ``z`` or ``Z``.  podman-run(1) "--volume" """

from __future__ import annotations

import errno
import os

from estiva.errors import Denied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.options import MountOption

ATTRIBUTE = "security.selinux"


def relabel(mounts: list[MountOption], label: str) -> None:
    """Give the sources of the *mounts* that ask for it the container's file *label*: whole with ``Z``, with ``z``
    without the categories that keep other containers out."""
    for mount in mounts:
        wanted = label if "Z" in mount.options else shared_label(label)
        if label and {"z", "Z"} & set(mount.options):
            _set_all(mount.source, wanted.encode() + b"\0")


def shared_label(label: str) -> str:
    """*label* at the level that every container may use."""
    return ":".join([*label.split(":")[:3], "s0"])


def _set_all(path: str, label: bytes) -> None:
    _set(path, label)
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            _set(f"{directory}/{name}", label)


def _set(path: str, label: bytes) -> None:
    try:
        os.setxattr(path, ATTRIBUTE, label, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:  # a file system that has no labels is as good as one
            raise Denied(f"relabelling {path}: {(error.strerror or '').lower()}", "mount it without z and Z") from error
