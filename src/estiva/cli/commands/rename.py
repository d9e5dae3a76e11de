"""``estiva rename``."""

from __future__ import annotations

from estiva.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def rename(parsed: Parsed, settings: Globals) -> int:
    old, new = parsed.args
    with settings.engine() as engine:
        engine.containers.get(old).rename(new)
    return 0


COMMAND = Command(
    "rename",
    usage="CONTAINER NAME",
    summary="Rename an existing container",
    examples=("rename web web-old",),
    run=rename,
    minimum=2,
    maximum=2,
    operands="container",
)
