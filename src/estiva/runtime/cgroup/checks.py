"""The shape of ``linux.resources``, looked at once, so that translation need not wonder.

runtime-spec config-linux.md "Control groups"
"""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ROOT = "linux.resources"

# section → field → what it is: "int" (at least -1), "natural" (at least 0), "bool", "text"
_SECTIONS: dict[str, dict[str, str]] = {
    "memory": {
        "limit": "int",
        "swap": "int",
        "reservation": "int",
        "kernel": "int",
        "kernelTCP": "int",
        "swappiness": "natural",
        "disableOOMKiller": "bool",
        "useHierarchy": "bool",
        "checkBeforeUpdate": "bool",
    },
    "cpu": {
        "shares": "natural",
        "quota": "int",
        "burst": "natural",
        "period": "natural",
        "realtimeRuntime": "int",
        "realtimePeriod": "natural",
        "cpus": "text",
        "mems": "text",
        "idle": "int",
    },
    "pids": {"limit": "int"},
    "blockIO": {"weight": "natural", "leafWeight": "natural"},
    "network": {"classID": "natural"},
}
# section, its list, fields of an entry; "!" marks those it must have
_LISTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "blockIO",
        "weightDevice",
        {"major": "natural!", "minor": "natural!", "weight": "natural", "leafWeight": "natural"},
    ),
    *(
        ("blockIO", f"throttle{what}Device", {"major": "natural!", "minor": "natural!", "rate": "natural!"})
        for what in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")
    ),
    ("network", "priorities", {"name": "text!", "priority": "natural!"}),
    ("", "hugepageLimits", {"pageSize": "text!", "limit": "natural!"}),
    ("", "devices", {"allow": "bool!", "type": "text", "major": "int", "minor": "int", "access": "text"}),
)


def check_resources(resources: Any) -> None:
    """Raise Invalid, naming the field, for what is not of the kind the specification gives it."""
    if not isinstance(resources, dict):
        raise Invalid(f"{_ROOT}: not an object")
    for section in (*_SECTIONS, "rdma", "unified"):
        if not isinstance(resources.get(section, {}), dict | None):
            raise Invalid(f"{_ROOT}.{section}: not an object")
    for section, fields in _SECTIONS.items():
        if resources.get(section):
            _check_fields(f"{_ROOT}.{section}", resources[section], fields)
    for section, name, fields in _LISTS:
        holder = (resources.get(section) or {}) if section else resources
        if holder.get(name) is not None:
            _check_list(f"{_ROOT}.{section}.{name}" if section else f"{_ROOT}.{name}", holder[name], fields)
    for device, limits in (resources.get("rdma") or {}).items():
        _check_fields(f"{_ROOT}.rdma.{device}", limits, {"hcaHandles": "natural", "hcaObjects": "natural"})
    for file, text in (resources.get("unified") or {}).items():
        if not isinstance(text, str):
            raise Invalid(f'{_ROOT}.unified: the value of "{file}" is not a string')


def _check_list(path: str, entries: Any, fields: dict[str, str]) -> None:
    if not isinstance(entries, list):
        raise Invalid(f"{path}: not a list")
    for position, entry in enumerate(entries):
        _check_fields(f"{path}[{position}]", entry, fields)


def _check_fields(path: str, values: Any, fields: dict[str, str]) -> None:
    if not isinstance(values, dict):
        raise Invalid(f"{path}: not an object")
    for field, kind in fields.items():
        value = values.get(field)
        if value is None:
            if kind.endswith("!"):
                raise Invalid(f"{path}.{field}: is missing")
            continue
        _check_value(f"{path}.{field}", value, kind.rstrip("!"))


def _check_value(path: str, value: Any, kind: str) -> None:
    if kind == "bool":
        fits, what = isinstance(value, bool), "true or false"
    elif kind == "text":
        fits, what = isinstance(value, str) and "\n" not in value, "a string"
    else:
        least = 0 if kind == "natural" else -1
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value < 1 << 64
        what = "a number, or -1 for no limit" if least else "a number that is not negative"
    if not fits:
        raise Invalid(f"{path}: {value!r} is not {what}")
