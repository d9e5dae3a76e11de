"""The one user namespace of an ordinary user: made once, kept by a sleeping process, joined by all that follows.

Its keeper (``estiva-pause``) is the static helper, some ten KiB of memory.  Its process id and start time stand in
``<run>/pause``; the file's flock makes sure that two commands do not make one each.  user_namespaces(7)
"""

from __future__ import annotations

import errno
import fcntl
import os

from estiva.errors import Denied, Unavailable
from estiva.monitor.state import is_alive, start_time
from estiva.runtime import helper, plan
from estiva.runtime.launch import launch
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Maps = Sequence[tuple[int, int, int]]

CLONE_NEWUSER = 0x10000000


def join_path(run_root: str, maps: Callable[[], tuple[Maps, Maps]]) -> str:
    """The path of the user's namespace, for setns(2), made first if it is not there.

    *maps* is called only then; it gives the (container, host, size) maps of users and groups.  A single entry of size
    one is written directly, more need newuidmap(1) and newgidmap(1).  Raises Denied where the kernel refuses user
    namespaces, Unavailable where a program is missing.
    """
    path = f"{run_root}/pause"
    pid = _keeper(path)
    if not pid:
        os.makedirs(run_root, 0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            pid = _keeper(path)
            if not pid:
                pid = _make(*maps())
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{pid} {start_time(pid)}\n".encode(), 0)
        finally:
            os.close(fd)
    return f"/proc/{pid}/ns/user"


def stop_keeper(run_root: str) -> None:
    """End the keeping process, if there is one; containers that run keep the namespace themselves."""
    import signal

    pid = _keeper(f"{run_root}/pause")
    if pid:
        os.kill(pid, signal.SIGKILL)
    try:
        os.unlink(f"{run_root}/pause")
    except FileNotFoundError:
        pass


def _keeper(path: str) -> int:
    """The process id of the living keeper named in the file, or 0."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        words = os.read(fd, 100).split()
    finally:
        os.close(fd)
    if len(words) != 2 or not is_alive(int(words[0]), int(words[1])):
        return 0
    return int(words[0])


def _make(uid_maps: Maps, gid_maps: Maps) -> int:
    """A new keeper's process id."""
    single = len(uid_maps) == 1 and len(gid_maps) == 1 and uid_maps[0][2] == gid_maps[0][2] == 1
    work = Plan().add(plan.ORPHAN)
    texts = [_text(uid_maps), _text(gid_maps)] if single else ["", ""]
    work.add(plan.CLONE, CLONE_NEWUSER, *texts, int(single)).add(plan.PAUSE)
    try:
        launched = launch(work, None, ["estiva-pause"])
    except Denied as error:
        raise Denied(
            f"making a user namespace: {error.message}",
            "the kernel or its security modules must allow them to ordinary users",
        ) from error
    os.close(launched.fd)
    if not single:
        try:
            _map_by_program("newuidmap", launched.pid, uid_maps)
            _map_by_program("newgidmap", launched.pid, gid_maps)
        except BaseException:
            import signal

            os.kill(launched.pid, signal.SIGKILL)
            raise
    return launched.pid


def _text(maps: Maps) -> str:
    return "".join(f"{ctr} {host} {size}\n" for ctr, host, size in maps)


def _map_by_program(program: str, pid: int, maps: Maps) -> None:
    numbers = [str(number) for entry in maps for number in entry]
    try:
        child = os.posix_spawnp(program, [program, str(pid), *numbers], os.environ)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        raise Unavailable(
            f"mapping subordinate ids: {program} is not installed", "install the package uidmap"
        ) from None
    if helper.wait(child):
        raise Denied(
            f"mapping subordinate ids: {program} refused", "see /etc/subuid, /etc/subgid and the program's message"
        )
