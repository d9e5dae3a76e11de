"""``estiva container exists`` and ``estiva image exists``: an answer by exit code, 0 or 1."""

from __future__ import annotations

from estiva.cli.parser import Command, Option
from estiva.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def container_exists(parsed: Parsed, settings: Globals) -> int:
    with settings.engine() as engine:
        try:
            engine.containers.get(parsed.args[0])
        except NotFound:
            return 1
    return 0


def image_exists(parsed: Parsed, settings: Globals) -> int:
    with settings.engine() as engine:
        return 0 if engine.images.exists(parsed.args[0]) else 1


CONTAINER = Command(
    "container exists",
    usage="CONTAINER",
    summary="Check if a container exists in local storage",
    description="Exit status: 0 if it exists, 1 if not, 125 for failures.",
    examples=("container exists web || estiva run --name web ...",),
    options=(Option("external", "", hidden=True),),
    run=container_exists,
    minimum=1,
    maximum=1,
    operands="container",
)
IMAGE = Command(
    "image exists",
    usage="IMAGE",
    summary="Check if an image exists in local storage",
    description="Exit status: 0 if it exists, 1 if not, 125 for failures.",
    examples=("image exists debian:12 || estiva pull debian:12",),
    run=image_exists,
    minimum=1,
    maximum=1,
    operands="image",
)
