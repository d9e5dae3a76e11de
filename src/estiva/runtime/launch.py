"""Bringing a plan to life: start the helper, hear whether the program runs, hand back the line to its monitor."""

from __future__ import annotations

import os
import struct

from estiva.errors import Unavailable
from estiva.linux.unix import receive, socketpair
from estiva.runtime import helper, plan
from estiva.runtime.failure import decode
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SIGKILL = 9
LOG_FORMATS = {"k8s-file": 1, "json-file": 2}
RESTART_POLICIES = {"on-failure": 1, "always": 2, "unless-stopped": 2}


class MonitorSpec:
    """What the monitor of one container is to keep and to do; paths are the host's.

    ``status``, ``exit``: files it writes · ``durable``: the latter is to survive a power cut
    · ``attach``: its socket · ``log``, ``log_format`` (k8s-file, json-file),
    ``log_bytes``, ``log_files``: rotation, 0 bytes for none · ``stdin``, ``terminal``: the container's standard
    streams · ``procs``, ``cgroup_dirs``, ``kill``, ``oom``: cgroup files to join by, directories to remove (deepest
    first), cgroup.kill and the file with an oom_kill line · ``restart``: (policy, retries) · ``remove``: a tree to
    remove when all is over · ``cleanup``: argv executed then, unless the owner did its work · ``timeout``: seconds
    · ``layers``: EROFS layers to mount: (number of its lock among the kept descriptors, directory, index, tar, target).
    """

    __slots__ = (
        "attach", "cgroup_dirs", "cleanup", "durable", "exit", "kill", "layers", "log", "log_bytes", "log_files",
        "log_format", "oom", "procs", "remove", "restart", "status", "stdin", "terminal", "timeout",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = self.exit = self.attach = self.log = self.kill = self.oom = self.remove = ""
        self.log_format = "k8s-file"
        self.log_bytes = 0
        self.log_files = 1
        self.stdin = self.terminal = False
        self.durable = True
        self.layers: list[tuple[int, str, str, str, str]] = []
        self.procs: list[str] = []
        self.cgroup_dirs: list[str] = []
        self.restart = ("no", 0)
        self.cleanup: list[str] = []
        self.timeout = 0

    def plan(self) -> Plan:
        """The operations that configure the monitor."""
        out = Plan()
        if self.status:
            out.add(plan.STATUS, self.status, self.exit, int(self.durable))
        if self.log:
            out.add(plan.LOG, self.log, LOG_FORMATS[self.log_format], self.log_bytes, self.log_files)
        if self.attach:
            out.add(plan.ATTACH, self.attach)
        if self.procs or self.cgroup_dirs:
            out.add(plan.CGROUP, self.procs, self.cgroup_dirs, self.kill, self.oom)
        if self.restart[0] in RESTART_POLICIES:
            out.add(plan.RESTART, RESTART_POLICIES[self.restart[0]], self.restart[1])
        if self.remove:
            out.add(plan.REMOVE, self.remove)
        if self.cleanup:
            out.add(plan.CLEANUP, self.cleanup)
        for index, *paths in self.layers:
            out.add(plan.LAYER, helper.KEEP_FROM + index, *paths)
        if self.timeout:
            out.add(plan.TIMEOUT, self.timeout)
        if self.stdin:
            out.add(plan.STDIN)
        if self.terminal:
            out.add(plan.TERMINAL)
        return out


class Launched:
    """A program that runs: its ``pid`` in this process's pid namespace, and ``fd``, the owner's line to its monitor
    (see ``monitor/client.py``), which the caller closes, or, of a child, the pipe for :func:`confirm`, which
    :func:`settle` closes."""

    __slots__ = ("fd", "helper_pid", "pid")

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self.helper_pid = 0  # of a child, until settle()
        self.fd = fd


def launch(
    work: Plan,
    monitor: MonitorSpec | None,
    name: Sequence[str],
    *,
    attach: bool = False,
    keep: Sequence[int] = (),
    own_stdio: bool = True,
    on_sync: Callable[[int], None] | None = None,
) -> Launched:
    """Carry out *work* (from :mod:`estiva.runtime.compile`); returns once its program runs.

    *name* is the monitor's command line; with *attach* the owner's line gets all output from the first byte on; *keep*
    are descriptors the monitor holds on to (locks; the first becomes ``KEEP_FROM`` in the helper); *on_sync* is called
    with the process id where the plan says SYNC, and if it raises, nothing is started.  Raises
    CommandNotFound, CommandNotExecutable or another EstivaError that names the operation that failed; everything made
    is then undone.
    """
    whole = monitor.plan() if monitor else Plan()
    whole.extend(work)
    ours, theirs = socketpair()
    try:
        if attach:
            os.write(ours, b"a")
        try:
            pid = helper.spawn(whole, theirs, name, keep=keep, own_stdio=own_stdio)
        finally:
            os.close(theirs)
        message = receive(ours, 4096)
        while message[:1] == b"s":
            _answer(ours, message, on_sync)
            message = receive(ours, 4096)
        helper.wait(pid)
        if message[:1] == b"f":
            raise decode(message[1:])
        if message[:1] != b"p":
            raise Unavailable("starting the container: its monitor was killed")
    except BaseException:
        os.close(ours)
        raise
    return Launched(struct.unpack("=i", message[1:5])[0], ours)


def _answer(line: int, message: bytes, on_sync: Callable[[int], None] | None) -> None:
    """Do the owner's part while the container's process waits; if that fails, wait until all is undone, then raise."""
    try:
        if on_sync is not None:
            on_sync(struct.unpack("=i", message[1:5])[0])
    except BaseException:
        os.write(line, b"x")
        while receive(line, 4096):
            pass
        raise
    os.write(line, b"g")


def launch_child(
    work: Plan,
    procs: Sequence[str],
    name: Sequence[str],
    made: Callable[[Launched], None],
    *,
    on_sync: Callable[[int], None] | None = None,
    keep: Sequence[int] = (),
    terminal: bool = False,
    console: str = "",
) -> Launched:
    """Carry out *work* for a process that becomes this one's child, without a monitor; returns once it is ready (at
    ``WAIT_START``) or its program runs.

    It gets the caller's standard streams, or with *terminal* a terminal whose master is sent to the socket *console*.
    *procs* are the cgroup.procs files to join by.  *made* is called as soon as the process exists, while it is still
    setting itself up.  *work* has ``CONFIRM`` with the descriptor ``KEEP_FROM + len(keep)``: the process ends with this
    one until :func:`confirm` was called.  Raises like :func:`launch`; the process is then dead and reaped.
    """
    whole = Plan().add(plan.CHILD, console)
    if procs:
        whole.add(plan.CGROUP, procs, (), "", "")
    if terminal:
        whole.add(plan.TERMINAL)
    whole.extend(work)
    ours, theirs = socketpair()
    read_fd, write_fd = os.pipe()
    launched = Launched(0, write_fd)
    try:
        try:
            helper_pid = helper.spawn(whole, theirs, name, keep=(*keep, read_fd), own_stdio=False)
        finally:
            os.close(theirs)
            os.close(read_fd)
        message = receive(ours, 4096)
        while message[:1] in (b"c", b"s"):
            if message[:1] == b"s":
                _answer(ours, message, on_sync)
            else:
                before, launched.pid = launched.pid, struct.unpack("=i", message[1:5])[0]
                if before:
                    helper.wait(before)  # it has ended in favour of this one
                else:
                    made(launched)
            message = receive(ours, 4096)
        launched.helper_pid = helper_pid
        if message[:1] == b"f":
            raise decode(message[1:])
        if message[:1] != b"p":
            raise Unavailable("starting the container: its helper was killed")
    except BaseException:
        os.close(write_fd)
        if launched.pid:
            os.kill(launched.pid, _SIGKILL)  # ours, and not waited for yet: the number is still its own
            helper.wait(launched.pid)
        if launched.pid or launched.helper_pid:
            helper.wait(helper_pid)
        raise
    finally:
        os.close(ours)
    return launched


def settle(launched: Launched) -> None:
    """Be done with launching a child: the helper, which had to take its leave, is waited for only now."""
    os.close(launched.fd)
    if launched.helper_pid:
        helper.wait(launched.helper_pid)


def confirm(launched: Launched) -> None:
    """Let a child live on without this process: somebody else can find it now."""
    try:
        os.write(launched.fd, b"k")
    except BrokenPipeError:
        pass  # it has ended already


def execute_inside(work: Plan, environ: dict[str, str], keep: Sequence[int] = ()) -> int:
    """Start a program by a plan that has no CLONE (the helper itself becomes it), with the caller's standard streams;
    returns its process id once it runs.  Raises like :func:`launch`."""
    ours, theirs = socketpair()
    try:
        try:
            pid = helper.spawn(work, theirs, ["estiva-inside"], keep=keep, own_stdio=False, environ=environ)
        finally:
            os.close(theirs)
        message = receive(ours, 4096)
    finally:
        os.close(ours)
    if message[:1] == b"f":
        helper.wait(pid)
        raise decode(message[1:])
    return pid
