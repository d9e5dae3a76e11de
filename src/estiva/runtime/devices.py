"""Devices of a container: ``--device`` and ``--device-cgroup-rule`` values, and the OCI entries that follow.

runtime-spec config-linux.md "Devices" and "Allowed Device list", podman-run(1) ``--device``
"""

from __future__ import annotations

import os
import stat

from estiva.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# What every container may use: the nodes of its /dev, terminals, and making nodes, which alone opens nothing.
# runtime-spec config-linux.md "Default Devices"
DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},  # null
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},  # zero
    {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"},  # full
    {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "rwm"},  # random
    {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"},  # urandom
    {"allow": True, "type": "c", "major": 5, "minor": 0, "access": "rwm"},  # tty
    {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},  # console
    {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},  # ptmx
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},  # pts
)
ALLOW_ALL: dict[str, Any] = {"allow": True, "access": "rwm"}


class DeviceOption:
    """``HOST[:CONTAINER][:PERMISSIONS]``: a device of the host, where the container sees it, and what it may do."""

    __slots__ = ("access", "ctr_path", "host_path")

    def __init__(self, host_path: str, ctr_path: str, access: str) -> None:
        self.host_path = host_path
        self.ctr_path = ctr_path
        self.access = access

    @classmethod
    def parse(cls, text: str) -> DeviceOption:
        parts = text.split(":")
        host_path, ctr_path, access = parts[0], parts[0], "rwm"
        if len(parts) == 2 and not parts[1].startswith("/"):
            access = parts[1]
        elif len(parts) >= 2:
            ctr_path = parts[1]
            access = parts[2] if len(parts) == 3 else access
        if len(parts) > 3 or not host_path.startswith("/") or not ctr_path.startswith("/"):
            raise Invalid(f'device "{text}": not a device', "write it as /dev/HOST[:/dev/CONTAINER][:rwm]")
        _check_access(access, f'device "{text}"')
        return cls(host_path, ctr_path, access)

    def __str__(self) -> str:
        return f"{self.host_path}:{self.ctr_path}:{self.access}"


def _check_access(access: str, what: str) -> None:
    if not access or set(access) - set("rwm") or len(set(access)) < len(access):
        raise Invalid(f'{what}: permissions "{access}" are not made of r, w and m')


def parse_rule(text: str) -> dict[str, Any]:
    """The OCI rule for ``--device-cgroup-rule "TYPE MAJOR:MINOR ACCESS"``; ``*`` is any number."""
    what = f'device cgroup rule "{text}"'
    parts = text.split()
    numbers = parts[1].split(":") if len(parts) == 3 else []
    if len(numbers) != 2 or parts[0] not in ("a", "b", "c"):
        raise Invalid(f"{what}: not a rule", 'write it as "c 10:200 rwm"')
    _check_access(parts[2], what)
    rule: dict[str, Any] = {"allow": True, "type": parts[0], "access": parts[2]}
    for key, number in zip(("major", "minor"), numbers, strict=True):
        if number != "*":
            if not number.isdigit():
                raise Invalid(f'{what}: "{number}" is neither a number nor *')
            rule[key] = int(number)
    return rule


def host_devices(options: Iterable[DeviceOption]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The OCI ``linux.devices`` entries and the access rules for *options*.

    A directory stands for the devices in it, at any depth.  Raises NotFound for a path that is not there, Invalid for
    one that is no device.
    """
    nodes = []
    rules = []
    for option in options:
        for host_path, ctr_path in _expand(option):
            node = device_node(host_path, ctr_path)
            nodes.append(node)
            rule = {"allow": True, "type": node["type"], "access": option.access}
            rules.append({**rule, "major": node["major"], "minor": node["minor"]})
    return nodes, rules


def device_node(host_path: str, ctr_path: str) -> dict[str, Any]:
    """The OCI entry that makes the host's device *host_path* again at *ctr_path*."""
    status = _stat(host_path)
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        raise Invalid(f'device "{host_path}": not a device', "use --volume for files")
    return {
        "path": ctr_path,
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except FileNotFoundError:
        raise NotFound(f'device "{path}": no such file or directory') from None
    except OSError as error:
        raise Invalid(f'device "{path}": {(error.strerror or "").lower()}') from error


def _expand(option: DeviceOption) -> list[tuple[str, str]]:
    """(host path, container path) of the device, or of the devices in the directory, that *option* names."""
    if not stat.S_ISDIR(_stat(option.host_path).st_mode):
        return [(option.host_path, option.ctr_path)]
    found = []
    for directory, _, names in os.walk(option.host_path):
        relative = os.path.relpath(directory, option.host_path)
        for name in sorted(names):
            host_path = os.path.join(directory, name)
            mode = os.lstat(host_path).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                found.append((host_path, os.path.normpath(os.path.join(option.ctr_path, relative, name))))
    if not found:
        raise Invalid(f'device "{option.host_path}": the directory has no devices')
    return found
