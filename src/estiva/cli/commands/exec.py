"""``estiva exec``."""

from __future__ import annotations

import os

from estiva.cli.parser import Command, Option
from estiva.engine.spec import environment
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed
    from estiva.engine.container import Container
    from estiva.engine.engine import Engine


def execute(parsed: Parsed, settings: Globals) -> int:
    from estiva.monitor.foreground import DETACHED, parse_detach_keys, run_attached

    keys = parsed.text("detach-keys") if parsed.given("detach-keys") else None
    parse_detach_keys(keys or "")
    env: list[str] = []
    for path in parsed.texts("env-file"):
        env += environment.read_env_file(path, os.environ)
    env += environment.from_host(parsed.texts("env"), os.environ)
    with settings.engine() as engine:
        container = _container(engine, parsed)
        if not parsed.args:
            raise Invalid("must provide a non-empty command to start an exec session")
        detach, tty, stdin = parsed.flag("detach"), parsed.flag("tty"), parsed.flag("interactive")
        session = container.exec(
            parsed.args,
            tty=tty,
            stdin=stdin,
            env=env,
            user=parsed.text("user"),
            workdir=parsed.text("workdir"),
            privileged=parsed.flag("privileged"),
            detach=detach,
            preserve_fds=parsed.number("preserve-fds"),
            terminal_size=_terminal_size() if tty else None,
        )
        with session:
            if session.attachment is None:
                return 0
            code = run_attached(session.attachment, tty=tty, stdin=stdin, detach_keys=keys, kill=session.kill)
    return 0 if code == DETACHED else int(code)


def _container(engine: Engine, parsed: Parsed) -> Container:
    """The container named by the first operand, an option, or a file; the command stays in ``parsed.args``."""
    if parsed.flag("latest"):
        from estiva.cli.select import latest

        return latest(engine)
    if parsed.given("cidfile"):
        lines = environment.read_lines(parsed.text("cidfile"), "container ID file")
        return engine.containers.get(lines[0].strip() if lines else "")
    if not parsed.args:
        raise Invalid("exec requires the name or ID of a container or the --latest flag")
    return engine.containers.get(parsed.args.pop(0))


def _terminal_size() -> os.terminal_size | None:
    for fd in (0, 1, 2):
        try:
            return os.get_terminal_size(fd)
        except OSError:
            continue
    return None


COMMAND = Command(
    "exec",
    usage="[options] CONTAINER COMMAND [ARG...]",
    summary="Run a process in a running container",
    description="The exit code is the program's own; 125 if the engine failed, 126 if the program cannot be executed,\n"
    "127 if it is not there.",
    examples=("exec web ls /", "exec -it web bash", "exec -u www-data -w /tmp -e A=1 web env"),
    options=(
        Option("cidfile", "", "string", "path", "Read the container ID from the file", complete="file"),
        Option("detach", "d", help="Run the program in the background"),
        Option("detach-keys", "", "string", "keys", "Keys that detach a terminal, e.g. ctrl-p,ctrl-q"),
        Option("env", "e", "array", "name[=value]", "Set an environment variable"),
        Option("env-file", "", "array", "path", "Read environment variables from a file", complete="file"),
        Option("interactive", "i", help="Keep standard input open"),
        Option("latest", "l", help="Act on the container that was created last"),
        Option("preserve-fds", "", "uint", "count", "Pass on this many descriptors besides the first three"),
        Option("privileged", help="Give the program all capabilities"),
        Option("tty", "t", help="Give the program a terminal"),
        Option("user", "u", "string", "user[:group]", "User the program runs as, by name or number"),
        Option("workdir", "w", "string", "path", "Directory the program starts in"),
    ),
    run=execute,
    interspersed=False,
    operands="container",
)
