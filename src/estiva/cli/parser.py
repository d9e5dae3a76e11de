"""Option tables, and reading a command line by them with the rules of pflag, which Podman's users know.

A command is a module in ``estiva.cli.commands`` with one constant::

    COMMAND = Command(
        "stop",
        usage="[options] CONTAINER [CONTAINER...]",
        summary="Stop one or more containers",
        options=(
            Option("all", "a", help="Stop all running containers"),
            Option("filter", "f", "array", "filter", "Only containers that match"),
            Option("time", "t", "int", "seconds", "Wait this long before killing", 10, aliases=("timeout",)),
        ),
        run=stop,
    )

    def stop(parsed: Parsed, settings: Globals) -> int: ...

and is listed in ``estiva.cli.main.COMMANDS``.  ``run`` returns the exit code and raises
:class:`~estiva.errors.EstivaError` for failures.  One table drives the parser, ``--help`` and shell completion.

The rules, as pflag has them: ``--name value``, ``--name=value``, ``-n value``, ``-nvalue``, ``-n=value``; switches
combine (``-it``) and take a value only with ``=`` (``--rm=false``); the value may begin with a dash; ``--`` ends the
options; ``-`` is an operand.  With ``interspersed=False`` (run, create, exec) the first operand ends the options too.
Names are never abbreviated.
"""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from estiva.cli.globals import Globals

#: kind of value -> what the word for it is in help where the table gives none
METAVARS = {
    "bool": "",
    "string": "string",
    "int": "int",
    "uint": "uint",
    "float": "float",
    "list": "strings",
    "array": "stringArray",
    "choice": "choice",
    "choices": "strings",
}
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class Option:
    """One option of a command.

    :param name: the long name, without dashes
    :param short: one letter, or ``""``
    :param kind: ``bool`` (a switch), ``string``, ``int``, ``uint``, ``float``, ``choice`` (one of *choices*); or
        repeatable: ``array`` (each value whole), ``list`` (each value is split at commas, CSV quoting honoured),
        ``choices`` (a list whose members must be in *choices*)
    :param metavar: the word for the value in help
    :param default: what :meth:`Parsed.get` answers when it is not given; without one: ``False``, ``""``, ``0``, ``[]``
    :param aliases: other long names that mean the same and are not shown
    :param implied: makes the value optional: ``--name`` alone means this value (text, as it would be typed)
    :param complete: what completes the value in a shell: ``file``, ``directory``, ``container``, ``image``,
        ``filter``, ``format`` or ``""``
    """

    __slots__ = (
        "aliases", "choices", "complete", "default", "help", "hidden", "implied", "kind", "metavar", "name", "short",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        short: str = "",
        kind: str = "bool",
        metavar: str = "",
        help: str = "",
        default: Any = None,
        *,
        choices: tuple[str, ...] = (),
        aliases: tuple[str, ...] = (),
        implied: str | None = None,
        hidden: bool = False,
        complete: str = "",
    ) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.metavar = metavar
        self.help = help
        self.default = default
        self.choices = choices
        self.aliases = aliases
        self.implied = "true" if kind == "bool" and implied is None else implied
        self.hidden = hidden
        self.complete = complete

    @property
    def repeats(self) -> bool:
        return self.kind in ("array", "list", "choices")

    def __str__(self) -> str:
        """The option as pflag's messages spell it: ``-n, --last``."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Command:
    """A command: its words for people, its options and what it does.

    :param name: the command path without the program's name: ``ps``, ``container exists``
    :param usage: what follows the name in the usage line
    :param minimum: how few operands it accepts; *maximum*: how many (``None``: any number)
    :param operands: what completes an operand in a shell (words as :class:`Option`'s *complete*)
    """

    __slots__ = (
        "description", "examples", "interspersed", "maximum", "minimum", "name", "operands", "options", "run",
        "summary", "usage",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        usage: str = "[options]",
        summary: str,
        description: str = "",
        examples: tuple[str, ...] = (),
        options: tuple[Option, ...] = (),
        run: Callable[[Parsed, Globals], int],
        interspersed: bool = True,
        minimum: int = 0,
        maximum: int | None = None,
        operands: str = "",
    ) -> None:
        self.name = name
        self.usage = usage
        self.summary = summary
        self.description = description
        self.examples = examples
        self.options = options
        self.run = run
        self.interspersed = interspersed
        self.minimum = minimum
        self.maximum = maximum
        self.operands = operands


class Parsed:
    """What a command line said: the values given, by long name, and the operands in order.

    :ivar values: only what was given; repeatable options have a list
    :ivar args: the operands
    """

    __slots__ = ("_options", "args", "values")

    def __init__(self, options: dict[str, Option]) -> None:
        self._options = options
        self.values: dict[str, Any] = {}
        self.args: list[str] = []

    def given(self, name: str) -> bool:
        """Whether the option was on the command line at all."""
        return name in self.values

    def get(self, name: str) -> Any:
        """The value given, else the option's default, else the zero of its kind.

        :raises KeyError: no such option in the command's table
        """
        if name in self.values:
            return self.values[name]
        option = self._options[name]
        if option.repeats:
            return list(option.default or ())
        if option.default is not None:
            return option.default
        return {"bool": False, "int": 0, "uint": 0, "float": 0.0}.get(option.kind, "")

    __getitem__ = get

    def flag(self, name: str) -> bool:
        return bool(self.get(name))

    def text(self, name: str) -> str:
        return str(self.get(name))

    def number(self, name: str) -> int:
        return int(self.get(name))

    def texts(self, name: str) -> list[str]:
        """The values of a repeatable option, ``[]`` when it was not given."""
        return list(self.get(name))


class HelpWanted(Exception):
    """``--help`` (or ``-h``, where that is no option of the command) was given."""


class _Line:
    """One reading of one command line: the tables, the words that are left, and what was found so far."""

    __slots__ = ("by_name", "by_short", "parsed", "words")

    def __init__(self, options: Iterable[Option], argv: Sequence[str]) -> None:
        self.by_name: dict[str, Option] = {}
        self.by_short: dict[str, Option] = {}
        for option in options:
            self.by_name.setdefault(option.name, option)
            for alias in option.aliases:
                self.by_name.setdefault(alias, option)
            if option.short:
                self.by_short.setdefault(option.short, option)
        self.words = list(reversed(argv))
        self.parsed = Parsed(self.by_name)

    def long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        if not name or name[0] == "-":
            raise Invalid(f"bad flag syntax: {word}")
        option = self.by_name.get(name)
        if option is None:
            if name == "help":
                raise HelpWanted
            raise Invalid(f"unknown flag: --{name}", _resembling(name, self.by_name))
        if not equals:
            value = self.next_value(option, f"flag needs an argument: --{name}")
        self.store(option, value)

    def shorts(self, word: str) -> None:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            option = self.by_short.get(letter)
            if option is None:
                if letter == "h":
                    raise HelpWanted
                raise Invalid(f"unknown shorthand flag: '{letter}' in {word}")
            if len(letters) > 1 and letters[0] == "=":
                value, letters = letters[1:], ""
            elif option.implied is None and letters:
                value, letters = letters, ""
            else:
                value = self.next_value(option, f"flag needs an argument: '{letter}' in {word}")
            self.store(option, value)

    def next_value(self, option: Option, complaint: str) -> str:
        if option.implied is not None:
            return option.implied
        if not self.words:
            raise Invalid(complaint)
        return self.words.pop()

    def store(self, option: Option, text: str) -> None:
        try:
            value = convert(option, text)
        except ValueError as error:
            raise Invalid(f'invalid argument "{text}" for "{option}" flag: {error}') from None
        if option.repeats:
            self.parsed.values.setdefault(option.name, []).extend(value)
        else:
            self.parsed.values[option.name] = value


def parse(options: Iterable[Option], argv: Sequence[str], *, interspersed: bool = True) -> Parsed:
    """Read *argv* (without the command's name) by the table *options*; of two options of one name the first counts.

    :raises Invalid: with pflag's words, when it does not fit the table
    :raises HelpWanted: when help was asked for
    """
    line = _Line(options, argv)
    operands = line.parsed.args
    while line.words:
        word = line.words.pop()
        if len(word) < 2 or word[0] != "-":
            operands.append(word)
            if not interspersed:
                break
        elif word == "--":
            break
        elif word[1] == "-":
            line.long(word)
        else:
            line.shorts(word)
    operands.extend(reversed(line.words))
    return line.parsed


def convert(option: Option, text: str) -> Any:
    """The value that *text* means for *option*; a list for those that repeat.

    :raises ValueError: with the cause
    """
    kind = option.kind
    if kind == "string":
        return text
    if kind == "bool":
        return _boolean(text)
    if kind == "array":
        return [text]
    if kind == "list":
        return split_commas(text)
    if kind in ("int", "uint"):
        return _integer(text, signed=kind == "int")
    if kind == "float":
        return float(text)
    chosen = split_commas(text) if kind == "choices" else [text]
    for word in chosen:
        if word not in option.choices:
            raise ValueError(f'"{word}" is not a valid value; choose from: {", ".join(option.choices)}')
    return chosen if kind == "choices" else text


def _boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("not true or false")


def _integer(text: str, *, signed: bool) -> int:
    """Go's ParseInt with base 0: 0x, 0o, 0b and a leading 0 for octal; 64 bits."""
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
    try:
        value = int(text, 8 if octal else 0)
    except ValueError:
        raise ValueError("not a whole number") from None
    if not signed and text[0] in "+-":
        raise ValueError("not a whole number that is zero or more")
    if not -(1 << 63) <= value < (1 << 63 if signed else 1 << 64):
        raise ValueError("out of range")
    return value


def split_commas(text: str) -> list[str]:
    """The fields of one line of CSV, quotes honoured as pflag's string slices do; ``""`` has none.

    :raises ValueError: a quote is not closed or stands inside a bare field
    """
    if '"' not in text:
        return text.split(",") if text else []
    fields: list[str] = []
    at = 0
    while True:
        field, at = _csv_field(text, at)
        fields.append(field)
        if at == len(text):
            return fields
        at += 1


def _csv_field(text: str, at: int) -> tuple[str, int]:
    """The field that begins at *at*, and where the comma after it (or the end) is."""
    if not text.startswith('"', at):
        end = text.find(",", at)
        end = len(text) if end < 0 else end
        if '"' in text[at:end]:
            raise ValueError('bare " in non-quoted field')
        return text[at:end], end
    pieces = []
    while True:
        end = text.find('"', at + 1)
        if end < 0:
            raise ValueError('extraneous or missing " in quoted field')
        pieces.append(text[at + 1 : end])
        at = end + 1
        if not text.startswith('"', at):
            break
    if at < len(text) and text[at] != ",":
        raise ValueError('extraneous or missing " in quoted field')
    return '"'.join(pieces), at


def _resembling(name: str, known: Iterable[str]) -> str:
    """``did you mean --x`` for a name that is nearly one of *known*, else ``""``."""
    from difflib import get_close_matches  # only after a mistake

    close = get_close_matches(name, list(known), 1, 0.7)
    return f"did you mean --{close[0]}?" if close else ""
