"""``estiva rmi``, ``estiva image rm``."""

from __future__ import annotations

from estiva.cli.commands.rm import removal_code
from estiva.cli.errors import complain, describe
from estiva.cli.parser import Command, Option
from estiva.cli.select import IGNORE
from estiva.errors import EstivaError, Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def rmi(parsed: Parsed, settings: Globals) -> int:
    from estiva.engine.imageremoval import remove_image

    if parsed.flag("all") and parsed.args:
        raise Invalid("when using the --all switch, you may not pass any images names or IDs")
    if not parsed.flag("all") and not parsed.args:
        raise Invalid("image name or ID must be specified")
    failures: list[BaseException] = []
    force = parsed.flag("force")
    with settings.engine() as engine:
        names = [image.id for image in engine.images.list()] if parsed.flag("all") else parsed.args
        for name in names:
            try:
                remove_image(engine, name, force=force, tell=_tell, every_name=parsed.flag("all"))
            except NotFound as error:
                if not parsed.flag("ignore") and not force:
                    failures.append(error)
            except (EstivaError, OSError) as error:
                failures.append(error)
    for failure in failures:
        complain(describe(failure))
    return removal_code(failures)


def _tell(what: str, name: str) -> None:
    print(f"{what}: {name}", flush=True)


COMMAND = Command(
    "rmi",
    usage="[options] IMAGE [IMAGE...]",
    summary="Remove one or more images from local storage",
    description="An image with several names loses the name given; it is removed with its last name.\n"
    "Exit status: 1 if an image does not exist, 2 if one is used by a container, 125 for other failures.",
    examples=("rmi imageID", "rmi --force debian:12", "rmi --all"),
    options=(
        Option("all", "a", help="Remove all images"),
        Option("force", "f", help="Remove the containers that use it, too; one that does not exist is no error"),
        IGNORE,
        Option("no-prune", "", help="Accepted; parents of an image are no images of their own here"),
    ),
    run=rmi,
    operands="image",
)
