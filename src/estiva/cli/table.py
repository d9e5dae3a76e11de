"""Columns aligned as Go's text/tabwriter aligns them, the way Podman sets it: 12 wide at least, two spaces between."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MINIMUM = 12
PADDING = 2


def align(lines: Sequence[Sequence[str]]) -> str:
    """The lines as text.  A column is as wide as its widest cell among neighbouring lines that have a cell after it;
    the last cell of a line is not part of a column.
    """
    widths = [[0] * max(0, len(cells) - 1) for cells in lines]
    _measure(lines, widths, 0, len(lines), 0)
    shown = []
    for cells, room in zip(lines, widths, strict=True):
        padded = [cell.ljust(width) for cell, width in zip(cells, room, strict=False)]
        shown.append("".join(padded) + (cells[-1] if cells else ""))
    return "".join(f"{line}\n" for line in shown)


def _measure(lines: Sequence[Sequence[str]], widths: list[list[int]], start: int, end: int, column: int) -> None:
    """Set the widths of *column* and those right of it in each run of lines from *start* to *end* that has it."""
    while start < end:
        if len(lines[start]) - 1 <= column:
            start += 1
            continue
        stop = start
        width = MINIMUM
        while stop < end and len(lines[stop]) - 1 > column:
            width = max(width, len(lines[stop][column]) + PADDING)
            stop += 1
        for at in range(start, stop):
            widths[at][column] = width
        _measure(lines, widths, start, stop, column + 1)
        start = stop


def elastic(text: str) -> str:
    """Text whose cells end with tabs, aligned."""
    if not text:
        return ""
    ends = text.endswith("\n")
    shown = align([line.split("\t") for line in (text[:-1] if ends else text).split("\n")])
    return shown if ends else shown[:-1]
