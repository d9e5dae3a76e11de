"""Commands on containers that exist: state, kill, delete, list, pause, resume, update."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from estiva.errors import Conflict, Invalid, NotFound
from estiva.runtime.cli import records
from estiva.runtime.cli.create import run_hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.runtime.cli.options import Options
    from estiva.runtime.cli.records import Record

PATIENCE_S = 10.0


def signal_number(text: str) -> int:
    """The number of ``9``, ``KILL`` or ``SIGKILL``.  Raises Invalid."""
    if text.isdigit() and 0 <= int(text) <= 64:
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else "SIG" + name
    if name.startswith(("SIGRTMIN", "SIGRTMAX")):
        base = signal.SIGRTMIN if name.startswith("SIGRTMIN") else signal.SIGRTMAX
        offset = name[8:] or "0"
        if offset.lstrip("+-").isdigit():
            return int(base) + int(offset)
    try:
        return int(signal.Signals[name])
    except KeyError:
        raise Invalid(f'signal "{text}": there is no such signal') from None


def kill(record: Record, text: str, everyone: bool) -> None:
    """Send a signal to the container's process, or with *everyone* to all in its cgroup."""
    number = signal_number(text)
    if everyone:
        record.cgroup().kill(number)
        return
    if not record.alive():
        raise Conflict(f'killing container "{record.container_id}": container not running')
    pidfd = os.pidfd_open(record.pid)
    try:
        if not record.alive():  # the number may have been given to another process before we held it
            raise Conflict(f'killing container "{record.container_id}": container not running')
        signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def delete(root: str, container_id: str, force: bool) -> None:
    """Remove a stopped container and what belongs to it; with *force* any, and it is no failure if there is none."""
    try:
        record = records.find(root, container_id)
    except NotFound:
        if force:
            return
        raise
    status = record.status()
    if status not in ("stopped", "creating") and not force:
        raise Conflict(f'deleting container "{container_id}": it is {status}', "stop it, or use --force")
    _end(record)
    record.cgroup().remove()
    run_hooks(record, record.config(), ("poststop",), "stopped")  # before its record goes: a delete can be repeated
    record.remove()


def _end(record: Record) -> None:
    if not record.alive():
        return
    handle = record.cgroup()
    if handle.dirs:
        handle.kill()
    if record.alive():
        os.kill(record.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while record.alive():
        if time.monotonic() > deadline:
            raise Conflict(f'deleting container "{record.container_id}": its process does not end')
        time.sleep(0.005)


def listing(root: str, options: Options) -> str:
    """What ``list`` prints: a table, JSON, or with ``--quiet`` ids."""
    found = records.every(root)
    if options.switch("quiet"):
        return "".join(f"{record.container_id}\n" for record in found)
    states = [record.state() for record in found]
    if options.text("format", "table") == "json":
        return json.dumps(states) + "\n"
    if options.text("format", "table") != "table":
        raise Invalid(f'option --format: "{options.text("format")}" is neither table nor json')
    rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    for state in states:
        rows.append(tuple(str(state[key]) for key in ("id", "pid", "status", "bundle", "created", "owner")))  # type: ignore[arg-type]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def pause(record: Record, wanted: bool) -> None:
    """Freeze or thaw."""
    status = record.status()
    if status not in (("running", "created") if wanted else ("paused",)):
        raise Conflict(f'{"pausing" if wanted else "resuming"} container "{record.container_id}": it is {status}')
    if wanted:
        record.cgroup().freeze()
    else:
        record.cgroup().thaw()


def update(record: Record, options: Options) -> None:
    """Change limits to those in the JSON file (``-``: standard input) of ``--resources``, or in the options."""
    source = options.text("resources")
    if source:
        text = sys.stdin.read() if source == "-" else _read(source)
        try:
            resources = json.loads(text)
        except ValueError as error:
            raise Invalid(f"reading {source}: {error}") from error
    else:
        resources = {"cpu": {}, "memory": {}, "pids": {}}
        for option, section, field in (
            ("cpu-period", "cpu", "period"),
            ("cpu-quota", "cpu", "quota"),
            ("cpu-share", "cpu", "shares"),
            ("memory", "memory", "limit"),
            ("memory-swap", "memory", "swap"),
            ("memory-reservation", "memory", "reservation"),
            ("pids-limit", "pids", "limit"),
        ):
            number = options.number(option)
            if number is not None:
                resources[section][field] = number
        for option, field in (("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")):
            if options.text(option):
                resources["cpu"][field] = options.text(option)
    record.cgroup().update(resources)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
