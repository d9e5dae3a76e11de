"""``estiva load``."""

from __future__ import annotations

from estiva.cli.parser import Command, Option
from estiva.cli.progress import Progress
from estiva.cli.spool import Spooled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def load(parsed: Parsed, settings: Globals) -> int:
    from estiva.engine.archives import load as load_archive

    quiet = parsed.flag("quiet")
    with Spooled(parsed.text("input")) as path, settings.engine() as engine, Progress(quiet=quiet) as progress:
        records = load_archive(engine, path, progress=progress)
    for record in records:
        print(f"Loaded image: {', '.join(record.names) or f'sha256:{record.id}'}")
    return 0


COMMAND = Command(
    "load",
    usage="[options]",
    summary="Load image(s) from a tar archive",
    description="Reads docker-archive, oci-archive, oci and dir, compressed or not, from a file, a directory or,\n"
    "without --input, from standard input.",
    examples=("load -i images.tar", "load < images.tar.gz"),
    options=(
        Option("input", "i", "string", "path", "Read from this file or directory", complete="file"),
        Option("quiet", "q", help="Print no progress"),
    ),
    run=load,
    maximum=0,
)
