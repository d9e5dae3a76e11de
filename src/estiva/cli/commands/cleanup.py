"""``estiva container cleanup``: what a monitor runs after its container has ended, and anybody may."""

from __future__ import annotations

from estiva.cli.parser import Command, Option
from estiva.cli.select import LATEST, act, code_of, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def cleanup(parsed: Parsed, settings: Globals) -> int:
    with settings.engine() as engine:
        selection = select(engine, parsed, ignore=True)  # a container that is gone is as clean as can be
        return code_of(act(selection, lambda container: container.cleanup()))


COMMAND = Command(
    "container cleanup",
    usage="[options] CONTAINER [CONTAINER...]",
    summary="Clean up after containers that have ended",
    description="Releases what a run needed: layers, control groups, sockets. Removes a container created with --rm.",
    examples=("container cleanup --all",),
    options=(Option("all", "a", help="Clean up after all containers"), LATEST),
    run=cleanup,
    operands="container",
)
