"""``estiva untag``."""

from __future__ import annotations

from estiva.cli.parser import Command
from estiva.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def untag(parsed: Parsed, settings: Globals) -> int:
    from estiva.engine.imagenames import candidates

    name, *targets = parsed.args
    with settings.engine() as engine:
        record = engine.images.find(name)
        for target in targets:
            known = [each for each in candidates(target) if each in record.names]
            if not known:
                raise NotFound(f"untagging {target!r}: image {record.id[:12]} has no such name")
            engine.images.untag(record, known[0])
        if not targets and record.names:
            engine.images.untag(record)
    return 0


COMMAND = Command(
    "untag",
    usage="IMAGE [NAME...]",
    summary="Remove a name from a local image",
    description="Without names, all of the image's names are removed; the image stays.",
    examples=("untag 0e3bbc2", "untag imageID:latest otherImageName:latest"),
    run=untag,
    minimum=1,
    operands="image",
)
