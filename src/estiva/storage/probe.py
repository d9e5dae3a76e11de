"""Finding out, by doing it, which storage driver works in the place where the store is."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.storage.store import Store

_EROFS_FROM_FILES = (6, 12)


def best_driver(store: Store) -> str:
    """The best driver that works for *store*; a calling process must be user 0 of its namespace.

    Not ``erofs`` under SELinux: the files of an index have no label, and containers may only run what has theirs.
    """
    from estiva.storage.staging import SELINUX

    able = not store.in_userns and kernel_version() >= _EROFS_FROM_FILES and not os.path.exists(SELINUX)
    if able and _works(store, indexed=True):
        return "erofs"
    return "overlay" if _works(store, indexed=False) else "copy"


def kernel_version() -> tuple[int, int]:
    """The running kernel's version, as (6, 12)."""
    major, minor = os.uname().release.split(".")[:2]
    digits = "".join(character for character in minor if character.isdigit())
    return int(major), int(digits or 0)


def _works(store: Store, indexed: bool) -> bool:
    """Whether a file in a layer can be replaced by a directory: that takes a whiteout and an opaque directory."""
    staged = store.blobs.staging.directory()
    try:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{staged.path}/{name}")
        try:
            _mount_and_try(staged.path, indexed, store.in_userns)
        except OSError:
            return False
        return True
    finally:
        staged.discard()


def _mount_and_try(directory: str, indexed: bool, in_userns: bool) -> None:
    from estiva.linux.mount import MNT_DETACH, umount2

    lower = f"{directory}/lower"
    if not indexed:
        os.close(os.open(f"{lower}/file", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _try_overlay(directory, in_userns)
        return
    from estiva.storage.erofs_mount import mount_index

    _write_layer(directory)
    mount_index(f"{directory}/index", f"{directory}/tar", lower)
    try:
        _try_overlay(directory, in_userns)
    finally:
        umount2(lower, MNT_DETACH)


def _try_overlay(directory: str, in_userns: bool) -> None:
    from estiva.linux import mount

    context_fd = mount.fsopen("overlay")
    try:
        mount.fsconfig_set_string(context_fd, "lowerdir", _escaped(f"{directory}/lower"))
        mount.fsconfig_set_string(context_fd, "upperdir", _escaped(f"{directory}/upper"))
        mount.fsconfig_set_string(context_fd, "workdir", _escaped(f"{directory}/work"))
        if in_userns:
            mount.fsconfig_set_flag(context_fd, "userxattr")
        mount.fsconfig_create(context_fd)
        mount_fd = mount.fsmount(context_fd)
    finally:
        os.close(context_fd)
    try:
        os.unlink("file", dir_fd=mount_fd)
        os.mkdir("file", 0o700, dir_fd=mount_fd)
    finally:
        os.close(mount_fd)


def _escaped(path: str) -> str:
    """A path for overlayfs, to which colons separate lower directories and commas options."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _write_layer(directory: str) -> None:
    """A tar of one file, and its index."""
    from estiva.storage.erofs_tree import Tree
    from estiva.storage.erofs_write import write_index
    from estiva.storage.tarread import Member

    member = Member()
    member.path = b"file"
    member.mode = 0o600
    member.size = 512
    member.offset = 512
    tree = Tree()
    tree.add(member)
    for name, content in (("index", write_index(tree.root, 1024)), ("tar", bytes(1024))):
        fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, content)
        finally:
            os.close(fd)
