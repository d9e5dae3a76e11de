"""SELinux labels for what is mounted with option ``z`` or ``Z``, and for new volumes.  podman-run(1) "--volume"

Everything is reached by descriptor from the top that was checked, and nothing by a symbolic link: whoever may write
below the source must not be able to have files elsewhere relabelled.
"""

from __future__ import annotations

import errno
import os

from estiva.engine.spec.labels import shared
from estiva.errors import Denied, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from estiva.engine.options import MountOption

ATTRIBUTE = "security.selinux"
# Whole parts of the system, which would stop to work with a container's label.
_FORBIDDEN = frozenset(
    ("/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64",
     "/media", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib",
     "/var/log")
)  # fmt: skip
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 400  # a descriptor is open at each level


def relabel(mounts: list[MountOption], label: str, fresh: list[str], environ: Mapping[str, str]) -> None:
    """Give the sources of the *mounts* that ask for it the container's file *label*: whole with ``Z``, with ``z``
    without the categories that keep other containers out.  So get the directories *fresh* of new volumes, which any
    container may mount.

    Raises Invalid for a source that is a part of the system (see *environ* for the user's home).
    """
    for mount in mounts:
        if {"z", "Z"} & set(mount.options):
            check_source(mount.source, environ)
            relabel_tree(mount.source, label if "Z" in mount.options else shared(label))
        elif mount.source in fresh:
            relabel_tree(mount.source, shared(label))


def check_source(path: str, environ: Mapping[str, str]) -> None:
    """Raise Invalid if *path*, wherever its links lead, is a directory nobody may give to a container."""
    real = os.path.realpath(path)
    homes = {os.path.realpath(home) for home in (environ.get("HOME"), _home_of(environ.get("SUDO_USER"))) if home}
    if real in _FORBIDDEN | homes:
        raise Invalid(f"SELinux relabeling of {real} is not allowed", "mount it without z and Z, or a part of it")


def _home_of(user: str | None) -> str:
    if not user:
        return ""
    import pwd

    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        return ""


def relabel_tree(path: str, label: str) -> None:
    """Give *path* and all below it the *label*, what has it already left alone.

    A file system that has no labels is as good as one.  Raises Denied where they cannot be changed.
    """
    value = label.encode() + b"\0"
    try:
        top = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            _set(f"/proc/self/fd/{top}", value)
            if os.path.isdir(f"/proc/self/fd/{top}"):
                _descend(os.open(f"/proc/self/fd/{top}", _DIRECTORY & ~os.O_NOFOLLOW), value, 0)
        finally:
            os.close(top)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            reason, cure = (error.strerror or "").lower(), "mount it without z and Z"
            if error.errno == errno.EINVAL:
                reason = "the policy of this host knows no such label"
                cure = "install its policy for containers, or use --security-opt label=disable"
            raise Denied(f"relabelling {path} as {label}: {reason}", cure) from error


def _descend(fd: int, value: bytes, depth: int) -> None:
    """The same for what the directory *fd*, which is closed, holds."""
    try:
        if depth > _DEEPEST:
            raise OSError(errno.ELOOP, "too many directories in one another")
        with os.scandir(fd) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in found:
            try:
                # The last name of a path below a held directory is not followed if it is, or has become, a link.
                _set(f"/proc/self/fd/{fd}/{name}", value, follow=False)
                if is_directory:
                    _descend(os.open(name, _DIRECTORY, dir_fd=fd), value, depth + 1)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone, or another thing, meanwhile
    finally:
        os.close(fd)


def _set(path: str, value: bytes, follow: bool = True) -> None:
    try:
        if os.getxattr(path, ATTRIBUTE, follow_symlinks=follow) == value:
            return
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
    os.setxattr(path, ATTRIBUTE, value, follow_symlinks=follow)
