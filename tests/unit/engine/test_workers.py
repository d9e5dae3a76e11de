"""Jobs side by side: all done, or all stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from estiva.engine.workers import Stopped, Workers


def nothing() -> None:
    pass


def test_every_job_is_done_once() -> None:
    done: list[int] = []
    Workers(3, nothing).run([lambda stopped, n=n: done.append(n) for n in range(20)])
    assert sorted(done) == list(range(20))
    Workers(3, nothing).run([])


def test_the_first_failure_stops_the_others_and_is_raised() -> None:
    woken = threading.Event()
    ended: list[str] = []

    def fails(stopped: Callable[[], bool]) -> None:
        raise ValueError("first")

    def waits(stopped: Callable[[], bool]) -> None:
        assert woken.wait(10)
        ended.append("waits")
        if stopped():
            raise Stopped

    def never(stopped: Callable[[], bool]) -> None:
        ended.append("never")

    with pytest.raises(ValueError, match="first"):
        Workers(2, woken.set).run([waits, fails, never])
    assert ended == ["waits"]


def test_an_interrupted_caller_waits_until_the_jobs_have_cleaned_up() -> None:
    woken, cleaned = threading.Event(), []
    both_work = threading.Barrier(3)

    def job(stopped: Callable[[], bool]) -> None:
        both_work.wait(10)
        try:
            assert woken.wait(10)
        finally:
            cleaned.append(threading.get_ident())

    def interrupt() -> None:
        both_work.wait(10)
        time.sleep(0.1)  # the caller waits by now
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        Workers(2, woken.set).run([job, job])
    interrupter.join()
    assert len(cleaned) == 2
