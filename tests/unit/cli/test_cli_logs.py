"""How ``logs`` prints records, and chooses containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from estiva.cli.commands.logs import COMMAND, Printer, Source
from estiva.cli.main import main
from estiva.engine.logs import LogReader, parse_k8s

STAMP = "2026-11-24T01:05:35.000000000Z"


def source(path: Path, text: str, before: str = "", color: int | None = None) -> Source:
    path.write_text(text)
    return Source(None, LogReader(str(path), "k8s-file"), before, color)  # type: ignore[arg-type]


def test_streams_go_to_their_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = source(tmp_path / "log", f"{STAMP} stdout F out\n{STAMP} stderr F err\n")
    Printer(None, None, False).show(shown, shown.reader.read())
    shown.reader.close()
    assert capfd.readouterr() == ("out\n", "err\n")


def test_names_and_times_stand_before_whole_lines_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = f"{STAMP} stdout P half \n{STAMP} stdout F rest\n{STAMP} stdout F next\n"
    shown = source(tmp_path / "log", text, before="web ")
    Printer(None, None, True).show(shown, shown.reader.read())
    shown.reader.close()
    assert capfd.readouterr().out == f"web {STAMP} half rest\nweb {STAMP} next\n"


def test_color_ends_before_the_line_does(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = source(tmp_path / "log", f"{STAMP} stdout F x\n", color=2)
    Printer(None, None, False).show(shown, shown.reader.read())
    shown.reader.close()
    assert capfd.readouterr().out == "\033[32mx\033[0m\n"


@pytest.mark.parametrize(
    ("since", "until", "shown"), [(None, None, "abc"), (2, None, "bc"), (None, 2, "ab"), (2, 2, "b"), (9, None, "")]
)
def test_a_span_of_time(since: int | None, until: int | None, shown: str) -> None:
    printer = Printer(since and since * 10**9, until and until * 10**9, False)
    lines = [f"1970-01-01T00:00:0{second}Z stdout F {text}".encode() for second, text in enumerate("abc", 1)]
    records = [record for record in map(parse_k8s, lines) if record is not None]
    assert "".join(record.text.decode()[0] for record in records if printer._wanted(record)) == shown


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        ([], "no container name or id given"),
        (["-l", "x"], "no containers can be specified when using 'latest'"),
        (["--since", "soon", "x"], 'invalid time "soon"'),
        (["x"], "no container with name or ID 'x' found: no such container"),
    ],
)
def test_mistakes(
    argv: list[str], cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ESTIVA_ROOT", f"{tmp_path}/root")
    monkeypatch.setenv("ESTIVA_RUNROOT", f"{tmp_path}/run")
    assert main(["logs", *argv]) == 125
    assert cause in capsys.readouterr().err
    assert COMMAND.name == "logs"
