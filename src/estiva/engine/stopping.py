"""Signals for containers, and waiting for their end."""

from __future__ import annotations

import os
import select
import time

from estiva.engine.signals import parse_signal, send_signal
from estiva.engine.state import STOPPING
from estiva.errors import Conflict, Denied, NotFound, Unavailable
from estiva.monitor.client import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.container import Container

DEFAULT_TIMEOUT = 10
SIGKILL = 9
KILL_PATIENCE_S = 10.0
_POLL_S = 0.05


def kill(container: Container, signal: int | str) -> None:
    """Send *signal* to the container's first process."""
    number = parse_signal(signal) if isinstance(signal, str) else signal
    state = container.state()
    if not state.pid:
        raise Conflict(f"can only kill running containers: container {container.name} is {state.status}")
    _send(container, state.pid, number)


def _send(container: Container, pid: int, number: int) -> None:
    """Signal the process by descriptor, so that no other that got its number is hit; that it is gone is fine."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if container.state().pid == pid:
            send_signal(pidfd, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise Denied(f"signalling container {container.name}: {(error.strerror or '').lower()}") from error
    finally:
        os.close(pidfd)


def stop(container: Container, timeout: int | None) -> None:
    """Stop the container; one that does not run is left as it is."""
    state = container.state()
    if not state.running:
        return
    if timeout is None:
        asked = container.options.stop_timeout
        timeout = DEFAULT_TIMEOUT if asked is None else asked
    try:
        attachment = container.attach(output=False)
    except Conflict:  # it ended by itself, or somebody has killed its monitor
        _stop_unmonitored(container, timeout)
        return
    with attachment:
        _mark(container)
        attachment.forbid_restart()
        if state.pid:
            _send(container, state.pid, container.details["stop_signal"])
        if _ended(attachment, None if timeout < 0 else float(timeout)):
            return
        _kill_all(container)
        if not _ended(attachment, KILL_PATIENCE_S):
            raise Unavailable(f"stopping container {container.name}: its processes do not end")


def _stop_unmonitored(container: Container, timeout: int) -> None:
    state = container.state()
    if not state.pid or state.monitored:
        return
    try:
        pidfd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        _send(container, state.pid, container.details["stop_signal"])
        if poll.poll(None if timeout < 0 else timeout * 1000):
            return
        _send(container, state.pid, SIGKILL)
        if not poll.poll(KILL_PATIENCE_S * 1000):
            raise Unavailable(f"stopping container {container.name}: its processes do not end")
    finally:
        os.close(pidfd)


def _mark(container: Container) -> None:
    """Let other commands see that it is being stopped."""
    try:
        os.close(os.open(f"{container.run_dir}/{STOPPING}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        pass  # removed meanwhile


def _kill_all(container: Container) -> None:
    pid = container.state().pid
    if pid:
        _send(container, pid, SIGKILL)


def _ended(attachment: Attachment, seconds: float | None) -> bool:
    """Whether the monitor says within *seconds* (None: ever) that the container has ended, or goes away."""
    deadline = None if seconds is None else time.monotonic() + seconds
    poll = select.poll()
    poll.register(attachment, select.POLLIN)
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left):
            return False
        event = attachment.receive()
        if event is None or event[0] == "exit":
            return True


def wait(container: Container, condition: str) -> int:
    """The exit code of the container once *condition* (stopped, exited, removed) holds."""
    if condition not in ("stopped", "exited", "removed"):
        raise NotFound(f"waiting for {condition!r}: no such condition")
    code = _wait_for_end(container)
    while condition == "removed" and _exists(container):
        time.sleep(_POLL_S)
    return code


def _wait_for_end(container: Container) -> int:
    while True:
        state = container.state()
        if state.status == "exited" or state.status == "removing":
            return state.exit_code
        if not state.running:
            if not _exists(container):
                raise NotFound(f"no container with name or ID {container.name!r} found: no such container")
            time.sleep(_POLL_S)  # not started yet
            continue
        try:
            attachment = container.attach(output=False)
        except Conflict:
            time.sleep(_POLL_S)
            continue
        with attachment:
            code = attachment.wait()
        if code is not None:
            return code


def _exists(container: Container) -> bool:
    return bool(container.engine.database.query("SELECT 1 FROM containers WHERE id=?", (container.id,)))
