"""Seccomp profiles as users write them, and the bundle's ``linux.seccomp`` that follows from them.

A profile is the JSON that Docker and Podman take with ``--security-opt seccomp=FILE``: the OCI's format plus
``archMap``, ``includes`` and ``excludes`` (capabilities, architectures, kernel version), which depend on the
container and are resolved here.  containers-seccomp.json(5)
"""

from __future__ import annotations

import os

from estiva.errors import Invalid, NotFound
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

DEFAULT_PROFILE = os.path.join(os.path.dirname(__file__), "data", "seccomp.json")

# uname -m → the OCI's name of the architecture, and Go's, which profiles use in includes.arches
ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "amd64"),
    "aarch64": ("SCMP_ARCH_AARCH64", "arm64"),
}

_OCI_HEAD = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")
_OCI_RULE = ("names", "action", "errnoRet", "args")
_OCI_ARGUMENT = ("index", "value", "valueTwo", "op")


def load_profile(path: str = DEFAULT_PROFILE) -> dict[str, Any]:
    """The profile in the file *path*.  Raises NotFound, or Invalid, naming what in it is not what it should be."""
    try:
        with open(path, "rb") as file:
            profile = json.loads(file.read())
    except FileNotFoundError:
        raise NotFound(f'opening seccomp profile "{path}": no such file') from None
    except OSError as error:
        raise Invalid(f'reading seccomp profile "{path}": {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise Invalid(f'reading seccomp profile "{path}": {error}') from error
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise Invalid(f'reading seccomp profile "{path}": it has no defaultAction')
    if path != DEFAULT_PROFILE:
        _check(profile, path)
    return profile


def _check(profile: dict[str, Any], path: str) -> None:
    from estiva.runtime import schema

    try:
        schema.check(profile, schema.SECCOMP_PROFILE, "")
        for rule in profile.get("syscalls") or ():
            for condition in (rule.get("includes") or {}, rule.get("excludes") or {}):
                if condition.get("minKernel"):
                    _version(condition["minKernel"])
    except Invalid as error:
        raise Invalid(f'reading seccomp profile "{path}": {error.message}', error.cure) from None


def resolve(
    profile: dict[str, Any], caps: Iterable[str], machine: str | None = None, kernel: str | None = None
) -> dict[str, Any]:
    """The OCI ``linux.seccomp`` section that *profile* means for a container with the bounding set *caps*.

    *caps* are full names (``CAP_CHOWN``); *machine* and *kernel* are ``os.uname()``'s machine and release.
    """
    uname = os.uname()
    machine = machine or uname.machine
    scmp_arch, go_arch = ARCHITECTURES.get(machine, ("", machine))
    held = frozenset(caps)
    release = _version(kernel or uname.release)
    section: dict[str, Any] = {key: profile[key] for key in _OCI_HEAD if profile.get(key) is not None}
    architectures = _architectures(profile, scmp_arch)
    if architectures:
        section["architectures"] = architectures
    section["syscalls"] = [
        _oci_rule(rule)
        for rule in profile.get("syscalls") or ()
        if _applies(rule.get("includes") or {}, rule.get("excludes") or {}, held, go_arch, release)
    ]
    return section


def _architectures(profile: dict[str, Any], native: str) -> list[str]:
    """The profile's own list, or the native architecture with its sub-architectures from ``archMap``."""
    if profile.get("architectures"):
        if profile.get("archMap"):
            raise Invalid('seccomp profile: "architectures" and "archMap" are both given', "use one of them")
        return list(profile["architectures"])
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == native:
            return [native, *(entry.get("subArchitectures") or ())]
    return []


def _applies(
    includes: dict[str, Any], excludes: dict[str, Any], caps: frozenset[str], arch: str, kernel: tuple[int, ...]
) -> bool:
    """Whether a rule holds: every include is met and no exclude is."""
    if includes.get("arches") and arch not in includes["arches"]:
        return False
    if not caps.issuperset(includes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    if arch in (excludes.get("arches") or ()) or not caps.isdisjoint(excludes.get("caps") or ()):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _oci_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """*rule* with the OCI's fields only; ``name``, the old spelling of a single name, becomes ``names``."""
    result = {key: rule[key] for key in _OCI_RULE if rule.get(key) is not None}
    if rule.get("name"):
        result["names"] = [*(rule.get("names") or ()), rule["name"]]
    if result.get("args"):
        result["args"] = [{k: arg[k] for k in _OCI_ARGUMENT if k in arg} for arg in result["args"]]
    else:
        result.pop("args", None)
    return result


def _version(release: str) -> tuple[int, ...]:
    """The first two numbers of a kernel release: ``6.1.0-18-amd64`` is ``(6, 1)``."""
    major, _, rest = release.partition(".")
    digits = ""
    for character in rest:
        if character not in "0123456789":
            break
        digits += character
    if not (major.isascii() and major.isdecimal()) or max(len(major), len(digits)) > 9:
        raise Invalid(f'seccomp profile: "{release}" is not a kernel version')
    return int(major), int(digits or 0)
