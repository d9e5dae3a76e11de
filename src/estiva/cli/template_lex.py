"""A Go template cut into text and actions, and actions cut into tokens.  pkg.go.dev/text/template"""

from __future__ import annotations

import re

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = " \t\r\n"
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<raw>`[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\.)+')
    | (?P<number>[+-]?(?:0[xXoObB][0-9a-fA-F_]+|(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))
    | (?P<field>\.[^\W\d]\w*)
    | (?P<variable>\$\w*)
    | (?P<word>[^\W\d]\w*)
    | (?P<mark>:=|[.|(),=])""",
    re.VERBOSE,
)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)


class Token:
    """A word of an action.

    :ivar kind: ``string`` (already unquoted), ``char``, ``number``, ``field`` (without its dot), ``variable``,
        ``word``, ``mark`` or ``end``
    :ivar glued: no space stands before it: ``.A.B`` is one operand, ``.A .B`` are two
    """

    __slots__ = ("glued", "kind", "text")

    def __init__(self, kind: str, text: str, glued: bool) -> None:
        self.kind = kind
        self.text = text
        self.glued = glued

    def __str__(self) -> str:
        return "end of action" if self.kind == "end" else f'"{self.text}"'


def pieces(text: str) -> Iterator[tuple[int, str | list[Token]]]:
    """The line, and the text between actions or an action's tokens, in order.  Trim markers are applied.

    :raises Invalid: an action or comment does not end, or a character does not belong in one
    """
    at, trim_left = 0, False
    while True:
        start = text.find("{{", at)
        plain = text[at:] if start < 0 else text[at:start]
        if trim_left:
            plain = plain.lstrip(_SPACE)
        if start < 0:
            yield _line(text, at), plain
            return
        body = start + 2
        if text.startswith("-", body) and text[body + 1 : body + 2] in tuple(_SPACE):
            plain = plain.rstrip(_SPACE)
            body += 1
        yield _line(text, at), plain
        comment = text.startswith("/*", body + len(text[body:]) - len(text[body:].lstrip(_SPACE)))
        tokens, at, trim_left = _comment(text, body) if comment else _action(text, body)
        if not comment:
            yield _line(text, start), tokens


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _comment(text: str, at: int) -> tuple[list[Token], int, bool]:
    end = text.find("*/", at)
    if end < 0:
        raise Invalid(f"{_line(text, at)}: unclosed comment")
    close = re.compile(r"(\s+-)?\}\}").match(text, end + 2)
    if close is None:
        raise Invalid(f"{_line(text, at)}: comment ends before closing delimiter")
    return [], close.end(), bool(close.group(1))


def _action(text: str, at: int) -> tuple[list[Token], int, bool]:
    """The tokens from *at* to the closing braces, where the text goes on, and whether it is trimmed there."""
    tokens: list[Token] = []
    glued = False
    while True:
        if text.startswith("}}", at):
            return tokens, at + 2, False
        found = _TOKEN.match(text, at)
        if found is None:
            raise Invalid(f"{_line(text, at)}: {_stray(text, at)}")
        kind, word, at = str(found.lastgroup), found.group(), found.end()
        if kind == "space":
            if text.startswith("-}}", at):
                return tokens, at + 3, True
            glued = False
            continue
        tokens.append(Token(*_value(kind, word, _line(text, at)), glued))
        glued = True


def _stray(text: str, at: int) -> str:
    if at >= len(text):
        return "unclosed action"
    if text[at] in "\"`'":
        return {'"': "unterminated quoted string", "`": "unterminated raw quoted string"}.get(
            text[at], "unterminated character constant"
        )
    return f'unexpected "{text[at]}" in command'


def _value(kind: str, word: str, line: int) -> tuple[str, str]:
    if kind == "raw":
        return "string", word[1:-1]
    if kind == "field":
        return kind, word[1:]
    if kind not in ("string", "char"):
        return kind, word
    try:
        value = _ESCAPE.sub(_unescape, word[1:-1])
    except (KeyError, ValueError, OverflowError):
        raise Invalid(f"{line}: invalid escape in {word}") from None
    if kind == "char" and len(value) != 1:
        raise Invalid(f"{line}: malformed character constant: {word}")
    return kind, value


def _unescape(found: re.Match[str]) -> str:
    code = found.group(1)
    if code[0] in "xuU" and len(code) > 1:
        return chr(int(code[1:], 16))
    if len(code) == 3:
        return chr(int(code, 8))
    return _ESCAPES[code]
