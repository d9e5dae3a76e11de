"""``estiva ps``, ``estiva container list``."""

from __future__ import annotations

import sys
import time

from estiva.cli.container_rows import ContainerRow
from estiva.cli.parser import Command, Option
from estiva.cli.report import Report
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed
    from estiva.engine.engine import Engine

HEADINGS = {
    "CreatedHuman": "CREATED", "ID": "CONTAINER ID", "Networks": "NETWORKS", "Pid": "PID", "Pod": "POD ID",
    "PodName": "PODNAME",
}  # fmt: skip
COLUMNS = ("ID", "Image", "Command", "CreatedHuman", "Status", "Ports", "Names")
NAMESPACE_COLUMNS = ("ID", "Names", "Pid", "CGROUPNS", "IPC", "MNT", "NET", "PIDNS", "USERNS", "UTS")
SORTS: dict[str, Callable[[ContainerRow], Any]] = {
    "command": lambda row: row.container.command,
    "created": lambda row: row.container.created_ns,
    "id": lambda row: row.container.id,
    "image": lambda row: row.container.image_name,
    "names": lambda row: row.container.name,
    "runningfor": lambda row: row.state.started_ns,
    "size": lambda row: row.sizes[1],
    "status": lambda row: row.status,
}


def ps(parsed: Parsed, settings: Globals) -> int:
    _check(parsed)
    seconds = parsed.number("watch")
    with settings.engine() as engine:
        while True:
            shown = _listing(engine, parsed)
            sys.stdout.write(f"\033[H\033[2J{shown}" if seconds else shown)
            if not seconds:
                return 0
            sys.stdout.flush()
            time.sleep(seconds)


def _check(parsed: Parsed) -> None:
    if parsed.number("last") >= 0 and parsed.flag("latest"):
        raise Invalid("last and latest are mutually exclusive")
    if parsed.given("watch") and not parsed.number("watch"):
        raise Invalid("--watch takes a number of seconds from 1")
    if parsed.flag("quiet") and (parsed.flag("ns") or parsed.flag("size")):
        raise Invalid(f"quiet and {'namespace' if parsed.flag('ns') else 'size'} are mutually exclusive")
    if parsed.flag("ns") and parsed.flag("size"):
        raise Invalid("size and namespace options conflict")


def _listing(engine: Engine, parsed: Parsed) -> str:
    rows = _rows(engine, parsed)
    form = parsed.text("format")
    if parsed.flag("quiet") and not form:
        return "".join(f"{row.go_field('ID')}\n" for row in rows)
    if parsed.flag("size"):
        for row in rows:
            _ = row.sizes  # so that the JSON has them, too
    columns: tuple[str, ...] = NAMESPACE_COLUMNS if parsed.flag("ns") else COLUMNS
    columns += ("Pod", "PodName") if parsed.flag("pod") else ()
    columns += ("Size",) if parsed.flag("size") else ()
    return Report("ps", columns, HEADINGS, indent=2).text(rows, form, noheading=parsed.flag("noheading"))


def _rows(engine: Engine, parsed: Parsed) -> list[ContainerRow]:
    last = 1 if parsed.flag("latest") else parsed.number("last")
    filters = parsed.texts("filter")
    everything = parsed.flag("all") or last >= 0 or any(each.partition("=")[0] == "status" for each in filters)
    listed = engine.containers.list(all=everything, filters=filters)
    if last >= 0:
        listed = sorted(listed, key=lambda container: container.created_ns)[len(listed) - min(last, len(listed)) :]
    truncate, namespaces = not parsed.flag("no-trunc"), parsed.flag("ns")
    rows = [ContainerRow(container, truncate=truncate, namespaces=namespaces) for container in listed]
    return sorted(rows, key=SORTS[parsed.text("sort")])


COMMAND = Command(
    "ps",
    summary="List containers",
    description="Without options, those that run.",
    examples=(
        "ps -a",
        'ps -a --format "{{.ID}}  {{.Image}}  {{.Labels}}  {{.Mounts}}"',
        "ps --size --sort names",
        "ps --filter status=exited --filter label=app=web -q",
    ),
    options=(
        Option("all", "a", help="Show all the containers, default is only running containers"),
        Option("external", "", hidden=True),
        Option("filter", "f", "array", "filter", "Show those that match all conditions, KEY=VALUE: ancestor, before,"
               " exited, health, id, label, name, network, pod, since, status, volume", complete="filter"),
        Option("format", "", "string", "string", "Show as JSON (json), or by a Go template", complete="format"),
        Option("last", "n", "int", "int", "Show the n last created containers (all states)", -1),
        Option("latest", "l", help="Show the last created container (all states)"),
        Option("no-trunc", "", help="Display the extended information"),
        Option("noheading", "", help="Do not print headers"),
        Option("ns", "", help="Display namespace information"),
        Option("pod", "p", help="Show the ID and name of the pod the containers are associated with"),
        Option("quiet", "q", help="Print the IDs of the containers only"),
        Option("size", "s", help="Display the total file sizes"),
        Option("sort", "", "choice", "choice", "Sort output by", "created", choices=tuple(SORTS)),
        Option("sync", "", hidden=True),
        Option("watch", "w", "uint", "seconds", "Show again and again, so many seconds apart"),
    ),
    run=ps,
    maximum=0,
)  # fmt: skip
