"""Durations and moments as people type them."""

from __future__ import annotations

import re
import time

from estiva.errors import Invalid

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_DAY = r"(\d{4})-(\d\d)-(\d\d)"
_CLOCK = r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?"


def parse_duration(text: str) -> int:
    """Nanoseconds of ``1h30m``, ``250ms`` and the like; a bare number is milliseconds, as ``podman wait`` has it.

    :raises Invalid: it is neither
    """
    if text.isdecimal():
        return int(text) * 10**6
    if not re.fullmatch(f"[+-]?(?:{_PART})+", text):
        raise Invalid(f'invalid duration "{text}"', "write it like 90s, 1h30m or 250ms")
    total = sum(float(number) * _UNITS_NS[unit] for number, unit in re.findall(_PART, text))
    return -int(total) if text.startswith("-") else int(total)


def parse_moment(text: str, now_ns: int | None = None) -> int:
    """Unix nanoseconds of an RFC 3339 time or a part of one (local time without a zone), a Unix time in seconds, or a
    duration before now (``10m``).

    :raises Invalid: it is none of these
    """
    if re.fullmatch(r"\d+(\.\d{1,9})?", text):
        seconds, _, fraction = text.partition(".")
        return int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
    found = re.fullmatch(_DAY + _CLOCK, text)
    if found:
        return _moment(text, *found.groups())
    if re.fullmatch(f"[+-]?(?:{_PART})+", text):
        return (time.time_ns() if now_ns is None else now_ns) - parse_duration(text)
    raise Invalid(
        f'invalid time "{text}"',
        "write it like 2026-11-24T01:05:35Z, 2026-11-24, a Unix time, or 10m for ten minutes ago",
    )


def _moment(text: str, year: str, month: str, day: str, *clock: str | None) -> int:
    from calendar import timegm  # loads datetime: only for dates

    hour, minute, second, fraction, zone = clock
    numbers = [int(each or 0) for each in (year, month, day, hour, minute, second)]
    try:
        time.strptime(f"{year}-{month}-{day} {hour or '00'}:{minute or '00'}", "%Y-%m-%d %H:%M")
        if zone is None:
            seconds = int(time.mktime((*numbers, 0, 0, -1)))  # type: ignore[arg-type]  # it is nine numbers
        else:
            ahead = 0 if zone == "Z" else (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60) * (-1 if zone[0] == "-" else 1)
            seconds = timegm((*numbers, 0, 0, 0)) - ahead
    except (ValueError, OverflowError):
        raise Invalid(f'invalid time "{text}"', "there is no such day or hour") from None
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))
