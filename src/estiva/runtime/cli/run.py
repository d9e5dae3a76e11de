"""``run``: a container from its bundle to its end, in one go.

Its process is our child from the first moment, and nobody has to wait for ``start``: there is no socket, no second
command, and no monitor.  What is needed once the program runs is loaded while its process sets itself up.
"""

from __future__ import annotations

import os

from estiva.runtime.cli import bundle
from estiva.runtime.cli.create import Making, after_start, make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cli.console import Console
    from estiva.runtime.cli.create import Made
    from estiva.runtime.cli.foreground import Streams
    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.options import Options


def command_run(context: Context, options: Options) -> int:
    from estiva.runtime.cli.streams import check_console, passed_descriptors

    directory = os.path.abspath(options.text("bundle") or ".")
    spec = bundle.load(directory)
    process = spec["process"]
    making = Making(options, wait=False)
    detached, terminal = options.switch("detach"), bool(process.get("terminal"))
    check_console(terminal, detached, making.console)
    making.pass_fds = passed_descriptors(options, process)
    if detached:
        made = make(context, options.operands[0], directory, spec, making)
        _end_if_it_fails(made, spec, None)
        return 0
    session = _Session(terminal, _adopts(options, spec))
    making.begun = session.begin
    making.console = session.console.path if session.console else ""
    try:
        made = make(context, options.operands[0], directory, spec, making)
        code = _end_if_it_fails(made, spec, session.streams)
        if not options.switch("keep"):
            _end(made, spec)
    finally:
        session.close()
    return code


class _Session:
    """What a program in the foreground needs of us; ``streams`` from :meth:`begin` on."""

    __slots__ = ("_adopts", "console", "streams")

    def __init__(self, terminal: bool, adopts: bool) -> None:
        self.console: Console | None = None
        if terminal:
            from estiva.runtime.cli.console import Console

            self.console = Console()
        self._adopts = adopts
        if adopts:  # before there is anybody who could become an orphan
            from estiva.runtime.cli.foreground import become_subreaper

            become_subreaper()
        self.streams: Streams | None = None

    def begin(self) -> None:
        import estiva.runtime.cli.control  # noqa: F401  for the end
        from estiva.runtime.cli.foreground import Streams

        self.streams = Streams(self.console, subreaper=self._adopts)

    def close(self) -> None:
        if self.streams:
            self.streams.close()
        elif self.console:
            self.console.close()


def _adopts(options: Options, spec: dict[str, Any]) -> bool:
    """Whether orphans of the container become ours: those of a pid namespace of its own are its first process's."""
    if options.switch("no-subreaper"):
        return False
    return "pid" not in [entry.get("type") for entry in (spec.get("linux") or {}).get("namespaces") or ()]


def _end(made: Made, spec: dict[str, Any]) -> None:
    from estiva.runtime.cli.control import end_and_remove

    end_and_remove(made.record, made.handle, spec)


def _end_if_it_fails(made: Made, spec: dict[str, Any], streams: Streams | None) -> int:
    """What comes after the start, and with *streams* the program's end; its exit code."""
    try:
        after_start(made.record, spec)
        if made.notify is not None and streams is None:
            made.notify.wait_ready(made.record.pid)
        if streams is None:
            return 0
        from estiva.runtime.cli.foreground import wait

        streams.notify = made.notify
        return wait(made.record.pid, streams)
    except BaseException:
        _end(made, spec)
        raise
