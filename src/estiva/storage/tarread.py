"""Reading tars without an object for every field: old, POSIX (ustar, pax) and GNU formats.

pax(1) "ustar Interchange Format" and "pax Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import os

from estiva.errors import Invalid
from estiva.storage.tarsparse import Sparse, gnu_map, pax_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from estiva.storage.tarstream import ChunkStream

    Records = dict[bytes, bytes]

REGULAR = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK = b"4"
DIRECTORY = b"5"
FIFO = b"6"

_ZERO = bytes(512)
_HEADER_ONLY = frozenset(b"123456")
_XATTR = b"SCHILY.xattr."
_LONGEST_EXTENSION = 8 << 20  # bytes of pax records or of a long name
_MOST_ID = 0xFFFFFFFE


class Member:
    """One file of a tar.

    ``path`` is relative, without ``.`` and ``..``, and ``b""`` for the top directory; so is ``link`` of a hard link,
    while that of a symbolic link is as it was given.  ``size`` counts the bytes stored in the tar from ``offset`` on;
    ``sparse`` says where they belong if the file has holes.  ``mtime`` is in nanoseconds since 1970, ``mode`` holds the
    twelve permission bits, ``device`` is what makedev(3) gives.
    """

    __slots__ = (
        "device",
        "gid",
        "link",
        "mode",
        "mtime",
        "offset",
        "path",
        "size",
        "sparse",
        "type",
        "uid",
        "xattrs",
    )

    def __init__(self) -> None:
        self.path = b""
        self.type = REGULAR
        self.mode = 0
        self.uid = 0
        self.gid = 0
        self.mtime = 0
        self.size = 0
        self.offset = 0
        self.device = 0
        self.link = b""
        self.sparse: Sparse | None = None
        self.xattrs: Records | None = None


def read_tar(stream: ChunkStream) -> Iterator[Member]:
    """The members of the tar in *stream*, which is at a member's data when the member is yielded.

    Data that is not taken is skipped.  The stream is left behind the end mark.  Raises Invalid for what is not a tar.
    """
    defaults: Records = {}
    while True:
        member, defaults = _next_member(stream, defaults)
        if member is None:
            return
        end = member.offset + member.size
        yield member
        stream.skip(end + (-end & 511) - stream.offset)


def _next_member(stream: ChunkStream, defaults: Records) -> tuple[Member | None, Records]:
    """The next member, None at the end, and the global pax records in force."""
    records: Records | None = None
    name: bytes | None = None
    link: bytes | None = None
    while True:
        header = stream.take(512)
        if header == _ZERO or not header:
            return None, defaults
        _check(header)
        kind = header[156:157]
        if kind == b"x" or kind == b"X":
            records = _records(_extension(stream, header))
        elif kind == b"g":
            defaults = {**defaults, **_records(_extension(stream, header))}
        elif kind == b"L":
            name = _extension(stream, header).split(b"\0", 1)[0]
        elif kind == b"K":
            link = _extension(stream, header).split(b"\0", 1)[0]
        elif kind == b"V":  # a volume's label
            continue
        else:
            break
    if defaults:
        records = {**defaults, **(records or {})}
    return _member(stream, header, records, name, link), defaults


def _member(
    stream: ChunkStream, header: bytes, records: Records | None, name: bytes | None, link: bytes | None
) -> Member:
    member = Member()
    kind = header[156:157]
    if kind == b"\0" or kind == b"7":
        kind = REGULAR
    if name is None:
        name = _header_name(header)
    if link is None:
        link = header[157:257].split(b"\0", 1)[0]
    member.mode = number(header[100:108]) & 0o7777
    member.uid = number(header[108:116])
    member.gid = number(header[116:124])
    member.size = number(header[124:136])
    member.mtime = number(header[136:148]) * 1_000_000_000
    if kind == b"S":
        member.sparse = gnu_map(stream, header, number)
        kind = REGULAR
    if records is not None:
        name, link = _apply(member, records, name, link)
    if kind == REGULAR and name.endswith(b"/"):  # how tar knew directories before it had types
        kind = DIRECTORY
    if kind[0] in _HEADER_ONLY:
        member.size = 0
    elif kind == b"D":  # GNU's directory with a list of names as data
        kind = DIRECTORY
    elif kind != REGULAR:
        raise Invalid(f"reading a tar: {show(name)} is of the unknown type {show(kind)}")
    if kind in (CHARACTER, BLOCK):
        member.device = os.makedev(number(header[329:337]), number(header[337:345]))
    member.type = kind
    member.path = clean(name)
    member.link = clean(link) if kind == HARD_LINK else link
    member.offset = stream.offset
    if records is not None and member.sparse is None and b"GNU.sparse.major" in records:
        member.sparse = pax_map(stream, member.size, records)
        member.size -= stream.offset - member.offset
        member.offset = stream.offset
    _verify(member)
    return member


def _verify(member: Member) -> None:
    """Refuse numbers no file system has."""
    if member.size < 0:
        raise Invalid(f"reading a tar: {show(member.path)} has a negative size")
    if not (0 <= member.uid <= _MOST_ID and 0 <= member.gid <= _MOST_ID):
        raise Invalid(f"reading a tar: {show(member.path)} belongs to the impossible {member.uid}:{member.gid}")
    if member.sparse is not None:
        member.sparse.verify(member.size, show(member.path))
    if member.type == SYMLINK and (not member.link or b"\0" in member.link or len(member.link) > 4095):
        raise Invalid(f"reading a tar: the symbolic link {show(member.path)} has an impossible target")


def _apply(member: Member, records: Records, name: bytes, link: bytes) -> tuple[bytes, bytes]:
    """Let pax records override what the header says; return the names they give.  pax(1) "pax Extended Header" """
    if b"size" in records:
        member.size = _decimal(records[b"size"])
    if b"mtime" in records:
        member.mtime = nanoseconds(records[b"mtime"])
    if b"uid" in records:
        member.uid = _decimal(records[b"uid"])
    if b"gid" in records:
        member.gid = _decimal(records[b"gid"])
    xattrs = {key[len(_XATTR) :]: value for key, value in records.items() if key.startswith(_XATTR)}
    if xattrs:
        if any(b"\0" in key for key in xattrs):
            raise Invalid(f"reading a tar: {show(name)} has an attribute with a NUL byte in its name")
        member.xattrs = xattrs
    if b"GNU.sparse.map" in records:
        member.sparse = Sparse.of_text(records)
    name = records.get(b"GNU.sparse.name") or records.get(b"path") or name
    return name, records.get(b"linkpath") or link


def _extension(stream: ChunkStream, header: bytes) -> bytes:
    """The data of a member that tells something about the next one."""
    size = number(header[124:136])
    if not 0 <= size <= _LONGEST_EXTENSION:
        raise Invalid(f"reading a tar: an extended header of {size} bytes")
    data = stream.take(size)
    if len(data) != size:
        raise Invalid("reading a tar: it ends within an extended header")
    stream.skip(-size & 511)
    return data


def _records(data: bytes) -> Records:
    """Pax records: "<length> <key>=<value>\\n" each.  A map of holes in many records becomes one in one."""
    records: Records = {}
    holes: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        try:
            end = at + int(data[at:space]) if space > 0 else 0
        except ValueError:
            end = 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space + 1 or end > len(data) or not equals or data[end - 1] != 10:
            if not data[at:].strip(b"\0"):
                break
            raise Invalid("reading a tar: a damaged extended header")
        if key == b"GNU.sparse.offset" or key == b"GNU.sparse.numbytes":
            holes.append(value)
        else:
            records[key] = value
        at = end
    if holes:
        records[b"GNU.sparse.map"] = b",".join(holes)
    return records


def _header_name(header: bytes) -> bytes:
    """The name in the header alone; POSIX archives may have its beginning in a field of its own."""
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345] != 0:
        end = 476 if header[508:512] == b"tar\0" else 500  # star has times behind the prefix
        return header[345:end].split(b"\0", 1)[0] + b"/" + name
    return name


def _check(header: bytes) -> None:
    """Raise Invalid if *header* is cut off or its checksum is wrong."""
    if len(header) != 512:
        raise Invalid("reading a tar: it ends within a header")
    told = number(header[148:156])
    rest = header[:148] + header[156:]
    if told == sum(rest) + 256:
        return
    signed = sum(byte - 256 if byte > 127 else byte for byte in rest) + 256  # some old tars
    if told != signed:
        raise Invalid("reading a tar: a header's checksum is wrong")


def number(field: bytes) -> int:
    """A header's number: octal digits, or binary if it does not fit.  GNU tar manual, "Extensions" """
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else value
    digits = field.split(b"\0", 1)[0].strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise Invalid(f"reading a tar: {show(digits)} is not a number") from None


def _decimal(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(f"reading a tar: {show(text)} is not a number") from None


def nanoseconds(text: bytes) -> int:
    """Nanoseconds of a decimal number of seconds, exactly."""
    whole, _, fraction = text.partition(b".")
    part = _decimal(fraction[:9].ljust(9, b"0"))
    return _decimal(whole or b"0") * 1_000_000_000 + (-part if text.startswith(b"-") else part)


def clean(name: bytes) -> bytes:
    """*name* as a path below the archive's top; raises Invalid if it leads out of it."""
    if name.startswith(b"./"):
        name = name[2:]
    name = name.strip(b"/")
    if b"//" not in name and b"/." not in name and not name.startswith(b".") and b"\0" not in name:
        return name
    if b"\0" in name:
        raise Invalid(f"reading a tar: the name {show(name)} has a NUL byte")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise Invalid(f"reading a tar: {show(name)} leads out of the archive")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def show(name: bytes) -> str:
    """A name for a message."""
    return repr(name.decode(errors="backslashreplace"))
