"""Durations, sizes and times in the words Docker and Podman use for them."""

from __future__ import annotations

import time

HOUR_S = 3600.0


def duration(seconds: float) -> str:
    """``3 minutes``, ``About an hour``: roughly how long.  go-units HumanDuration"""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
    minutes = int(seconds / 60)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / HOUR_S + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, size, unit in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return f"{hours // size} {unit}"
    return f"{int(seconds / HOUR_S) // 24 // 365} years"


def size(count: float, gap: str = "") -> str:
    """``1.99MB`` (decimal), with *gap* before the unit.  go-units HumanSizeWithPrecision(3)"""
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
    at = 0
    while count >= 1000 and at < len(units) - 1:
        count /= 1000
        at += 1
    number = f"{count:.3g}"
    return f"{f'{count:.0f}' if 'e' in number else number}{gap}{units[at]}"


def ago(nanoseconds: int, now: float | None = None) -> str:
    """``3 minutes ago`` for a Unix time in nanoseconds."""
    return f"{duration(max(0.0, (time.time() if now is None else now) - nanoseconds / 1e9))} ago"


def go_time(nanoseconds: int) -> str:
    """``2026-11-24 01:05:35.408603542 +0000 UTC``: how Go's Time.String shows it, in the local zone."""
    if nanoseconds <= 0:
        return "0001-01-01 00:00:00 +0000 UTC"
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    local = time.localtime(seconds)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return time.strftime(f"%Y-%m-%d %H:%M:%S{digits} %z %Z", local)


def rfc3339(nanoseconds: int) -> str:
    """``2026-11-24T01:05:35.408603542Z``."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return time.strftime(f"%Y-%m-%dT%H:%M:%S{digits}Z", time.gmtime(seconds))
