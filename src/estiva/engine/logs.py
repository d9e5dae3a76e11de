"""Reading what a container wrote: the log files of the drivers ``k8s-file`` and ``json-file``.

The monitor appends; nobody tells a reader about it, so following means reading again from where the last reading ended.
A file that became shorter, or another file under the same name, was rotated and is read from its start.

k8s-file: ``2026-11-24T01:05:35.408603542+00:00 stdout F text``, ``P`` where the line goes on in the next record of the
same stream (Kubernetes, "CRI log format").  json-file: ``{"log":"text\\n","stream":"stdout","time":"…"}`` (Docker).
"""

from __future__ import annotations

import os

from estiva.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK_BYTES = 1 << 16


class Record:
    """One record of a log.

    :ivar time: when it was written, RFC 3339, as it stands in the file
    :ivar stream: ``stdout`` or ``stderr``
    :ivar text: what was written, with its line feed
    :ivar partial: the line goes on in the next record of the stream; *text* has no line feed then
    """

    __slots__ = ("partial", "stream", "text", "time")

    def __init__(self, time: str, stream: str, text: bytes, partial: bool) -> None:
        self.time = time
        self.stream = stream
        self.text = text
        self.partial = partial

    @property
    def time_ns(self) -> int:
        """The time as Unix nanoseconds."""
        from estiva.engine.images import parse_time  # only --since and --until ask

        return parse_time(self.time)


def parse_k8s(line: bytes) -> Record | None:
    """The record of one line (without its line feed) of a k8s-file; ``None`` if it is none, e.g. cut by a crash."""
    parts = line.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr"):
        return None
    text = parts[3] if len(parts) == 4 else b""
    partial = parts[2].split(b":")[0] == b"P"
    return Record(parts[0].decode("ascii", "replace"), parts[1].decode(), text if partial else text + b"\n", partial)


def parse_json(line: bytes) -> Record | None:
    """The record of one line of a json-file; ``None`` if it is none."""
    import json

    try:
        entry = json.loads(line)
        text = entry["log"].encode("utf-8", "surrogateescape")
        return Record(str(entry["time"]), str(entry["stream"]), text, not text.endswith(b"\n"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


PARSERS: dict[str, Callable[[bytes], Record | None]] = {"k8s-file": parse_k8s, "json-file": parse_json}


class LogReader:
    """Reads one log file, and later what was added to it.  A file that does not exist yet is an empty one.

    :param driver: ``k8s-file`` or ``json-file``
    :param tail: begin with the last so many lines; ``None``: with all
    :raises Unsupported: the driver keeps no file that could be read
    """

    def __init__(self, path: str, driver: str, tail: int | None = None) -> None:
        parser = PARSERS.get(driver)
        if parser is None:
            raise Unsupported(f"reading logs: this container uses the {driver!r} log driver, which keeps none to read")
        self.path = path
        self._parse = parser
        self._fd = -1
        self._offset = 0
        self._rest = b""
        self._tail = tail

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> Iterator[Record]:
        """The records that became complete since the last call."""
        if self._fd < 0 and not self._open():
            return
        yield from self._new()
        if self._rotated():
            self.close()
            if self._open():
                yield from self._new()

    def _open(self) -> bool:
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self._offset, self._rest = 0, b""
        if self._tail is not None:
            self._offset = self._tail_offset(self._tail)
            self._tail = None
        return True

    def _rotated(self) -> bool:
        """Whether the file was cut, or another one has its name now."""
        ours = os.fstat(self._fd)
        if ours.st_size < self._offset:
            return True
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino)

    def _new(self) -> Iterator[Record]:
        while block := os.pread(self._fd, _BLOCK_BYTES, self._offset):
            self._offset += len(block)
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                record = self._parse(line)
                if record is not None:
                    yield record

    def _tail_offset(self, count: int) -> int:
        """Where the last *count* whole lines begin: the file is read backwards, as far as is needed."""
        position = os.fstat(self._fd).st_size
        if count <= 0:
            return position
        rest, seen = b"", 0
        while position > 0:
            start = max(0, position - _BLOCK_BYTES)
            lines = (os.pread(self._fd, position - start, start) + rest).split(b"\n")
            at = start + sum(len(line) + 1 for line in lines)  # the byte after the line feed that closes lines[-1]
            first = 0 if start == 0 else 1  # a line whose start was not read yet waits
            for line in reversed(lines[first:]):
                at -= len(line) + 1
                record = self._parse(line)
                if record is not None and not record.partial:
                    seen += 1
                    if seen > count:
                        return at + len(line) + 1
            rest, position = (lines[0] if first else b""), start
        return 0
