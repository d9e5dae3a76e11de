"""Progress on a terminal, in a file, and not at all."""

from __future__ import annotations

import io
import os
import pty

import pytest

from estiva.cli.progress import Progress, _Item, label, line


def test_elsewhere_each_thing_is_said_once() -> None:
    out = io.StringIO()
    with Progress(out=out) as progress:
        for done in (0, 5, 10):
            progress("layer", "sha256:0123456789abcdef", done, 10)
        progress("manifest", "debian:12")
    assert out.getvalue() == "Copying layer 0123456789ab\nReading manifest debian:12\n"


def test_quiet_says_nothing() -> None:
    out = io.StringIO()
    with Progress(quiet=True, out=out) as progress:
        progress("layer", "x", 1, 1)
    assert out.getvalue() == ""


def test_a_terminal_shows_bars_and_ends_with_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", 0) as screen, os.fdopen(follower, "w") as out, Progress(out=out) as progress:
        progress("layer", "sha256:0123456789abcdef", 5, 10)
        progress("layer", "sha256:ffffffffffff", 0, 0)
        progress("layer", "sha256:0123456789abcdef", 10, 10)
        shown = ""
        while "done" not in shown:
            shown += screen.read(4096).decode()
    assert "Copying layer 0123456789ab  [============>" in shown
    assert "Copying layer 0123456789ab  done  10B" in shown


def test_a_line_fits_the_terminal() -> None:
    item = _Item(label("layer", "sha256:" + "a" * 64))
    item.done, item.total = 3, 7
    assert len(line(item, 30)) == 29
    assert line(item, 200) == "Copying layer aaaaaaaaaaaa  [==========>             ]  3B / 7B"
