"""``state``, ``list`` and ``ps``: containers and their processes, for people and programs."""

from __future__ import annotations

import os
import sys

from estiva.errors import Conflict, Invalid, Unavailable
from estiva.runtime.cli import records
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.options import Options

COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def command_state(context: Context, options: Options) -> int:
    sys.stdout.write(json.pretty(records.find(context.root, options.operands[0]).state()) + "\n")
    return 0


def command_list(context: Context, options: Options) -> int:
    form = _format(options)
    found = records.every(context.root)
    if options.switch("quiet"):
        sys.stdout.write("".join(f"{record.container_id}\n" for record in found))
        return 0
    states = [record.state() for record in found]
    if form == "json":
        sys.stdout.write(json.dumps(states) + "\n")
        return 0
    rows = [tuple(column.upper() for column in COLUMNS)]
    rows += [tuple(str(state[column]) for column in COLUMNS) for state in states]
    widths = [max(9, *(len(row[column]) for row in rows)) for column in range(len(COLUMNS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("   ".join(cells).rstrip() + "\n")
    return 0


def command_ps(context: Context, options: Options) -> int:
    form = _format(options)
    container_id, *words = options.operands
    record = records.find(context.root, container_id)
    handle = record.cgroup()
    if not handle.dirs:
        raise Conflict(f'listing processes of container "{container_id}": it has no cgroup to find them by')
    pids = handle.pids()
    if form == "json":
        sys.stdout.write(json.dumps(pids) + "\n")
        return 0
    sys.stdout.write(_table(words or ["-ef"], pids))
    return 0


def _format(options: Options) -> str:
    form = options.text("format", "table")
    if form not in ("table", "json"):
        raise Invalid(f'invalid format option: "{form}" is neither table nor json')
    return form


def _table(words: list[str], pids: list[int]) -> str:
    """What ps(1) says with the options *words*, cut down to *pids*."""
    import subprocess  # ps is a program, there is no other way to its options

    try:
        done = subprocess.run(["ps", *words], capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError:
        raise Unavailable("running ps: it is not installed", "use --format json") from None
    said = done.stdout.decode(errors="replace").splitlines()
    if done.returncode or not said:
        reason = done.stderr.decode(errors="replace").strip().split("\n")[0]
        raise Invalid(f"running ps {' '.join(words)}: exit code {done.returncode}: {reason}")
    try:
        column = said[0].split().index("PID")
    except ValueError:
        raise Invalid(f"running ps {' '.join(words)}: its output has no column PID") from None
    wanted = {str(pid) for pid in pids}
    kept = [line for line in said[1:] if line.split()[column : column + 1] and line.split()[column] in wanted]
    return "".join(f"{line}\n" for line in (said[0], *kept))
