"""Waiting for a program in the foreground: its terminal, signals, notifications, exit code."""

from __future__ import annotations

import errno
import os
import select

from estiva.monitor.foreground import RawTerminal, Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.runtime.cli.console import Console
    from estiva.runtime.cli.notify import Proxy

PR_SET_CHILD_SUBREAPER = 36
SIGWINCH = 28  # the signal module would bring enum


class Streams:
    """What connects this process with a program in the foreground, made before that runs: signals that come from now on
    are for it.  ``console``: where its terminal arrives · ``notify``: passes its notifications on ·
    ``subreaper``: its orphans become ours, for this process is one."""

    __slots__ = ("console", "notify", "signals", "subreaper")

    def __init__(self, console: Console | None = None, *, subreaper: bool = False) -> None:
        self.console = console
        self.notify: Proxy | None = None
        self.subreaper = subreaper
        self.signals = Signals(proxy=True, terminal=console is not None)

    def close(self) -> None:
        self.signals.close()
        if self.console:
            self.console.close()
        if self.notify is not None:
            self.notify.close()


def become_subreaper() -> None:
    """Orphans below this process become its children.  prctl(2)"""
    import ctypes

    from estiva.linux.libc import check, libc

    check(libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_long(1), 0, 0, 0), "prctl", "PR_SET_CHILD_SUBREAPER")


def wait(pid: int, streams: Streams) -> int:
    """Pass signals on, and the terminal's bytes if there is one, until *pid*, a child, has ended.

    Returns its exit code, 128 + signal if one ended it.
    """
    master = streams.console.receive() if streams.console else -1
    pidfd = os.pidfd_open(pid)
    try:
        if master >= 0 and os.isatty(0):
            _copy_size(master)
            with RawTerminal(0):
                _pump(pid, pidfd, master, streams)
        else:
            _pump(pid, pidfd, master, streams)
    finally:
        os.close(pidfd)
        if master >= 0:
            os.close(master)
    _, status = os.waitpid(pid, 0)
    if streams.subreaper:
        _reap()
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _pump(pid: int, pidfd: int, master: int, streams: Streams) -> None:
    poll = select.poll()
    inputs = [pidfd, streams.signals.fd] + ([0, master] if master >= 0 else [])
    if streams.notify is not None:
        inputs.append(streams.notify.fileno())
    for fd in inputs:
        poll.register(fd, select.POLLIN)
    while True:
        ready = dict(poll.poll(1000 if streams.subreaper else None))
        if streams.subreaper:
            _reap(pid)
        if streams.signals.fd in ready:
            for number in streams.signals.read():
                _signal(pid, number, master)
        for source, target in ((0, master), (master, 1)):
            if master >= 0 and source in ready and not _copy(source, target):
                poll.unregister(source)
        if streams.notify is not None and streams.notify.fileno() in ready:
            streams.notify.pass_on()
        if pidfd in ready:
            break
    while master >= 0 and select.select((master,), (), (), 0)[0] and _copy(master, 1):
        pass


def _reap(keep: int = 0) -> None:
    """Take leave of orphans that have ended, but not of *keep*."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == keep:
            return
        os.waitpid(ended.si_pid, 0)


def _signal(pid: int, number: int, master: int) -> None:
    if number == SIGWINCH:
        if master >= 0:
            _copy_size(master)
        return
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _copy(source: int, target: int) -> bool:
    """Pass on what is there; False at the end."""
    try:
        data = os.read(source, 65536)
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
    except OSError as error:
        if error.errno in (errno.EIO, errno.EPIPE):  # the other side of a terminal has closed
            return False
        raise
    return bool(data)


def _copy_size(master: int) -> None:
    import fcntl
    import termios

    try:
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        pass  # ours is no terminal, or gone
