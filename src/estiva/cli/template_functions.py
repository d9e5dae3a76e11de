"""The functions a template can call: those of Go's text/template, and those Podman and Docker add.

Each takes its arguments as a template gives them and raises ValueError with the cause when they do not fit.
"""

from __future__ import annotations

from estiva.cli.goformat import NO_VALUE, kind_name, plain, print_line, printf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def as_json(value: Any) -> str:
    """Compact JSON, ``<`` and its like not escaped."""
    import json

    if hasattr(value, "to_json"):
        value = value.to_json()
    if value is NO_VALUE:
        value = None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def index(value: Any, *keys: Any) -> Any:
    """``index X 1 2 3`` is ``X[1][2][3]``; a missing key of a map of texts is ``""``, of other maps no value."""
    for key in keys:
        if isinstance(value, dict):
            texts = all(isinstance(each, str) for each in value.values())
            value = value.get(key, "" if texts else NO_VALUE)
            continue
        if not isinstance(value, (list, tuple, str)):
            raise ValueError(f"can't index item of type {kind_name(value)}")
        at = _position(key, len(value) - 1)
        value = ord(value[at]) if isinstance(value, str) else value[at]
    return value


def cut(value: Any, *bounds: Any) -> Any:
    """``slice X 1 2`` is ``X[1:2]``."""
    if not isinstance(value, (str, list, tuple)):
        raise ValueError(f"can't slice item of type {kind_name(value)}")
    if len(bounds) > 2:
        raise ValueError(f"too many slice indexes: {len(bounds)}")
    low = _position(bounds[0], len(value)) if bounds else 0
    high = _position(bounds[1], len(value)) if len(bounds) > 1 else len(value)
    if low > high:
        raise ValueError(f"invalid slice index: {low} > {high}")
    return value[low:high]


def _position(key: Any, last: int) -> int:
    if not isinstance(key, int) or isinstance(key, bool):
        raise ValueError(f"cannot index slice/array with type {kind_name(key)}")
    if not 0 <= key <= last:
        raise ValueError(f"index out of range: {key}")
    return key


def length(value: Any) -> int:
    if not isinstance(value, (str, list, tuple, dict)):
        raise ValueError(f"len of type {kind_name(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def equal(first: Any, *others: Any) -> bool:
    """Whether *first* equals any of the others."""
    if not others:
        raise ValueError("missing argument for comparison")
    return any(_comparable(first, other) and first == other for other in others)


def _comparable(first: Any, other: Any) -> bool:
    kinds = {kind_name(first), kind_name(other)}
    if len(kinds) == 1 or "nil" in kinds:
        return True
    raise ValueError("incompatible types for comparison")


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(first: Any, other: Any) -> bool:
        _comparable(first, other)
        if kind_name(first) not in ("int", "float64", "string"):
            raise ValueError("invalid type for comparison")
        return test(first, other)

    return compare


def join(values: Any, separator: Any = ",") -> str:
    if values is None or values is NO_VALUE:
        return ""
    if isinstance(values, str) and not isinstance(separator, str):
        values, separator = separator, values  # piped: {{.Names | join ","}}
    for each in (values, separator):
        if hasattr(each, "go_field") and isinstance(each, str):  # the heading of a table stands for its column
            return str(each)
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"can't join item of type {kind_name(values)}")
    return plain(separator).join(map(plain, values))


def pad(text: Any, before: Any, after: Any) -> str:
    """*text* with so many spaces on each side; Docker gives nothing for an empty text."""
    return f"{' ' * min(int(before), 1000)}{_text(text)}{' ' * min(int(after), 1000)}" if text else ""


def truncate(text: Any, size: Any) -> str:
    return _text(text)[: max(0, int(size))]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected string; found {kind_name(value)}")
    return value


def _html(*values: Any) -> str:
    from html import escape  # seldom wanted

    return escape(print_line(values))


def _query(*values: Any) -> str:
    from urllib.parse import quote_plus  # seldom wanted

    return quote_plus(print_line(values))


def _printf(form: Any, *values: Any) -> str:
    return printf(_text(form), values)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": equal,
    "ge": _ordered(lambda first, other: bool(first >= other)),
    "gt": _ordered(lambda first, other: bool(first > other)),
    "html": _html,
    "index": index,
    "join": join,
    "json": as_json,
    "le": _ordered(lambda first, other: bool(first <= other)),
    "len": length,
    "lower": lambda text: _text(text).lower(),
    "lt": _ordered(lambda first, other: bool(first < other)),
    "ne": lambda first, other: not equal(first, other),
    "not": lambda value: not value,
    "pad": pad,
    "print": lambda *values: print_line(values),
    "printf": _printf,
    "println": lambda *values: " ".join(map(plain, values)) + "\n",
    "slice": cut,
    "split": lambda text, separator: _text(text).split(_text(separator)) if separator else list(_text(text)),
    "title": lambda text: _text(text)[:1].upper() + _text(text)[1:],
    "truncate": truncate,
    "upper": lambda text: _text(text).upper(),
    "urlquery": _query,
}
