"""``update``: change the limits of a container that runs.

Device rules stay as they are unless the JSON has some.  What was changed is written into the container's configuration,
so that later changes, and a restore, know it.
"""

from __future__ import annotations

import os
import sys

from estiva.errors import Conflict, Invalid, NotFound
from estiva.runtime.cli import records
from estiva.runtime.cli.cgroups import older_than_1_3
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.options import Options
    from estiva.runtime.cli.records import Record

# option → section and field of linux.resources; sizes may have a unit
_NUMBERS = (
    ("blkio-weight", "blockIO", "weight"),
    ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"),
    ("cpu-burst", "cpu", "burst"),
    ("cpu-share", "cpu", "shares"),
    ("cpu-rt-period", "cpu", "realtimePeriod"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime"),
    ("cpu-idle", "cpu", "idle"),
    ("pids-limit", "pids", "limit"),
)
_SIZES = (
    ("memory", "memory", "limit"),
    ("memory-reservation", "memory", "reservation"),
    ("memory-swap", "memory", "swap"),
)
_TEXTS = (("cpuset-cpus", "cpu", "cpus"), ("cpuset-mems", "cpu", "mems"))
_SECTIONS = ("memory", "cpu", "pids", "blockIO", "network")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def command_update(context: Context, options: Options) -> int:
    record = records.find(context.root, options.operands[0])
    if record.status() in ("stopped", "creating"):
        raise Conflict(f'updating container "{record.container_id}": container not running')
    changes = _read(options.text("resources")) if options.text("resources") else _given(options)
    spec = record.config()
    linux = spec.setdefault("linux", {})
    present = linux.get("resources") or {}
    if (changes.get("pids") or {}).get("limit") == 0 and older_than_1_3(spec):
        changes = {name: value for name, value in changes.items() if name != "pids"}
    if changes:
        record.cgroup().update(_with_companions(changes, present))
        linux["resources"] = _merged(present, changes)
    schemas = {
        field: options.text(option)
        for option, field in (("l3-cache-schema", "l3CacheSchema"), ("mem-bw-schema", "memBwSchema"))
        if options.text(option)
    }
    if schemas:
        _update_resource_director(record, schemas)
        linux["intelRdt"] = {**(linux.get("intelRdt") or {}), **schemas}
    records.write_whole(f"{record.directory}/config.json", json.dumps(spec))
    return 0


def _read(source: str) -> dict[str, Any]:
    """The JSON in the file *source*, or on standard input; other options do not count then, as with runc."""
    if source == "-":
        text = sys.stdin.read()
    else:
        with open(source) as file:
            text = file.read()
    try:
        changes = json.loads(text)
    except ValueError as error:
        raise Invalid(f"reading {source}: {error}") from error
    if not isinstance(changes, dict):
        raise Invalid(f"reading {source}: not an object like linux.resources")
    # where runc writes its own format, "nothing given" is 0 or ""
    return {name: value for name, value in changes.items() if value is not None}


def _given(options: Options) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for option, section, field in _NUMBERS:
        if options.given(option) and options.text(option):
            changes.setdefault(section, {})[field] = options.number(option)
    for option, section, field in _SIZES:
        if options.text(option):
            changes.setdefault(section, {})[field] = _size(option, options.text(option))
    for option, section, field in _TEXTS:
        if options.text(option):
            changes.setdefault(section, {})[field] = options.text(option)
    for option in ("kernel-memory", "kernel-memory-tcp"):
        if options.given(option):
            sys.stderr.write(f"estiva-runtime: option --{option} has no effect: the kernel has removed it\n")
    return changes


def _size(option: str, text: str) -> int:
    """Bytes of ``512``, ``64k``, ``1.5GiB``; -1 is no limit."""
    if text == "-1":
        return -1
    number = text.lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:].isalpha() else ""
    number = number.removesuffix(unit).strip()
    if unit not in _UNITS or not number.replace(".", "", 1).isdecimal():
        raise Invalid(f'option --{option}: "{text}" is not a size', "examples: 65536, 64k, 512m, 1.5g, -1")
    return int(float(number) * _UNITS[unit]) if "." in number else int(number) * _UNITS[unit]


def _with_companions(changes: dict[str, Any], present: dict[str, Any]) -> dict[str, Any]:
    """*changes* with what must be said together: memory and swap, quota and period."""
    result = dict(changes)
    for section, fields in (("memory", ("limit", "swap", "checkBeforeUpdate")), ("cpu", ("quota", "period"))):
        wanted, before = changes.get(section), present.get(section) or {}
        if not isinstance(wanted, dict) or not any(wanted.get(field) for field in fields):
            continue
        kept = {field: before[field] for field in fields if before.get(field) is not None}
        if section == "memory" and wanted.get("limit") == -1:
            kept.pop("swap", None)  # without a limit of memory there is none of both together
        result[section] = {**kept, **wanted}
    return result


def _merged(present: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = {**present, **changes}
    for section in (*_SECTIONS, "unified", "rdma"):
        if isinstance(changes.get(section), dict):
            result[section] = {**(present.get(section) or {}), **changes[section]}
    return result


def _update_resource_director(record: Record, schemas: dict[str, str]) -> None:
    from estiva.runtime import intel_rdt

    fields = record.fields.get("intel_rdt")
    if fields:
        group = intel_rdt.Group(**fields)
        group.write(list(schemas.values()))
        return
    group = intel_rdt.create(schemas, record.container_id)
    record.fields["intel_rdt"] = group.fields()
    record.save()
    for pid in _tasks(record):
        group.join(pid)


def _tasks(record: Record) -> list[int]:
    """All threads in the container: unlike a cgroup, a class of service takes them one by one."""
    found = []
    for pid in record.cgroup().pids() or [record.pid]:
        try:
            found += [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        except FileNotFoundError:
            continue
    if not found:
        raise NotFound(f'updating container "{record.container_id}": it has no processes')
    return found
