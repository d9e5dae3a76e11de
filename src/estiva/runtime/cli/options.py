"""Reading a command line the way runc reads it: options first, the first operand ends them."""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Values = dict[str, str | bool | list[str]]

# What an option takes.
SWITCH, VALUE, VALUES = "switch", "value", "values"


class Options:
    """The options given, by long name; :meth:`text`, :meth:`number`, :meth:`switch` and :meth:`many` read them."""

    __slots__ = ("_values", "operands")

    def __init__(self, values: Values, operands: list[str]) -> None:
        self._values = values
        self.operands = operands

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: int | None = None) -> int | None:
        value = self.text(name)
        if not value:
            return default
        try:
            return int(value)
        except ValueError:
            raise Invalid(f'option --{name}: "{value}" is not a number') from None

    def switch(self, name: str) -> bool:
        return bool(self._values.get(name))

    def many(self, name: str) -> list[str]:
        value = self._values.get(name)
        return value if isinstance(value, list) else []


def parse(argv: Sequence[str], table: Mapping[str, str], short: Mapping[str, str]) -> Options:
    """Read *argv* by *table* (long name to SWITCH, VALUE or VALUES) and *short* (letter to long name)."""
    values: Values = {}
    position = 0
    while position < len(argv):
        word = argv[position]
        if word == "--":
            position += 1
            break
        if not word.startswith("-") or word == "-":
            break
        position += 1
        name, equals, value = word.lstrip("-").partition("=")
        name = short.get(name, name)
        if name not in table:
            raise Invalid(f'unknown option "{word}"', 'see "estiva-runtime help"')
        if table[name] == SWITCH:
            values[name] = value.lower() not in ("false", "0") if equals else True
            continue
        if not equals:
            if position == len(argv):
                raise Invalid(f'option "{word}" needs a value')
            value = argv[position]
            position += 1
        _take(values, name, value, table[name])
    return Options(values, list(argv[position:]))


def _take(values: Values, name: str, value: str, kind: str) -> None:
    if kind == VALUE:
        values[name] = value
        return
    present = values.setdefault(name, [])
    if isinstance(present, list):
        present.append(value)
