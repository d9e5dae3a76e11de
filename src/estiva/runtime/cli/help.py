"""What ``--help`` prints, made from the table of commands."""

from __future__ import annotations

import os
import textwrap

from estiva.runtime.cli.commands import COMMANDS, GLOBAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from estiva.runtime.cli.commands import Command
    from estiva.runtime.cli.options import Row

PROGRAM = "estiva-runtime"


def overview() -> str:
    """The help of the program."""
    width = max(map(len, COMMANDS))
    commands = "".join(f"  {command.name.ljust(width)}  {command.summary}\n" for command in COMMANDS.values())
    return (
        f"Usage: {PROGRAM} [OPTION...] COMMAND [OPTION...] [ID] [...]\n\n"
        "Run containers from OCI bundles: directories with a config.json and a root file system.\n\n"
        f'Commands ("{PROGRAM} COMMAND --help" tells more):\n{commands}\nOptions:\n{_options(GLOBAL)}'
    )


def of(command: Command) -> str:
    """The help of one command."""
    rows: tuple[Row, ...] = (*command.rows, ("help", "h", "switch", "", "show this help"))
    usage = " ".join(part for part in (PROGRAM, command.name, "[OPTION...]", command.operands) if part)
    summary = command.summary[:1].upper() + command.summary[1:]
    text = f"\n{textwrap.fill(command.text, _columns())}\n" if command.text else ""
    return f"Usage: {usage}\n\n{summary}.\n{text}\nOptions:\n{_options(rows)}"


def _options(rows: Sequence[Row]) -> str:
    names = []
    for name, letter, _, metavar, _ in rows:
        short = f"-{letter}, " if letter else "    "
        names.append(f"  {short}--{name}{' ' + metavar if metavar else ''}")
    width = min(32, max(map(len, names)) + 2)
    lines = []
    for words, row in zip(names, rows, strict=True):
        told = textwrap.wrap(row[4], max(24, _columns() - width))
        if len(words) + 2 > width:
            lines.append(words)
            words = ""
        lines += [(words if n == 0 else "").ljust(width) + line for n, line in enumerate(told)]
    return "".join(f"{line}\n" for line in lines)


def _columns() -> int:
    try:
        return min(120, max(60, os.get_terminal_size(1).columns))
    except OSError:
        return 100
