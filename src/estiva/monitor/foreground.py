"""A command in the foreground of a container: bytes, signals and window sizes pass between the user and the monitor."""

from __future__ import annotations

import errno
import os
import select
import sys

from estiva.errors import Invalid
from estiva.monitor.client import CHUNK, Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal as signal  # the module around it loads enum, to give numbers names

DETACHED = "detached"
DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
# Not for the container: what says something about this process, or cannot be caught.
_OURS = {
    getattr(signal, f"SIG{name}")
    for name in (
        "CHLD", "PIPE", "URG", "WINCH", "KILL", "STOP", "TTIN", "TTOU", "TSTP", "CONT", "SEGV", "BUS", "FPE", "ILL",
        "PROF",
    )
}  # fmt: skip


def parse_detach_keys(text: str) -> bytes:
    """The bytes of a key sequence such as ``ctrl-p,ctrl-q`` or ``a,b``; ``""`` is none.  Raises Invalid."""
    out = bytearray()
    for key in text.split(",") if text else ():
        name = key.removeprefix("ctrl-")
        if name == key and len(key) == 1 and key.isascii():
            out.append(ord(key))
        elif name != key and len(name) == 1 and (name.islower() or name in "@[\\]^_") and name.isascii():
            out.append(ord(name.upper()) & 0x1F)
        else:
            raise Invalid(f"detach keys {text!r}: {key!r} is no key", "write keys as a single letter or ctrl-LETTER")
    return bytes(out)


class Detacher:
    """Finds the detach sequence in what is typed; bytes that might begin it are held back until they do not."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes to pass on, and whether the sequence is complete."""
        if not self._keys:
            return data, False
        data = self._held + data
        at = data.find(self._keys)
        if at >= 0:
            self._held = b""
            return data[:at], True
        size = next((n for n in range(len(self._keys) - 1, 0, -1) if data.endswith(self._keys[:n])), 0)
        self._held = data[len(data) - size :]
        return data[: len(data) - size], False


class RawTerminal:
    """A context in which the terminal *fd* passes every key on and echoes none; put back on every way out."""

    __slots__ = ("_fd", "_saved")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> RawTerminal:
        import termios
        import tty  # a few lines over termios

        self._saved = termios.tcgetattr(self._fd)
        tty.setraw(self._fd, termios.TCSANOW)
        return self

    def __exit__(self, *_: object) -> None:
        import termios

        if self._saved is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)


class Signals:
    """A context in which signals arrive as bytes on ``fd`` instead of interrupting: those for the container, and
    SIGWINCH for its terminal.  Works in the main thread only; elsewhere ``fd`` is -1 and signals stay as they are."""

    __slots__ = ("_saved", "_wakeup", "_write", "fd")

    def __init__(self, proxy: bool, terminal: bool) -> None:
        self.fd = self._write = self._wakeup = -1
        self._saved: dict[int, Any] = {}
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._wakeup = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        except ValueError:  # not the main thread
            os.close(read_fd)
            os.close(write_fd)
            return
        self.fd, self._write = read_fd, write_fd
        wanted = set(range(1, signal.NSIG)) - _OURS if proxy else set()
        if terminal:
            wanted.add(signal.SIGWINCH)
        for number in wanted:
            try:
                self._saved[number] = signal.signal(number, lambda *_: None)
            except (OSError, ValueError):
                continue  # not to be caught

    def read(self) -> bytes:
        """The numbers of the signals that came."""
        try:
            return os.read(self.fd, 64)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Let signals be what they were."""
        if self.fd < 0:
            return
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._saved.items():
            signal.signal(number, handler)
        os.close(self.fd)
        os.close(self._write)
        self.fd = -1


class Foreground:
    """One session: call :meth:`run`."""

    __slots__ = ("_attachment", "_detacher", "_kill", "_poll", "_signals", "_stdin", "_terminal")

    def __init__(
        self,
        attachment: Attachment,
        *,
        tty: bool,
        stdin: bool,
        detach_keys: str | None = None,
        kill: Callable[[int], None] | None = None,
    ) -> None:
        self._attachment = attachment
        self._terminal = tty
        self._stdin = 0 if stdin else -1
        self._kill = kill
        keys = DEFAULT_DETACH_KEYS if detach_keys is None else detach_keys
        self._detacher = Detacher(parse_detach_keys(keys) if tty else b"")
        self._poll = select.poll()

    def run(self) -> int | str:
        """Serve until the container ends; its exit code, or :data:`DETACHED` if the user typed the detach keys."""
        raw = self._terminal and self._stdin >= 0 and os.isatty(self._stdin)
        self._signals = Signals(self._kill is not None, self._terminal)
        try:
            if not raw:
                return self._serve()
            with RawTerminal(self._stdin):
                return self._serve()
        finally:
            self._signals.close()

    def _serve(self) -> int | str:
        self._poll.register(self._attachment.fd, select.POLLIN)
        if self._signals.fd >= 0:
            self._poll.register(self._signals.fd, select.POLLIN)
        if self._stdin >= 0:
            self._register_stdin()
        if self._terminal:
            self._resize()
        while True:
            # The container's words before the user's: an end that is already told is not answered with more input.
            for fd, _ in sorted(self._poll.poll(), key=lambda item: item[0] != self._attachment.fd):
                if fd == self._attachment.fd:
                    if not self._receive():
                        return 255 if self._attachment.exit_code is None else self._attachment.exit_code
                elif fd == self._signals.fd:
                    self._pass_signals()
                elif not self._send_input():
                    return DETACHED

    def _register_stdin(self) -> None:
        try:
            self._poll.register(self._stdin, select.POLLIN)
        except OSError:
            self._stdin = -1
            self._attachment.close_stdin()

    def _receive(self) -> bool:
        event = self._attachment.receive()
        if event is None or event[0] == "exit":
            return False
        write_all(2 if event[0] == "stderr" else 1, event[1])
        return True

    def _send_input(self) -> bool:
        """Pass on what was typed; False when that ends the session."""
        try:
            data = os.read(self._stdin, CHUNK)
        except OSError as error:
            if error.errno != errno.EIO:  # the terminal is gone
                raise
            data = b""
        if not data:
            self._poll.unregister(self._stdin)
            self._attachment.close_stdin()
            return True
        data, detach = self._detacher.feed(data)
        if data:
            self._attachment.send_stdin(data)
        return not detach

    def _pass_signals(self) -> None:
        for number in self._signals.read():
            if number == signal.SIGWINCH:
                self._resize()
            elif self._kill is not None:
                self._kill(number)

    def _resize(self) -> None:
        for fd in (self._stdin, 1, 0):
            try:
                size = os.get_terminal_size(fd)
            except OSError:
                continue
            self._attachment.resize(size.lines, size.columns)
            return


def run_attached(
    attachment: Attachment,
    *,
    tty: bool,
    stdin: bool,
    detach_keys: str | None = None,
    kill: Callable[[int], None] | None = None,
) -> int | str:
    """Connect this process's standard streams with a container until it ends; its exit code or :data:`DETACHED`.

    *tty*: the container has a terminal (ours becomes raw) · *stdin*: pass standard input on · *kill*: called with the
    number of each signal that is for the container (None: signals are ours).  The attachment stays open.
    """
    sys.stdout.flush()
    return Foreground(attachment, tty=tty, stdin=stdin, detach_keys=detach_keys, kill=kill).run()


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*, also to a descriptor somebody else made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
