"""The engine as Python programs use it, also from several threads at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from estiva import Engine
from estiva.engine.options import ContainerOptions
from estiva.errors import CommandNotFound, Conflict, NotFound

pytestmark = pytest.mark.needs_root


@pytest.fixture
def engine(estiva_root: Any) -> Iterator[Engine]:
    estiva_root.load()
    with Engine(str(estiva_root.root), str(estiva_root.run_root)) as engine:
        yield engine


def make(engine: Engine, *command: str, **fields: Any) -> Any:
    return engine.containers.create(ContainerOptions("busybox", list(command), network="none", **fields))


def test_a_program_runs_and_its_output_and_end_are_told(engine: Engine) -> None:
    container = make(engine, "sh", "-c", "echo out; echo err >&2; exit 4")
    assert container.state().status == "created"
    with container.start(attach=True) as attachment:
        heard: dict[str, bytes] = {}
        for stream, data in attachment.events():
            heard[stream] = heard.get(stream, b"") + data
        assert attachment.exit_code == 4
    assert (heard["stdout"], heard["stderr"]) == (b"out\n", b"err\n")
    assert container.wait() == 4
    state = container.state()
    assert (state.status, state.exit_code, state.pid) == ("exited", 4, 0)
    assert 0 < state.started_ns <= state.finished_ns
    container.remove()
    with pytest.raises(NotFound):
        engine.containers.get(container.id)


def test_a_container_can_be_started_again_with_what_it_wrote(engine: Engine) -> None:
    container = make(engine, "sh", "-c", "echo x >> /file; exit $(wc -l < /file)")
    assert [_run(container) for _ in range(3)] == [1, 2, 3]
    container.remove()


def _run(container: Any) -> int:
    container.start()
    return int(container.wait())


def test_programs_run_inside_a_running_container(engine: Engine) -> None:
    container = make(engine, "sleep", "60", name="box")
    container.start()
    with container.exec(["cat"], stdin=True) as session:
        session.attachment.send_stdin(b"typed")
        session.attachment.close_stdin()
        assert b"".join(data for stream, data in session.attachment.events() if stream == "stdout") == b"typed"
        assert session.attachment.exit_code == 0
    with pytest.raises(CommandNotFound):
        container.exec(["nosuch"])
    assert container.top(["pid,comm"]) == [["PID", "COMMAND"], ["1", "sleep"]]
    assert container.inspect()["State"]["Running"] is True
    with pytest.raises(Conflict):
        container.remove()
    container.remove(force=True, timeout=0)
    with pytest.raises(Conflict):
        container.exec(["true"])


def test_containers_are_found_by_name_and_the_beginning_of_the_id(engine: Engine) -> None:
    first, second = make(engine, "true", name="first"), make(engine, "true")
    assert engine.containers.get("first").id == first.id
    assert engine.containers.get(second.id[:12]).name == second.name
    with pytest.raises(NotFound):
        engine.containers.get("")
    first.rename("other")
    assert engine.containers.get("other").id == first.id
    with pytest.raises(Conflict, match="already in use"):
        second.rename("other")
    assert {each.id for each in engine.containers.list(all=True)} == {first.id, second.id}
    assert engine.containers.list() == []


def test_stop_waits_no_longer_than_told_and_stops_restarting(engine: Engine) -> None:
    container = make(engine, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", restart="always")
    container.start()
    container.stop(timeout=0)
    assert container.state().status == "exited"
    assert container.wait() == 137


def test_threads_do_not_disturb_each_other(engine: Engine) -> None:
    def life(number: int) -> int:
        container = make(engine, "sh", "-c", f"exit {number}", rm=True)
        with container.start(attach=True) as attachment:
            code = attachment.wait()
            from estiva.engine.removal import finish

            finish(container, attachment)
        return int(code or 0)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(life, range(8))) == list(range(8))
    assert engine.containers.list(all=True) == []


def test_a_start_that_fails_leaves_a_container_that_can_be_removed(engine: Engine) -> None:
    container = make(engine, "nosuch")
    with pytest.raises(CommandNotFound):
        container.start()
    assert container.state().status == "created"
    container.remove()
    assert os.listdir(Path(engine.settings.root) / "containers") == []


def test_half_made_and_half_removed_containers_are_finished(engine: Engine) -> None:
    made, removed = make(engine, "true"), make(engine, "true")
    with engine.database.transaction() as change:
        change.execute("UPDATE containers SET phase='configured' WHERE id=?", (made.id,))
        change.execute("UPDATE containers SET phase='removing' WHERE id=?", (removed.id,))
    os.unlink(f"{removed.bundle}/config.json")
    assert engine.containers.list(all=True) == []
    assert os.listdir(Path(engine.settings.root) / "containers") == []
