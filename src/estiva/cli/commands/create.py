"""``estiva create``, and what ``run`` has in common with it."""

from __future__ import annotations

import os

from estiva.cli.options_container import OPTIONS, RUN_OPTIONS, container_options
from estiva.cli.parser import Command
from estiva.errors import Conflict, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed
    from estiva.engine.container import Container
    from estiva.engine.engine import Engine
    from estiva.engine.options import ContainerOptions


def create(parsed: Parsed, settings: Globals) -> int:
    options = container_options(parsed, os.environ)
    with settings.engine() as engine:
        container = make(engine, options, parsed)
    print(container.id)
    return 0


def make(engine: Engine, options: ContainerOptions, parsed: Parsed) -> Container:
    """The container, its image pulled first if need be, its id in the ``--cidfile``."""
    if options.cidfile and os.path.exists(options.cidfile):
        raise Conflict(f"container id file {options.cidfile!r}: exists already", "remove it, or name another")
    if not options.rootfs:
        have_image(engine, options, parsed)
    container = engine.containers.create(options)
    if options.cidfile:
        try:
            _write_id(options.cidfile, container.id)
        except OSError:
            container.remove(force=True)
            raise
    return container


def have_image(engine: Engine, options: ContainerOptions, parsed: Parsed) -> None:
    """Pull the image if ``--pull`` says so; the options then name what was got."""
    policy = options.pull or "missing"
    if policy in ("missing", "never") and not options.platform:
        try:
            engine.images.find(options.image)
            return
        except NotFound:
            if policy == "never":
                raise
    from estiva.cli.progress import Progress

    how = {name: parsed.text(name) for name in ("authfile", "creds") if parsed.given(name)}
    verify = {"tls_verify": parsed.flag("tls-verify")} if parsed.given("tls-verify") else {}
    with Progress(quiet=parsed.flag("quiet")) as progress:
        found = engine.ensure_image(
            options.image, policy=policy, platform=options.platform, progress=progress, **how, **verify
        )
    if not engine.images.exists(options.image) or engine.images.find(options.image).id != found.id:
        options.image = found.id  # another platform's, or from an archive: the name alone does not lead there


def _write_id(path: str, container_id: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, container_id.encode())
    finally:
        os.close(fd)


COMMAND = Command(
    "create",
    usage="[options] IMAGE [COMMAND [ARG...]]",
    summary="Create but do not start a container",
    description="Makes a container from an image and prints its ID; `estiva start` runs it.",
    examples=("create --name web -v data:/data debian:12 sleep infinity", "create -it debian:12"),
    options=(*OPTIONS, *(option for option in RUN_OPTIONS if option.name == "preserve-fds")),
    run=create,
    interspersed=False,
    minimum=1,
    operands="image",
)
