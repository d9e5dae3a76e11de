"""The lock of one container: who changes its life holds it; nobody else's container is concerned."""

from __future__ import annotations

import fcntl
import os

from estiva.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class ContainerLock:
    """A context that holds the flock on the container's run directory, made if it is not there.

    The lock goes with the process, so that a killed command locks nobody out.  Not reentrant.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, run_dir: str) -> None:
        self._path = run_dir
        self._fd = -1

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock; False if *wait* is false and another process has it."""
        while True:
            try:
                fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                os.makedirs(self._path, 0o700, exist_ok=True)
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(fd)
                return False
            except BaseException:
                os.close(fd)
                raise
            if os.fstat(fd).st_nlink:  # else it was removed with its container while we waited
                self._fd = fd
                return True
            os.close(fd)

    def release(self) -> None:
        """Let go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> ContainerLock:
        if not self.acquire():
            raise NotFound(f"locking {self._path}: gone")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold_monitor_lock(run_dir: str) -> int:
    """A descriptor with the lock that says that a monitor lives; for the monitor to inherit.  -1 if one has it."""
    fd = os.open(f"{run_dir}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    return fd


def wait_for_monitor(run_dir: str, seconds: float | None = None) -> bool:
    """Wait until the container's monitor has ended; False if it has not after *seconds*."""
    import time

    try:
        fd = os.open(f"{run_dir}/lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if seconds is None:
            fcntl.flock(fd, fcntl.LOCK_SH)
            return True
        deadline, pause = time.monotonic() + seconds, 0.001
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
    finally:
        os.close(fd)
