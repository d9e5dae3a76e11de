"""How a root file system is put together: what storage says and the runtime does."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class RootfsMount:
    """A description of one mount, not the mount itself.

    ``kind`` ``"overlay"``: ``lowerdirs`` (top first), ``upperdir`` and ``workdir`` (both ``""`` for a read-only union),
    ``options`` for fsconfig(2) (``volatile``, ``userxattr``, ``xino=off`` …); whoever mounts it first removes the mark
    that an earlier volatile mount has left in ``workdir``, overlayfs.rst "Volatile mount" · ``"bind"``: the directory
    ``source``.  Paths are the host's.
    """

    __slots__ = ("kind", "lowerdirs", "options", "source", "upperdir", "workdir")

    def __init__(
        self,
        kind: str,
        *,
        lowerdirs: Sequence[str] = (),
        upperdir: str = "",
        workdir: str = "",
        source: str = "",
        options: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.lowerdirs = list(lowerdirs)
        self.upperdir = upperdir
        self.workdir = workdir
        self.source = source
        self.options = list(options)
