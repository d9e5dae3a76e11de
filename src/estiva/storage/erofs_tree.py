"""The tree of files a tar describes, held in memory as an index of it will have them.

The rules are those of unpacking (:mod:`estiva.storage.extract`): links in the archive are followed within it, a later
member replaces an earlier one, directories merge.  What an index cannot say raises :class:`NotIndexable`.
"""

from __future__ import annotations

import stat

from estiva.errors import Invalid
from estiva.storage.attributes import META, OPAQUE, WHITEOUT, is_meta, kept, opaque_name, refuse_whiteout
from estiva.storage.tarread import BLOCK, CHARACTER, DIRECTORY, FIFO, HARD_LINK, REGULAR, SYMLINK, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.storage.tarread import Member

_TYPES = {
    REGULAR: stat.S_IFREG,
    DIRECTORY: stat.S_IFDIR,
    SYMLINK: stat.S_IFLNK,
    CHARACTER: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
}
_OPAQUE_XATTR = opaque_name(in_userns=False).encode()
_MOST_LINKS = 40  # as many as the kernel follows
_LONGEST_XATTR = 0xFFFF


class NotIndexable(Exception):
    """The tar is good, but an index cannot say what is in it: it has to be unpacked."""


class Node:
    """An inode; ``mode`` has the type.

    ``offset`` is where a regular file's bytes are in the tar, ``target`` what a symbolic link says, ``children`` what a
    directory has, ``device`` what a device node is.  ``nid`` and ``nlink`` are the writer's.
    """

    __slots__ = (
        "children",
        "device",
        "gid",
        "mode",
        "mtime",
        "nid",
        "nlink",
        "offset",
        "size",
        "target",
        "uid",
        "xattrs",
    )

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.mtime = 0
        self.size = 0
        self.offset = 0
        self.device = 0
        self.nid = 0
        self.nlink = 0
        self.target = b""
        self.xattrs: dict[bytes, bytes] | None = None
        self.children: dict[bytes, Node] | None = None


class Tree:
    """The files of one layer; ``top`` becomes (mode, uid, gid) of its top directory if the archive has it."""

    def __init__(self) -> None:
        self.root = _directory()
        self.top: tuple[int, int, int] | None = None
        self._path = b""  # the directory of the last member
        self._parent = self.root
        self._stale = False

    def add(self, member: Member) -> None:
        """Put one member in; raises Invalid for what no honest archive has."""
        if member.sparse is not None:
            raise NotIndexable
        parent, _, name = member.path.rpartition(b"/")
        if not name:
            self._top(member)
            return
        if META in member.path and is_meta(member.path):
            return
        if len(name) > 255:
            raise Invalid(f"unpacking {show(member.path)}: File name too long")
        if parent != self._path or self._stale:
            self._enter(parent)
        assert self._parent.children is not None
        old = self._parent.children.get(name)
        if old is not None and stat.S_ISLNK(old.mode):
            self._stale = True  # the way to the present parent may have gone over it
        if name.startswith(WHITEOUT):
            self._whiteout(member, name, self._parent.children)
        elif member.type == HARD_LINK:
            self._hard_link(member, name, self._parent.children)
        elif member.type == DIRECTORY:
            _describe(_make_directory(self._parent.children, name), member)
        else:
            node = Node(_TYPES[member.type])
            _describe(node, member)
            node.size = member.size
            node.offset = member.offset
            node.device = member.device
            node.target = member.link
            self._parent.children[name] = node

    def _enter(self, path: bytes) -> None:
        if WHITEOUT in path:
            refuse_whiteout(path)
        found = self._walk(path, make=True)
        assert found is not None
        self._path = path
        self._stale = False
        self._parent = found

    def _top(self, member: Member) -> None:
        if member.type != DIRECTORY:
            raise Invalid("unpacking a layer: its top is not a directory")
        self.top = (member.mode, member.uid, member.gid)
        _describe(self.root, member)

    def _hard_link(self, member: Member, name: bytes, children: dict[bytes, Node]) -> None:
        if member.link == member.path:
            return
        directory, _, target = member.link.rpartition(b"/")
        if not target or target.startswith(WHITEOUT):
            raise Invalid(f"unpacking {show(member.path)}: a hard link to {show(member.link)}")
        found = self._walk(directory, make=False)
        node = None if found is None or found.children is None else found.children.get(target)
        if node is None:
            raise Invalid(
                f"unpacking {show(member.path)}: a hard link to {show(member.link)}, which the layer does not have"
            )
        if node.children is not None:
            raise Invalid(f"unpacking {show(member.path)}: a hard link to the directory {show(member.link)}")
        children[name] = node

    def _whiteout(self, member: Member, name: bytes, children: dict[bytes, Node]) -> None:
        if name == OPAQUE:
            _make_opaque(self._parent)
            return
        hidden = name[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise Invalid(f"unpacking {show(member.path)}: a whiteout of no name")
        node = children.get(hidden)
        if node is None:
            children[hidden] = Node(stat.S_IFCHR)
        elif node.children is not None:
            _make_opaque(node)

    def _walk(self, path: bytes, make: bool) -> Node | None:
        """The directory at *path*, following links as if the tree were the root; None if it does not exist."""
        way = [self.root]
        todo = [(part, False) for part in reversed(path.split(b"/"))]
        links = 0
        while todo:
            part, of_link = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                way = way[:-1] or way
                continue
            children = way[-1].children
            assert children is not None
            node = children.get(part)
            if node is None or _is_whiteout(node):
                if of_link and make:
                    raise _no_directory(path)
                if not make:
                    return None
                node = _make_directory(children, part)
            if stat.S_ISLNK(node.mode):
                links += 1
                if links > _MOST_LINKS:
                    raise Invalid(f"unpacking {show(path)}: Too many levels of symbolic links")
                if node.target.startswith(b"/"):
                    way = [self.root]
                todo += [(part, True) for part in reversed(node.target.split(b"/"))]
                continue
            if node.children is None:
                raise _no_directory(path)
            way.append(node)
        return way[-1]


def _directory() -> Node:
    node = Node(stat.S_IFDIR | 0o755)
    node.children = {}
    return node


def _make_directory(children: dict[bytes, Node], name: bytes) -> Node:
    """The directory *name*, taking the place of anything else; of a whiteout it takes on the meaning."""
    node = children.get(name)
    if node is not None and node.children is not None:
        return node
    made = children[name] = _directory()
    if node is not None and _is_whiteout(node):
        _make_opaque(made)
    return made


def _make_opaque(node: Node) -> None:
    node.xattrs = {**(node.xattrs or {}), _OPAQUE_XATTR: b"y"}


def _is_whiteout(node: Node) -> bool:
    return stat.S_ISCHR(node.mode) and node.device == 0


def _describe(node: Node, member: Member) -> None:
    """Give *node* the attributes of *member*, except what depends on the type."""
    node.mode = _TYPES[member.type] | member.mode
    if member.type == SYMLINK:
        node.mode = stat.S_IFLNK | 0o777
    node.uid = member.uid
    node.gid = member.gid
    node.mtime = member.mtime
    if member.xattrs:
        xattrs = dict(kept(member.xattrs))
        if member.type == SYMLINK:
            xattrs = {name: value for name, value in xattrs.items() if not name.startswith(b"user.")}
        for name, value in xattrs.items():
            if len(name) > 255 or len(value) > _LONGEST_XATTR:
                raise NotIndexable
        if xattrs:
            node.xattrs = {**(node.xattrs or {}), **xattrs}


def _no_directory(path: bytes) -> Invalid:
    return Invalid(f"unpacking a layer: {show(path)} is not a directory but has files in it")
