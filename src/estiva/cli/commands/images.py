"""``estiva images``, ``estiva image list``."""

from __future__ import annotations

import sys

from estiva.cli import human
from estiva.cli.parser import Command, Option
from estiva.cli.report import Report, as_json, is_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed
    from estiva.engine.engine import Engine
    from estiva.engine.images import ImageRecord

HEADINGS = {"Created": "CREATED", "CreatedSince": "CREATED", "ID": "IMAGE ID", "ReadOnly": "R/O"}


class ImageRow:
    """One name of one image, or an image without a name."""

    __slots__ = ("containers", "image", "repository", "tag", "truncate")

    FIELDS: dict[str, Callable[[ImageRow], Any]]

    def __init__(self, image: ImageRecord, name: str, *, truncate: bool, containers: int) -> None:
        self.image = image
        head, slash, tail = name.rpartition("/")
        base, _, tag = tail.partition(":")
        self.repository = f"{head}{slash}{base}" if name else "<none>"
        self.tag = tag or "<none>"
        self.truncate = truncate
        self.containers = containers

    def go_field(self, name: str) -> Any:
        return ImageRow.FIELDS[name](self)

    @property
    def id(self) -> str:
        return self.image.id[:12] if self.truncate else f"sha256:{self.image.id}"

    def to_json(self) -> dict[str, Any]:
        image = self.image
        return {
            "Id": image.id,
            "ParentId": "",
            "RepoTags": list(image.names) or None,
            "RepoDigests": list(image.repo_digests),
            "Size": image.size,
            "SharedSize": 0,
            "VirtualSize": image.size,
            "Labels": dict(image.labels) or None,
            "Containers": self.containers,
            "Names": list(image.names),
            "Digest": image.digest,
            "History": list(image.names),
            "Created": image.created // 10**9,
            "CreatedAt": human.rfc3339(image.created),
        }


ImageRow.FIELDS = {
    "Containers": lambda row: row.containers,
    "Created": lambda row: human.ago(row.image.created),
    "CreatedAt": lambda row: human.go_time(row.image.created),
    "CreatedSince": lambda row: human.ago(row.image.created),
    "CreatedTime": lambda row: human.go_time(row.image.created),
    "Dangling": lambda row: not row.image.names,
    "Digest": lambda row: row.image.digest,
    "History": lambda row: ", ".join(row.image.names),
    "ID": lambda row: row.id,
    "Id": lambda row: row.image.id,
    "Labels": lambda row: dict(row.image.labels),
    "Names": lambda row: list(row.image.names),
    "ParentId": lambda row: "",
    "ReadOnly": lambda row: False,
    "RepoDigests": lambda row: list(row.image.repo_digests),
    "RepoTags": lambda row: list(row.image.names),
    "Repository": lambda row: row.repository,
    "SharedSize": lambda row: 0,
    "Size": lambda row: human.size(row.image.size, " "),
    "Tag": lambda row: row.tag,
    "VirtualSize": lambda row: row.image.size,
}
SORTS: dict[str, Callable[[ImageRow], Any]] = {
    "created": lambda row: -row.image.created,
    "id": lambda row: row.image.id,
    "repository": lambda row: (row.repository, row.tag),
    "size": lambda row: row.image.size,
    "tag": lambda row: row.tag,
}


def images(parsed: Parsed, settings: Globals) -> int:
    with settings.engine() as engine:
        rows = _rows(engine, parsed)
    form = parsed.text("format")
    if is_json(form):  # an image once, whatever its names
        sys.stdout.write(as_json([row.to_json() for row in {row.image.id: row for row in rows}.values()]))
    elif parsed.flag("quiet"):
        sys.stdout.write("".join(f"{each}\n" for each in dict.fromkeys(row.id for row in rows)))
    else:
        columns = ["Repository", "Tag", "ID", "Created", "Size"]
        if parsed.flag("digests"):
            columns.insert(2, "Digest")
        if parsed.flag("history"):
            columns.append("History")
        Report("images", columns, HEADINGS).show(rows, form, noheading=parsed.flag("noheading"))
    return 0


def _rows(engine: Engine, parsed: Parsed) -> list[ImageRow]:
    from estiva.cli.when import parse_moment
    from estiva.engine.imagefilters import choose

    filters = [*parsed.texts("filter"), *(f"reference={name}" for name in parsed.args)]
    truncate = not parsed.flag("no-trunc")
    rows = []
    for image in choose(engine.images, filters, moment=parse_moment):
        users = len(engine.images.containers(image))
        rows += [ImageRow(image, name, truncate=truncate, containers=users) for name in image.names or [""]]
    return sorted(rows, key=SORTS[parsed.text("sort")])


COMMAND = Command(
    "images",
    usage="[options] [IMAGE]",
    summary="List images in local storage",
    description="With a name, only the images that have it; it may be a shell pattern.",
    examples=(
        "images --format json",
        'images --sort repository --format "table {{.ID}} {{.Repository}} {{.Tag}}"',
        "images --filter dangling=true",
    ),
    options=(
        Option("all", "a", help="Show all images"),
        Option("digests", help="Show digests"),
        Option("filter", "f", "array", "filter", "Show those that match, KEY=VALUE: before, containers, dangling,"
               " digest, id, label, readonly, reference, since, until", complete="filter"),
        Option("format", "", "string", "string", "Show as JSON (json), or by a Go template", complete="format"),
        Option("history", help="Display the image's names"),
        Option("no-trunc", help="Do not truncate output"),
        Option("noheading", "n", help="Do not print column headings"),
        Option("quiet", "q", help="Display only image IDs"),
        Option("sort", "", "choice", "choice", "Sort by", "created", choices=tuple(SORTS)),
    ),
    run=images,
    maximum=1,
    operands="image",
)  # fmt: skip
