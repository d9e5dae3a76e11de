"""``estiva start``."""

from __future__ import annotations

from estiva.cli.parser import Command, Option
from estiva.cli.select import ALL, FILTER, LATEST, act, code_of, one, select
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def start(parsed: Parsed, settings: Globals) -> int:
    attached = parsed.flag("attach") or parsed.flag("interactive")
    with settings.engine() as engine:
        if not attached:
            selection = select(engine, parsed)
            return code_of(act(selection, lambda container: container.start()))
        if len(parsed.args) > 1 or parsed.flag("all"):
            raise Invalid("you cannot start and attach multiple containers at once")
        from estiva.cli.commands.run import foreground

        container = one(engine, parsed, "start")
        options = container.options
        if parsed.given("detach-keys"):
            options.detach_keys = parsed.text("detach-keys")
        options.attach = []
        options.interactive = options.interactive and parsed.flag("interactive")
        proxy = parsed.flag("sig-proxy") if parsed.given("sig-proxy") else True
        return foreground(container, sig_proxy=proxy)


COMMAND = Command(
    "start",
    usage="[options] CONTAINER [CONTAINER...]",
    summary="Start one or more containers",
    description="Starts containers that were created or have ended. With --attach, ends with the program's exit code.",
    examples=("start web db", "start --attach --interactive work", "start --latest"),
    options=(
        ALL,
        Option("attach", "a", help="Attach to standard output and error, and forward signals"),
        Option("detach-keys", "", "string", "keys", "Keys that detach a terminal, e.g. ctrl-p,ctrl-q"),
        FILTER,
        Option("interactive", "i", help="Attach standard input, too"),
        LATEST,
        Option("sig-proxy", "", "bool", "", "Pass signals on to the program (with --attach)", True),
    ),
    run=start,
    operands="container",
)
