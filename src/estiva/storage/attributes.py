"""What names and extended attributes mean in a layer.  layer.md "Whiteouts", overlayfs.rst"""

from __future__ import annotations

import errno

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
META = b".wh..wh."  # AUFS's own files: of no meaning to anybody else

_OVERLAY = (b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs.")
_KNOWN = (b"user.", b"trusted.", b"security.", b"system.posix_acl_")
_LABEL = b"security.selinux"
NOT_HERE = frozenset((errno.ENOTSUP, errno.EPERM, errno.EINVAL))


def kept(xattrs: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Those attributes an image's author may set, in order.

    Not those by which overlayfs marks what is hidden or elsewhere: a layer could use them to show other files than
    its tar has.  layer.md "Whiteouts"   Nor the SELinux label: what a file is called is the host's affair.
    """
    for name in sorted(xattrs):
        if name.startswith(_KNOWN) and not name.startswith(_OVERLAY) and name != _LABEL:
            yield name, xattrs[name]


def opaque_name(in_userns: bool) -> str:
    """The attribute that hides what lower layers have in a directory.  overlayfs.rst "whiteouts and opaque dirs" """
    return "user.overlay.opaque" if in_userns else "trusted.overlay.opaque"


def is_meta(path: bytes) -> bool:
    """Whether a member is one of AUFS's own files, below a directory ``.wh..wh.something`` or such a file itself."""
    return path.rpartition(b"/")[2] != OPAQUE and any(part.startswith(META) for part in path.split(b"/"))


def refuse_whiteout(directory: bytes) -> None:
    """Raise Invalid if *directory* is to be a directory, but by its name or one above it a whiteout."""
    if any(part.startswith(WHITEOUT) for part in directory.split(b"/")):
        raise Invalid(f"unpacking a layer: {directory.decode(errors='backslashreplace')!r} cannot be a directory")
