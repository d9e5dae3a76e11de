"""Waiting for a container's program in the foreground: its terminal, signals, exit code.

The helper leaves as soon as the program runs; this process is then the program's parent, for it has declared itself the
reaper of orphans (PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal

from estiva.linux.libc import check, libc
from estiva.monitor.foreground import RawTerminal, Signals

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Orphans below this process become its children.  prctl(2)"""
    check(libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_long(1), 0, 0, 0), "prctl", "PR_SET_CHILD_SUBREAPER")


class Console:
    """A socket on which the helper delivers the master of a new terminal."""

    __slots__ = ("_socket", "path")

    def __init__(self, path: str) -> None:
        import socket

        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        self._socket.listen(1)

    def receive(self) -> int:
        """The master (close-on-exec); the caller closes it."""
        import socket

        connection, _ = self._socket.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 64, 1)
        os.set_inheritable(fds[0], False)
        return fds[0]

    def close(self) -> None:
        self._socket.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass


def wait(pid: int, master: int = -1) -> int:
    """Forward signals, and the terminal's bytes through *master* if there is one, until *pid*, a child, has ended.

    Returns its exit code, 128 + signal if one ended it.
    """
    interactive = master >= 0 and os.isatty(0)
    signals = Signals(proxy=True, terminal=interactive)
    pidfd = os.pidfd_open(pid)
    try:
        if interactive:
            _copy_size(master)
            with RawTerminal(0):
                _pump(pid, pidfd, master, signals)
        else:
            _pump(pid, pidfd, master, signals)
    finally:
        os.close(pidfd)
        signals.close()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _pump(pid: int, pidfd: int, master: int, signals: Signals) -> None:
    inputs = {pidfd, signals.fd} | ({0, master} if master >= 0 else set())
    while pidfd in inputs:
        ready, _, _ = select.select(inputs, (), ())
        if signals.fd in ready:
            for number in signals.read():
                _signal(pid, number, master)
        if 0 in ready and not _copy(0, master):
            inputs.discard(0)
        if master in ready and not _copy(master, 1):
            inputs.discard(master)
        if pidfd in ready:
            inputs.discard(pidfd)
    while master in inputs and select.select((master,), (), (), 0)[0]:
        if not _copy(master, 1):
            break


def _signal(pid: int, number: int, master: int) -> None:
    if number == signal.SIGWINCH:
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

    fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
