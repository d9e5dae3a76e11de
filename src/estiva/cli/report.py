"""Lists of rows as ``--format`` asks: the command's own table, JSON, or a Go template, with ``table`` or without.

A row has ``go_field(name)`` (KeyError if there is no such field) and ``to_json()``.
"""

from __future__ import annotations

import sys

from estiva.cli.table import align, elastic
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    class Row(Protocol):
        def go_field(self, name: str) -> Any: ...
        def to_json(self) -> Any: ...


class Heading(str):
    """What a field is in the heading of a table; so is every field of it."""

    __slots__ = ()

    def go_field(self, name: str) -> Heading:
        return Heading(heading(name, {}))


class _Headings:
    """The row above the rows."""

    def __init__(self, special: dict[str, str]) -> None:
        self.special = special

    def go_field(self, name: str) -> Heading:
        return Heading(heading(name, self.special))


class Report:
    """How one command shows its rows.

    :param command: its name, for messages about templates
    :param columns: the fields of its own table
    :param headings: heading of a field, where it is not the field's name in capitals
    """

    __slots__ = ("columns", "command", "headings", "indent")

    def __init__(self, command: str, columns: Sequence[str], headings: dict[str, str], indent: int = 4) -> None:
        self.command = command
        self.columns = columns
        self.headings = headings
        self.indent = indent

    def show(self, rows: Sequence[Row], form: str = "", *, noheading: bool = False) -> None:
        """Print *rows* as the value *form* of ``--format`` says.

        :raises Invalid: it is no template, or names a field that rows do not have; nothing was printed then
        """
        sys.stdout.write(self.text(rows, form, noheading=noheading))

    def text(self, rows: Sequence[Row], form: str = "", *, noheading: bool = False) -> str:
        """What :meth:`show` prints."""
        if form in ("", "table"):
            return self.table(rows, noheading)
        if is_json(form):
            return as_json([row.to_json() for row in rows], self.indent)
        if form.startswith("table "):
            self.check(form[len("table ") :])
            body = normalize(spaces_to_tabs(form[len("table ") :].strip()))
            return elastic(self.header(body, noheading) + self.fill(f"{{{{range .}}}}{body}{{{{end}}}}", rows))
        self.check(form)
        return self.fill(over_rows(normalize(form)), rows)

    def check(self, form: str) -> None:
        """:raises Invalid: about the template as it was typed, not as it is wrapped here"""
        from estiva.cli.template import Template  # the command's own table needs none

        Template(form, self.command)

    def table(self, rows: Sequence[Row], noheading: bool) -> str:
        lines = [] if noheading else [[heading(name, self.headings) for name in self.columns]]
        lines += [[str(row.go_field(name)) for name in self.columns] for row in rows]
        return align(lines)

    def header(self, body: str, noheading: bool) -> str:
        """The heading line of a ``table`` template: the template, filled with the names of its fields."""
        if noheading:
            return ""
        from estiva.cli.template import Template  # the command's own table needs none

        parsed = Template(body, self.command)
        try:
            return parsed.render(_Headings(self.headings))
        except Invalid:  # it computes with numbers or walks lists, which headings are not
            return ""

    def fill(self, body: str, data: Any) -> str:
        from estiva.cli.template import Template  # the command's own table needs none

        return Template(body, self.command).render(list(data))


def heading(name: str, special: dict[str, str]) -> str:
    """``CREATED AT`` for ``CreatedAt``: a word begins where a capital follows a small letter."""
    if name in special:
        return special[name]
    words = ""
    for before, char, after in zip(" " + name, name, name[1:] + " ", strict=False):
        starts = char.isupper() and (before.islower() or (before.isupper() and after.islower()))
        words += f" {char}" if starts else char
    return words.upper()


def is_json(form: str) -> bool:
    """Whether ``--format`` asks for the JSON of everything: ``json`` or ``{{json .}}``."""
    bare = form.strip()
    if bare.startswith("{{") and bare.endswith("}}"):
        return bare[2:-2].split() in (["json"], ["json", "."])
    return bare == "json"


def as_json(document: Any, indent: int = 4) -> str:
    """*document* as people read it, with a line feed at the end."""
    import json  # tables need none

    return json.dumps(document, indent=indent, ensure_ascii=False) + "\n"


def normalize(form: str) -> str:
    """A template as it is typed in a shell: ``\\t`` and ``\\n`` are what they say, and a line ends with a line feed."""
    text = form.replace("\\t", "\t").replace("\\n", "\n")
    return text if text.endswith("\n") else f"{text}\n"


def spaces_to_tabs(form: str) -> str:
    """A ``table`` template with its spaces outside of actions as tabs: what is set apart is a column, as in Podman."""
    parts = []
    for part in form.split("}}"):
        text, braces, action = part.partition("{{")
        parts.append(text.replace(" ", "\t") + braces + action)
    return "}}".join(parts)


def over_rows(body: str) -> str:
    """The template applied to each row, unless it goes over the rows itself."""
    head = body.lstrip().removeprefix("{{").lstrip("- ")
    return body if body.lstrip().startswith("{{") and head.startswith("range ") else f"{{{{range .}}}}{body}{{{{end}}}}"
