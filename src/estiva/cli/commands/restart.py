"""``estiva restart``."""

from __future__ import annotations

from estiva.cli.parser import Command, Option
from estiva.cli.select import CIDFILE, FILTER, LATEST, act_at_once, code_of, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def restart(parsed: Parsed, settings: Globals) -> int:
    timeout = parsed.number("time") if parsed.given("time") else None
    if parsed.flag("running"):
        parsed.values["all"] = True
    with settings.engine() as engine:
        selection = select(engine, parsed, running=parsed.flag("running"))
        return code_of(act_at_once(selection, lambda container: container.restart(timeout)))


COMMAND = Command(
    "restart",
    usage="[options] CONTAINER [CONTAINER...]",
    summary="Restart one or more containers",
    description="Stops each container if it runs, then starts it.",
    examples=("restart web", "restart --latest", "restart --running"),
    options=(
        Option("all", "a", help="Restart all containers, also those that do not run"),
        CIDFILE,
        FILTER,
        LATEST,
        Option("running", "", help="Restart only the containers that run"),
        Option("time", "t", "int", "seconds", "Seconds to wait before killing the container, -1: for ever; without it,"
               " what the container was created with (10)", aliases=("timeout",)),
    ),
    run=restart,
    operands="container",
)  # fmt: skip
