"""Values as Go prints them: what ``{{.Field}}`` shows, and ``printf`` with Go's verbs.  pkg.go.dev/fmt

Go structs and maps are both dicts here, so both print as maps do, ``map[key:value]`` with sorted keys.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class NoValue:
    """What a missing key of a map is."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "<no value>"


NO_VALUE = NoValue()
_MAX_WIDTH = 1_000_000  # as in Go: wider is a mistake, and memory


def plain(value: Any) -> str:
    """*value* as Go's ``%v`` shows it; text is itself."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, dict):
        return f"map[{' '.join(f'{plain(key)}:{plain(value[key])}' for key in sorted(value, key=str))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(plain, value))}]"
    return str(value)


def _float(value: float) -> str:
    """The shortest text that reads back the same; exponents below 1e-4 and from 1e21, as Go's ``%v``."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]
    digits, _, exponent = repr(value).partition("e")
    if not exponent:
        return digits.removesuffix(".0")
    if 0 <= int(exponent) < 21:
        return f"{value:.0f}"
    sign, number = exponent[0], exponent.lstrip("+-")
    return f"{digits.removesuffix('.0')}e{sign if sign in '+-' else '+'}{number:0>2}"


def kind_name(value: Any) -> str:
    """The name of the Go type nearest to *value*, for messages."""
    if isinstance(value, bool):
        return "bool"
    for kind, name in ((str, "string"), (int, "int"), (float, "float64"), (dict, "map"), ((list, tuple), "slice")):
        if isinstance(value, kind):
            return name
    return "nil" if value is None or value is NO_VALUE else type(value).__name__


def quote(text: str) -> str:
    """*text* between double quotes as Go's ``%q``."""
    named = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    named.update({'"': '\\"', "\\": "\\\\"})
    return '"' + "".join(named.get(char) or (char if char.isprintable() else _escape(char)) for char in text) + '"'


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def print_line(values: tuple[Any, ...]) -> str:
    """Go's ``Sprint``: a space between two operands when neither is text."""
    pieces: list[str] = []
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            pieces.append(" ")
        pieces.append(plain(value))
    return "".join(pieces)


def printf(form: str, values: tuple[Any, ...]) -> str:
    """Go's ``Sprintf``: mistakes show in the result as Go shows them (``%!d(string=x)``), nothing is raised."""
    left = iter(values)
    done = object()
    verb = re.compile(r"%([-+# 0]*)(\*|\d+)?(?:\.(\*|\d*))?(.?)", re.DOTALL)
    text = verb.sub(lambda found: _one_verb(found, left), form)
    extra = [f"{kind_name(value)}={plain(value)}" for value in iter(lambda: next(left, done), done)]
    return f"{text}%!(EXTRA {', '.join(extra)})" if extra else text


def _one_verb(found: re.Match[str], left: Iterator[Any]) -> str:
    flags, width, precision, verb = found.group(1), found.group(2), found.group(3), found.group(4)
    if verb == "%":
        return "%"
    if not verb:
        return "%!(NOVERB)"
    sizes = []
    for size in (width, precision):
        number = next(left, None) if size == "*" else int(size or 0) if size is not None else None
        if number is not None and (not isinstance(number, int) or abs(number) > _MAX_WIDTH):
            return "%!(BADWIDTH)"
        sizes.append(number)
    try:
        value = next(left)
    except StopIteration:
        return f"%!{verb}(MISSING)"
    return _pad(_convert(verb, flags, sizes[1], value), flags, sizes[0], value)


def _convert(verb: str, flags: str, precision: int | None, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = number and isinstance(value, int)
    plus = "+" if "+" in flags else " " if " " in flags else ""
    if verb == "v":
        return plain(value) if not (number and plus and value >= 0) else plus + plain(value)
    if verb == "T":
        return kind_name(value)
    if verb in "sq" and not number and not isinstance(value, bool):
        text = plain(value)[:precision] if precision is not None else plain(value)
        return quote(text) if verb == "q" else text
    if verb == "t" and isinstance(value, bool):
        return plain(value)
    if verb in "xX" and isinstance(value, str):
        return value.encode().hex() if verb == "x" else value.encode().hex().upper()
    if verb in "dbox" + "X" and whole:
        return format(value, f"{plus}{'#' if '#' in flags else ''}{verb}")
    if verb in "eEfFgG" and number and isinstance(value, float):
        return format(value, f"{plus}.{6 if precision is None else precision}{verb}")
    if verb in "cqU" and whole and 0 <= value < 0x110000 and not 0xD800 <= value < 0xE000:
        return {"c": chr(value), "q": f"'{chr(value)}'", "U": f"U+{value:04X}"}[verb]
    return f"%!{verb}({kind_name(value)}={plain(value)})"


def _pad(text: str, flags: str, width: int | None, value: Any) -> str:
    if not width:
        return text
    if "-" in flags or width < 0:
        return text.ljust(abs(width))
    if "0" in flags and isinstance(value, (int, float)):
        sign = text[:1] if text[:1] in ("+", "-") else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)
