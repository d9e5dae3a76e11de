"""Users and groups as a container's own /etc/passwd and /etc/group tell them.  passwd(5), group(5); podman-run(1)
"--user", "--group-add"."""

from __future__ import annotations

from estiva.engine.spec.context import User
from estiva.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAXIMUM = (1 << 32) - 2
KEEP_GROUPS_ANNOTATION = "run.oci.keep_original_groups"  # crun's word for it
KEEP_GROUPS = "keep-groups"  # the word of --group-add for the groups of whoever starts the container


def groups_to_add(words: Sequence[str]) -> list[str]:
    """The groups of ``--group-add`` that are groups of the container; raises Invalid for others beside keep-groups."""
    if KEEP_GROUPS not in words:
        return list(words)
    if len(words) > 1:
        raise Invalid("the '--group-add keep-groups' option is not allowed with any other --group-add options")
    return []


def resolve_user(text: str, passwd: str, group: str, add: Sequence[str] = ()) -> User:
    """The user ``NAME|UID[:GROUP|GID]`` means (empty: root), with the groups they are in and those to *add*.

    Supplementary groups come from the file only where no group was named.  Raises NotFound for an unknown name.
    """
    who, colon, which = text.partition(":")
    entry = _passwd_entry(who or "0", passwd)
    number = _number(who or "0")
    if entry is None and number is None:
        raise NotFound(f"user {who!r}: not in the container's /etc/passwd", "give a number")
    name, uid, gid, home = entry or ("", number or 0, 0, "/")
    groups: list[int] = []
    if colon and which:
        gid = _group(which, group)
    elif name:
        groups = [g for g, members in _groups(group) if name in members and g != gid]
    for each in add:
        extra = _group(each, group)
        if extra not in groups:
            groups.append(extra)
    return User(uid, gid, groups, home or "/", name)


def _passwd_entry(who: str, passwd: str) -> tuple[str, int, int, str] | None:
    """(name, uid, gid, home) of the first line for that name or number; a name that is a number is a number."""
    number = _number(who)
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) < 6:
            continue
        uid, gid = _id(fields[2]), _id(fields[3])
        if uid is not None and gid is not None and (fields[0] == who if number is None else uid == number):
            return fields[0], uid, gid, fields[5]
    return None


def _group(which: str, text: str) -> int:
    """The id of a group given by name or number."""
    number = _number(which)
    if number is not None:
        return number
    for line in text.splitlines():
        fields = line.split(":")
        gid = _id(fields[2]) if len(fields) >= 3 and fields[0] == which else None
        if gid is not None:
            return gid
    raise NotFound(f"group {which!r}: not in the container's /etc/group", "give a number")


def _groups(text: str) -> Iterator[tuple[int, Iterable[str]]]:
    """(gid, member names) of every line."""
    for line in text.splitlines():
        fields = line.split(":")
        gid = _id(fields[2]) if len(fields) >= 4 else None
        if gid is not None:
            yield gid, fields[3].strip().split(",")


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    number = _id(text)
    if number is None:
        raise Invalid(f"user or group id {text:.20}: larger than any id")
    return number


def _id(text: str) -> int | None:
    """The id that a field of the image's files is; None for what is none, however long it is."""
    if not (text.isascii() and text.isdigit() and len(text) < 32):
        return None
    number = int(text)
    return number if number <= MAXIMUM else None
