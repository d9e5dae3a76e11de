"""``estiva __complete WORDS...``: what the last of WORDS can become, a line each, a tab before its description.

A line that begins with ``:`` tells the shell's script what else to offer: ``:file``, ``:directory`` or ``:none``.
Whatever goes wrong, there are no candidates: a shell is no place for error messages.
"""

from __future__ import annotations

import sys

from estiva.cli.globals import GLOBAL_OPTIONS, Globals
from estiva.cli.main import ALIASES, COMMANDS, load, members
from estiva.cli.parser import Command, Option, Parsed
from estiva.errors import EstivaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from estiva.engine.engine import Engine

_HELP = Option("help", help="Print help and exit")
_FILTERS = {
    "images": ("before=", "dangling=", "digest=", "id=", "label=", "reference=", "since=", "until="),
    "": ("ancestor=", "before=", "exited=", "health=", "id=", "label=", "name=", "network=", "since=",
         "status=", "volume="),
}  # fmt: skip
_SIGNALS = ("HUP", "INT", "KILL", "QUIT", "STOP", "CONT", "TERM", "USR1", "USR2", "WINCH")


def complete(parsed: Parsed, settings: Globals) -> int:
    *before, current = parsed.args or [""]
    try:
        found = list(candidates(before, current, settings))
    except (EstivaError, OSError):
        found = []
    lines = [each for each in found if each.startswith((current, ":"))]
    sys.stdout.write("".join(f"{each}\n" for each in lines or [":none"]))
    return 0


def candidates(before: list[str], current: str, settings: Globals) -> Iterator[str]:
    """Everything that could stand where *current* is, after the words *before*."""
    name, words = _command(before)
    group = name if name and not COMMANDS[name][0] else "" if not name else None
    options: tuple[Option, ...] = GLOBAL_OPTIONS
    command: Command | None = None
    if group is None:
        command = load(name)
        options = (*command.options, *GLOBAL_OPTIONS)
    operands, pending, ended = _walk(options, words, command is None or command.interspersed)
    if pending is not None:
        yield from _values(pending, name, current, "", settings)
    elif current.startswith("--") and "=" in current and not ended:
        flag, _, value = current.partition("=")
        option = next((each for each in options if f"--{each.name}" == flag), None)
        if option is not None:
            yield from _values(option, name, value, f"{flag}=", settings)
    elif current.startswith("-") and not ended:
        for option in (*options, _HELP):
            if not option.hidden:
                yield f"--{option.name}\t{option.help}"
    elif group is not None:
        for member, summary in members(group).items():
            yield f"{member}\t{summary}"
    elif command is not None:
        yield from _operands(command, operands, settings)


def _command(before: list[str]) -> tuple[str, list[str]]:
    """The command that *before* begins with (``""``: none yet, or a group), and the words after it."""
    operands = _walk(GLOBAL_OPTIONS, before, False)[0]
    if not operands:
        return "", before
    name, rest = operands[0], operands[1:]
    if name in COMMANDS and not COMMANDS[name][0] and rest:
        name, rest = f"{name} {rest[0]}", rest[1:]
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        raise EstivaError("no such command")
    return name, rest


def _walk(options: Iterable[Option], words: list[str], interspersed: bool) -> tuple[list[str], Option | None, bool]:
    """The operands among *words*, the option that still wants a value, and whether no more options can come."""
    by_name = {f"--{each.name}": each for each in options} | {f"-{each.short}": each for each in options if each.short}
    operands: list[str] = []
    pending: Option | None = None
    for at, word in enumerate(words):
        if pending is not None:
            pending = None
        elif word == "--":
            return [*operands, *words[at + 1 :]], None, True
        elif len(word) > 1 and word[0] == "-":
            last = word if word.startswith("--") or len(word) == 2 else f"-{word[-1]}"
            option = by_name.get(last) if "=" not in word else None
            pending = option if option is not None and option.implied is None else None
        else:
            operands.append(word)
            if not interspersed:
                return [*operands, *words[at + 1 :]], None, True
    return operands, pending, False


def _values(option: Option, name: str, current: str, prefix: str, settings: Globals) -> Iterator[str]:
    """What the value of *option* can be, each after *prefix*."""
    if option.complete in ("file", "directory"):
        yield f":{option.complete}"
    elif option.choices:
        yield from (f"{prefix}{each}" for each in option.choices)
    elif option.complete == "format":
        yield from (f"{prefix}json", f"{prefix}table")
    elif option.complete == "filter":
        yield from (f"{prefix}{each}" for each in _FILTERS.get(name, _FILTERS[""]))
    elif option.complete == "signal":
        yield from (f"{prefix}{each}" for each in _SIGNALS)
    elif option.complete in ("container", "image"):
        with settings.engine() as engine:
            yield from (prefix + each for each in (_containers if option.complete == "container" else _images)(engine))


def _operands(command: Command, given: list[str], settings: Globals) -> Iterator[str]:
    if command.maximum is not None and len(given) >= command.maximum:
        return
    if command.operands == "shell":
        yield from ("bash", "fish", "zsh")
    elif command.operands == "file" or (not command.interspersed and given):
        yield ":file"
    elif command.operands in ("container", "image"):
        with settings.engine() as engine:
            listed = _containers(engine) if command.operands == "container" else _images(engine)
            yield from (each for each in listed if each.partition("\t")[0] not in given)


def _containers(engine: Engine) -> list[str]:
    return [f"{each.name}\t{each.image_name}" for each in engine.containers.list(all=True)]


def _images(engine: Engine) -> list[str]:
    names = [name for each in engine.images.list() for name in each.names]
    short = [name.removeprefix("docker.io/library/").removeprefix("localhost/") for name in names]
    return sorted({*names, *short})


COMMAND = Command("__complete", summary="Complete words for a shell", run=complete)
