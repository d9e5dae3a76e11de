"""Log files are read whole, from their end, and while they grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.engine.logs import LogReader, parse_json, parse_k8s
from estiva.errors import Unsupported

STAMP = "2026-11-24T01:05:35.408603542+00:00"


def k8s(*lines: str, kind: str = "F", stream: str = "stdout") -> bytes:
    return "".join(f"{STAMP} {stream} {kind} {line}\n" for line in lines).encode()


def texts(reader: LogReader) -> list[str]:
    return [record.text.decode() for record in reader.read()]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "ctr.log"


def test_a_k8s_record_has_time_stream_and_text() -> None:
    record = parse_k8s(f"{STAMP} stderr F some  text ".encode())
    assert record is not None
    assert (record.time, record.stream, record.text, record.partial) == (STAMP, "stderr", b"some  text \n", False)
    assert record.time_ns == 1_795_482_335_408_603_542


def test_a_partial_record_has_no_line_feed_and_an_empty_one_nothing_else() -> None:
    partial, empty = parse_k8s(f"{STAMP} stdout P half".encode()), parse_k8s(f"{STAMP} stdout F".encode())
    assert partial is not None
    assert (partial.text, partial.partial) == (b"half", True)
    assert empty is not None
    assert empty.text == b"\n"


def test_a_json_record_has_time_stream_and_text() -> None:
    record = parse_json(json.dumps({"log": "é\n", "stream": "stdout", "time": "2026-11-24T01:05:35Z"}).encode())
    assert record is not None
    assert (record.stream, record.text, record.partial) == ("stdout", "é\n".encode(), False)
    unfinished = parse_json(b'{"log":"x","stream":"stdout","time":"t"}')
    assert unfinished is not None
    assert unfinished.partial


@given(st.binary())
def test_any_line_is_a_record_or_none(line: bytes) -> None:
    parse_k8s(line)
    parse_json(line)


def test_everything_is_read_and_damage_is_skipped(log: Path) -> None:
    log.write_bytes(k8s("a") + b"\0\0garbage\n" + k8s("b"))
    with LogReader(str(log), "k8s-file") as reader:
        assert texts(reader) == ["a\n", "b\n"]


def test_what_is_added_later_is_read_once_it_is_whole(log: Path) -> None:
    with LogReader(str(log), "k8s-file") as reader:
        assert texts(reader) == []
        log.write_bytes(k8s("a") + k8s("b")[:-3])
        assert texts(reader) == ["a\n"]
        with log.open("ab") as more:
            more.write(k8s("b")[-3:])
        assert texts(reader) == ["b\n"]
        assert texts(reader) == []


def test_a_rotated_file_is_read_from_its_start(log: Path) -> None:
    log.write_bytes(k8s("a", "b"))
    with LogReader(str(log), "k8s-file") as reader:
        assert texts(reader) == ["a\n", "b\n"]
        log.rename(log.with_suffix(".1"))
        log.write_bytes(k8s("c"))
        assert texts(reader) == ["c\n"]
        with log.open("r+b") as shorter:
            shorter.truncate(0)
        assert texts(reader) == []
        log.write_bytes(k8s("d"))
        assert texts(reader) == ["d\n"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_the_last_lines_are_found(log: Path, count: int) -> None:
    log.write_bytes(k8s("a", "b", "c"))
    with LogReader(str(log), "k8s-file", count) as reader:
        assert texts(reader) == ["a\n", "b\n", "c\n"][max(0, 3 - count) :]


def test_a_line_in_parts_counts_once(log: Path) -> None:
    log.write_bytes(k8s("a") + k8s("b1", "b2", kind="P") + k8s("b3") + k8s("c"))
    with LogReader(str(log), "k8s-file", 2) as reader:
        assert "".join(texts(reader)) == "b1b2b3\nc\n"


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=200), st.integers(0, 250))
def test_the_last_lines_of_a_long_file_are_the_last_of_all(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], count: int
) -> None:
    log = tmp_path_factory.mktemp("logs") / "ctr.log"
    lines = [f"{number}" + "x" * size for number, size in enumerate(sizes)]
    log.write_bytes(k8s(*lines))
    with LogReader(str(log), "k8s-file", count) as reader:
        assert texts(reader) == [f"{line}\n" for line in lines[max(0, len(lines) - count) :]]


def test_a_driver_without_a_file_is_named() -> None:
    with pytest.raises(Unsupported, match="'none' log driver"):
        LogReader("/nonexistent", "none")
