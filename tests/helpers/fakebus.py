"""A peer that speaks D-Bus as systemd does behind its bus, and does with cgroups what systemd does with scopes.

It records the calls made to it.  ``failures`` maps a method to the D-Bus error it shall answer with, ``results`` a
method to how its job shall end (``done`` if it is not there), ``silent`` are methods that get no answer.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from estiva.runtime.cgroup import dbus
from estiva.runtime.cgroup.dbus import Message, Variant

NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"


class FakeSystemd:
    """Listens at ``path``; scopes are made below *roots*, the mount points of hierarchies."""

    def __init__(self, path: Path, roots: list[str], version: str = "252.38-1~deb12u1", prefix: str = "") -> None:
        self.path = path
        self.roots = roots
        self.version = version
        self.prefix = prefix
        self.calls: list[tuple[str, list[Any]]] = []
        self.units: dict[str, str] = {}
        self.properties: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, tuple[str, str]] = {}
        self.results: dict[str, str] = {}
        self.silent: set[str] = set()
        self.jobs = 0
        self.asked = ""
        self.lock = threading.RLock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(16)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.path}",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.path}",
        }

    def members(self) -> list[str]:
        return [member for member, _ in self.calls]

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
        for unit in list(self.units):
            self.collect(unit)

    def collect(self, unit: str) -> None:
        """As systemd does when a scope's last process is gone."""
        path = self.units.pop(unit)
        for root in self.roots:
            with suppress(OSError):
                os.rmdir(root + path)
                os.rmdir(root + os.path.dirname(path))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionError, EOFError):
            assert _exactly(connection, 1) == b"\0"
            assert _line(connection) == "AUTH EXTERNAL"
            connection.sendall(b"DATA\r\n")
            assert _line(connection) == "DATA"
            connection.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
            assert _line(connection) == "BEGIN"
            serial = 0
            while True:
                head = _exactly(connection, 16)
                message = dbus.decode(head + _exactly(connection, dbus.size_of(head) - 16))
                with self.lock:  # one thing at a time, as the real one
                    answers = self._answer(message)
                for answer in answers:
                    serial += 1
                    answer.serial = serial
                    connection.sendall(answer.encode())

    def _answer(self, message: Message) -> list[Message]:
        member = message.fields["member"]
        self.calls.append((member, message.body))
        reply = {"reply_serial": message.serial, "sender": "org.freedesktop.systemd1"}
        if member in self.silent:
            return []
        if member in self.failures:
            name, text = self.failures[member]
            return [Message(dbus.ERROR, 0, {**reply, "error_name": name, "signature": "s"}, [text])]
        self.asked = message.fields["path"]
        handler = getattr(self, f"_{member}", None)
        signature, body, job = handler(*message.body) if handler else ("", [], None)
        if signature == "error":
            return [Message(dbus.ERROR, 0, {**reply, "error_name": body[0], "signature": "s"}, [body[0]])]
        answers = [Message(dbus.METHOD_RETURN, 0, {**reply, "signature": signature}, body)]
        if job is not None:
            result = self.results.get(member, "done")
            fields = {
                "path": "/org/freedesktop/systemd1", "interface": "org.freedesktop.systemd1.Manager",
                "member": "JobRemoved", "signature": "uoss", "sender": "org.freedesktop.systemd1",
            }  # fmt: skip
            other = Message(
                dbus.SIGNAL, 0, fields, [1, "/org/freedesktop/systemd1/job/999999", "other.service", "failed"]
            )
            answers = [other, *answers, Message(dbus.SIGNAL, 0, fields, [self.jobs, body[0], job, result])]
        return answers

    def _job(self, unit: str) -> tuple[str, list[Any], str]:
        self.jobs += 1
        return "o", [f"/org/freedesktop/systemd1/job/{self.jobs}"], unit

    def _Hello(self) -> tuple[str, list[Any], None]:
        return "s", [":1.7"], None

    def _Get(self, interface: str, name: str) -> tuple[str, list[Any], None]:
        if name == "Version":
            return "v", [Variant("s", self.version)], None
        return "v", [Variant("s", self.units[bytes.fromhex(self.asked.rpartition("/")[2]).decode()])], None

    def _GetUnit(self, unit: str) -> tuple[str, list[Any], None]:
        if unit not in self.units:
            return "error", [NO_SUCH_UNIT], None
        return "o", [f"/org/freedesktop/systemd1/unit/{unit.encode().hex()}"], None

    def _StartTransientUnit(self, unit: str, mode: str, properties: Any, aux: Any) -> tuple[str, list[Any], str]:
        values = {name: variant.value for name, variant in properties}
        self.properties[unit] = values
        if self.results.get("StartTransientUnit", "done") == "done":
            path = f"{self.prefix}/{values['Slice']}/{unit}"
            self.units[unit] = path
            for root in self.roots:
                os.makedirs(root + path, exist_ok=True)
                for pid in values["PIDs"]:
                    Path(f"{root}{path}/cgroup.procs").write_text(str(pid))
        return self._job(unit)

    def _SetUnitProperties(self, unit: str, runtime: bool, properties: Any) -> tuple[str, list[Any], None]:
        assert runtime
        self.properties[unit].update({name: variant.value for name, variant in properties})
        return "", [], None

    def _StopUnit(self, unit: str, mode: str) -> tuple[str, list[Any], str | None]:
        if unit not in self.units:
            return "error", [NO_SUCH_UNIT], None
        self.collect(unit)
        return self._job(unit)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _line(connection: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\r\n"):
        data += _exactly(connection, 1)
    return data[:-2].decode()
