"""Devices in the container and the rules for their use.  runtime-spec config-linux.md "Devices"."""

from __future__ import annotations

import os

from estiva.runtime.devices import ALLOW_ALL, DEFAULT_RULES, DeviceOption, device_node, host_devices, parse_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.options import ContainerOptions

NOT_HANDED_ON = frozenset(
    ("console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
     "tty", "urandom", "zero")
)  # fmt: skip


def devices(options: ContainerOptions) -> list[dict[str, Any]]:
    """The ``linux.devices`` list: what there is besides the usual ones; all of the host's for a privileged container.

    Where no node can be made, the runtime binds the host's; ``x-estiva.source`` tells which, if it has another name.
    """
    nodes: list[dict[str, Any]] = []
    for text in options.device:
        option = DeviceOption.parse(text)
        for node in host_devices([option])[0]:
            source = option.host_path + node["path"][len(option.ctr_path) :]
            nodes.append(node if source == node["path"] else {**node, "x-estiva.source": source})
    if options.privileged:
        taken = {node["path"] for node in nodes}
        nodes += [device_node(path, path) for path in _below("/dev") if path not in taken]
    return nodes


def device_rules(options: ContainerOptions) -> list[dict[str, Any]]:
    """The cgroup's rules: nothing, except what every container needs and what was asked for."""
    if options.privileged:
        return [ALLOW_ALL]
    rules = host_devices(map(DeviceOption.parse, options.device))[1] if options.device else []
    return [*DEFAULT_RULES, *rules, *map(parse_rule, options.device_cgroup_rule)]


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
