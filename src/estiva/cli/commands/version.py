"""``estiva version``."""

from __future__ import annotations

import sys

from estiva.cli.parser import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed

_LINES = (
    ("Client:", "Client"), ("Version:", "Version"), ("API Version:", "APIVersion"),
    ("Python Version:", "PythonVersion"), ("Built:", "BuiltTime"), ("OS/Arch:", "OsArch"),
)  # fmt: skip


def describe() -> dict[str, object]:
    """What ``version`` tells, by the names Podman's templates use."""
    from estiva.engine.about import version as versions

    return {"Client": "Estiva Engine", **versions(), "GitCommit": "", "BuiltTime": ""}


def version(parsed: Parsed, settings: Globals) -> int:
    from estiva.cli.report import as_json, is_json, normalize
    from estiva.cli.table import align

    told = describe()
    form = parsed.text("format")
    if is_json(form):
        sys.stdout.write(as_json({"Client": told}))
    elif form:
        from estiva.cli.template import Template

        sys.stdout.write(Template(normalize(form), "version").render({**told, "Client": told, "Server": None}))
    else:
        sys.stdout.write(align([[label, str(told[key])] for label, key in _LINES if told[key]]))
    return 0


COMMAND = Command(
    "version",
    summary="Display the estiva version information",
    examples=("version", "version --format '{{.Client.Version}}'"),
    options=(Option("format", "f", "string", "string", "Show as JSON or by a Go template", complete="format"),),
    run=version,
    maximum=0,
)
