"""The bundle's configuration, checked where it comes in.  runtime-spec bundle.md, config.md

:mod:`estiva.runtime.schema` looks at each property by itself, what follows at those that belong together; nothing
behind this needs to ask again what kind a value is.
"""

from __future__ import annotations

import os
import stat

from estiva.errors import Invalid, NotFound
from estiva.runtime import schema
from estiva.runtime.cli.version import OCI_VERSION, OCI_VERSION_MIN
from estiva.runtime.compile_namespaces import Namespaces, check_namespaces, sysctls
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(bundle: str) -> dict[str, Any]:
    """The configuration of the bundle in directory *bundle*, with ``root.path`` absolute.

    Raises NotFound without a config.json, Invalid naming the field.
    """
    path = os.path.join(bundle, "config.json")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Invalid(f"reading {path}: not a regular file")
        with open(fd, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        raise NotFound(
            f'reading bundle "{bundle}": no such file config.json', "make one with estiva-runtime spec"
        ) from None
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"reading {path}: {error}") from error
    check(spec)
    if not spec.get("process"):
        raise Invalid("process: is missing, so there is no program to run")
    spec["root"]["path"] = os.path.normpath(os.path.join(bundle, spec["root"]["path"]))
    if not os.path.isdir(spec["root"]["path"]):
        raise NotFound(f'root.path: "{spec["root"]["path"]}" is not a directory')
    for mount in spec.get("mounts") or ():
        if is_bind(mount) and not mount["source"].startswith("/"):
            mount["source"] = os.path.join(bundle, mount["source"])  # runtime-spec config.md "Mounts"
    return dict(spec)


def is_bind(mount: dict[str, Any]) -> bool:
    return mount.get("type") in ("bind", "rbind") or not {"bind", "rbind"}.isdisjoint(mount.get("options") or ())


def check(spec: Any) -> None:
    """Raise Invalid, naming the property, for a configuration that makes no sense."""
    schema.check(spec, schema.CONFIG, "")
    _check_version(spec["ociVersion"])
    if spec.get("process") is not None:
        _check_process(spec["process"])
    if spec.get("hooks") is None:
        spec.pop("hooks", None)
    else:
        from estiva.runtime import hooks

        hooks.check(spec["hooks"])
    linux = spec.get("linux") or {}
    namespaces = Namespaces(linux)
    check_namespaces(spec, namespaces)
    sysctls(linux, namespaces)
    for field in ("uidMappings", "gidMappings"):
        _check_maps(linux.get(field) or (), f"linux.{field}")
    for name in ("hostname", "domainname"):
        if len(spec.get(name) or "") > 64:
            raise Invalid(f"{name}: longer than 64 characters")
    if linux.get("resources") is not None:
        from estiva.runtime.cgroup.checks import check_resources

        check_resources(linux["resources"])
    for position, mount in enumerate(spec.get("mounts") or ()):
        _check_mount(mount, f"mounts[{position}]")
    for position, device in enumerate(linux.get("devices") or ()):
        if device["type"] != "p" and (device.get("major") is None or device.get("minor") is None):
            raise Invalid(f"linux.devices[{position}]: major and minor are needed for type {device['type']}")


def check_process(process: Any) -> None:
    """The same for a process alone, as ``exec`` gets it from a file."""
    schema.check(process, schema.PROCESS, "process")
    _check_process(process)


def _check_version(text: str) -> None:
    """Any version 1: later ones only add, and what they add is not known here, so it is passed over.  semver.org"""
    core = text.partition("+")[0]
    numbers, dash, pre = core.partition("-")
    parts = numbers.split(".")
    if len(parts) != 3 or not all(part.isdecimal() and part.isascii() for part in parts) or (dash and not pre):
        raise Invalid(f'ociVersion: "{text}" is not a semantic version')
    if parts[0] != "1":
        raise Invalid(f'ociVersion: "{text}" is not supported', f"versions {OCI_VERSION_MIN} to {OCI_VERSION} are")


def _check_process(process: dict[str, Any]) -> None:
    if not process["args"]:
        raise Invalid("process.args: empty; there is no program to run")
    for position, entry in enumerate(process.get("env") or ()):
        if entry.find("=") < 1:
            raise Invalid(f'process.env[{position}]: "{entry}" is not NAME=VALUE')
    seen = set()
    for position, limit in enumerate(process.get("rlimits") or ()):
        where = f"process.rlimits[{position}]"
        if limit["type"] in seen:
            raise Invalid(f"{where}: {limit['type']} is given twice")
        seen.add(limit["type"])
        if limit["soft"] > limit["hard"]:
            raise Invalid(f"{where}: the soft limit of {limit['type']} is above the hard limit")


def _check_maps(maps: Any, where: str) -> None:
    for position, entry in enumerate(maps):
        for side in ("containerID", "hostID"):
            if entry[side] + entry["size"] > 1 << 32:
                raise Invalid(f"{where}[{position}]: {side} and size lead past the last id")
            for other, earlier in enumerate(maps[:position]):
                if entry[side] < earlier[side] + earlier["size"] and earlier[side] < entry[side] + entry["size"]:
                    raise Invalid(f"{where}[{position}]: overlaps [{other}] in {side}")


def _check_mount(mount: dict[str, Any], where: str) -> None:
    for field in ("uidMappings", "gidMappings"):
        _check_maps(mount.get(field) or (), f"{where}.{field}")
    if bool(mount.get("uidMappings")) != bool(mount.get("gidMappings")):
        raise Invalid(f"{where}: uidMappings and gidMappings go together")
    binds = is_bind(mount)
    if not binds and not mount.get("type"):
        raise Invalid(f"{where}.type: is missing")
    if binds and not mount.get("source"):
        raise Invalid(f"{where}.source: is missing, so there is nothing to bind")
