"""``estiva run``."""

from __future__ import annotations

import os
import sys

from estiva.cli.commands.create import make
from estiva.cli.options_container import OPTIONS, RUN_OPTIONS, container_options
from estiva.cli.parser import Command
from estiva.errors import EstivaError, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed
    from estiva.engine.container import Container
    from estiva.engine.engine import Engine


def run(parsed: Parsed, settings: Globals) -> int:
    options = container_options(parsed, os.environ)
    detach = parsed.flag("detach")
    _check(parsed, detach)
    if parsed.flag("rmi"):
        options.rm = True
    with settings.engine() as engine:
        container = make(engine, options, parsed)
        if detach:
            code = _in_background(container)
        else:
            code = foreground(container, sig_proxy=parsed.flag("sig-proxy"))
        if parsed.flag("rmi") and not detach:
            _remove_image(engine, container)
    return code


def _check(parsed: Parsed, detach: bool) -> None:
    from estiva.monitor.foreground import parse_detach_keys

    parse_detach_keys(parsed.text("detach-keys"))
    if detach and parsed.given("attach"):
        raise Invalid("options --detach and --attach: exclude each other")
    if detach and parsed.flag("rmi"):
        raise Invalid("options --detach and --rmi: exclude each other")


def _in_background(container: Container) -> int:
    try:
        container.start()
    except BaseException:
        discard(container)
        raise
    print(container.id)
    return 0


def foreground(container: Container, *, sig_proxy: bool) -> int:
    """Start the container with this process's streams and terminal; its exit code, or 0 if the user detached."""
    from estiva.engine.removal import finish
    from estiva.monitor.foreground import DETACHED, run_attached

    options = container.options
    stdin = "stdin" in options.attach if options.attach else options.interactive
    try:
        attachment = container.start(attach=True, terminal_size=terminal_size() if options.tty else None)
    except BaseException:
        discard(container)
        raise
    assert attachment is not None
    code = run_attached(
        attachment,
        tty=options.tty,
        stdin=stdin and options.interactive,
        detach_keys=options.detach_keys,
        kill=forwarder(container) if sig_proxy else None,
    )
    if code == DETACHED:
        attachment.close()
        return 0
    finish(container, attachment)
    return int(code)


def forwarder(container: Container) -> Callable[[int], None]:
    """A function that sends a signal to the container; one that comes too late is dropped."""

    def forward(number: int) -> None:
        try:
            container.kill(number)
        except EstivaError:
            pass

    return forward


def discard(container: Container) -> None:
    """Remove a ``--rm`` container that could not be started; the failure to start is what the user hears of."""
    if container.auto_remove:
        try:
            container.remove(force=True)
        except EstivaError:
            pass


def terminal_size() -> os.terminal_size | None:
    """The size of the terminal this process has, if any."""
    for fd in (0, 1, 2):
        try:
            return os.get_terminal_size(fd)
        except OSError:
            continue
    return None


def _remove_image(engine: Engine, container: Container) -> None:
    from estiva.engine.imageremoval import remove_image

    try:
        remove_image(engine, container.image_id, force=False, tell=lambda *_: None, every_name=True)
    except EstivaError as error:
        sys.stderr.write(f"Warning: {error}\n")


COMMAND = Command(
    "run",
    usage="[options] IMAGE [COMMAND [ARG...]]",
    summary="Run a command in a new container",
    description="Makes a container from an image, which is pulled if it is not there, and runs a program in it. The\n"
    "exit code is the program's own; 125 if the engine failed, 126 if the program cannot be executed, 127 if it is\n"
    "not there.",
    examples=(
        "run --rm debian:12 cat /etc/os-release",
        "run -it --name work -v .:/src -w /src debian:12 bash",
        "run -d --name web -m 256m --cpus 0.5 --restart on-failure:3 docker.io/library/httpd",
    ),
    options=(*OPTIONS, *RUN_OPTIONS),
    run=run,
    interspersed=False,
    minimum=1,
    operands="image",
)
