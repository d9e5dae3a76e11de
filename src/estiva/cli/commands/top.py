"""``estiva top``."""

from __future__ import annotations

import sys

from estiva.cli.parser import Command
from estiva.cli.select import LATEST, one
from estiva.cli.table import align

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed


def top(parsed: Parsed, settings: Globals) -> int:
    with settings.engine() as engine:
        container = one(engine, parsed, "top")
        words = [word for argument in parsed.args for word in argument.split(",") if word]
        rows = container.top(words)
    sys.stdout.write(align([[str(cell) for cell in row] for row in rows]))
    return 0


COMMAND = Command(
    "top",
    usage="[options] CONTAINER [FORMAT-DESCRIPTORS | ARGS...]",
    summary="Display the running processes of a container",
    description="The columns are format descriptors as ps(1) knows them: args capeff comm etime group hgroup hpid\n"
    "huser nice pcpu pgid pid ppid rgroup ruser seccomp state stime time tty user vsz and more.",
    examples=("top web", "top web pid seccomp args"),
    options=(LATEST,),
    run=top,
    interspersed=False,
    operands="container",
)
