"""``estiva stop``."""

from __future__ import annotations

from estiva.cli.parser import Command, Option
from estiva.cli.select import CIDFILE, FILTER, IGNORE, LATEST, act_at_once, code_of, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def stop(parsed: Parsed, settings: Globals) -> int:
    timeout = parsed.number("time") if parsed.given("time") else None
    with settings.engine() as engine:
        selection = select(engine, parsed, running=True, ignore=parsed.flag("ignore"))
        return code_of(act_at_once(selection, lambda container: container.stop(timeout)))


COMMAND = Command(
    "stop",
    usage="[options] CONTAINER [CONTAINER...]",
    summary="Stop one or more containers",
    description="Sends the container's stop signal and, if it has not ended after the time, SIGKILL.",
    examples=("stop web", "stop --latest", "stop --time 2 web 6e534f14da9d"),
    options=(
        Option("all", "a", help="Stop all running containers"),
        CIDFILE,
        FILTER,
        IGNORE,
        LATEST,
        Option("time", "t", "int", "seconds", "Seconds to wait before killing the container, -1: for ever; without it,"
               " what the container was created with (10)", aliases=("timeout",)),
    ),
    run=stop,
    operands="container",
)  # fmt: skip
