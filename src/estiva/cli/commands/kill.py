"""``estiva kill``."""

from __future__ import annotations

from estiva.cli.parser import Command, Option
from estiva.cli.select import CIDFILE, LATEST, act, code_of, select
from estiva.engine.signals import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def kill(parsed: Parsed, settings: Globals) -> int:
    number = parse_signal(parsed.text("signal"))
    with settings.engine() as engine:
        selection = select(engine, parsed, running=True)
        return code_of(act(selection, lambda container: container.kill(number)))


COMMAND = Command(
    "kill",
    usage="[options] CONTAINER [CONTAINER...]",
    summary="Kill one or more running containers with a specific signal",
    description="The main process inside each container is sent the signal, without waiting for it to end.",
    examples=("kill web", "kill --signal TERM --all", "kill -s HUP web"),
    options=(
        Option("all", "a", help="Signal all running containers"),
        CIDFILE,
        LATEST,
        Option("signal", "s", "string", "signal", "Signal to send, by name or number", "KILL", complete="signal"),
    ),
    run=kill,
    operands="container",
)
