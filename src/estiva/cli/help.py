"""``--help``: pages made from the option tables, laid out as Podman's."""

from __future__ import annotations

import sys

from estiva.cli.globals import GLOBAL_OPTIONS
from estiva.cli.main import COMMANDS, load, members
from estiva.cli.parser import METAVARS, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from estiva.cli.parser import Command

_HELP = Option("help", help="Print this page and exit")
_VERSION = Option("version", "v", help="Print version and exit")


def show(name: str) -> None:
    """Print the page of a command or group; ``""`` is the program itself."""
    is_group = not name or not COMMANDS[name][0]
    sys.stdout.write(group_page(name) if is_group else command_page(name, load(name)))


def group_page(name: str) -> str:
    """The page of a group: its members and, for the program itself, the global options."""
    prefix = f"{name} " if name else ""
    title = COMMANDS[name][1] if name else "Run, pull, keep and inspect containers and images, without a daemon"
    options = "" if name else "Options:\n" + option_lines((*GLOBAL_OPTIONS, _HELP, _VERSION)) + "\n"
    usage = f"estiva {prefix}{'' if name else '[options] '}COMMAND"
    listing = members(name)
    width = max(map(len, listing))
    listed = "".join(f"  {member:<{width}}  {summary}\n" for member, summary in listing.items())
    see = f"'estiva {prefix}COMMAND --help' tells more about a command.\n"
    return f"{title}\n\nUsage:\n  {usage}\n\nAvailable Commands:\n{listed}\n{options}{see}"


def command_page(name: str, command: Command) -> str:
    """The page of one command: purpose, usage, examples, options."""
    parts = [f"{command.summary}\n"]
    if command.description:
        body = "".join(f"  {line}".rstrip() + "\n" for line in command.description.splitlines())
        parts.append(f"Description:\n{body}")
    parts.append(f"Usage:\n  estiva {name} {command.usage}".rstrip() + "\n")
    if command.examples:
        parts.append("Examples:\n" + "".join(f"  estiva {example}\n" for example in command.examples))
    parts.append("Options:\n" + option_lines((*command.options, _HELP)))
    return "\n".join(parts)


def option_lines(options: Iterable[Option]) -> str:
    """The visible options in alphabetical order, a line each, descriptions aligned and folded."""
    shown = sorted((option for option in options if not option.hidden), key=lambda option: option.name)
    heads = [_head(option) for option in shown]
    width = max(map(len, heads)) + 3
    lines = []
    for option, head in zip(shown, heads, strict=True):
        first, *more = _fold(_explain(option), max(40, 118 - width))
        lines.append(f"{head:<{width}}{first}".rstrip())
        lines.extend(" " * width + line for line in more)
    return "".join(f"{line}\n" for line in lines)


def _head(option: Option) -> str:
    short = f"-{option.short}, " if option.short else "    "
    metavar = option.metavar or METAVARS[option.kind]
    if option.implied is not None and option.kind != "bool":
        metavar = f"[={metavar}]"
        return f"  {short}--{option.name}{metavar}"
    return f"  {short}--{option.name} {metavar}".rstrip()


def _explain(option: Option) -> str:
    text = option.help
    if option.choices:
        text += f" ({', '.join(option.choices)})"
    if option.default not in (None, False, "", [], ()):
        default = f'"{option.default}"' if isinstance(option.default, str) else str(option.default)
        text += f" (default {default})"
    return text


def _fold(text: str, width: int) -> list[str]:
    """*text* as lines of at most *width* columns, broken at spaces."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
