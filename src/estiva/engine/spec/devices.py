"""Devices in the container and the rules for their use.  runtime-spec config-linux.md "Devices"."""

from __future__ import annotations

import os

from estiva.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context

NOT_HANDED_ON = ("console", "core", "fd", "mqueue", "ptmx", "pts", "shm", "stderr", "stdin", "stdout", "tty")
# What every container may use: (type, major, minor), None for any minor; pts and ptmx among them.
ALLOWED = (("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9), ("c", 5, 0), ("c", 5, 1), ("c", 5, 2),
           ("c", 136, None))  # fmt: skip


def devices(options: ContainerOptions, context: Context) -> list[dict[str, Any]]:
    """The ``linux.devices`` list: device nodes to make besides the usual ones.  Rootless ones are bind mounts."""
    if context.rootless:
        return []
    return [
        {"path": path, "type": kind, "major": major, "minor": minor, "fileMode": mode, "uid": uid, "gid": gid}
        for host_path, path, _ in chosen(options)
        for kind, major, minor, mode, uid, gid in [_node(host_path)]
    ]


def device_mounts(options: ContainerOptions, context: Context) -> list[dict[str, Any]]:
    """The mounts that bring in devices where no node can be made."""
    if not context.rootless:
        return []
    return [
        {"destination": path, "type": "bind", "source": host_path, "options": ["bind", "nosuid", "noexec", "slave"]}
        for host_path, path, _ in chosen(options)
    ]


def device_rules(options: ContainerOptions) -> list[dict[str, Any]]:
    """The cgroup's rules: nothing, except what every container needs and what was asked for."""
    if options.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in "bc"]
    for kind, major, minor in ALLOWED:
        rule = {"allow": True, "type": kind, "major": major, "minor": minor, "access": "rwm"}
        rules.append({name: value for name, value in rule.items() if value is not None})
    for host_path, _, access in chosen(options):
        kind, major, minor, *_ = _node(host_path)
        rules.append({"allow": True, "type": kind, "major": major, "minor": minor, "access": access})
    return rules + [parse_rule(text) for text in options.device_cgroup_rule]


def chosen(options: ContainerOptions) -> list[tuple[str, str, str]]:
    """(host path, container path, access) of each device asked for; a directory stands for the devices in it."""
    found: list[tuple[str, str, str]] = []
    for text in options.device:
        host_path, path, access = parse_device(text)
        if os.path.isdir(host_path):
            found += [(each, path + each[len(host_path) :], access) for each in _below(host_path)]
        else:
            found.append((host_path, path, access))
    if options.privileged:
        taken = {path for _, path, _ in found}
        found += [(each, each, "rwm") for each in _below("/dev") if each not in taken]
    return found


def parse_device(text: str) -> tuple[str, str, str]:
    """Host path, container path and access of ``HOST[:CONTAINER][:rwm]``."""
    parts = text.split(":")
    host_path, path, access = parts[0], parts[0], "rwm"
    if len(parts) == 2 and parts[1] and not set(parts[1]) - set("rwm"):
        access = parts[1]
    elif len(parts) in (2, 3):
        path = parts[1] or host_path
        access = parts[2] if len(parts) == 3 else access
    if len(parts) > 3 or not host_path.startswith("/") or not path.startswith("/") or set(access) - set("rwm"):
        raise Invalid(f"device {text!r}: not of the form HOST-PATH[:CONTAINER-PATH][:rwm]")
    return host_path, path, access


def parse_rule(text: str) -> dict[str, Any]:
    """The rule ``TYPE MAJOR:MINOR ACCESS`` means, ``*`` for any number."""
    try:
        kind, numbers, access = text.split()
        major, minor = (None if n == "*" else int(n) for n in numbers.split(":"))
    except ValueError:
        kind, access, major, minor = "", "", None, None
    if kind not in ("a", "b", "c") or not access or set(access) - set("rwm"):
        raise Invalid(f"device rule {text!r}: not of the form 'c 10:200 rwm'")
    rule = {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}
    return {name: value for name, value in rule.items() if value is not None}


def _node(host_path: str) -> tuple[str, int, int, int, int, int]:
    """Type, major, minor, mode, uid and gid of a device node on the host."""
    try:
        status = os.stat(host_path)
    except FileNotFoundError:
        raise NotFound(f"device {host_path!r}: no such file") from None
    kind = {0o020000: "c", 0o060000: "b"}.get(status.st_mode & 0o170000)
    if kind is None:
        raise Invalid(f"device {host_path!r}: not a device")
    number = status.st_rdev
    return kind, os.major(number), os.minor(number), status.st_mode & 0o7777, status.st_uid, status.st_gid


def _below(directory: str) -> list[str]:
    """The device nodes in a directory and those below it, links left out."""
    found: list[str] = []
    for entry in sorted(os.scandir(directory), key=lambda e: e.name):
        if directory == "/dev" and entry.name in NOT_HANDED_ON:
            continue
        if entry.is_dir(follow_symlinks=False):
            found += _below(entry.path)
        elif not entry.is_symlink() and entry.stat(follow_symlinks=False).st_mode & 0o170000 in (0o020000, 0o060000):
            found.append(entry.path)
    return found
