"""Landlock rules of a bundle, as the arguments of the plan's LANDLOCK.  Pure.

The OCI has no field for them, so they are an annotation, ``org.estiva.landlock``, which every engine passes on; its
value is a JSON object::

    {"paths": [{"path": "/usr", "access": ["read", "execute"]}, {"path": "/tmp", "access": ["all"]}],
     "ports": [{"port": 443, "access": ["connect"]}],
     "scopes": ["abstract_unix_socket", "signal"],
     "abi": 4}

``paths``: with it, all that is done with files is forbidden but what a rule allows at its path and below; a path is one
of the container, and one that is not there allows nothing.  ``ports``: the same for TCP; an empty list forbids all.
``scopes``: with whom the container's processes may not talk outside of it.  ``abi``: the oldest version of Landlock to
be content with; without it, what the kernel does not know is left out.  Rights have the kernel's names in lower case,
or stand for several: ``read``, ``write``, ``all``.  landlock(7)
"""

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime.compile_process import ANNOTATION
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Arguments = tuple[int, int, int, int, list[str], list[int], list[int]]

# LANDLOCK_ACCESS_FS_*, by bit
FILE_RIGHTS = (
    "execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file", "make_char", "make_dir", "make_reg",
    "make_sock", "make_fifo", "make_block", "make_sym", "refer", "truncate", "ioctl_dev",
)  # fmt: skip
# LANDLOCK_ACCESS_NET_*_TCP
PORT_RIGHTS = ("bind", "connect")
# LANDLOCK_SCOPE_*
SCOPES = ("abstract_unix_socket", "signal")
LATEST_ABI = 7

_ALL_FILES = (1 << len(FILE_RIGHTS)) - 1
GROUPS = {
    "read": ("read_file", "read_dir"),
    "write": tuple(name for name in FILE_RIGHTS if name.startswith(("write", "remove", "make", "refer", "truncate"))),
    "all": FILE_RIGHTS,
}


def arguments(rules: Mapping[str, Any]) -> Arguments:
    """The arguments of LANDLOCK for an object as above.  Raises Invalid naming the field."""
    unknown = sorted(rules.keys() - {"paths", "ports", "scopes", "abi"})
    if unknown:
        raise Invalid(f'{ANNOTATION}: unknown field "{unknown[0]}"')
    abi = rules.get("abi") or 0
    if type(abi) is not int or not 0 <= abi <= LATEST_ABI:
        raise Invalid(f"{ANNOTATION}.abi: {abi!r} is not a version up to {LATEST_ABI}")
    paths, rights, ports = [], [], []
    for position, rule in enumerate(_objects(rules, "paths")):
        path = rule.get("path")
        if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
            raise Invalid(f"{ANNOTATION}.paths[{position}].path: {path!r} is not an absolute path")
        paths.append(path)
        rights.append(_bits(rule.get("access"), FILE_RIGHTS, GROUPS, f"paths[{position}].access"))
    for position, rule in enumerate(_objects(rules, "ports")):
        port = rule.get("port")
        if type(port) is not int or not 0 <= port <= 65535:
            raise Invalid(f"{ANNOTATION}.ports[{position}].port: {port!r} is not a port")
        ports += [port, _bits(rule.get("access"), PORT_RIGHTS, {"all": PORT_RIGHTS}, f"ports[{position}].access")]
    files = _ALL_FILES if rules.get("paths") is not None else 0
    tcp = 3 if rules.get("ports") is not None else 0
    scopes = _bits(rules.get("scopes") or [], SCOPES, {"all": SCOPES}, "scopes")
    return abi, files, tcp, scopes, paths, rights, ports


def from_annotations(annotations: Mapping[str, str] | None) -> Arguments | None:
    """What a bundle's annotations ask for, if anything."""
    text = (annotations or {}).get(ANNOTATION)
    if not text:
        return None
    try:
        rules = json.loads(text)
    except ValueError as error:
        raise Invalid(f"{ANNOTATION}: not JSON: {error}") from None
    if not isinstance(rules, dict):
        raise Invalid(f"{ANNOTATION}: not an object")
    return arguments(rules)


def _objects(rules: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    value = rules.get(field)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Invalid(f"{ANNOTATION}.{field}: not a list of objects")
    return value


def _bits(names: Any, known: tuple[str, ...], groups: Mapping[str, Iterable[str]], field: str) -> int:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid(f"{ANNOTATION}.{field}: not a list of words")
    result = 0
    for name in names:
        for each in groups.get(name, (name,)):
            if each not in known:
                raise Invalid(f'{ANNOTATION}.{field}: unknown word "{name}"', f"known: {', '.join((*known, *groups))}")
            result |= 1 << known.index(each)
    return result
