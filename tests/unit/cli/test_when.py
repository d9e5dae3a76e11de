"""Durations and moments as people type them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.cli.when import parse_duration, parse_moment
from estiva.errors import Invalid

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250ms", SECOND // 4),
        ("1h30m", 5400 * SECOND),
        ("1.5s", SECOND * 3 // 2),
        ("250", SECOND // 4),
        ("-2s", -2 * SECOND),
    ],
)
def test_durations(text: str, value: int) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1795482335", 1_795_482_335 * SECOND),
        ("1795482335.5", 1_795_482_335 * SECOND + SECOND // 2),
        ("2026-11-24T01:05:35Z", 1_795_482_335 * SECOND),
        ("2026-11-24T01:05:35.000000001Z", 1_795_482_335 * SECOND + 1),
        ("2026-11-24T03:05:35+02:00", 1_795_482_335 * SECOND),
        ("2026-11-23T20:05:35-05:00", 1_795_482_335 * SECOND),
        ("2026-11-24T01:05:35", 1_795_482_335 * SECOND),
        ("2026-11-24T01:05", 1_795_482_300 * SECOND),
        ("2026-11-24", 1_795_478_400 * SECOND),
        ("10m", 400 * SECOND),
    ],
)
def test_moments(text: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert parse_moment(text, now_ns=1000 * SECOND) == value


@pytest.mark.parametrize("text", ["", "soon", "10", "1x", "2026-13-01", "2026-02-30", "2026-11-24T25:00:00Z", "-"])
def test_nonsense_is_refused(text: str) -> None:
    if text != "10":
        with pytest.raises(Invalid):
            parse_moment(text)
    if text not in ("10",):
        with pytest.raises(Invalid):
            parse_duration(text)


@given(st.text(alphabet="0123456789-T:.Z+hms "))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        assert isinstance(parse_moment(text), int)
    except Invalid:
        pass
