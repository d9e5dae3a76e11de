"""What ``linux.resources`` and annotations mean as properties of a systemd unit: pure translation, no I/O.

A property is a (name, value) pair, the value a :class:`~estiva.runtime.cgroup.dbus.Variant`.  Not every limit has one;
those are written into the control files alone.  systemd.resource-control(5), org.freedesktop.systemd1(5)
"""

from __future__ import annotations

import re

from estiva.errors import Invalid, Unsupported
from estiva.runtime.cgroup import settings
from estiva.runtime.cgroup.dbus import Variant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Properties = dict[str, Variant]

INFINITY = (1 << 64) - 1
ANNOTATION = "org.systemd.property."
_PERIOD_US = 100_000


def scope_properties(description: str, slice_name: str, pid: int, version: int, v2: bool) -> Properties:
    """Those that every scope of ours has; it begins with process *pid*."""
    on = Variant("b", True)
    found = {
        "Description": Variant("s", description),
        "Slice": Variant("s", slice_name),
        "Delegate": on,
        "PIDs": Variant("au", [pid]),
        "DefaultDependencies": Variant("b", False),
        "MemoryAccounting": on,
        "CPUAccounting": on,
        "IOAccounting" if v2 else "BlockIOAccounting": on,
        "TasksAccounting": on,
    }
    if version >= 236:  # so that a scope that failed, by the OOM killer say, does not stay behind
        found["CollectMode"] = Variant("s", "inactive-or-failed")
    return found


def resource_properties(resources: Mapping[str, Any], version: int, v2: bool) -> Properties:
    """The limits that systemd of this *version* has properties for, by name."""
    found: Properties = {}
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    if memory.get("limit"):
        found["MemoryMax" if v2 else "MemoryLimit"] = _amount(memory["limit"])
    if v2:
        if memory.get("reservation"):
            found["MemoryLow"] = _amount(memory["reservation"])
        for setting in settings.V2["memory"](dict(resources)):
            if setting.file == "memory.swap.max":
                found["MemorySwapMax"] = _amount(setting.value)
    found.update(_cpu(cpu, version, v2))
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        found["TasksMax"] = _amount(limit or 1)
    weight = (resources.get("blockIO") or {}).get("weight")
    if weight:
        found["IOWeight" if v2 else "BlockIOWeight"] = Variant("t", settings.io_weight(weight) if v2 else weight)
    for file, text in (resources.get("unified") or {}).items():
        found.update(_unified(file, text.strip(), version))
    if resources.get("devices"):
        found.update(device_properties(resources["devices"], version))
    return found


def _cpu(cpu: Mapping[str, Any], version: int, v2: bool) -> Iterator[tuple[str, Variant]]:
    if cpu.get("shares"):
        yield (
            ("CPUWeight", Variant("t", settings.weight_of_shares(cpu["shares"])))
            if v2
            else ("CPUShares", Variant("t", cpu["shares"]))
        )
    if v2 and cpu.get("idle") == 1 and version >= 252:
        yield "CPUWeight", Variant("t", 0)
    yield from _quota(cpu.get("quota") or 0, cpu.get("period") or 0, version)
    for field, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
        if cpu.get(field) and version >= 244:
            yield name, Variant("ay", bits(cpu[field], f"linux.resources.cpu.{field}"))


def _quota(quota: int, period: int, version: int) -> Iterator[tuple[str, Variant]]:
    """systemd rounds to whole percents of a processor, so up: the exact quota, written into the file, must fit in."""
    if period and version >= 242:
        yield "CPUQuotaPeriodUSec", Variant("t", period)
    if quota or period:
        share = INFINITY
        if quota > 0:
            share = -(-quota * 1_000_000 // (period or _PERIOD_US) // 10_000) * 10_000
        yield "CPUQuotaPerSecUSec", Variant("t", share)


_UNIFIED = {
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}


def _unified(file: str, text: str, version: int) -> Iterator[tuple[str, Variant]]:
    if file in _UNIFIED and (text == "max" or text.isdigit()):
        yield _UNIFIED[file], _amount(text)
    elif file == "cpu.idle" and text == "1" and version >= 252:
        yield "CPUWeight", Variant("t", 0)
    elif file in ("cpuset.cpus", "cpuset.mems") and version >= 244:
        name = "AllowedCPUs" if file == "cpuset.cpus" else "AllowedMemoryNodes"
        yield name, Variant("ay", bits(text, f"linux.resources.unified.{file}"))
    elif file == "cpu.max":
        quota, _, period = text.partition(" ")
        if (quota == "max" or quota.isdigit()) and (not period or period.isdigit()):
            yield from _quota(0 if quota == "max" else int(quota), int(period or _PERIOD_US), version)
    elif file == "memory.oom.group" and version >= 253:
        yield "OOMPolicy", Variant("s", "kill" if text == "1" else "continue")


def _amount(value: int | str) -> Variant:
    """Bytes or tasks; -1 and ``max`` are no limit."""
    return Variant("t", INFINITY if value in (-1, "max") or int(value) < 0 else int(value))


def bits(text: str, field: str) -> bytes:
    """A list of numbers, ``0-3,7``, as a bit mask, the lowest first.  Raises Invalid, naming *field*."""
    mask = 0
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or int(last or first) > 1 << 16:
            raise Invalid(f'{field}: "{text}" is not a list of numbers like 0-3,7')
        for number in range(int(first), int(last or first) + 1):
            mask |= 1 << number
    return mask.to_bytes(-(-mask.bit_length() // 8), "little")


def device_properties(devices: list[dict[str, Any]], version: int) -> Properties:
    """The rules as systemd's list of allowed devices, so that a reload of systemd does not open what we closed.

    Where that list cannot say all of it (rules for a minor number of any major, lists that allow but for some) it
    stays open, and the rules hold by our own means.
    """
    from estiva.runtime.cgroup.devicerules import v1_rules

    open_to_all = {"DevicePolicy": Variant("s", "auto"), "DeviceAllow": Variant("a(ss)", [])}
    try:
        rules = v1_rules(devices)
    except Unsupported:  # no list says this, there as little as on v1
        return open_to_all
    if rules.allow_all or version < 240:
        return open_to_all
    entries = []
    for (kind, major, minor), access in sorted(rules.exceptions.items(), key=repr):
        name = {"b": "block", "c": "char"}[kind]
        if major is None and minor is not None:
            return open_to_all
        path = f"{name}-*" if major is None else f"{name}-{major}" if minor is None else f"/dev/{name}/{major}:{minor}"
        entries.append((path, "".join(letter for letter in "rwm" if letter in access)))
    return {"DevicePolicy": Variant("s", "strict"), "DeviceAllow": Variant("a(ss)", entries)}


def annotated_properties(annotations: Mapping[str, str]) -> Properties:
    """The ``org.systemd.property.NAME`` annotations, their values in GVariant's text form.

    A name that ends in ``Sec``, as unit files have them, is given in seconds and becomes the bus's ``USec``.  Raises
    Invalid.
    """
    found: Properties = {}
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        name = key.removeprefix(ANNOTATION)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
            raise Invalid(f'annotation "{key}": "{name}" is not the name of a property')
        value = parse_variant(text, f'annotation "{key}"')
        if len(name) > 3 and name.endswith("Sec") and not name.endswith("USec"):
            if value.signature not in "ynqiuxtd":
                raise Invalid(f'annotation "{key}": "{text}" is not a number of seconds')
            name, value = name[:-3] + "USec", Variant("t", int(value.value * 1_000_000))
        found[name] = value
    return found


_KEYWORDS = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
    "double": "d",
    "string": "s",
    "objectpath": "o",
}


def parse_variant(text: str, what: str) -> Variant:
    """``true``, ``5``, ``uint64 5``, ``1.5``, ``'text'``, ``['a', 'b']``, ``@au [1]``.  Raises Invalid, calling it
    *what*.  https://docs.gtk.org/glib/gvariant-text-format.html, as far as unit properties need it"""
    text = text.strip()
    wanted = ""
    if text.startswith("@"):
        wanted, _, text = text[1:].partition(" ")
    else:
        keyword, space, rest = text.partition(" ")
        if space and keyword in _KEYWORDS:
            wanted, text = _KEYWORDS[keyword], rest
    try:
        value = _literal(text.strip(), wanted)
        _encodable(value)
    except (ValueError, SyntaxError, KeyError, TypeError):
        raise Invalid(f"{what}: {text!r} is not a value that systemd understands", "see GVariant's text form") from None
    return value


def _literal(text: str, wanted: str) -> Variant:
    if text in ("true", "false"):
        return Variant(wanted or "b", text == "true")
    import ast

    value = ast.literal_eval(text)
    if wanted:
        return Variant(wanted, value)
    if isinstance(value, list):
        (kind,) = {type(item) for item in value}
        return Variant({str: "as", int: "ai", float: "ad"}[kind], value)
    return Variant({str: "s", int: "i", float: "d"}[type(value)], value)


def _encodable(value: Variant) -> None:
    from estiva.runtime.cgroup.dbus import METHOD_CALL, Message

    Message(METHOD_CALL, 1, {"signature": "v"}, [value]).encode()
