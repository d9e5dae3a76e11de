"""``estiva info``."""

from __future__ import annotations

import sys

from estiva.cli.parser import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def info(parsed: Parsed, settings: Globals) -> int:
    from estiva.cli.report import as_json, is_json, normalize

    with settings.engine() as engine:
        told = engine.info()
    form = parsed.text("format")
    if is_json(form):
        sys.stdout.write(as_json(told, 2))
    elif form:
        from estiva.cli.template import Template

        sys.stdout.write(Template(normalize(form), "info").render(told))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in outline(told)))
    return 0


def outline(document: Any, depth: int = 0) -> Iterator[str]:
    """A document of mappings, lists and scalars as lines of YAML."""
    room = "  " * depth
    for key, value in sorted(document.items()) if depth else document.items():
        if isinstance(value, dict) and value:
            yield f"{room}{key}:"
            yield from outline(value, depth + 1)
        elif isinstance(value, list) and value:
            yield f"{room}{key}:"
            yield from _items(value, room, depth)
        else:
            yield f"{room}{key}: {_scalar(value)}"


def _items(values: list[Any], room: str, depth: int) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict) and value:
            first, *more = outline(value, depth + 1)
            yield f"{room}- {first.lstrip()}"
            yield from more
        else:
            yield f"{room}- {_scalar(value)}"


def _scalar(value: Any) -> str:
    import json

    if isinstance(value, str):
        unsafe = value != value.strip() or not value or value[0] in "-?:,[]{}#&*!|>'\"%@`" or ": " in value
        looks_otherwise = value.lower() in ("true", "false", "null", "yes", "no", "on", "off", "~") or _is_number(value)
        return json.dumps(value, ensure_ascii=False) if unsafe or looks_otherwise or "\n" in value else value
    return json.dumps(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


COMMAND = Command(
    "info",
    summary="Display estiva system information",
    description="The host, the store and the version, as YAML, JSON or by a Go template.",
    examples=("info", "info --format json", "info --format '{{.store.graphDriverName}}'"),
    options=(
        Option("format", "f", "string", "string", "Show as JSON (json), or by a Go template", complete="format"),
        Option("debug", "D", hidden=True),
    ),
    run=info,
    maximum=0,
)
