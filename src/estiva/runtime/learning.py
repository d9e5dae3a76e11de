"""Learning a seccomp profile: a container under a filter that tells of every call, and the agent who takes note.

Each call that the container's profile allows becomes a notification, to be let go on by an agent: a process of its own
(:mod:`estiva.runtime.learning_agent`) that ends with the container.  What the profile refuses is refused as ever.  The
profile is written before a call that was not seen before goes on, so the file is complete at any moment.  Without its
agent a filtered process is told ENOSYS to every call: it does not wait for ever.  seccomp_unotify(2)
"""

from __future__ import annotations

import os
import sys

from estiva.errors import EstivaError, Invalid, NotFound
from estiva.runtime.helper import wait
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET = "learn"  # in the directory of what is known of the container
_ALLOW = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
_NOTIFY = "SCMP_ACT_NOTIFY"
_SUB_ARCHITECTURES = {"x86_64": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "aarch64": ["SCMP_ARCH_ARM"]}
_NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
# The agent's descriptors: its orders, the socket where listeners come in, the line to who starts the container.
ORDERS_FD, SOCKET_FD, LINE_FD = 3, 4, 5


def watched(base: dict[str, Any] | None, directory: str) -> dict[str, Any]:
    """The ``linux.seccomp`` section that allows and refuses what *base* does (None: allows all), and tells the agent of
    the container in *directory*.  Raises Invalid if *base* has an agent itself."""
    machine = os.uname().machine
    if base is None:
        architectures = [_NATIVE[machine], *_SUB_ARCHITECTURES[machine]] if machine in _NATIVE else []
        base = {"defaultAction": _ALLOW[0], "architectures": architectures}
    actions = [base["defaultAction"], *(rule["action"] for rule in base.get("syscalls") or ())]
    if _NOTIFY in actions:
        raise Invalid("learning a seccomp profile: the container's own has an agent already")
    told = [_NOTIFY if action in _ALLOW else action for action in actions]
    flags = base.get("flags")
    flags = ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] if flags is None else list(flags)
    if _kernel() >= (5, 19):  # a signal does not take back a call that the agent has been told of
        flags.append("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
    return {
        **base,
        "defaultAction": told[0],
        "syscalls": [
            {**rule, "action": action} for rule, action in zip(base.get("syscalls") or (), told[1:], strict=True)
        ],
        "flags": flags,
        "listenerPath": f"{directory}/{SOCKET}",
    }


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)


def start_agent(base: dict[str, Any] | None, file: str, directory: str, lock: str = "") -> int:
    """Start the agent of the container in *directory*; returns a descriptor for the caller to close once the container
    has been started or has not: the agent then ends with the last filtered process.

    *base*: the section that was made :func:`watched` · *file*: the profile · *lock*: a file that is locked (flock) as
    long as the container may be started again, ``""`` if it cannot be.  Raises an EstivaError if *file* cannot be
    written.
    """
    _write_first(base, file)
    path = f"{directory}/{SOCKET}"
    orders = _memory({"base": base, "file": file, "socket": path, "lock": lock})
    listening, (read_fd, line) = _listen(path), _pipe()
    argv = [sys.executable, "-I", "-S", f"{os.path.dirname(os.path.abspath(__file__))}/learning_agent.py"]
    actions: list[Any] = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, 0, number) for number in (1, 2)]
    ours = {orders: ORDERS_FD, listening: SOCKET_FD, read_fd: LINE_FD}
    actions += [(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in ours.items()]
    try:
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)
    except BaseException:
        os.close(line)
        raise
    finally:
        for fd in ours:
            os.close(fd)
    wait(pid)  # it has made another of itself, which is nobody's child
    return line


def _write_first(base: dict[str, Any] | None, file: str) -> None:
    """The profile of a program that does nothing: that it can be written is known before anything is started."""
    from estiva.runtime.learned import Learned

    try:
        Learned(base, os.uname().machine).save(file)
    except KeyError:
        raise Invalid(f"learning a seccomp profile: no system call table for {os.uname().machine}") from None
    except EstivaError as error:
        raise type(error)(f'learning the seccomp profile "{file}": {error}') from error
    except FileNotFoundError:
        raise NotFound(f'learning the seccomp profile "{file}": no such directory') from None
    except OSError as error:
        raise Invalid(f'learning the seccomp profile "{file}": {error.strerror}') from error


def _above(fd: int) -> int:
    """The same, out of the way of the numbers that the agent expects."""
    import fcntl

    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(fd)
    return high


def _pipe() -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    return _above(read_fd), write_fd


def _memory(orders: dict[str, Any]) -> int:
    fd = os.memfd_create("estiva-learn", os.MFD_CLOEXEC)
    os.write(fd, json.dumps(orders).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return _above(fd)


def _listen(path: str) -> int:
    """A listening socket at *path*, for its owner alone; one that was left there is replaced.  unix(7)"""
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

    directory, name = os.path.split(path)
    dir_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.unlink(name, dir_fd=dir_fd)
        except FileNotFoundError:
            pass
        line = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        line.bind(f"/proc/self/fd/{dir_fd}/{name}")
        os.chmod(path, 0o600)
        line.listen(64)
        return _above(line.detach())
    finally:
        os.close(dir_fd)
