"""The tables of docs/runtime-spec.md and docs/security.md name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
TABLE = TESTS.parent / "docs/runtime-spec.md"
NAMED = re.compile(r"`(?:vm:)?([\w/]+\.py)::(\w+)`")


def test_every_test_that_the_table_names_exists():
    text = TABLE.read_text()
    sources: dict[str, str] = {}
    for file, test in NAMED.findall(text):
        if file not in sources:
            sources[file] = (TESTS / file).read_text()
        assert re.search(rf"^def {test}\(", sources[file], re.MULTILINE), f"{file}::{test} is not there"


def test_every_row_of_the_table_names_a_test():
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    for row in rows:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert len(cells) == 3, row
        assert cells[2] == "test" or NAMED.search(cells[2]), f"no test: {row}"


def test_every_row_about_security_names_tests_that_exist():
    file = source = ""
    for line in (TABLE.parent / "security.md").read_text().splitlines():
        if not line.startswith("| ") or line.startswith(("| class", "| ---")):
            continue
        named = re.findall(r"`([\w/]+\.py|…)::(\w+)`", line)
        assert named, f"no test: {line}"
        for place, test in named:
            if place not in ("…", file):
                file, source = place, (TESTS / place).read_text()
            assert re.search(rf"^def {test}\(", source, re.MULTILINE), f"{file}::{test} is not there"
