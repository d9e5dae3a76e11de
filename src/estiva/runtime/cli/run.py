"""``run``: a container from its bundle to its end, in one go.

Its process is our child from the first moment, and nobody has to wait for ``start``: there is no socket, no second
command, and no monitor.
"""

from __future__ import annotations

import os

from estiva.runtime.cli import bundle
from estiva.runtime.cli.control import end_and_remove
from estiva.runtime.cli.create import Making, after_start, make
from estiva.runtime.cli.foreground import Streams, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cli.create import Made
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
    streams = Streams(terminal=terminal and not detached, subreaper=_adopts(options, spec, detached))
    if streams.console:
        making.console = streams.console.path
    try:
        made = make(context, options.operands[0], directory, spec, making)
        try:
            code = _live(made, spec, streams, detached)
        except BaseException:
            end_and_remove(made.record, made.handle, spec)
            raise
        if not detached and not options.switch("keep"):
            end_and_remove(made.record, made.handle, spec)
    finally:
        streams.close()
    return code


def _adopts(options: Options, spec: dict[str, Any], detached: bool) -> bool:
    """Whether orphans of the container become ours: those of a pid namespace of its own are its first process's."""
    if detached or options.switch("no-subreaper"):
        return False
    return "pid" not in [entry.get("type") for entry in (spec.get("linux") or {}).get("namespaces") or ()]


def _live(made: Made, spec: dict[str, Any], streams: Streams, detached: bool) -> int:
    record = made.record
    after_start(record, spec)
    if made.notify is not None:
        if detached:
            made.notify.wait_ready(record.pid)
        streams.notify = made.notify
    return 0 if detached else wait(record.pid, streams)
