"""Starting the static helper: a sealed copy of it in memory, its plan on one descriptor, its reports on another.

Started with posix_spawn, so that it works from any thread of any process, however large; run from a sealed memory file,
so that nothing a container does to ``/proc/PID/exe`` reaches the file on disk (CVE-2019-5736).
"""

from __future__ import annotations

import errno
import fcntl
import os

from estiva.errors import Denied, Unavailable
from estiva.runtime.plan import PLAN_FD, REPORT_FD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from estiva.runtime.plan import Plan

HELPER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_native", "estiva-helper")
KEEP_FROM = REPORT_FD + 1  # where descriptors handed on land in the helper; low, for who has few (ulimit -n)
_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # F_SEAL_SEAL, SHRINK, GROW, WRITE
_F_ADD_SEALS = 1033
_MFD_EXEC = 0x10
_SIGNALS_IGNORED_BY_PYTHON = (13, 25)  # SIGPIPE, SIGXFSZ


def _sealed_copy(path: str = HELPER) -> int:
    """A descriptor of a sealed, executable copy of the helper."""
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Unavailable(
            f"starting the helper {path}: not there", "install the package with a C compiler at hand"
        ) from None
    try:
        try:
            copy = os.memfd_create("estiva", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_EXEC)
        except OSError as error:
            if error.errno != errno.EINVAL:  # before Linux 6.3 memory files are executable unasked
                raise
            copy = os.memfd_create("estiva", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.sendfile(copy, source, 0, os.fstat(source).st_size)
        fcntl.fcntl(copy, _F_ADD_SEALS, _SEALS)
    finally:
        os.close(source)
    return copy


def _plan_fd(plan: Plan) -> int:
    fd = os.memfd_create("estiva-plan", os.MFD_CLOEXEC)
    os.write(fd, plan.encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def spawn(
    plan: Plan,
    report: int,
    name: Sequence[str],
    *,
    keep: Sequence[int] = (),
    own_stdio: bool = True,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Start the helper with *plan*; returns its process id, for the caller to wait for.

    *report* is the helper's end of a seqpacket pair; *name* what ps shows; *keep* descriptors it inherits, as
    number ``KEEP_FROM`` and those after; with *own_stdio* it gets ``/dev/null`` and a session of its own, else the
    caller's.
    """
    opened = [_sealed_copy(), _plan_fd(plan)]
    try:
        # Out of the way of the numbers the helper expects, so that no dup2 overwrites the source of a later one.
        for fd in (*opened, report, *keep):
            opened.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, KEEP_FROM + len(keep)))
        program, *given = opened[2:]
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_DUP2, fd, PLAN_FD + i) for i, fd in enumerate(given)
        ]  # PLAN_FD, REPORT_FD, KEEP_FROM …: one after the other
        if own_stdio:
            actions += [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0)]
            actions += [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
        return os.posix_spawn(
            f"/proc/self/fd/{program}",
            list(name),
            {} if environ is None else environ,
            file_actions=actions,
            setsid=own_stdio,
            setsigmask=(),
            setsigdef=_SIGNALS_IGNORED_BY_PYTHON,
        )
    except PermissionError as error:
        raise Denied(f"starting the helper: {error.strerror}", "programs in memory files must be allowed") from error
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.EINVAL):  # the latter: F_DUPFD above the limit
            raise
        raise Unavailable("starting the helper: too many open files", "raise the limit, ulimit -n") from error
    finally:
        for fd in opened:
            os.close(fd)


def wait(pid: int) -> int:
    """The exit code of a process this one started (128 + signal where a signal ended it)."""
    while True:
        try:
            _, status = os.waitpid(pid, 0)
        except InterruptedError:
            continue
        except ChildProcessError:
            return 0  # somebody in this process waits for all children
        return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
