"""``estiva logs``."""

from __future__ import annotations

import os
import sys
import time

from estiva.cli.parser import Command, Option
from estiva.cli.select import LATEST, latest
from estiva.engine.logs import LogReader
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed
    from estiva.engine.container import Container
    from estiva.engine.engine import Engine
    from estiva.engine.logs import Record

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.2


class Source:
    """One container's log: its reader, what stands before its lines, and whether more may come."""

    __slots__ = ("before", "color", "container", "follows", "reader", "starts")

    def __init__(self, container: Container, reader: LogReader, before: str, color: int | None) -> None:
        self.container = container
        self.reader = reader
        self.before = before
        self.color = color
        self.follows = True
        self.starts = {"stdout": True, "stderr": True}


class Printer:
    """Prints records: stdout to stdout, stderr to stderr, within a span of time."""

    __slots__ = ("since", "timestamps", "until")

    def __init__(self, since: int | None, until: int | None, timestamps: bool) -> None:
        self.since = since
        self.until = until
        self.timestamps = timestamps

    def show(self, source: Source, records: Iterable[Record]) -> bool:
        """Whether there were any records, shown or not."""
        seen = False
        for record in records:
            seen = True
            if not self._wanted(record):
                continue
            out = sys.stderr if record.stream == "stderr" else sys.stdout
            out.buffer.write(self._line(source, record))
        sys.stdout.flush()
        sys.stderr.flush()
        return seen

    def _wanted(self, record: Record) -> bool:
        if self.since is None and self.until is None:
            return True
        moment = record.time_ns
        return (self.since is None or moment >= self.since) and (self.until is None or moment <= self.until)

    def _line(self, source: Source, record: Record) -> bytes:
        text = record.text
        if source.starts[record.stream]:
            text = f"{source.before}{record.time + ' ' if self.timestamps else ''}".encode() + text
        source.starts[record.stream] = not record.partial
        if source.color is not None:
            body = text.removesuffix(b"\n")
            text = f"\033[3{source.color}m".encode() + body + b"\033[0m" + text[len(body) :]
        return text


def logs(parsed: Parsed, settings: Globals) -> int:
    since, until = _moment(parsed, "since"), _moment(parsed, "until")
    tail = parsed.number("tail")
    with settings.engine() as engine:
        containers = _containers(engine, parsed)
        several = len(containers) > 1
        colored = parsed.flag("color") and several and not os.environ.get("NO_COLOR")
        sources = []
        for number, container in enumerate(containers):
            name = container.name if parsed.flag("names") else container.id[:12] if several else ""
            reader = LogReader(container.log_path, container.log_driver, None if tail < 0 else tail)
            sources.append(Source(container, reader, f"{name} " if name else "", 1 + number % 6 if colored else None))
        printer = Printer(since, until, parsed.flag("timestamps"))
        try:
            if parsed.flag("follow"):
                _follow(sources, printer)
            else:
                for source in sources:
                    printer.show(source, source.reader.read())
        finally:
            for source in sources:
                source.reader.close()
    return 0


def _moment(parsed: Parsed, name: str) -> int | None:
    if not parsed.text(name):
        return None
    from estiva.cli.when import parse_moment

    return parse_moment(parsed.text(name))


def _containers(engine: Engine, parsed: Parsed) -> list[Container]:
    if parsed.flag("latest"):
        if parsed.args:
            raise Invalid("no containers can be specified when using 'latest'")
        return [latest(engine)]
    if not parsed.args:
        raise Invalid("no container name or id given", "give one, or --latest")
    return [engine.containers.get(name) for name in parsed.args]


def _follow(sources: list[Source], printer: Printer) -> None:
    """Print what comes until every container has ended or the span of time is over."""
    pause = _FIRST_PAUSE_S
    while True:
        fresh = False
        for source in sources:
            if source.follows:
                state = source.container.state()  # asked first: what is read after the end is everything
                fresh |= printer.show(source, source.reader.read())
                source.follows = state.running or state.monitored
        over = printer.until is not None and time.time_ns() > printer.until
        if over or not any(source.follows for source in sources):
            return
        pause = _FIRST_PAUSE_S if fresh else min(_LONGEST_PAUSE_S, pause * 1.5)
        time.sleep(pause)


COMMAND = Command(
    "logs",
    usage="[options] CONTAINER [CONTAINER...]",
    summary="Fetch the logs of one or more containers",
    description="What the container wrote to standard output is written to standard output, and so for standard error.",
    examples=("logs --tail 2 web", "logs --follow --since 10m web", "logs --names web database"),
    options=(
        Option("color", help="Show several containers in different colors"),
        Option("follow", "f", help="Go on with what is written, until the container ends"),
        LATEST,
        Option("names", "n", help="Show the container's name before each line"),
        Option("since", "", "string", "time", "Only what was written from then on: a time, a Unix time, or 10m for the"
               " last ten minutes"),
        Option("tail", "", "int", "lines", "Only so many lines from the end, -1: all", -1),
        Option("timestamps", "t", help="Show the time before each line"),
        Option("until", "", "string", "time", "Only what was written until then"),
    ),
    run=logs,
    operands="container",
)  # fmt: skip
