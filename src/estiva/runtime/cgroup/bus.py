"""A connection to systemd: by a message bus, or by the socket systemd itself listens on where there is no bus.

Calls are answered in turn; signals that arrive meanwhile are kept until somebody waits for them.  D-Bus specification
"Authentication Protocol", "Message Bus Messages"
"""

from __future__ import annotations

import errno
import os
import time

from estiva.errors import EstivaError, Unavailable
from estiva.runtime.cgroup import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from typing import Any

PATIENCE_S = 30.0  # for one answer, and for one job
MAX_LINE = 4096


class BusError(EstivaError):
    """The peer answered *member* with an error; ``name`` is the D-Bus name of its kind, ``text`` what it says."""

    def __init__(self, member: str, name: str, text: str) -> None:
        super().__init__(f"calling {member} of systemd: {text or name}")
        self.name = name
        self.text = text or name


def addresses(user: bool, environ: Mapping[str, str]) -> list[tuple[str, bool]]:
    """(path of a socket, whether it is a bus) of the system's manager, or of this *user*'s, in the order to try them.

    A path that begins with a NUL is in the abstract namespace.
    """
    if not user:
        found = environ.get("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/dbus/system_bus_socket")
        return [*((path, True) for path in _unix_paths(found)), ("/run/systemd/private", False)]
    directory = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    listed = _unix_paths(environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
    paths = dict.fromkeys((*listed, f"{directory}/bus"))
    return [*((path, True) for path in paths), (f"{directory}/systemd/private", False)]


def _unix_paths(text: str) -> list[str]:
    """The sockets in a D-Bus address list, ``unix:path=/run/bus;unix:abstract=x,guid=…``."""
    paths = []
    for entry in text.split(";"):
        transport, _, rest = entry.partition(":")
        values = dict(part.partition("=")[::2] for part in rest.split(",") if "=" in part)
        if transport == "unix" and "path" in values:
            paths.append(_unescape(values["path"]))
        elif transport == "unix" and "abstract" in values:
            paths.append("\0" + _unescape(values["abstract"]))
    return paths


def _unescape(text: str) -> str:
    first, *rest = text.split("%")
    return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)


class Bus:
    """Use it in a ``with``."""

    def __init__(self, places: Sequence[tuple[str, bool]]) -> None:
        """Connect to the first of *places* that answers.  Raises Unavailable."""
        self._serial = 0
        self._signals: list[dbus.Message] = []
        self._socket, is_bus = _connect(places)
        self.destination = "org.freedesktop.systemd1" if is_bus else ""
        try:
            self._authenticate()
            if is_bus:
                self.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", destination="org.freedesktop.DBus")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        arguments: Sequence[Any] = (),
        *,
        destination: str | None = None,
    ) -> list[Any]:
        """What the method returns.  Raises BusError if it fails, Unavailable if there is no answer."""
        self._serial += 1
        fields = {
            "path": path,
            "interface": interface,
            "member": member,
            "signature": signature,
            "destination": self.destination if destination is None else destination,
        }
        deadline = time.monotonic() + PATIENCE_S
        self._send(dbus.Message(dbus.METHOD_CALL, self._serial, fields, arguments).encode())
        while True:
            message = self._receive(deadline)
            if message.kind == dbus.SIGNAL:
                self._signals.append(message)
            elif message.fields.get("reply_serial") != self._serial:
                continue
            elif message.kind == dbus.METHOD_RETURN:
                return message.body
            elif message.kind == dbus.ERROR:
                text = message.body[0] if message.body and isinstance(message.body[0], str) else ""
                raise BusError(member, message.fields.get("error_name", ""), text)

    def listen(self, interface: str, member: str) -> None:
        """Have this signal of the manager's sent here."""
        if self.destination:
            rule = f"type='signal',sender='{self.destination}',interface='{interface}',member='{member}'"
            self.call(
                "/org/freedesktop/DBus",
                "org.freedesktop.DBus",
                "AddMatch",
                "s",
                [rule],
                destination="org.freedesktop.DBus",
            )

    def signal(self, member: str, deadline: float) -> list[Any]:
        """What the next signal of this name says.  Raises Unavailable if none comes before *deadline* (monotonic)."""
        while True:
            message = self._signals.pop(0) if self._signals else self._receive(deadline)
            if message.kind == dbus.SIGNAL and message.fields.get("member") == member:
                return message.body

    def _authenticate(self) -> None:
        """As the user the kernel says this process is: with no name given, the peer asks it.  That is right inside a
        user namespace, too, where this process knows itself by another number."""
        self._send(b"\0AUTH EXTERNAL\r\n")
        answer = self._line()
        if answer.startswith("DATA"):
            self._send(b"DATA\r\n")
            answer = self._line()
        if answer.startswith("REJECTED"):  # a peer that insists on being told
            self._send(b"AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
            answer = self._line()
        if not answer.startswith("OK"):
            raise Unavailable(f"talking to systemd: it does not let this user in ({answer})")
        self._send(b"BEGIN\r\n")

    def _line(self) -> str:
        """One line; byte by byte, for what follows it is not a line."""
        deadline = time.monotonic() + PATIENCE_S
        line = b""
        while not line.endswith(b"\r\n"):
            if len(line) > MAX_LINE:
                raise Unavailable("talking to systemd: what answers does not speak D-Bus")
            line += self._read(1, deadline)
        return line[:-2].decode(errors="replace")

    def _receive(self, deadline: float) -> dbus.Message:
        head = self._read(16, deadline)
        try:
            return dbus.decode(head + self._read(dbus.size_of(head) - 16, deadline))
        except dbus.WireError as error:
            raise Unavailable(f"talking to systemd: {error}") from error

    def _read(self, size: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                part = self._socket.recv(min(size - len(parts), 1 << 20))
            except OSError as error:
                reason = "no answer" if isinstance(error, TimeoutError) else error.strerror
                raise Unavailable(f"talking to systemd: {reason}") from error
            if not part:
                raise Unavailable("talking to systemd: the connection was closed")
            parts += part
        return bytes(parts)

    def _send(self, data: bytes) -> None:
        self._socket.settimeout(PATIENCE_S)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Unavailable(f"talking to systemd: {error.strerror or error}") from error


def _connect(places: Sequence[tuple[str, bool]]) -> tuple[socket.socket, bool]:
    import socket

    reasons = []
    for path, is_bus in places:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EACCES, errno.ENOTDIR):
                raise Unavailable(f"talking to systemd: {path}: {error.strerror}") from error
            reasons.append(f"{path}: {error.strerror}")
            continue
        return connection, is_bus
    raise Unavailable(f"talking to systemd: {'; '.join(reasons)}", "use the cgroupfs manager where no systemd runs")
