"""Writing the EROFS index of a tar: inodes, directories and links; the files' bytes stay in the tar.

Blocks are as small as a tar's, 512 bytes, so every file is one chunk of a second device, the tar.  The layout:

    0     nothing
    1024  superblock, then at 1152 the one device slot
    2048  inodes, each of 64 bytes, its attributes, and for a file the address of its chunk
    ...   directories and targets of symbolic links, each from a block's start

linux/fs/erofs/erofs_fs.h; Documentation/filesystems/erofs.rst.  All numbers are little-endian.
"""

from __future__ import annotations

import os
import stat
import struct

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from estiva.storage.erofs_tree import Node

_MAGIC = 0xE0F5E1E2
_BLOCK = 512
_BLOCK_BITS = 9
_CHUNKED_FILE = 0x4
_DEVICE_TABLE = 0x8
_META = 4  # block
_DEVICE_SLOT = 9  # of 128 bytes
_ROOT_NID = 2
_NID = 32  # bytes
_EXTENDED = 1  # format of inodes
_PLAIN = 0 << 1
_CHUNKED = 4 << 1
_CHUNK_INDEXES = 0x20
_MOST_ATTRIBUTES = 4 * 0xFFFE

_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQ24x")
_INODE = struct.Struct("<HHHHQIIIIqII16x")
_CHUNK = struct.Struct("<HHI")
_DIRENT = struct.Struct("<QHBx")
_XATTR = struct.Struct("<BBH")

_PREFIXES = (
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
)
_FILE_TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFLNK: 7,
}


def write_index(root: Node, tar_size: int) -> bytes:
    """The index of a tar of *tar_size* bytes (a multiple of 512) whose files are the tree *root*.

    Raises Invalid if the tar is too large to be addressed (2 TiB).
    """
    if tar_size >> _BLOCK_BITS > 0xFFFFFFFF:
        raise Invalid(f"indexing a layer: its tar of {tar_size} bytes is too large")
    nodes, names = _collect(root)
    xattrs, end = _place(nodes)
    first_block = -(-end // _BLOCK)
    inodes = bytearray(first_block * _BLOCK)
    data: list[bytes] = []
    block = first_block
    for node in nodes:
        content = _content(node, names)
        if content:
            data.append(content)
            data.append(bytes(-len(content) % _BLOCK))
        _write_inode(inodes, node, xattrs.get(id(node), b""), block, len(content))
        block += -(-len(content) // _BLOCK)
    _write_super(inodes, len(nodes), block, tar_size >> _BLOCK_BITS)
    return bytes(inodes) + b"".join(data)


def _collect(root: Node) -> tuple[list[Node], dict[int, Node]]:
    """All inodes, directories before what is in them, with their link counts; and each directory's parent by its id."""
    nodes = [root]
    parents = {id(root): root}
    root.nlink = 2
    for node in nodes:
        if node.children is None:
            continue
        for child in node.children.values():
            if child.children is not None:
                node.nlink += 1
                child.nlink = 2
                parents[id(child)] = node
                nodes.append(child)
            else:
                child.nlink += 1
                if child.nlink == 1:
                    nodes.append(child)
    return nodes, parents


def _place(nodes: list[Node]) -> tuple[dict[int, bytes], int]:
    """Give every inode its place; return the encoded attributes by the inodes' ids, and where the inodes end."""
    encoded: dict[int, bytes] = {}
    nid = _ROOT_NID
    for node in nodes:
        node.nid = nid
        size = 64
        if node.xattrs:
            attributes = encoded[id(node)] = _attributes(node.xattrs)
            size += len(attributes)
        if node.size and stat.S_ISREG(node.mode):
            size = (size + 7 & -8) + 8
        nid += -(-size // _NID)
    return encoded, _META * _BLOCK + nid * _NID


def _attributes(xattrs: dict[bytes, bytes]) -> bytes:
    """Attributes as they follow an inode; those of kinds EROFS does not have are left out."""
    entries = []
    for name in sorted(xattrs):
        for prefix, index in _PREFIXES:
            if name.startswith(prefix):
                rest, value = name[len(prefix) :], xattrs[name]
                entry = _XATTR.pack(len(rest), index, len(value)) + rest + value
                entries.append(entry + bytes(-len(entry) % 4))
                break
    if not entries:
        return b""
    encoded = bytes(12) + b"".join(entries)
    if len(encoded) > _MOST_ATTRIBUTES:
        raise Invalid(f"indexing a layer: a file with {len(encoded)} bytes of extended attributes")
    return encoded


def _content(node: Node, parents: dict[int, Node]) -> bytes:
    """What a directory or a symbolic link has in blocks of its own."""
    if node.children is not None:
        return b"".join(_directory_blocks(node, parents[id(node)]))
    return node.target if stat.S_ISLNK(node.mode) else b""


def _directory_blocks(node: Node, parent: Node) -> Iterator[bytes]:
    """The blocks of a directory, the last one cut where its last name ends: sorted entries, then their names."""
    assert node.children is not None
    entries = sorted([(b".", node), (b"..", parent), *node.children.items()], key=_name)
    count = used = start = 0
    for name, _ in entries:
        if used + 12 + len(name) > _BLOCK:
            block = _directory_block(entries[start : start + count])
            yield block + bytes(_BLOCK - len(block))
            start += count
            count = used = 0
        count += 1
        used += 12 + len(name)
    yield _directory_block(entries[start:])


def _name(entry: tuple[bytes, Node]) -> bytes:
    return entry[0]


def _directory_block(entries: list[tuple[bytes, Node]]) -> bytes:
    at = 12 * len(entries)
    records = []
    for name, node in entries:
        records.append(_DIRENT.pack(node.nid, at, _FILE_TYPES[stat.S_IFMT(node.mode)]))
        at += len(name)
    return b"".join(records) + b"".join(name for name, _ in entries)


def _write_inode(inodes: bytearray, node: Node, attributes: bytes, block: int, content: int) -> None:
    """Put an inode in its place; *block* is where its *content* bytes in blocks of its own begin."""
    at = _META * _BLOCK + node.nid * _NID
    form, where, size = _PLAIN, block, content
    if stat.S_ISREG(node.mode):
        size = node.size
        if size:
            form = _CHUNKED
            where = _CHUNK_INDEXES | max(0, (size - 1).bit_length() - _BLOCK_BITS)
            _CHUNK.pack_into(inodes, at + (64 + len(attributes) + 7 & -8), 0, 1, node.offset >> _BLOCK_BITS)
    elif stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
        where = _device(node.device)
    seconds, nanoseconds = divmod(node.mtime, 1_000_000_000)
    _INODE.pack_into(
        inodes,
        at,
        _EXTENDED | form,
        (len(attributes) - 12) // 4 + 1 if attributes else 0,
        node.mode,
        0,
        size,
        where,
        node.nid & 0xFFFFFFFF,
        node.uid,
        node.gid,
        seconds,
        nanoseconds,
        node.nlink,
    )
    inodes[at + 64 : at + 64 + len(attributes)] = attributes


def _device(device: int) -> int:
    """A device number as file systems write it.  linux/kdev_t.h new_encode_dev()"""
    major, minor = os.major(device), os.minor(device)
    if major > 0xFFF or minor > 0xFFFFF:
        raise Invalid(f"indexing a layer: the impossible device {major}:{minor}")
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12


def _write_super(inodes: bytearray, count: int, blocks: int, tar_blocks: int) -> None:
    """The superblock, and the slot of the one further device."""
    _SUPERBLOCK.pack_into(
        inodes,
        1024,
        _MAGIC,
        0,  # checksum: that feature is not used
        0,  # compatible features
        _BLOCK_BITS,
        0,
        _ROOT_NID,
        count,
        0,  # time of building, for compact inodes only
        0,
        blocks,
        _META,
        0,  # no shared attributes
        bytes(16),
        b"",
        _CHUNKED_FILE | _DEVICE_TABLE,
        0,
        1,  # devices
        _DEVICE_SLOT,
        0,  # directories have blocks as all else
        0,
        0,
        0,
    )
    struct.pack_into("<64xII", inodes, 128 * _DEVICE_SLOT, tar_blocks, 0)
