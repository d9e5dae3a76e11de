"""``estiva import``."""

from __future__ import annotations

from estiva.cli.commands.pull import PLATFORM_OPTIONS, platform_of
from estiva.cli.parser import Command, Option, Parsed
from estiva.cli.progress import Progress
from estiva.cli.spool import Spooled
from estiva.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals


def import_image(parsed: Parsed, settings: Globals) -> int:
    from estiva.engine.archives import import_tar

    source, *names = parsed.args
    if "://" in source:
        raise Unsupported(f"importing {source}: only files and standard input can be read", "fetch it first")
    what = {
        "name": names[0] if names else "",
        "message": parsed.text("message"),
        "changes": parsed.texts("change"),
        "platform": platform_of(parsed) or None,
    }
    with Spooled(source) as path, settings.engine() as engine, Progress(quiet=parsed.flag("quiet")) as progress:
        record = import_tar(engine, path, progress=progress, **what)
    print(f"sha256:{record.id}")
    return 0


COMMAND = Command(
    "import",
    usage="[options] PATH [REFERENCE]",
    summary="Import a tarball to create a filesystem image",
    description="The image has one layer, the tarball's content. PATH may be - for standard input.",
    examples=("import rootfs.tar.gz mybase:1", "import --change CMD=/bin/sh --message imported - mybase < rootfs.tar"),
    options=(
        *(option for option in PLATFORM_OPTIONS if option.name != "platform"),
        Option("platform", "", "string", hidden=True),
        Option("change", "c", "array", "instruction", "Apply a Containerfile instruction to the image: CMD, ENTRYPOINT,"
               " ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR"),
        Option("message", "m", "string", "text", "Comment in the image's history"),
        Option("quiet", "q", help="Print no progress"),
    ),
    run=import_image,
    minimum=1,
    maximum=2,
    operands="file",
)  # fmt: skip
