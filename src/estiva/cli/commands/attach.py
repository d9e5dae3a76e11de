"""``estiva attach``."""

from __future__ import annotations

from estiva.cli.parser import Command, Option
from estiva.cli.select import LATEST, one
from estiva.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def attach(parsed: Parsed, settings: Globals) -> int:
    from estiva.monitor.foreground import DETACHED, parse_detach_keys, run_attached

    keys = parsed.text("detach-keys") if parsed.given("detach-keys") else None
    parse_detach_keys(keys or "")
    with settings.engine() as engine:
        container = one(engine, parsed, "attach")
        if not container.state().running:
            raise Conflict("you can only attach to running containers")
        options = container.options
        with container.attach() as attachment:
            code = run_attached(
                attachment,
                tty=options.tty,
                stdin=options.interactive and not parsed.flag("no-stdin"),
                detach_keys=options.detach_keys if keys is None else keys,
                kill=container.kill if parsed.flag("sig-proxy") else None,
            )
    return 0 if code == DETACHED else int(code)


COMMAND = Command(
    "attach",
    usage="[options] CONTAINER",
    summary="Attach to a running container",
    description="Connects the terminal's input and output with the container's, until it ends or you type the detach\n"
    "keys; ends with the container's exit code.",
    examples=("attach web", "attach --no-stdin web"),
    options=(
        Option("detach-keys", "", "string", "keys", "Keys that detach: letters or ctrl-LETTER, separated by commas;"
               " without it, ctrl-p,ctrl-q"),
        LATEST,
        Option("no-stdin", help="Do not connect standard input"),
        Option("sig-proxy", "", help="Pass the signals that this process gets on to the container", default=True),
    ),
    run=attach,
    maximum=1,
    operands="container",
)  # fmt: skip
