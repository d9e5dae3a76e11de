"""A few threads that do jobs side by side: transfers of layers, never the way of a command that starts containers."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Job = Callable[[Callable[[], bool]], None]

_GRACE_SECONDS = 5.0


class Stopped(Exception):
    """Raised by a job that was told to stop: another failed, and this one has nothing to say."""


class Workers:
    """*count* threads that do jobs until all are done or one fails.

    A job is called with a function that tells whether to stop.  When one fails, or the caller is interrupted,
    *interrupt* wakes those that wait for a server.  The threads are daemons: one that does not wake does not keep the
    process alive, and what it was writing is swept from the staging area later.
    """

    def __init__(self, count: int, interrupt: Callable[[], None]) -> None:
        self._count = count
        self._interrupt = interrupt
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._ended = threading.Semaphore(0)

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all *jobs*; raises what the first that failed raised."""
        queue = list(reversed(jobs))
        running = 0
        try:
            for _ in range(min(self._count, len(jobs))):
                threading.Thread(target=self._work, args=(queue,), daemon=True).start()
                running += 1
            while running:  # not Thread.join: after Ctrl-C in it, 3.11 takes the thread for ended
                self._ended.acquire()
                running -= 1
        except BaseException:
            self._stop.set()
            self._interrupt()
            for _ in range(running):
                self._ended.acquire(timeout=_GRACE_SECONDS)
            raise
        if self._error is not None:
            raise self._error

    def _work(self, queue: list[Job]) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    if not queue:
                        return
                    job = queue.pop()
                job(self._stop.is_set)
        except Stopped:
            pass
        except BaseException as error:  # handed to the caller's thread, whatever it is
            with self._lock:
                first = self._error is None
                self._error = self._error or error
            self._stop.set()
            if first:
                self._interrupt()
        finally:
            self._ended.release()
