"""``estiva inspect``, ``estiva container inspect``, ``estiva image inspect``."""

from __future__ import annotations

import sys

from estiva.cli.errors import ENGINE_FAILED, complain, describe
from estiva.cli.parser import Command, Option
from estiva.cli.select import LATEST, latest
from estiva.errors import EstivaError, Invalid, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed
    from estiva.engine.engine import Engine

TYPES = ("all", "container", "image", "pod", "volume", "network")


def inspect(parsed: Parsed, settings: Globals) -> int:
    return _inspect(parsed, settings, parsed.text("type"))


def inspect_containers(parsed: Parsed, settings: Globals) -> int:
    return _inspect(parsed, settings, "container")


def inspect_images(parsed: Parsed, settings: Globals) -> int:
    return _inspect(parsed, settings, "image")


def _inspect(parsed: Parsed, settings: Globals, kind: str) -> int:
    _check(parsed, kind)
    form = parsed.text("format")
    documents: list[Any] = []
    failures: list[EstivaError] = []
    sizes = kind != "image" and parsed.flag("size")
    with settings.engine() as engine:
        names = [latest(engine).id] if kind != "image" and parsed.flag("latest") else parsed.args
        for name in names:
            try:
                documents.append(document(engine, kind, name, sizes=sizes))
            except EstivaError as error:
                failures.append(error)
    sys.stdout.write(show(documents, form))
    for failure in failures:
        complain(f"inspecting object: {describe(failure)}")
    return ENGINE_FAILED if failures else 0


def _check(parsed: Parsed, kind: str) -> None:
    last = kind != "image" and parsed.flag("latest")
    if kind not in TYPES:
        raise Invalid(f'invalid type "{kind}": must be "image", "container", "pod", "network", "volume", or "all"')
    if kind in ("pod", "volume", "network"):
        raise Unsupported(f"inspecting a {kind}: there are only containers and images yet")
    if not parsed.args and not last:
        raise Invalid("no names or ids specified")
    if parsed.args and last:
        raise Invalid("--latest and arguments cannot be used together")


def document(engine: Engine, kind: str, name: str, *, sizes: bool = False) -> dict[str, Any]:
    """What there is to know about one object; of a container and an image with that name, the container.

    :raises NotFound: no such object
    """
    if kind in ("all", "container"):
        try:
            return container_document(engine, name, sizes)
        except NotFound:
            if kind == "container":
                raise
    try:
        record = engine.images.find(name)
    except NotFound:
        if kind == "image":
            raise
        raise NotFound(f'no such object: "{name}"') from None
    from estiva.engine.imagedocument import describe_image

    return describe_image(record, engine.store.driver)


def container_document(engine: Engine, name: str, sizes: bool) -> dict[str, Any]:
    container = engine.containers.get(name)
    told = container.inspect()
    if sizes:
        from estiva.cli.container_rows import sizes as sizes_of

        told["SizeRw"], told["SizeRootFs"] = sizes_of(container)
    return told


def show(documents: list[Any], form: str) -> str:
    """The documents as JSON, or each by the template."""
    from estiva.cli.report import as_json, is_json, normalize

    if not form or is_json(form):
        return as_json(documents, 5)
    from estiva.cli.gotime import with_times
    from estiva.cli.template import Template

    template = Template(normalize(form), "inspect")
    return "".join(template.render(with_times(each)) for each in documents)


_FORMAT = Option("format", "f", "string", "string", "Show as JSON (json), or by a Go template", complete="format")
_SIZE = Option("size", "s", help="Display total file size")
COMMAND = Command(
    "inspect",
    usage="[options] {CONTAINER|IMAGE} [...]",
    summary="Display the configuration of object denoted by ID",
    description="Names are looked for among the containers first, then among the images.",
    examples=("inspect debian:12", "inspect --type container --format '{{.State.Pid}}' web"),
    options=(
        _FORMAT,
        LATEST,
        _SIZE,
        Option("type", "t", "string", "string", f"Kind of object: {', '.join(TYPES)}", "all"),
    ),
    run=inspect,
    operands="container",
)
CONTAINER = Command(
    "container inspect",
    usage="[options] CONTAINER [CONTAINER...]",
    summary="Display the configuration of a container",
    examples=("container inspect web", "container inspect --latest --format '{{.NetworkSettings}}'"),
    options=(_FORMAT, LATEST, _SIZE),
    run=inspect_containers,
    operands="container",
)
IMAGE = Command(
    "image inspect",
    usage="[options] IMAGE [IMAGE...]",
    summary="Display the configuration of an image",
    examples=("image inspect debian:12", "image inspect --format '{{.Config.Env}}' debian:12"),
    options=(_FORMAT,),
    run=inspect_images,
    operands="image",
)
