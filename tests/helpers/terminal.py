"""A command on a real terminal, driven as a person would."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from typing import Any


class Terminal:
    """A process whose standard streams are a new pseudo-terminal, its controlling one.  pty(7)

    ``output`` is everything read so far.
    """

    def __init__(self, command: list[str], *, rows: int = 24, columns: int = 80, **options: Any) -> None:
        self.fd, other = os.openpty()
        self.output = ""
        self.resize(rows, columns)
        os.fchown(other, options.get("user", -1), -1)

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        try:
            self.process = subprocess.Popen(
                command,
                stdin=other,
                stdout=other,
                stderr=other,
                preexec_fn=take_terminal,  # noqa: PLW1509  (the session has no threads)
                **options,
            )
        finally:
            os.close(other)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text: str) -> None:
        """Type *text*."""
        os.write(self.fd, text.encode())

    def expect(self, text: str, seconds: float = 15) -> str:
        """Read until *text* has been written; returns what came up to and including it, and forgets that."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"no {text!r} on the terminal, but {self.output!r}")
        end = self.output.index(text) + len(text)
        seen, self.output = self.output[:end], self.output[end:]
        return seen

    def wait(self, seconds: float = 15) -> int:
        """The exit code, after the process has ended by itself; what it wrote last is in ``output``."""
        deadline = time.monotonic() + seconds
        while self._read(min(0.05, deadline - time.monotonic())) or self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"still running; on the terminal: {self.output!r}")
        return self.process.wait()

    def _read(self, seconds: float) -> bool:
        """Whether more came within *seconds*."""
        if seconds <= 0 or not select.select([self.fd], [], [], seconds)[0]:
            return self.process.poll() is None and seconds > 0
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the last process closed the other side
            return False
        self.output += data.decode(errors="replace")
        return bool(data)

    def close(self) -> None:
        """End the process if it still runs, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.fd)
