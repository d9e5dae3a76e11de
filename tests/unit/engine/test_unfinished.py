"""Cleaning up after commands that were killed, and leaving alone what others finish meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from estiva.engine.container import COLUMNS, Container
from estiva.engine.engine import Engine

ID = "ab" * 32


@pytest.fixture
def seen_half_made(tmp_path: Path) -> tuple[Engine, Container]:
    """A container as another command saw it while it was being made."""
    engine = Engine(str(tmp_path / "root"), str(tmp_path / "run"))
    engine.settings.make_dirs()
    row = (ID, "c", "configured", 1, 0, "", "", "true", "{}", 0, "", "", "{}", '{"diff_ids": [], "mounts": []}')
    with engine.database.transaction() as change:
        change.execute(f"INSERT INTO containers ({COLUMNS}) VALUES ({','.join('?' * len(row))})", row)
    return engine, Container(engine, row)


def names(engine: Engine) -> list[str]:
    return [name for (name,) in engine.database.query("SELECT name FROM containers")]


def test_what_was_finished_after_it_was_seen_stays(seen_half_made: tuple[Engine, Container]) -> None:
    engine, container = seen_half_made
    with engine.database.transaction() as change:
        change.execute("UPDATE containers SET phase='created'")
    assert engine.containers._finish([container]) == set()
    assert names(engine) == ["c"]


def test_what_is_gone_already_leaves_no_directory(seen_half_made: tuple[Engine, Container]) -> None:
    engine, container = seen_half_made
    with engine.database.transaction() as change:
        change.execute("DELETE FROM containers")
    assert engine.containers._finish([container]) == {ID}
    assert not Path(container.run_dir).exists()


def test_what_nobody_works_on_is_removed(seen_half_made: tuple[Engine, Container]) -> None:
    engine, container = seen_half_made
    assert engine.containers._finish([container]) == {ID}
    assert names(engine) == []
