"""Go's text/template, as ``--format`` of Docker and Podman takes it.  pkg.go.dev/text/template

``Template(text).render(data)`` with *data* made of dicts, lists, texts, numbers, booleans and ``None``, or objects with
a method ``go_field(name)`` that raises KeyError for what they do not have.  Everything of the language is here but
methods with arguments, ``call`` and ``js``.  Whatever is wrong, in the text or while rendering, is one
:class:`~estiva.errors.Invalid` in Go's words.

The parser makes the nodes of ``template_nodes``; rendering runs them.
"""

from __future__ import annotations

from estiva.cli.template_functions import FUNCTIONS
from estiva.cli.template_lex import Token, pieces
from estiva.cli.template_nodes import (
    MAX_DEPTH,
    Break,
    Continue,
    Scope,
    branch,
    constant,
    declare,
    field,
    function_call,
    leave,
    literal_text,
    loop,
    sequence,
    show,
    the_dot,
    variable,
)
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.cli.template_nodes import Expression, Node


class Template:
    """A parsed template.

    :param name: what messages call it: the command's name
    :raises Invalid: the text is not a template
    """

    def __init__(self, text: str, name: str = "format") -> None:
        self.name = name
        try:
            self._root = _Parser(text).template()
        except Invalid as error:
            raise Invalid(f"template: {name}:{error.message}") from None
        except RecursionError:
            raise Invalid(f"template: {name}: nested too deeply") from None

    def render(self, data: Any) -> str:
        """:raises Invalid: a field is not there, or a function does not take what it got"""
        out: list[str] = []
        try:
            self._root(Scope(data), out)
        except Invalid as error:
            raise Invalid(f"template: {self.name}: {error.message}") from None
        except RecursionError:
            raise Invalid(f"template: {self.name}: nested too deeply") from None
        return "".join(out)


class _Parser:
    """Reads the pieces of one template; the nodes it makes are closures."""

    def __init__(self, text: str) -> None:
        self.pieces = pieces(text)
        self.line = 1
        self.tokens: list[Token] = []
        self.at = 0
        self.names = [{"$"}]
        self.defined: dict[str, Node] = {}
        self.loops = 0
        self.depth = 0

    def template(self) -> Node:
        try:
            node, closer = self.block()
        except Invalid as error:
            has_line = error.message.split(":")[0].isdigit()
            raise error if has_line else Invalid(f"{self.line}: {error.message}") from None
        if closer:
            raise Invalid(f"{self.line}: unexpected {{{{{closer}}}}}")
        return node

    def block(self) -> tuple[Node, str]:
        """The nodes up to ``else``, ``end`` or the end of the text, and which of these it was (``""``: the end)."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Invalid("nested too deeply")
        self.names.append(set())
        nodes: list[Node] = []
        closer = ""
        for line, piece in self.pieces:
            self.line = line
            if isinstance(piece, str):
                if piece:
                    nodes.append(literal_text(piece))
                continue
            self.tokens, self.at = [*piece, Token("end", "", False)], 0
            word = piece[0].text if piece and piece[0].kind == "word" else ""
            if word in ("else", "end"):
                closer = word
                break
            nodes.append(self.action(word))
        self.names.pop()
        self.depth -= 1
        return sequence(nodes), closer

    def action(self, word: str) -> Node:
        if word in ("if", "with", "range"):
            self.at += 1
            return self.control(word)
        if word in ("define", "block"):
            self.at += 1
            return self.define(word)
        if word == "template":
            self.at += 1
            return self.use()
        if word in ("break", "continue"):
            self.at += 1
            self.finish(word)
            if not self.loops:
                raise Invalid(f"{{{{{word}}}}} outside {{{{range}}}}")
            return leave(Break if word == "break" else Continue)
        names, assign, value = self.pipeline("command")
        if names:
            return declare(names[0], assign, value)
        return lambda scope, out: out.append(show(value(scope)))

    def control(self, word: str) -> Node:
        self.names.append(set())
        names, assign, value = self.pipeline(word)
        if len(names) > 1 and word != "range":
            raise Invalid(f"too many declarations in {word}")
        self.loops += word == "range"
        body, closer = self.block()
        self.loops -= word == "range"
        otherwise = self.otherwise(word, closer)
        self.names.pop()
        if word == "range":
            return loop(names, assign, value, body, otherwise)
        return branch(word == "with", names, assign, value, body, otherwise)

    def otherwise(self, word: str, closer: str) -> Node:
        """What follows ``else`` of an if, with or range, up to its ``end``."""
        if not closer:
            raise Invalid("unexpected EOF")
        self.at += 1
        if closer == "end":
            self.finish("end")
            return sequence([])
        if self.peek().kind == "word" and self.peek().text == word != "range":
            self.at += 1
            return self.control(word)
        self.finish("else")
        node, closer = self.block()
        if closer != "end":
            raise Invalid("expected end; found {{else}}" if closer else "unexpected EOF")
        self.at += 1
        self.finish("end")
        return node

    def define(self, word: str) -> Node:
        name = self.string(word)
        value: Expression | None = None
        if word == "block":
            value = self.pipeline("block")[2]
        else:
            self.finish("define")
        outer, self.names, loops, self.loops = self.names, [{"$"}], self.loops, 0
        body, closer = self.block()
        self.names, self.loops = outer, loops
        if closer != "end":
            raise Invalid(f"unexpected {{{{{closer}}}}}" if closer else "unexpected EOF")
        self.at += 1
        self.finish("end")
        self.defined[name] = body
        return sequence([]) if value is None else self.using(name, value)

    def use(self) -> Node:
        name = self.string("template clause")
        if self.peek().kind == "end":
            return self.using(name, lambda scope: None)
        return self.using(name, self.pipeline("template")[2])

    def using(self, name: str, value: Expression) -> Node:
        def node(scope: Scope, out: list[str]) -> None:
            if name not in self.defined:
                raise Invalid(f'template "{name}" not defined')
            if scope.depth >= MAX_DEPTH:
                raise Invalid(f"exceeded maximum template depth ({MAX_DEPTH})")
            self.defined[name](Scope(value(scope), depth=scope.depth + 1), out)

        return node

    def string(self, where: str) -> str:
        token = self.next()
        if token.kind != "string":
            raise Invalid(f"unexpected {token} in {where}")
        return token.text

    def peek(self) -> Token:
        return self.tokens[min(self.at, len(self.tokens) - 1)]

    def next(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def finish(self, where: str) -> None:
        if self.peek().kind != "end":
            raise Invalid(f"unexpected {self.peek()} in {where}")

    def pipeline(self, where: str) -> tuple[list[str], bool, Expression]:
        """The variables set, whether they are assigned (``=``) rather than declared (``:=``), and the value."""
        names, assign = self.declarations(where)
        value = self.commands(where)
        self.finish(where)
        for name in () if assign else names:
            self.names[-1].add(name)
        return names, assign, value

    def declarations(self, where: str) -> tuple[list[str], bool]:
        words = self.tokens[self.at : self.at + 4]
        marks = [word.text if word.kind == "mark" else word.kind for word in words]
        count = 0
        if marks[:1] == ["variable"] and marks[1:2] in ([":="], ["="]):
            count = 1
        elif where == "range" and marks[:3] == ["variable", ",", "variable"] and marks[3:4] in ([":="], ["="]):
            count = 2
        if not count:
            return [], False
        names = [words[0].text] if count == 1 else [words[0].text, words[2].text]
        assign = marks[2 * count - 1] == "="
        for name in names if assign else ():
            self.check_variable(name)
        self.at += 2 * count
        return names, assign

    def check_variable(self, name: str) -> None:
        if not any(name in names for names in self.names):
            raise Invalid(f"undefined variable: {name}")

    def commands(self, where: str) -> Expression:
        """Commands joined by ``|``, each getting the value before it as its last argument."""
        value = self.command(where, None)
        while self.peek().kind == "mark" and self.peek().text == "|":
            self.at += 1
            value = self.command(where, value)
        return value

    def command(self, where: str, piped: Expression | None) -> Expression:
        first = self.peek()
        function = ""
        if first.kind == "word" and first.text not in ("true", "false", "nil"):
            function = self.next().text
            if function not in FUNCTIONS and function not in ("and", "or"):
                raise Invalid(f'function "{function}" not defined')
        arguments = []
        if function and self.starts_field():
            arguments.append(self.fields(function_call(function, [])))
            if self.starts_operand():
                raise Invalid(f"{function} is called without arguments before a field")
            return arguments[0]
        while self.starts_operand():
            arguments.append(self.operand(where))
        if not function and not arguments:
            raise Invalid(f"missing value for {where}" if first.kind == "end" else f"unexpected {first} in {where}")
        if piped is not None:
            arguments.append(piped)
        if function:
            return function_call(function, arguments)
        if len(arguments) > 1:
            raise Invalid(f"can't give argument to non-function {first.text}")
        return arguments[0]

    def starts_operand(self) -> bool:
        token = self.peek()
        return token.kind not in ("end", "mark") or (token.kind == "mark" and token.text in (".", "("))

    def starts_field(self) -> bool:
        return self.peek().kind == "field" and self.peek().glued

    def operand(self, where: str) -> Expression:
        token = self.next()
        if token.kind == "mark" and token.text == "(":
            value = self.parenthesis()
        elif token.kind == "mark":
            value = the_dot
        elif token.kind == "field":
            value = field(the_dot, token.text)
        elif token.kind == "variable":
            self.check_variable(token.text)
            value = variable(token.text)
        elif token.kind == "word" and token.text not in ("true", "false", "nil"):
            if token.text not in FUNCTIONS and token.text not in ("and", "or"):
                raise Invalid(f'function "{token.text}" not defined')
            value = function_call(token.text, [])
        else:
            value = constant(_literal(token))
        if not self.peek().glued or self.peek().kind == "end":
            return value
        if not self.starts_field() and self.peek().text not in ("|", ")"):
            raise Invalid(f"unexpected {self.peek()} in operand")
        return self.fields(value)

    def parenthesis(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Invalid("nested too deeply")
        value = self.commands("parenthesized pipeline")
        closing = self.next()
        if closing.kind != "mark" or closing.text != ")":
            raise Invalid("unclosed left paren")
        self.depth -= 1
        return value

    def fields(self, value: Expression) -> Expression:
        while self.starts_field():
            value = field(value, self.next().text)
        return value


def _literal(token: Token) -> Any:
    if token.kind == "string":
        return token.text
    if token.kind == "char":
        return ord(token.text)
    if token.kind == "word":
        return {"true": True, "false": False, "nil": None}[token.text]
    digits = token.text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
    try:
        return int(token.text, 8 if octal else 0)
    except ValueError:
        pass
    try:
        return float(token.text)
    except ValueError:
        raise Invalid(f"bad number syntax: {token}") from None
