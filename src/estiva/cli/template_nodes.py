"""What a parsed Go template is made of: expressions, nodes that write text, and the scope they work in.

An expression is a function of the scope; a node is a function of the scope and the list it appends its text to.
"""

from __future__ import annotations

from estiva.cli.goformat import NO_VALUE, kind_name, plain
from estiva.cli.template_functions import FUNCTIONS
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Expression = Callable[["Scope"], Any]
    Node = Callable[["Scope", list[str]], None]

MAX_DEPTH = 60  # of nesting, and of templates that use templates


class Break(Exception):
    pass


class Continue(Exception):
    pass


class Scope:
    """What ``.`` and the variables are at one place of a rendering."""

    __slots__ = ("depth", "dot", "parent", "variables")

    def __init__(self, dot: Any, parent: Scope | None = None, *, depth: int = 0) -> None:
        self.dot = dot
        self.parent = parent
        self.variables: dict[str, Any] = {} if parent else {"$": dot}
        self.depth: int = parent.depth if parent else depth

    def find(self, name: str) -> Scope:
        """The innermost scope that has the variable; the parser saw to it that there is one."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.variables:
                return scope
            scope = scope.parent
        raise Invalid(f"undefined variable: {name}")


def lookup(value: Any, name: str) -> Any:
    """The field *name* of *value*; keys differ from it in case at most, since the JSON's ``Id`` is Go's ``ID``.

    :raises Invalid: there is none, and *value* has named fields rather than being a map with free keys
    """
    if isinstance(value, dict):
        if name in value:
            return value[name]
        folded = [key for key in value if isinstance(key, str) and key.lower() == name.lower()]
        if len(folded) == 1:
            return value[folded[0]]
        if value and all(isinstance(key, str) and key[:1].isupper() for key in value):
            raise Invalid(f"can't evaluate field {name}: {_known(value)}")
        return NO_VALUE
    if hasattr(value, "go_field"):
        try:
            return value.go_field(name)
        except KeyError:
            known = getattr(value, "FIELDS", ())
            raise Invalid(f"can't evaluate field {name}: {_known(known)}") from None
    if value is NO_VALUE or value is None:
        raise Invalid(f"nil data; no entry for key {name}")
    raise Invalid(f"can't evaluate field {name} in type {kind_name(value)}")


def _known(names: Iterable[str]) -> str:
    return f"there are {', '.join(sorted(names))}"


def show(value: Any) -> str:
    return "<no value>" if value is NO_VALUE else plain(value)


def the_dot(scope: Scope) -> Any:
    return scope.dot


def constant(value: Any) -> Expression:
    return lambda scope: value


def variable(name: str) -> Expression:
    return lambda scope: scope.find(name).variables[name]


def field(value: Expression, name: str) -> Expression:
    return lambda scope: lookup(value(scope), name)


def function_call(name: str, arguments: list[Expression]) -> Expression:
    if name in ("and", "or"):
        return _short_circuit(name, arguments)

    def call(scope: Scope) -> Any:
        values = [argument(scope) for argument in arguments]
        try:
            return FUNCTIONS[name](*values)
        except TypeError:
            raise Invalid(f"wrong number or kind of arguments for {name}: got {len(values)}") from None
        except (ValueError, OverflowError, MemoryError) as error:
            raise Invalid(f"error calling {name}: {error}") from None

    return call


def _short_circuit(name: str, arguments: list[Expression]) -> Expression:
    if not arguments:
        raise Invalid(f"wrong number of args for {name}: want at least 1 got 0")

    def call(scope: Scope) -> Any:
        value = None
        for argument in arguments:
            value = argument(scope)
            if bool(value) == (name == "or"):
                break
        return value

    return call


def literal_text(text: str) -> Node:
    return lambda scope, out: out.append(text)


def leave(kind: type[Exception]) -> Node:
    def node(scope: Scope, out: list[str]) -> None:
        raise kind

    return node


def sequence(nodes: list[Node]) -> Node:
    def node(scope: Scope, out: list[str]) -> None:
        for each in nodes:
            each(scope, out)

    return node


def declare(name: str, assign: bool, value: Expression) -> Node:
    def node(scope: Scope, out: list[str]) -> None:
        (scope.find(name) if assign else scope).variables[name] = value(scope)

    return node


def branch(moves_dot: bool, names: list[str], assign: bool, value: Expression, body: Node, otherwise: Node) -> Node:
    """``if`` and ``with``."""

    def node(scope: Scope, out: list[str]) -> None:
        found = value(scope)
        inner = Scope(found if moves_dot and found else scope.dot, scope)
        for name in names:
            (scope.find(name) if assign else inner).variables[name] = found
        (body if found else otherwise)(inner, out)

    return node


def loop(names: list[str], assign: bool, value: Expression, body: Node, otherwise: Node) -> Node:
    def node(scope: Scope, out: list[str]) -> None:
        pairs = _pairs(value(scope))
        for key, element in pairs:
            inner = Scope(element, scope)
            for name, each in zip(names, (key, element) if len(names) == 2 else (element,), strict=False):
                (scope.find(name) if assign else inner).variables[name] = each
            try:
                body(inner, out)
            except Continue:
                continue
            except Break:
                break
        if not pairs:
            otherwise(Scope(scope.dot, scope), out)

    return node


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    """What ``range`` goes over: positions and elements, or the sorted keys of a map and its values."""
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted(value, key=str)]
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if value is None or value is NO_VALUE:
        return []
    if isinstance(value, int) and not isinstance(value, bool) and value <= 100_000:
        return [(number, number) for number in range(value)]
    raise Invalid(f"range can't iterate over {show(value)}")
