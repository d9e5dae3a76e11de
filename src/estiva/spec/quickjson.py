"""JSON by the standard library's own C code, without the modules around it.

Importing ``json`` loads ``re``, ``enum``, ``functools`` and ``collections``, which takes longer than starting a
container's process; what they are for (error messages, pretty printing, slow fallbacks) the way of ``run``, ``exec``
and ``ps`` does not need.  A document that is damaged makes the C scanner load ``json.decoder`` itself and raise its
``JSONDecodeError``.  Where the C parts are missing, ``json`` takes over.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _json: Any
else:
    try:
        import _json
    except ImportError:  # another Python implementation
        _json = None


class _Context:
    """What the scanner asks its decoder for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}


_SPACE = " \t\n\r"


def loads(text: str | bytes) -> Any:
    """The value of a JSON document; raises ValueError."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogatepass")
    if _json is None:
        return _slow().loads(text)
    stripped = text.strip(_SPACE)
    try:
        value, end = _json.make_scanner(_Context)(stripped, 0)
    except (StopIteration, SystemError):  # the latter where the scanner misses json.decoder's exception
        return _slow().loads(text)  # raises, with the place of the mistake
    return value if end == len(stripped) else _slow().loads(text)


def dumps(value: Any, *, sort_keys: bool = False, separators: tuple[str, str] = (", ", ": ")) -> str:
    """*value* as a JSON document on one line, in ASCII; raises TypeError for what JSON cannot say."""
    if _json is None:
        return str(_slow().dumps(value, sort_keys=sort_keys, separators=separators))
    encoder = _json.make_encoder(
        {}, _refuse, _json.encode_basestring_ascii, None, separators[1], separators[0], sort_keys, False, True
    )
    return "".join(encoder(value, 0)) if isinstance(value, dict | list | tuple) else str(_slow().dumps(value))


def pretty(value: Any, indent: str = "  ", margin: str = "\n") -> str:
    """*value* as a JSON document for people: one member a line."""
    inner = margin + indent
    if isinstance(value, dict) and value:
        members = (f"{quote(str(key))}: {pretty(member, indent, inner)}" for key, member in value.items())
        return f"{{{inner}{(',' + inner).join(members)}{margin}}}"
    if isinstance(value, list | tuple) and value:
        return f"[{inner}{(',' + inner).join(pretty(member, indent, inner) for member in value)}{margin}]"
    return quote(value) if isinstance(value, str) else dumps([value])[1:-1]


def quote(text: str) -> str:
    """*text* as a JSON string, in ASCII."""
    return str(_slow().dumps(text) if _json is None else _json.encode_basestring_ascii(text))


def _refuse(value: object) -> Any:
    raise TypeError(f"object of type {type(value).__name__} is not JSON serializable")


def _slow() -> Any:
    import json

    return json
