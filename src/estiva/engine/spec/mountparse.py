"""Mounts as users write them: ``-v``, ``--mount`` and ``--tmpfs``.  podman-run(1)."""

from __future__ import annotations

import os

from estiva.engine.options import MOUNT_KINDS, MountOption
from estiva.errors import Invalid

PROPAGATION = frozenset(f"{r}{word}" for r in ("", "r") for word in ("shared", "slave", "private", "unbindable"))
# Groups of which one may be given.
_EXCLUSIVE = (
    ("ro", "rw"),
    ("z", "Z"),
    ("bind", "rbind"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("copy", "nocopy"),
    tuple(PROPAGATION),
)
_WORDS = frozenset(word for group in _EXCLUSIVE for word in group) | {"U", "O", "idmap"}
_TMPFS_WORDS = frozenset(
    ("ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "U", "tmpcopyup", "notmpcopyup", "noatime",
     "relatime", "strictatime", "sync", "noswap", *PROPAGATION)
)  # fmt: skip
_TMPFS_VALUES = ("size", "mode", "nr_inodes", "nr_blocks", "uid", "gid", "huge", "mpol")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def parse_volume(text: str) -> MountOption:
    """``[SOURCE:]TARGET[:OPTIONS]`` of ``-v``: a path makes a bind mount, a name a volume, nothing an anonymous one."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0] or (len(parts) > 1 and not parts[1]):
        raise Invalid(f"volume {text!r}: not of the form [SOURCE:]TARGET[:OPTIONS]")
    source, target = ("", parts[0]) if len(parts) == 1 else parts[:2]
    options = [word for word in parts[2].split(",") if word] if len(parts) == 3 else []
    _check_target(text, target)
    if source.startswith(("/", ".", "~/")):
        mount = MountOption("bind", os.path.abspath(os.path.expanduser(source)), clean(target), options)
    else:
        mount = MountOption("volume", check_volume_name(source) if source else "", clean(target), options)
    _check_words(text, mount)
    return mount


def parse_tmpfs(text: str) -> MountOption:
    """``TARGET[:OPTIONS]`` of ``--tmpfs``, the options those of tmpfs(5)."""
    target, _, words = text.partition(":")
    _check_target(text, target)
    mount = MountOption("tmpfs", "", clean(target), [word for word in words.split(",") if word])
    _check_words(text, mount)
    return mount


def parse_mount(text: str) -> MountOption:
    """``type=…,source=…,target=…,…`` of ``--mount``; the type is volume when none is given."""
    kind, source, target, options = "volume", "", "", []
    for field in _fields(text):
        key, equals, value = field.partition("=")
        if key == "type":
            kind = value
        elif key in ("source", "src"):
            source = value
        elif key in ("target", "destination", "dst"):
            target = value
        else:
            options += _mount_word(text, key, value, bool(equals))
    if kind not in MOUNT_KINDS:
        raise Invalid(f"mount {text!r}: unknown type {kind!r}", f"choose from {', '.join(MOUNT_KINDS)}")
    _check_target(text, target)
    if kind == "bind":
        if not source:
            raise Invalid(f"mount {text!r}: a bind mount needs source=")
        source = os.path.abspath(os.path.expanduser(source))
    elif kind == "volume" and source:
        check_volume_name(source)
    elif kind == "tmpfs" and source:
        raise Invalid(f"mount {text!r}: tmpfs has no source")
    mount = MountOption(kind, source, clean(target), options)
    _check_words(text, mount)
    return mount


def _mount_word(text: str, key: str, value: str, has_value: bool) -> list[str]:
    """The words of ``-v`` that one field of ``--mount`` stands for."""
    truth = not has_value or _boolean(text, key, value)
    if key in ("ro", "readonly"):
        return ["ro" if truth else "rw"]
    if key == "rw":
        return ["rw" if truth else "ro"]
    if key == "idmap" and value.lower() in ("", "true", "1", "t", "false", "0", "f"):
        return ["idmap"] if truth else []
    if key in ("U", "chown"):
        return ["U"] if truth else []
    if key in ("bind-nonrecursive", "volume-nocopy"):
        return [{"bind-nonrecursive": "bind", "volume-nocopy": "nocopy"}[key]] if truth else []
    if key in ("bind-propagation", "volume-label", "consistency"):
        return [value] if key == "bind-propagation" else []
    if key == "relabel":
        return [{"shared": "z", "private": "Z"}.get(value, value)]
    if key in ("tmpfs-size", "tmpfs-mode"):
        return [f"{key[6:]}={value}"]
    return [f"{key}={value}" if has_value else key]


def _boolean(text: str, key: str, value: str) -> bool:
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    if key in ("ro", "readonly", "rw", "U", "chown", "bind-nonrecursive", "volume-nocopy"):
        raise Invalid(f"mount {text!r}: {key} is neither true nor false")
    return True


def _fields(text: str) -> list[str]:
    """The comma-separated fields, with CSV quotes honoured."""
    if '"' not in text:
        return [field for field in text.split(",") if field]
    import csv  # only for a value with a comma in it

    return next(csv.reader([text]), [])


def _check_words(text: str, mount: MountOption) -> None:
    """Raise Invalid for an option that does not exist for this kind of mount or contradicts another."""
    for word in mount.options:
        if mount.kind == "tmpfs":
            known = word in _TMPFS_WORDS or word.partition("=")[0] in _TMPFS_VALUES
        else:
            known = (
                word in _WORDS
                or word.startswith("idmap=")
                or (mount.kind == "bind" and word.startswith(("upperdir=", "workdir=")))
            )
        if not known:
            raise Invalid(f"mount option {word!r} of {text!r}: not known for a {mount.kind} mount")
    for group in _EXCLUSIVE:
        given = [word for word in mount.options if word in group]
        if len(set(given)) > 1:
            raise Invalid(f"mount {text!r}: options {given[0]!r} and {given[1]!r} exclude each other")
    if "O" in mount.options and any(
        word in ("ro", "copy", "nocopy") or word.startswith("idmap") for word in mount.options
    ):
        raise Invalid(f"mount {text!r}: option 'O' cannot be combined with others than U, z and Z")


def _check_target(text: str, target: str) -> None:
    if not target.startswith("/"):
        raise Invalid(f"mount {text!r}: the path in the container must be absolute")
    if clean(target) == "/":
        raise Invalid(f"mount {text!r}: the path in the container cannot be /")


def check_volume_name(name: str) -> str:
    """*name*, if it can be a volume's: letters, digits, ``_.-``, not beginning with a sign."""
    if not name or set(name) - _NAME_CHARACTERS or not name[0].isalnum():
        raise Invalid(f"volume name {name!r}: not valid", "use letters, digits, _ . and -; a path begins with / or .")
    return name


def clean(path: str) -> str:
    """The absolute *path* without double slashes and dots."""
    return os.path.normpath("/" + path.lstrip("/"))
