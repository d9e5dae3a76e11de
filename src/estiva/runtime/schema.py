"""What each property of config.json and of a seccomp profile is: tables, and the walk that compares a document.

A kind is a word (``text``, ``path``: absolute, ``bool``), a pair of numbers (the least and the greatest), a frozenset
(one of these words), a list of one kind (a list of that), or a dict of kinds by property, ``!`` behind those that must
be there; ``{"*": kind}`` is an object with any keys.  ``null`` counts as absent, as it does for Go's programs, and
is taken out.
Properties the table does not know are left alone: they belong to other platforms, newer versions or other tools.

runtime-spec config.md, config-linux.md, schema/
"""

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime.compile_namespaces import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_U16, _U32, _U64 = (0, (1 << 16) - 1), (0, (1 << 32) - 1), (0, (1 << 64) - 1)
_I32, _I64 = (-(1 << 31), (1 << 31) - 1), (-(1 << 63), (1 << 63) - 1)
_ID_MAPS: list[Any] = [{"containerID!": _U32, "hostID!": _U32, "size!": (1, (1 << 32) - 1)}]
_TEXTS = ["text"]
PROCESS: dict[str, Any] = {
    "terminal": "bool",
    "consoleSize": {"height!": _U16, "width!": _U16},
    "user": {"uid": _U32, "gid": _U32, "umask": (0, 0o777), "additionalGids": [_U32], "username": "text"},
    "args!": _TEXTS,
    "env": _TEXTS,
    "cwd!": "path",
    "capabilities": dict.fromkeys(("bounding", "effective", "inheritable", "permitted", "ambient"), _TEXTS),
    "rlimits": [{"type!": "text", "soft!": _U64, "hard!": _U64}],
    "noNewPrivileges": "bool",
    "apparmorProfile": "text",
    "selinuxLabel": "text",
    "oomScoreAdj": (-1000, 1000),
    "scheduler": {
        "policy!": "text", "nice": _I32, "priority": _I32, "flags": _TEXTS, "runtime": _U64, "deadline": _U64,
        "period": _U64,
    },
    "ioPriority": {"class!": "text", "priority": _I32},
    "execCPUAffinity": {"initial": "text", "final": "text"},
}  # fmt: skip
SECCOMP: dict[str, Any] = {
    "defaultAction!": "text",
    "defaultErrnoRet": _U32,
    "architectures": _TEXTS,
    "flags": _TEXTS,
    "listenerPath": "text",
    "listenerMetadata": "text",
    "syscalls": [
        {
            "names!": _TEXTS,
            "action!": "text",
            "errnoRet": _U32,
            "args": [{"index!": (0, 5), "value!": _U64, "valueTwo": _U64, "op!": "text"}],
        }
    ],
}
_LINUX: dict[str, Any] = {
    "namespaces": [{"type!": frozenset(NAMESPACES), "path": "path"}],
    "uidMappings": _ID_MAPS,
    "gidMappings": _ID_MAPS,
    "timeOffsets": {"*": {"secs": _I64, "nanosecs": (0, 999_999_999)}},
    "devices": [
        {
            "type!": frozenset("cbup"), "path!": "path", "major": _U32, "minor": _U32,
            "fileMode": (0, 0o177777),  # Podman gives the kind of file too
            "uid": _U32, "gid": _U32,
        }
    ],
    "netDevices": {"*": {"name": "text"}},
    "cgroupsPath": "text",
    "rootfsPropagation": "text",
    "sysctl": {"*": "text"},
    "seccomp": SECCOMP,
    "maskedPaths": _TEXTS,
    "readonlyPaths": _TEXTS,
    "mountLabel": "text",
    "personality": {"domain!": "text", "flags": _TEXTS},
    "intelRdt": {
        "closID": "text", "schemata": _TEXTS, "l3CacheSchema": "text", "memBwSchema": "text",
        "enableMonitoring": "bool", "enableCMT": "bool", "enableMBM": "bool",
    },
    "memoryPolicy": {"mode!": "text", "nodes": "text", "flags": _TEXTS},
}  # fmt: skip
# A profile as users write it, of which the section is made.  containers-seccomp.json(5)
_CONDITIONS: dict[str, Any] = {"caps": _TEXTS, "arches": _TEXTS, "minKernel": "text"}
SECCOMP_PROFILE: dict[str, Any] = {
    **SECCOMP,
    "archMap": [{"architecture": "text", "subArchitectures": _TEXTS}],
    "syscalls": [
        {
            "names": _TEXTS, "name": "text", "action!": "text", "errnoRet": _U32, "includes": _CONDITIONS,
            "excludes": _CONDITIONS, "args": [{"index!": (0, 5), "value": _U64, "valueTwo": _U64, "op!": "text"}],
        }
    ],
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "ociVersion!": "text",
    "process": PROCESS,
    "root!": {"path!": "text", "readonly": "bool"},
    "hostname": "text",
    "domainname": "text",
    "mounts": [
        {
            "destination!": "text", "type": "text", "source": "text", "options": _TEXTS, "uidMappings": _ID_MAPS,
            "gidMappings": _ID_MAPS,
        }
    ],
    "annotations": {"*": "text"},
    "linux": _LINUX,
}  # fmt: skip


def check(value: Any, kind: Any, where: str) -> None:
    """Raise Invalid with the path of the first property below *where* that is not of its kind."""
    if isinstance(kind, dict):
        _object(value, kind, where)
    elif isinstance(kind, list):
        if not isinstance(value, list):
            raise Invalid(f"{where}: not a list")
        for position, item in enumerate(value):
            check(item, kind[0], f"{where}[{position}]")
    elif isinstance(kind, tuple):
        if not isinstance(value, int) or isinstance(value, bool):
            raise Invalid(f"{where}: {_shown(value)} is not a whole number")
        if not kind[0] <= value <= kind[1]:
            raise Invalid(f"{where}: {value} is not between {kind[0]} and {kind[1]}")
    elif kind == "bool":
        if not isinstance(value, bool):
            raise Invalid(f"{where}: {_shown(value)} is neither true nor false")
    else:
        _text(value, kind, where)


def _object(value: Any, kinds: dict[str, Any], where: str) -> None:
    if not isinstance(value, dict):
        raise Invalid(f"{where or 'config.json'}: not an object")
    prefix = f"{where}." if where else ""
    if "*" in kinds:
        for name, member in value.items():
            _text(name, "text", where)
            if not name:
                raise Invalid(f"{where}: a name in it is empty")
            check(member, kinds["*"], f"{prefix}{name}")
        return
    for name, kind in kinds.items():
        wanted = name.rstrip("!")
        member = value.get(wanted)
        if member is not None:
            check(member, kind, prefix + wanted)
        elif wanted != name:
            raise Invalid(f"{prefix}{wanted}: is missing")
        else:
            value.pop(wanted, None)


def _text(value: Any, kind: Any, where: str) -> None:
    if not isinstance(value, str):
        raise Invalid(f"{where}: {_shown(value)} is not a string")
    if "\0" in value or not (value.isascii() or _has_bytes(value)):
        raise Invalid(f"{where}: {_shown(value)} has a character that no path or word can have")
    if kind == "path":
        if not value.startswith("/"):
            raise Invalid(f'{where}: "{value}" is not an absolute path')
    elif kind != "text" and value not in kind:
        raise Invalid(f'{where}: "{value}" is unknown; known are {", ".join(sorted(kind))}')


def _has_bytes(value: str) -> bool:
    """Half of a surrogate pair, which JSON can say, is no character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
