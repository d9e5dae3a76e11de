"""Progress of a transfer: a line for each thing that moves, redrawn on a terminal, said once elsewhere.

A transfer calls ``progress(event, subject, done, total)``: *event* names what happens (``layer``, ``manifest``, …),
*subject* to what (a digest, a name), *done* and *total* are bytes, *total* 0 when it is not known.
"""

from __future__ import annotations

import os
import sys
import time

from estiva.cli import human

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_REDRAW_S = 0.1
_BAR = 24


class _Item:
    __slots__ = ("done", "finished", "label", "total")

    def __init__(self, label: str) -> None:
        self.label = label
        self.done = self.total = 0
        self.finished = False


class Progress:
    """A context; call it with each event.  Several threads may: a line is drawn whole."""

    __slots__ = ("_at", "_drawn", "_items", "_lock", "_out", "_quiet", "_terminal")

    def __init__(self, *, quiet: bool = False, out: TextIO | None = None) -> None:
        from _thread import allocate_lock  # built in

        self._out = sys.stderr if out is None else out
        self._quiet = quiet
        self._terminal = not quiet and self._out.isatty() and os.environ.get("TERM") != "dumb"
        self._items: dict[tuple[str, str], _Item] = {}
        self._drawn = 0
        self._at = 0.0
        self._lock = allocate_lock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            if self._terminal:
                self._draw()

    def __call__(self, event: str, subject: str, done: int = 0, total: int = 0) -> None:
        if self._quiet:
            return
        with self._lock:
            key = (event, subject)
            new = key not in self._items
            item = self._items.setdefault(key, _Item(label(event, subject)))
            item.done, item.total = done, total
            item.finished = total > 0 and done >= total
            if not self._terminal:
                if new:
                    self._out.write(f"{item.label}\n")
                    self._out.flush()
            elif new or item.finished or time.monotonic() - self._at > _REDRAW_S:
                self._draw()

    def _draw(self) -> None:
        """Go up over what was drawn last and draw all again; what is finished at the top stays for good."""
        columns = self._columns()
        lines = [line(item, columns) for item in self._items.values()]
        up = f"\033[{self._drawn}A" if self._drawn else ""
        self._out.write(up + "".join(f"\033[2K{each}\n" for each in lines))
        self._out.flush()
        settled = 0
        for key in list(self._items):
            if not self._items[key].finished:
                break
            settled += 1
            del self._items[key]
        self._drawn = len(lines) - settled
        self._at = time.monotonic()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._out.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


def label(event: str, subject: str) -> str:
    """``layer sha256:0123…`` as people read it: ``Copying layer 0123456789ab``."""
    algorithm, colon, digits = subject.partition(":")
    short = digits[:12] if colon and algorithm in ("sha256", "sha512") else subject
    if event == "exists":
        return f"Copying blob {short} skipped: already exists"
    if event == "trying":
        return f"Trying to pull {subject}..."
    words = {
        "blob": "Copying blob",
        "layer": "Copying layer",
        "config": "Copying config",
        "manifest": "Reading manifest",
    }
    return f"{words.get(event, event[:1].upper() + event[1:])} {short}".rstrip()


def line(item: _Item, columns: int) -> str:
    """One line of at most *columns*: the label, a bar where the total is known, the bytes."""
    if item.finished:
        text = f"{item.label}  done  {human.size(item.total)}"
    elif item.total > 0:
        filled = _BAR * min(item.done, item.total) // item.total
        bar = "=" * filled + ">" * (filled < _BAR) + " " * (_BAR - filled - 1)
        text = f"{item.label}  [{bar}]  {human.size(item.done)} / {human.size(item.total)}"
    else:
        text = f"{item.label}  {human.size(item.done) if item.done else ''}".rstrip()
    return text[: max(1, columns - 1)]
