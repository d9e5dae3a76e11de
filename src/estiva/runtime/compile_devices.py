"""Device nodes of an OCI configuration as operations of a plan.  Pure.  runtime-spec config-linux.md "Devices" """

from __future__ import annotations

from estiva.errors import Invalid
from estiva.runtime import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.plan import Plan

DEFAULT_DEVICES = (
    ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7),
    ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0),
)  # fmt: skip
DEVICE_KINDS = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}
DEV_LINKS = (
    ("/proc/self/fd", "/dev/fd"), ("/proc/self/fd/0", "/dev/stdin"), ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"), ("pts/ptmx", "/dev/ptmx"),
)  # fmt: skip


def add_devices(out: Plan, spec: dict[str, Any], *, bind: bool) -> None:
    """The default devices and those of the configuration; nothing is changed below a /dev bound from elsewhere.

    *bind*: nodes cannot be made, the host's are bound.
    """
    bound = _dev_is_bound(spec)
    devices: dict[str, dict[str, Any]] = {}
    if not bound:
        for path, major, minor in DEFAULT_DEVICES:
            devices[path] = {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666}
    for index, device in enumerate((spec.get("linux") or {}).get("devices") or ()):
        path = device.get("path")
        if not isinstance(path, str) or not path.startswith("/"):
            raise Invalid(f"linux.devices[{index}].path: {path!r} is not an absolute path")
        if not (bound and path.startswith("/dev/")):
            devices[path] = device
    for device in devices.values():
        _device(out, device, bind)
    if not bound:
        for content, path in DEV_LINKS:
            out.add(plan.SYMLINK, content, path)


def _dev_is_bound(spec: dict[str, Any]) -> bool:
    for mount in spec.get("mounts") or ():
        if mount.get("destination", "").rstrip("/") == "/dev":
            options = mount.get("options") or ()
            return mount.get("type") in ("bind", "rbind") or "bind" in options or "rbind" in options
    return False


def _device(out: Plan, device: dict[str, Any], bind: bool) -> None:
    path = device["path"]
    kind = DEVICE_KINDS.get(device.get("type", ""))
    if kind is None:
        raise Invalid(f"linux.devices {path}: type {device.get('type')!r} is unknown")
    numbers = [device.get("major") or 0, device.get("minor") or 0]
    if kind != DEVICE_KINDS["p"]:
        for name, number in (("major", device.get("major")), ("minor", device.get("minor"))):
            if not isinstance(number, int) or not 0 <= number < (1 << 12 if name == "major" else 1 << 20):
                raise Invalid(f"linux.devices {path}: {name} {number!r} is no device number")
    mode = device.get("fileMode")
    source = (device.get("x-estiva.source") or path) if bind and kind != DEVICE_KINDS["p"] else ""
    out.add(
        plan.DEVICE, path, kind | (0o666 if mode is None else int(mode) & 0o7777), *numbers,
        device.get("uid") or 0, device.get("gid") or 0, source,
    )  # fmt: skip
