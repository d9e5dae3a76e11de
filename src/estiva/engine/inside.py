"""Work that needs mapped ids, done where they are mapped.

Root needs nothing: the function is simply called.  For an ordinary user a Python process is started inside the user's
namespace (by the static helper, so that also a threaded caller can), told the function and its arguments as JSON, and
heard: progress as it goes, then the result or the failure.  The function runs there as user 0.
"""

from __future__ import annotations

import json
import os
import sys

from estiva import errors
from estiva.errors import EstivaError, Unavailable
from estiva.runtime import plan
from estiva.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Progress = Callable[[str, str, int, int], None]

CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
MS_REC, MS_SLAVE = 0x4000, 1 << 19
RESULT_FD, REQUEST_FD = 3, 4
MARK = "ESTIVA_INSIDE"  # set in the process inside, to the caller's user id


def call(function: str, userns: str, progress: Progress | None = None, **arguments: Any) -> Any:
    """The result of ``package.module:name`` called with JSON-able *arguments* (and ``progress=`` if one is given).

    *userns* is the path of the namespace to enter, ``""`` to call it right here.  Raises what the function raises, if
    that is an :class:`EstivaError` or :class:`OSError`.
    """
    if not userns:
        target = _resolve(function)
        return target(**arguments, progress=progress) if progress else target(**arguments)
    from estiva.runtime.helper import KEEP_FROM, wait
    from estiva.runtime.launch import execute_inside

    request_fd = _memory_file(json.dumps([function, arguments, progress is not None]).encode())
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    program = [sys.executable, "-I", "-S", f"{package}/engine/inside_main.py"]
    work = Plan().add(plan.JOIN, userns, CLONE_NEWUSER).add(plan.BECOME_ROOT).add(plan.UNSHARE, CLONE_NEWNS)
    work.add(plan.PROPAGATION, "/", MS_REC | MS_SLAVE).add(plan.KEEP_FDS, 2, KEEP_FROM)
    environ = {**os.environ, MARK: str(os.getuid())}
    work.add(plan.EXEC, program, [f"{name}={value}" for name, value in environ.items()])
    try:
        pid = execute_inside(work, environ, keep=(write_fd, request_fd))
        os.close(write_fd)
        write_fd = -1
        with open(read_fd, encoding="utf-8", closefd=False) as lines:
            outcome = _listen(lines, progress)
        code = wait(pid)
    finally:
        os.close(request_fd)
        os.close(read_fd)
        if write_fd >= 0:
            os.close(write_fd)
    if outcome is None:
        raise Unavailable(f"{function}: the process in the user's namespace ended with code {code}")
    return outcome[0]


def _memory_file(data: bytes) -> int:
    """A descriptor to read *data* from: arguments may hold passwords, and anybody may read a command line."""
    fd = os.memfd_create("request", os.MFD_CLOEXEC)
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _listen(lines: Any, progress: Progress | None) -> list[Any] | None:
    """Progress is passed on; [result] is returned, None if none came; a failure is raised."""
    content: list[Any]
    for line in lines:
        kind, *content = json.loads(line)
        if kind == "progress" and progress:
            progress(*content)
        elif kind == "result":
            return content
        elif kind == "error":
            name, message, cure = content
            raise getattr(errors, name, EstivaError)(message, cure)
        elif kind == "oserror":
            raise OSError(*content)
    return None


def _resolve(function: str) -> Callable[..., Any]:
    from importlib import import_module

    module, _, name = function.partition(":")
    target: Callable[..., Any] = getattr(import_module(module), name)
    return target


def main() -> int:
    """Entry of the process inside: one call, read as JSON from descriptor 4; its outcome as JSON lines on 3."""
    with os.fdopen(REQUEST_FD, "rb") as file:
        function, arguments, wants_progress = json.loads(file.read())
    os.set_inheritable(RESULT_FD, False)
    out = os.fdopen(RESULT_FD, "w", encoding="utf-8")

    def say(*message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    if wants_progress:
        arguments["progress"] = lambda *event: say("progress", *event)
    try:
        say("result", _resolve(function)(**arguments))
    except EstivaError as error:
        say("error", type(error).__name__, error.message, error.cure)
    except OSError as error:
        say("oserror", error.errno, error.strerror or str(error), error.filename)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # a bug: it is told like one that happened on this side
        say("error", "EstivaError", f"internal error: {type(error).__name__}: {error}", "")
        return 1
    return 0
