"""The client's side of a monitor's socket.

Messages, first byte their kind, the rest their content (the monitor's side is ``native/monitor.c``):

    from the monitor   p  pid               the program runs
                       f  struct failure    it could not be started
                       o, e  bytes          standard output, standard error
                       x  code, oom         it has ended for good and all is cleared away
    to the monitor     a                    send me the output
                       i  bytes, c          standard input, its end
                       w  rows, columns     the terminal's new size
                       q                    do not start it again
                       d                    (owner) what the monitor's clean-up command would do is done
"""

from __future__ import annotations

import os
import struct

from estiva.errors import Conflict
from estiva.linux.unix import connect, receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 16384
STREAMS = {b"o": "stdout", b"e": "stderr"}


class Attachment:
    """A line to a monitor; a context manager.  ``exit_code`` and ``oom`` are set once it has told them."""

    __slots__ = ("exit_code", "fd", "oom")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.exit_code: int | None = None
        self.oom = False

    @classmethod
    def open(cls, path: str, *, output: bool = True) -> Attachment:
        """Connect to the socket at *path*; with *output* the container's output is sent from now on.

        Raises Conflict if nobody listens there: the container does not run.
        """
        try:
            attachment = cls(connect(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise Conflict("attaching: the container is not running") from None
        if output:
            attachment.send(b"a")
        return attachment

    def fileno(self) -> int:
        """The descriptor, for poll(2)."""
        return self.fd

    def receive(self) -> tuple[str, bytes] | None:
        """The next message as (``stdout`` or ``stderr``, bytes) or (``exit``, b""), or None when the line is closed."""
        while True:
            message = receive(self.fd, CHUNK + 1)
            if not message:
                return None
            kind = message[:1]
            if kind in STREAMS:
                return STREAMS[kind], message[1:]
            if kind == b"x":
                self.exit_code, oom = struct.unpack("=ii", message[1:9])
                self.oom = bool(oom)
                return "exit", b""

    def events(self) -> Iterator[tuple[str, bytes]]:
        """All messages until the container has ended or the line is closed."""
        while (event := self.receive()) is not None:
            yield event
            if event[0] == "exit":
                return

    def wait(self) -> int | None:
        """The exit code, once the container has ended for good; None if the monitor went away without a word."""
        for _ in self.events():
            pass
        return self.exit_code

    def send(self, message: bytes) -> bool:
        """Send one message; False if nobody is there any more."""
        try:
            os.write(self.fd, message)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_stdin(self, data: bytes) -> bool:
        """Hand *data* (at most CHUNK bytes) to the container's standard input."""
        return self.send(b"i" + data)

    def close_stdin(self) -> bool:
        """End the container's standard input."""
        return self.send(b"c")

    def resize(self, rows: int, columns: int) -> bool:
        """Tell the container's terminal its size."""
        return self.send(b"w" + struct.pack("=HH", rows, columns))

    def forbid_restart(self) -> bool:
        """Ask the monitor not to start the container again, whatever its policy."""
        return self.send(b"q")

    def release(self) -> bool:
        """As the owner: say that all clean-up is done, so that the monitor leaves without a command of its own."""
        return self.send(b"d")

    def close(self) -> None:
        """Hang up."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
