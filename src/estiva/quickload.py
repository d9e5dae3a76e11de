"""This package's compiled modules in one file, so that a command opens one file instead of eighty.

Looking for a module costs the interpreter's path machinery about as much as running it.  So what the ``__pycache__``
directories hold is kept a second time, one after the other behind an index, in ``__pycache__/estiva.TAG.modules``.  The
rules are those of ``.pyc`` files: an entry counts only as long as its source has the size and time it had, whoever may
write there writes it, and without it everything works, only slower.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType
    from typing import Any

    # of the code: offset behind the index, size; whether it is a package; of the source: path, time and size
    Entry = tuple[int, int, bool, str, int, int]

PACKAGE = os.path.dirname(os.path.abspath(__file__))
NAME = "estiva"
_PYC_HEADER = 16  # magic, flags, time and size of the source; PEP 552
_LEFT_OUT = ("__init__.py", "__main__.py", "quickload.py")  # of the top: loaded before there is a finder of ours


def bundle_path(package: str = PACKAGE) -> str:
    """Where the bundle of the running interpreter is."""
    return f"{package}/__pycache__/{NAME}.{sys.implementation.cache_tag}.modules"


class Bundle:
    """A finder and loader of what is in the bundle (PEP 451).  ``stale``: it lacked something that was asked for."""

    def __init__(self, package: str = PACKAGE) -> None:
        self.package = package
        self.stale = False
        self._fd = -1
        self._start = 0
        self._index: dict[str, Entry] = {}
        try:
            self._fd = os.open(bundle_path(package), os.O_RDONLY | os.O_CLOEXEC)
            self._start = 4 + int.from_bytes(os.read(self._fd, 4), "little")
            self._index = dict(marshal.loads(os.read(self._fd, self._start - 4)))
        except (OSError, ValueError, EOFError, TypeError):
            self.stale = True

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        entry = self._index.get(name)
        if entry is None:
            self.stale = self.stale or name.startswith(f"{NAME}.")
            return None
        source = f"{self.package}/{entry[3]}"
        try:
            status = os.stat(source)
        except OSError:
            self.stale = True
            return None
        if (status.st_mtime_ns, status.st_size) != entry[4:]:
            self.stale = True
            return None
        loader: Any = self
        spec = ModuleSpec(name, loader, origin=source, loader_state=entry, is_package=entry[2])
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(os.path.dirname(source))
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Modules are made as usual."""

    def exec_module(self, module: Any) -> None:
        """Run the module's code in it."""
        offset, size = module.__spec__.loader_state[:2]
        exec(marshal.loads(os.pread(self._fd, size, self._start + offset)), module.__dict__)

    def renew(self) -> None:
        """Write the bundle anew if it is stale and may be written; that it cannot be is no failure."""
        if self.stale and os.access(f"{self.package}/__pycache__", os.W_OK):
            try:
                write_bundle(self.package)
            except OSError:
                pass


def install() -> Bundle:
    """Let this process load from the bundle; the caller may :meth:`Bundle.renew` it in the end."""
    bundle = Bundle()
    sys.meta_path.insert(0, bundle)
    return bundle


def write_bundle(package: str = PACKAGE) -> None:
    """Make the bundle of all modules whose ``.pyc`` is there and up to date; it appears whole.  Raises OSError."""
    index: dict[str, Entry] = {}
    codes: list[bytes] = []
    offset = 0
    for name, relative in _sources(package):
        status = os.stat(f"{package}/{relative}")
        code = _compiled(f"{package}/{relative}", status)
        if code is not None:
            is_package = os.path.basename(relative) == "__init__.py"
            index[name] = (offset, len(code), is_package, relative, status.st_mtime_ns, status.st_size)
            codes.append(code)
            offset += len(code)
    head = marshal.dumps(index)
    path = bundle_path(package)
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(len(head).to_bytes(4, "little") + head)
            file.writelines(codes)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _sources(package: str) -> Iterator[tuple[str, str]]:
    """(module name, path below the package) of every module."""
    for directory, names, files in os.walk(package):
        names.sort()
        below = os.path.relpath(directory, package)
        parts = [] if below == "." else below.split(os.sep)
        for file in sorted(files):
            if file.endswith(".py") and (parts or file not in _LEFT_OUT):
                own = parts if file == "__init__.py" else [*parts, file.removesuffix(".py")]
                yield ".".join([NAME, *own]), os.path.join(*parts, file)


def _compiled(source: str, status: os.stat_result) -> bytes | None:
    """The marshalled code of the source's ``.pyc``, or None if there is none that is up to date by time and size."""
    directory, file = os.path.split(source)
    tag = sys.implementation.cache_tag
    try:
        with open(f"{directory}/__pycache__/{file.removesuffix('.py')}.{tag}.pyc", "rb") as pyc:
            data = pyc.read()
    except FileNotFoundError:
        return None
    told = [int.from_bytes(data[at : at + 4], "little") for at in (4, 8, 12)]
    expected = [0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF]
    return data[_PYC_HEADER:] if told == expected else None
