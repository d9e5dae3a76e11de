"""``estiva wait``."""

from __future__ import annotations

import time

from estiva.cli.errors import complain, describe
from estiva.cli.parser import Command, Option
from estiva.cli.select import IGNORE, LATEST, code_of, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed
    from estiva.engine.container import Container

CONDITIONS = (
    "configured", "created", "exited", "healthy", "initialized", "paused", "removing", "running", "stopped", "stopping",
    "unhealthy", "unknown",
)  # fmt: skip


def wait(parsed: Parsed, settings: Globals) -> int:
    from estiva.cli.when import parse_duration

    interval = max(0.001, parse_duration(parsed.text("interval")) / 1e9)
    conditions = parsed.texts("condition") or ["stopped"]
    with settings.engine() as engine:
        selection = select(engine, parsed, ignore=parsed.flag("ignore"))
        containers = [container for _, container in selection.targets]
        if parsed.flag("exit-first-match"):
            _first(containers, conditions, interval)
        else:
            for container in containers:
                print(_until(container, conditions, interval), flush=True)
    for failure in selection.failures:
        complain(describe(failure))
    return code_of([*selection.failures])


def _until(container: Container, conditions: list[str], interval: float) -> int:
    """The exit code (-1: none) once one of the conditions holds.  Only waiting for the end needs no polling."""
    if set(conditions) <= {"stopped", "exited"}:
        return container.wait()
    while not _holds(container, conditions):
        time.sleep(interval)
    return _code(container)


def _first(containers: list[Container], conditions: list[str], interval: float) -> None:
    """Print the exit code of the first container of which a condition holds."""
    while containers:
        for container in containers:
            if _holds(container, conditions):
                print(_code(container), flush=True)
                return
        time.sleep(interval)


def _holds(container: Container, conditions: list[str]) -> bool:
    status = container.state().status
    wanted = set(conditions)
    if wanted & {"stopped", "exited"}:
        wanted |= {"stopped", "exited"}
    return status in wanted


def _code(container: Container) -> int:
    state = container.state()
    return -1 if state.running or state.exit_code is None else state.exit_code


COMMAND = Command(
    "wait",
    usage="[options] CONTAINER [CONTAINER...]",
    summary="Block on one or more containers",
    description="Waits for each container in turn to stop, or to be in another state, and prints its exit code.",
    examples=("wait web", "wait --condition running web", "wait --latest"),
    options=(
        Option("condition", "", "choices", "state", "State to wait for, may be repeated", choices=CONDITIONS),
        Option("exit-first-match", "", help="End with the first container that meets a condition"),
        Option("ignore", help=IGNORE.help),
        Option("interval", "i", "string", "duration", "Time between two looks, where looking is needed", "250ms"),
        LATEST,
    ),
    run=wait,
    operands="container",
)
