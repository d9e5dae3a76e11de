"""The D-Bus wire format: messages to bytes and back, no I/O.

Values are Python's own: numbers, strings, lists for arrays, tuples for structs, dicts for dictionaries, and
:class:`Variant`.  https://dbus.freedesktop.org/doc/dbus-specification.html "Marshaling", "Message Format"
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = range(1, 5)
MAX_MESSAGE = 1 << 27  # bytes; the specification's limit
MAX_DEPTH = 64

# type code → (alignment, struct's letter)
_FIXED = {
    "y": (1, "B"),
    "b": (4, "I"),
    "n": (2, "h"),
    "q": (2, "H"),
    "i": (4, "i"),
    "u": (4, "I"),
    "x": (8, "q"),
    "t": (8, "Q"),
    "d": (8, "d"),
    "h": (4, "I"),
}
_ALIGNMENT = {**{code: align for code, (align, _) in _FIXED.items()}, "s": 4, "o": 4, "a": 4, "(": 8, "{": 8}
_FIELDS = {
    "path": (1, "o"),
    "interface": (2, "s"),
    "member": (3, "s"),
    "error_name": (4, "s"),
    "reply_serial": (5, "u"),
    "destination": (6, "s"),
    "sender": (7, "s"),
    "signature": (8, "g"),
}


class WireError(ValueError):
    """Bytes that are no message, or a value that its signature does not fit."""


class Variant:
    """A value that carries its own type, a single complete one."""

    __slots__ = ("signature", "value")

    def __init__(self, signature: str, value: object) -> None:
        self.signature = signature
        self.value: Any = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Variant) and (self.signature, self.value) == (other.signature, other.value)

    def __hash__(self) -> int:
        return hash(self.signature)

    def __repr__(self) -> str:
        return f"Variant({self.signature!r}, {self.value!r})"


class Message:
    """One message; ``kind`` is METHOD_CALL … SIGNAL, ``body`` a list of values, one for each type in the signature."""

    __slots__ = ("body", "fields", "kind", "serial")

    def __init__(self, kind: int, serial: int, fields: dict[str, Any], body: Sequence[Any] = ()) -> None:
        self.kind = kind
        self.serial = serial
        self.fields = fields
        self.body = list(body)

    def encode(self) -> bytes:
        """Raises WireError for a body that ``fields["signature"]`` does not fit."""
        body = bytearray()
        types = complete_types(self.fields.get("signature", ""))
        if len(types) != len(self.body):
            raise WireError(f"{len(self.body)} values for {len(types)} types")
        for code, value in zip(types, self.body, strict=True):
            _write(body, code, value)
        head = bytearray(struct.pack("<cBBBII", b"l", self.kind, 0, 1, len(body), self.serial))
        entries = [(_FIELDS[name][0], Variant(_FIELDS[name][1], value)) for name, value in self.fields.items() if value]
        _write(head, "a(yv)", entries)
        _pad(head, 8)
        return bytes(head + body)


def size_of(head: bytes) -> int:
    """The size in bytes of the message whose first 16 bytes these are.  Raises WireError."""
    order = {b"l": "<", b"B": ">"}.get(head[:1])
    if order is None or head[3] != 1:
        raise WireError("not a message of D-Bus version 1")
    body, _, fields = struct.unpack_from(order + "III", head, 4)
    size = int(16 + fields + -fields % 8 + body)
    if size > MAX_MESSAGE:
        raise WireError("a message that is too large")
    return size


def decode(data: bytes) -> Message:
    """The message in *data*, which is all of it and no more.  Raises WireError."""
    if size_of(data) != len(data):
        raise WireError("a message that is cut off")
    reader = _Reader(data, "<" if data[:1] == b"l" else ">")
    kind, serial = data[1], reader.number("I", 8)
    reader.at = 12
    names = {number: name for name, (number, _) in _FIELDS.items()}
    fields = {names[number]: variant.value for number, variant in reader.read("a(yv)") if number in names}
    reader.align(8)
    body = [reader.read(code) for code in complete_types(fields.get("signature", ""))]
    return Message(kind, serial, fields, body)


def complete_types(signature: str) -> list[str]:
    """The single complete types in *signature*.  Raises WireError."""
    result, at = [], 0
    while at < len(signature):
        end = _end(signature, at, 0)
        result.append(signature[at:end])
        at = end
    return result


def _end(signature: str, at: int, depth: int) -> int:
    """Where the complete type that begins at *at* ends."""
    code = signature[at : at + 1]
    if depth > MAX_DEPTH or not code:
        raise WireError(f'signature "{signature}" is not one')
    if code == "a":
        return _end(signature, at + 1, depth + 1)
    if code in "({":
        closing = ")" if code == "(" else "}"
        at += 1
        while signature[at : at + 1] != closing:
            at = _end(signature, at, depth + 1)
        return at + 1
    if code not in _FIXED and code not in "sogv":
        raise WireError(f'signature "{signature}" is not one')
    return at + 1


def _pad(out: bytearray, alignment: int) -> None:
    out += bytes(-len(out) % alignment)


def _write(out: bytearray, code: str, value: Any) -> None:
    """Append *value* as one complete type."""
    letter = code[0]
    try:
        if letter in _FIXED:
            alignment, form = _FIXED[letter]
            _pad(out, alignment)
            out += struct.pack("<" + form, value)
        elif letter in "so":
            data = value.encode()
            _pad(out, 4)
            out += struct.pack("<I", len(data)) + data + b"\0"
        elif letter == "g":
            out += bytes([len(value)]) + value.encode() + b"\0"
        elif letter == "v":
            _write(out, "g", value.signature)
            _write(out, value.signature, value.value)
        elif letter == "a":
            _write_array(out, code[1:], value)
        else:
            _write_all(out, code, value)
    except (struct.error, AttributeError, TypeError) as error:
        raise WireError(f'{value!r} is not of the type "{code}"') from error


def _write_all(out: bytearray, code: str, values: Sequence[Any]) -> None:
    """A struct or dictionary entry."""
    _pad(out, 8)
    types = complete_types(code[1:-1])
    if len(types) != len(values):
        raise WireError(f'{values!r} is not of the type "{code}"')
    for inner, value in zip(types, values, strict=True):
        _write(out, inner, value)


def _write_array(out: bytearray, code: str, values: Any) -> None:
    _pad(out, 4)
    length_at = len(out)
    out += bytes(4)
    _pad(out, _ALIGNMENT.get(code[0], 1))
    start = len(out)
    if code == "y":
        out += bytes(values)
    else:
        entries: Iterable[Any] = values.items() if isinstance(values, dict) else values
        for value in entries:
            _write(out, code, value)
    struct.pack_into("<I", out, length_at, len(out) - start)


class _Reader:
    __slots__ = ("at", "data", "order")

    def __init__(self, data: bytes, order: str) -> None:
        self.data = data
        self.order = order
        self.at = 0

    def align(self, alignment: int) -> None:
        self.at += -self.at % alignment

    def number(self, form: str, at: int) -> Any:
        try:
            return struct.unpack_from(self.order + form, self.data, at)[0]
        except struct.error as error:
            raise WireError("a message that is cut off") from error

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise WireError("a message that is cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self, size: int) -> str:
        text = self.take(size).decode(errors="replace")
        self.take(1)
        return text

    def read(self, code: str, depth: int = 0) -> Any:
        """One complete type."""
        if depth > MAX_DEPTH:
            raise WireError("a message that is nested too deeply")
        letter = code[0]
        self.align(_ALIGNMENT.get(letter, 1))
        if letter in _FIXED:
            form = _FIXED[letter][1]
            value = self.number(form, self.at)
            self.at += struct.calcsize(form)
            return bool(value) if letter == "b" else value
        if letter in "so":
            return self.text(self.read("u"))
        if letter == "g":
            return self.text(self.read("y"))
        if letter == "v":
            signature = self.read("g")
            if len(complete_types(signature)) != 1:
                raise WireError(f'variant of signature "{signature}"')
            return Variant(signature, self.read(signature, depth + 1))
        if letter == "a":
            return self._array(code[1:], depth)
        return tuple(self.read(inner, depth + 1) for inner in complete_types(code[1:-1]))

    def _array(self, code: str, depth: int) -> Any:
        size = self.read("u")
        self.align(_ALIGNMENT.get(code[0], 1))
        end = self.at + size
        if end > len(self.data):
            raise WireError("a message that is cut off")
        if code == "y":
            return self.take(size)
        values = []
        while self.at < end:
            values.append(self.read(code, depth + 1))
        return dict(values) if code[0] == "{" else values
