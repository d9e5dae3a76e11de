"""``estiva tag``."""

from __future__ import annotations

from estiva.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def tag(parsed: Parsed, settings: Globals) -> int:
    from estiva.spec.reference import LOCAL_REGISTRY, ImageReference

    name, *targets = parsed.args
    references = [ImageReference.parse(target, LOCAL_REGISTRY) for target in targets]
    with settings.engine() as engine:
        record = engine.images.find(name)
        for reference in references:
            engine.images.tag(record, reference.canonical)
    return 0


COMMAND = Command(
    "tag",
    usage="IMAGE TARGET_NAME [TARGET_NAME...]",
    summary="Add an additional name to a local image",
    description="A name that another image has moves to this one. Without a registry it begins with localhost/.",
    examples=("tag 0e3bbc2 fedora:latest", "tag debian:12 myregistry.example/debian:12"),
    run=tag,
    minimum=2,
    operands="image",
)
