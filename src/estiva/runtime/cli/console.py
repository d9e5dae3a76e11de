"""The terminal of a program in the foreground, as it arrives."""

from __future__ import annotations

import os
import socket
import tempfile


class Console:
    """A socket on which the helper delivers the master of a new terminal."""

    __slots__ = ("_directory", "_socket", "path")

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="estiva-console-")
        self.path = f"{self._directory}/socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.path)
        self._socket.listen(1)

    def receive(self) -> int:
        """The master (close-on-exec); the caller closes it."""
        connection, _ = self._socket.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 64, 1)
        os.set_inheritable(fds[0], False)
        return fds[0]

    def close(self) -> None:
        self._socket.close()
        for remove, path in ((os.unlink, self.path), (os.rmdir, self._directory)):
            try:
                remove(path)
            except FileNotFoundError:
                continue
