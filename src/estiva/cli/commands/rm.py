"""``estiva rm``."""

from __future__ import annotations

from estiva.cli.errors import ENGINE_FAILED
from estiva.cli.parser import Command, Option
from estiva.cli.select import CIDFILE, FILTER, IGNORE, LATEST, act_at_once, select
from estiva.errors import Conflict, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed
    from estiva.engine.container import Container


def rm(parsed: Parsed, settings: Globals) -> int:
    force = parsed.flag("force")
    timeout = parsed.number("time") if parsed.given("time") else None
    volumes = parsed.flag("volumes")
    depend = parsed.flag("depend")
    gone: set[str] = set()  # removed as dependents, so perhaps already when their own turn comes

    def remove(container: Container) -> None:
        if depend:
            from estiva.engine.sharing import dependents

            for other in dependents(container):
                gone.add(other.id)
                remove(other)
        try:
            container.remove(force=force, timeout=timeout, volumes=volumes)
        except NotFound:
            if container.id not in gone:
                raise

    with settings.engine() as engine:
        selection = select(engine, parsed, ignore=force or parsed.flag("ignore"))
        failures = act_at_once(selection, remove)
    return removal_code(failures)


def removal_code(failures: list[BaseException]) -> int:
    """podman-rm(1) "Exit Status": 1 if all that failed did not exist, 2 if something is in use, else 125."""
    if not failures:
        return 0
    if all(isinstance(failure, NotFound) for failure in failures):
        return 1
    return 2 if any(isinstance(failure, Conflict) for failure in failures) else ENGINE_FAILED


COMMAND = Command(
    "rm",
    usage="[options] CONTAINER [CONTAINER...]",
    summary="Remove one or more containers",
    description="Removes the container and its writable layer; a running one only with --force.\n"
    "Exit status: 1 if a container does not exist, 2 if one is running, 125 for other failures.",
    examples=("rm web", "rm --force --all", "rm -f c684f0d469f2"),
    options=(
        Option("all", "a", help="Remove all containers"),
        CIDFILE,
        Option("depend", "", help="Remove the containers that share a namespace of it, too"),
        Option("filter", "", "array", "filter", FILTER.help, complete="filter"),
        Option("force", "f", help="Stop and remove a running container; one that does not exist is no error"),
        IGNORE,
        LATEST,
        Option("time", "t", "int", "seconds", "Seconds to wait before killing a running container, with --force",
               aliases=("timeout",)),
        Option("volumes", "v", help="Remove the anonymous volumes of the container"),
    ),
    run=rm,
    operands="container",
)  # fmt: skip
