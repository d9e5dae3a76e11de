"""Stages of work that run beside each other, each in a thread, joined by short queues.

hashlib, the decompressors and write(2) let go of the interpreter while they work, so two cores are used.
"""

from __future__ import annotations

import queue
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEPTH = 8  # chunks that may wait between two stages


class Cancelled(Exception):
    """Nobody wants the result any more."""


class Stage:
    """A thread that runs *work(chunks)* on what is fed; it is started at once.

    ``error`` is what *work* raised, if anything; feeding goes on without effect then.
    """

    def __init__(self, work: Callable[[Iterator[bytes]], None], name: str) -> None:
        self.error: BaseException | None = None
        self._work = work
        self._queue: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self._ended = False
        self._cancelled = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def feed(self, chunk: bytes) -> None:
        """Hand over a chunk, waiting while too many wait already; raises what *work* raised."""
        if self.error is not None:
            raise self.error
        if chunk:
            self._queue.put(chunk)

    def finish(self) -> None:
        """Say that nothing more comes and wait for *work* to end; raises what it raised."""
        self._join()
        if self.error is not None:
            raise self.error

    def cancel(self) -> None:
        """Make *work* end with :class:`Cancelled` if it has not ended, and wait for it."""
        self._cancelled = True
        self._join()

    def _join(self) -> None:
        if not self._ended:
            self._ended = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        chunks = self._chunks()
        try:
            self._work(chunks)
        except BaseException as error:
            self.error = error
        for _ in self._rest():
            pass

    def _chunks(self) -> Iterator[bytes]:
        for chunk in self._rest():
            if self._cancelled:
                raise Cancelled
            yield chunk
        if self._cancelled:
            raise Cancelled

    def _rest(self) -> Iterator[bytes]:
        """All until the end mark, which is put back for whoever asks again."""
        while (chunk := self._queue.get()) is not None:
            yield chunk
        self._queue.put(None)
