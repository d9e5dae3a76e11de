"""``estiva save``."""

from __future__ import annotations

import os
import sys

from estiva.cli.parser import Command, Option
from estiva.cli.progress import Progress
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed

FORMATS = ("docker-archive", "docker-dir", "oci-archive", "oci-dir")


def save(parsed: Parsed, settings: Globals) -> int:
    output: str | BinaryIO = parsed.text("output")
    form = parsed.text("format")
    if parsed.flag("compress") and form != "docker-dir":
        raise Invalid("--compress can only be set when --format is 'docker-dir'")
    if not output:
        if form.endswith("-dir"):
            raise Invalid(f"--output is required with --format {form}")
        if os.isatty(1):
            raise Invalid("refusing to save to terminal", "use -o flag or redirect")
        output = sys.stdout.buffer
    from estiva.engine.saveload import save as save_images

    with settings.engine() as engine, Progress(quiet=parsed.flag("quiet")) as progress:
        save_images(engine.store, engine.images, parsed.args, output, format=form, progress=progress)
    return 0


COMMAND = Command(
    "save",
    usage="[options] IMAGE [IMAGE...]",
    summary="Save image(s) to an archive",
    description="Writes to standard output or a file. Archives hold any number of images, directories one.",
    examples=(
        "save -o image.tar debian:12",
        "save --format oci-dir -o debian-dir debian:12",
        "save alpine > alpine.tar",
    ),
    options=(
        Option("compress", help="Accepted with docker-dir; layers stay compressed as they are"),
        Option("format", "", "choice", "format", "What to write", "docker-archive", choices=FORMATS),
        Option("multi-image-archive", "m", help="Accepted; every argument is an image of the archive anyway"),
        Option("output", "o", "string", "path", "Write to this file or directory", complete="file"),
        Option("quiet", "q", help="Print no progress"),
        Option("uncompressed", hidden=True),
    ),
    run=save,
    minimum=1,
    operands="image",
)
