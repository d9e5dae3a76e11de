"""Mounting a layer that is a tar and an EROFS index of it: two plain files, no loop device.  Linux 6.12"""

from __future__ import annotations

import os

from estiva.linux import mount


def index_mount_fd(index: str, tar: str) -> int:
    """A detached read-only mount of the layer; raises OSError with the kernel's own words.

    ``directio`` reads the tar past the page cache, which would hold every page twice.  erofs.rst
    """
    context_fd = mount.fsopen("erofs")
    try:
        mount.fsconfig_set_string(context_fd, "source", index)
        mount.fsconfig_set_string(context_fd, "device", tar)
        mount.fsconfig_set_flag(context_fd, "directio")
        mount.fsconfig_set_flag(context_fd, "ro")
        mount.fsconfig_create(context_fd)
        attributes = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV
        return mount.fsmount(context_fd, attributes)
    finally:
        os.close(context_fd)


def mount_index(index: str, tar: str, mount_point: str) -> None:
    """Mount the layer on the directory *mount_point*."""
    mount_fd = index_mount_fd(index, tar)
    try:
        mount.move_mount(mount_fd, mount_point)
    finally:
        os.close(mount_fd)
