"""``--rootfs PATH[:O|:idmap[=…]]``: a directory of the host as root file system.  podman-run(1) "--rootfs" """

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.options import ContainerOptions


def rootfs_path(options: ContainerOptions) -> str:
    """The absolute path of the directory."""
    return os.path.abspath(_split(options.image)[0])


def rootfs_word(options: ContainerOptions) -> str:
    """What is asked about it: ``O`` to keep changes out of it, ``idmap`` or ``idmap=…``, or ``""``."""
    return _split(options.image)[1]


def _split(text: str) -> tuple[str, str]:
    path, colon, word = text.rpartition(":")
    if colon and path and (word in ("O", "idmap") or word.startswith("idmap=")):
        return path, word
    return text, ""
