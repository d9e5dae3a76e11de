"""The state of a container, as it follows from what its monitor wrote down."""

from __future__ import annotations

import os

from estiva.monitor.state import read_state

STOPPING = "stopping"  # a file in the container's run directory while a stop waits
RUNTIME_STATES = "runtime"  # in the run root: what other runtimes keep of their containers, a directory each


class ContainerState:
    """``status`` configured, created, running, paused, stopping, exited or removing · ``pid`` 0 without a process ·
    times in Unix nanoseconds, 0 for never · ``exit_code`` of the last run, 0 if none has ended · ``oom``: that run
    ended for want of memory · ``restarts`` by policy · ``monitored``: its monitor is alive."""

    __slots__ = ("exit_code", "finished_ns", "monitored", "oom", "pid", "restarts", "started_ns", "status")

    def __init__(self, status: str) -> None:
        self.status = status
        self.pid = self.exit_code = self.restarts = 0
        self.started_ns = self.finished_ns = 0
        self.oom = self.monitored = False

    @property
    def running(self) -> bool:
        """Whether its program runs, be it paused, about to be stopped or about to be started again."""
        return self.status in ("running", "paused", STOPPING)


def derive_state(phase: str, started_ns: int, run_dir: str, ctr_dir: str) -> ContainerState:
    """The state from the database's *phase* and *started_ns* (of its last start) and the monitor's files."""
    monitor = read_state(run_dir, ctr_dir)
    state = ContainerState("created")
    state.started_ns = monitor.started_ns or started_ns
    state.finished_ns = monitor.finished_ns
    state.oom, state.restarts, state.monitored = monitor.oom, monitor.restarts, monitor.monitored
    if monitor.exit_code is not None:
        state.status, state.exit_code = "exited", monitor.exit_code
    elif started_ns:  # the machine went down, or the monitor was killed, before it could write how it ended
        state.status, state.exit_code = "exited", 255
    if monitor.running:
        state.status, state.pid = "running", monitor.pid
        if os.path.exists(f"{run_dir}/{STOPPING}"):
            state.status = STOPPING
    elif monitor.monitored:  # it has just ended: its monitor clears away, or will start it again
        state.status = STOPPING
    if phase != "created":
        state.status = phase
    return state
