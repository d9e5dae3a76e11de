"""An archive from standard input as a file that can be read twice."""

from __future__ import annotations

import os
import sys

from estiva.errors import EstivaError, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_CHUNK = 1 << 20


class Spooled:
    """A context: the absolute path of the archive *name*; of what came from standard input if that is ``""`` or ``-``.

    :raises Invalid: standard input is a terminal
    """

    __slots__ = ("_copy", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._copy = ""

    def __enter__(self) -> str:
        if self._name not in ("", "-"):
            os.stat(self._name)  # says what is wrong in one word, before anything is started
            return os.path.abspath(self._name)
        if os.isatty(0):
            raise Invalid("cannot read from terminal", "use command-line redirection or the --input flag")
        from tempfile import mkstemp  # only for pipes

        fd, self._copy = mkstemp(prefix="estiva-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        try:
            with open(fd, "wb") as copy:
                while piece := sys.stdin.buffer.read(_CHUNK):
                    copy.write(piece)
        except BaseException:
            self._remove()
            raise
        return self._copy

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._copy and isinstance(error, EstivaError):
            error.message = error.message.replace(self._copy, "standard input")
        self._remove()

    def _remove(self) -> None:
        if self._copy:
            os.unlink(self._copy)
            self._copy = ""
