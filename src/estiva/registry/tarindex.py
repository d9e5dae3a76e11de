"""Where the files of a tar archive lie in it: its names, offsets and sizes, without unpacking anything.

An archive from outside is hostile until shown otherwise.  Nothing is ever written under a name found in it; links lead
only to other members; numbers are checked before they are used.  Formats: ustar, PAX (path, linkpath, size), GNU long
names and base-256 numbers; sparse members are refused.  tar(5)
"""

from __future__ import annotations

import posixpath

from estiva.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    Extent = tuple[int, int]

BLOCK = 512
MAX_MEMBERS = 200_000
MAX_EXTENSION = 1 << 20
_MAX_LINKS = 8
_FILES = (b"0", b"\0", b"7")
_LINKS = (b"1", b"2")


class TarIndex:
    """The regular files of the uncompressed tar in *file*, a seekable binary file; *what* names it in messages."""

    def __init__(self, file: BinaryIO, what: str) -> None:
        self._what = what
        self._files: dict[str, Extent] = {}
        self._links: dict[str, str] = {}
        for name, kind, extent, target in self._members(file):
            self._files.pop(name, None)
            self._links.pop(name, None)
            if kind in _FILES:
                self._files[name] = extent
            elif kind in _LINKS:
                base = posixpath.dirname(name) if kind == b"2" else ""
                self._links[name] = _normal(posixpath.join(base, target))

    def find(self, name: str) -> Extent:
        """``(offset, size)`` of the content of member *name*, links followed inside the archive; raises NotFound."""
        wanted = _normal(name)
        for _ in range(_MAX_LINKS):
            if wanted in self._files:
                return self._files[wanted]
            if wanted not in self._links:
                break
            wanted = self._links[wanted]
        raise NotFound(f"{self._what}: has no file {name!r}")

    def has(self, name: str) -> bool:
        """Whether :meth:`find` would find it."""
        try:
            self.find(name)
        except NotFound:
            return False
        return True

    def _members(self, file: BinaryIO) -> Iterator[tuple[str, bytes, Extent, str]]:
        """``(name, type, (offset, size), link target)`` of each member; extension headers are taken in."""
        end = file.seek(0, 2)
        position, count = 0, 0
        extended: dict[str, str] = {}
        while (header := self._header(file, position)) is not None:
            count += 1
            if count > MAX_MEMBERS:
                raise Invalid(f"{self._what}: more than {MAX_MEMBERS} members")
            kind, content = header[156:157], position + BLOCK
            size = self._size(header, kind, extended)
            if content + size > end:
                raise Invalid(f"{self._what}: cut short inside the member at byte {position}")
            if kind in (b"x", b"L", b"K", b"g"):
                if kind != b"g":
                    extended.update(self._extension(file, kind, content, size))
            else:
                if any(key.startswith("GNU.sparse") for key in extended) or kind == b"S":
                    raise Invalid(f"{self._what}: holds a sparse member", "make the archive without --sparse")
                name = extended.get("path") or _header_name(header)
                yield _normal(name), kind, (content, size), extended.get("linkpath") or _text(header[157:257])
                extended = {}
            position = content + -(-size // BLOCK) * BLOCK

    def _header(self, file: BinaryIO, position: int) -> bytes | None:
        """The header block at *position*; None at the archive's end."""
        file.seek(position)
        header = file.read(BLOCK)
        if not header or header.count(0) == BLOCK:
            return None
        if len(header) < BLOCK:
            raise Invalid(f"{self._what}: cut short at byte {position}")
        blanked = sum(header) - sum(header[148:156]) + 8 * 32
        if self._number(header[148:156]) != blanked:
            raise Invalid(f"{self._what}: not a tar archive, or damaged at byte {position}")
        return header

    def _size(self, header: bytes, kind: bytes, extended: dict[str, str]) -> int:
        told = extended.get("size")
        if told is not None and kind not in (b"x", b"L", b"K", b"g"):
            if not (told.isascii() and told.isdigit() and len(told) < 20):
                raise Invalid(f"{self._what}: a member of size {told!r}")
            return int(told)
        return 0 if kind in (b"1", b"2", b"3", b"4", b"5", b"6") else self._number(header[124:136])

    def _number(self, field: bytes) -> int:
        """An octal or base-256 number that is not negative."""
        if field[0] & 0x80:
            if field[0] == 0x80 and field[1:4] == bytes(len(field[1:4])):
                return int.from_bytes(field[4:], "big")
            raise Invalid(f"{self._what}: not a tar archive, or damaged: a number out of range")
        text = field.split(b"\0")[0].strip()
        if text.strip(b"01234567"):
            raise Invalid(f"{self._what}: not a tar archive, or damaged: {text!r} is not a number")
        return int(text or b"0", 8)

    def _extension(self, file: BinaryIO, kind: bytes, offset: int, size: int) -> dict[str, str]:
        """The fields of the next member that an extension header states."""
        if size > MAX_EXTENSION:
            raise Invalid(f"{self._what}: an extension header of {size} bytes")
        file.seek(offset)
        data = file.read(size)
        if kind != b"x":
            return {"path" if kind == b"L" else "linkpath": _text(data)}
        try:
            return dict(_pax(data))
        except ValueError:
            raise Invalid(f"{self._what}: a damaged extension header at byte {offset}") from None


def _pax(data: bytes) -> Iterator[tuple[str, str]]:
    """The records ``LENGTH KEY=VALUE\\n``; ValueError where they are not."""
    position = 0
    while position < len(data) and data[position]:
        digits = data[position : data.index(b" ", position, position + 21)]
        length = int(digits)
        if length <= len(digits) + 1 or position + length > len(data):
            raise ValueError(length)
        key, equals, value = data[position + len(digits) + 1 : position + length - 1].partition(b"=")
        if not equals:
            raise ValueError(key)
        yield key.decode(errors="surrogateescape"), value.decode(errors="surrogateescape")
        position += length


def _header_name(header: bytes) -> str:
    name = _text(header[0:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode(errors="surrogateescape")


def _normal(name: str) -> str:
    """A member's name without ``./``, ``..`` and leading slashes: only ever compared, never opened."""
    return posixpath.normpath("/" + name).lstrip("/")
