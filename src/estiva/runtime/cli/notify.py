"""sd_notify(3) out of a container.

Whoever runs us as a service gives us ``$NOTIFY_SOCKET``.  The container cannot see it, so it gets a socket of ours at
``/run/notify/notify.sock``, and what comes there is passed on: when detached only that it is ready, with its process as
the one to watch, then we are gone; in the foreground everything, with us as the process to watch.
"""

from __future__ import annotations

import os
import select

from estiva.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from estiva.runtime.cli.records import Record

INSIDE = "/run/notify"
_NAME = "notify.sock"
_BARRIER_S = 30.0


def wanted() -> bool:
    """Whether somebody waits to be notified."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def prepare(record_directory: str, spec: dict[str, Any]) -> None:
    """Show the directory for the socket to the container of *spec*."""
    os.mkdir(f"{record_directory}/notify", 0o755)
    mount = {
        "destination": INSIDE,
        "type": "bind",
        "source": f"{record_directory}/notify",
        "options": ["bind", "nosuid", "noexec", "nodev", "ro"],
    }
    spec["mounts"] = [*(spec.get("mounts") or ()), mount]
    process = spec["process"]
    process["env"] = [*(process.get("env") or ()), f"NOTIFY_SOCKET={INSIDE}/{_NAME}"]


class Proxy:
    """Our end of the container's socket, and the line to the host's."""

    __slots__ = ("_client", "_socket")

    def __init__(self, record: Record) -> None:
        import socket

        host = os.environ["NOTIFY_SOCKET"]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            _bind(self._socket, f"{record.directory}/notify", _NAME)
            self._client.connect("\0" + host[1:] if host.startswith("@") else host)
        except OSError as error:
            self.close()
            raise Unavailable(f"passing notifications on to {host}: {error.strerror}") from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        self._client.close()

    def wait_ready(self, pid: int) -> None:
        """Wait until the container says it is ready, or process *pid* ends; tell the host, with *pid* to watch."""
        pidfd = os.pidfd_open(pid)
        try:
            while True:
                ready, _, _ = select.select((self.fileno(), pidfd), (), ())
                if self.fileno() not in ready:
                    return
                lines = self._socket.recv(4096).splitlines()
                if any(line == b"READY=1" for line in lines):
                    break
        finally:
            os.close(pidfd)
        self._tell([b"READY=1", f"MAINPID={pid}".encode()])
        self._barrier()

    def pass_on(self) -> None:
        """Pass one message on; process numbers in it are the container's own and mean nothing outside."""
        lines = [
            line for line in self._socket.recv(4096).splitlines() if not line.startswith((b"MAINPID=", b"BARRIER="))
        ]
        if b"READY=1" in lines:
            lines.append(f"MAINPID={os.getpid()}".encode())
        if lines:
            self._tell(lines)

    def _tell(self, lines: list[bytes]) -> None:
        try:
            self._client.send(b"\n".join(lines))
        except OSError as error:
            raise Unavailable(f"passing notifications on: {error.strerror}") from error

    def _barrier(self) -> None:
        """Wait until the host has read all: it knows who sent it only as long as we live.  sd_notify_barrier(3)"""
        import socket

        read_fd, write_fd = os.pipe()
        try:
            try:
                socket.send_fds(self._client, [b"BARRIER=1"], [write_fd])
            finally:
                os.close(write_fd)
            select.select((read_fd,), (), (), _BARRIER_S)
        except OSError as error:
            raise Unavailable(f"passing notifications on: {error.strerror}") from error
        finally:
            os.close(read_fd)


def _bind(listener: socket.socket, directory: str, name: str) -> None:
    """Any user of the container may write there.  The path may be too long for a socket's name, a descriptor is not."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            pass
        listener.bind(f"/proc/self/fd/{fd}/{name}")
        os.chmod(f"{directory}/{name}", 0o777)
    finally:
        os.close(fd)
