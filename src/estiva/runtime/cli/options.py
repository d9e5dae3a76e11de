"""Reading a command line the way runc and crun read it.

``--name value``, ``--name=value``, and with one dash too; ``-x value`` and ``-xvalue``; switches combine (``-dt``) and
take a value only with ``=`` (``--keep=false``).  ``--`` ends the options.  In ``exec`` and ``ps`` the first operand
does, because what follows is another program's command line; elsewhere options may follow it.
"""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Values = dict[str, str | bool | list[str]]
    # long name, letter or "", kind, the word for its value, help
    Row = tuple[str, str, str, str, str]

# What an option takes: nothing, one value (the last counts), a whole number, or a value each time it is given.
SWITCH, VALUE, NUMBER, VALUES = "switch", "value", "number", "values"
_SWITCH_WORDS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


class Options:
    """The options given, by long name; :meth:`text`, :meth:`number`, :meth:`switch` and :meth:`many` read them."""

    __slots__ = ("_values", "operands")

    def __init__(self, values: Values, operands: list[str]) -> None:
        self._values = values
        self.operands = operands

    def given(self, name: str) -> bool:
        """Whether the option was there at all."""
        return name in self._values

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


class _Reader:
    """One pass over the words."""

    __slots__ = ("_kinds", "_letters", "_see", "_values", "_words")

    def __init__(self, words: Sequence[str], rows: Sequence[Row], see: str) -> None:
        self._words = list(reversed(words))  # the next one is the last
        self._kinds = {row[0]: row[2] for row in rows}
        self._letters = {row[1]: row[0] for row in rows if row[1]}
        self._values: Values = {}
        self._see = see

    def read(self, interspersed: bool) -> Options:
        operands: list[str] = []
        while self._words:
            word = self._words.pop()
            if word == "--":
                break
            if word.startswith("-") and word != "-":
                self._option(word)
            elif interspersed:
                operands.append(word)
            else:
                self._words.append(word)
                break
        return Options(self._values, operands + self._words[::-1])

    def _option(self, word: str) -> None:
        name, equals, value = word.lstrip("-").partition("=")
        name = self._letters.get(name, name)
        if name in self._kinds:
            self._take(name, value if equals else None, word)
            return
        if word.startswith("--"):
            raise Invalid(f'unknown option "{word}"', f'see "{self._see}"')
        letters = word[1:]
        while letters:
            name, letters = self._letters.get(letters[0], ""), letters[1:]
            if not name:
                raise Invalid(f'unknown option "{word}"', f'see "{self._see}"')
            if self._kinds[name] != SWITCH:
                self._take(name, letters.removeprefix("=") or None, word)
                return
            self._values[name] = True

    def _take(self, name: str, value: str | None, word: str) -> None:
        kind = self._kinds[name]
        if kind == SWITCH:
            if value is not None and value.lower() not in _SWITCH_WORDS:
                raise Invalid(f'option --{name}: "{value}" is neither true nor false')
            self._values[name] = True if value is None else _SWITCH_WORDS[value.lower()]
            return
        if value is None:
            if not self._words:
                raise Invalid(f'option "{word}" needs a value', f'see "{self._see}"')
            value = self._words.pop()
        if kind == VALUES:
            present = self._values.setdefault(name, [])
            if isinstance(present, list):
                present.append(value)
            return
        if kind == NUMBER and not value.removeprefix("-").isdecimal():
            raise Invalid(f'option --{name}: "{value}" is not a number')
        self._values[name] = value


def parse(words: Sequence[str], rows: Sequence[Row], *, interspersed: bool = False, see: str = "") -> Options:
    """Read *words* by the table *rows*; *see* is the command that shows help, for the message.  Raises Invalid."""
    return _Reader(words, rows, see).read(interspersed)
