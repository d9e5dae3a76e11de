"""Hooks of a bundle: checked, run in the runtime's namespaces, or planned for the container's.

============== ============================ ================== ====================================
hook           when                         namespaces         a failure
============== ============================ ================== ====================================
prestart       create, before pivot_root    the runtime's      create fails, the container is undone
createRuntime  right after them             the runtime's      the same
createContainer right after them            the container's    the same
startContainer start, before the program    the container's    start fails, the container is stopped
poststart      start, once it runs          the runtime's      the same
poststop       delete, when all is gone     the runtime's      told, and passed over
============== ============================ ================== ====================================

runtime-spec config.md "POSIX-platform Hooks", runtime.md "Lifecycle"
"""

from __future__ import annotations

import json
import os

from estiva.errors import Invalid, Unavailable
from estiva.runtime import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.compile import Surroundings
    from estiva.runtime.plan import Plan

NAMES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
BEFORE_PIVOT = ("prestart", "createRuntime")
_MOST = {"args": 255, "env": 1023}  # what the helper has room for
_NEW_LISTENER = 1 << 3  # SECCOMP_FILTER_FLAG_NEW_LISTENER: one listener is enough


def check(hooks: Any) -> None:
    """Raise Invalid, naming the field, for the ``hooks`` of a configuration that make no sense."""
    if not isinstance(hooks, dict):
        raise Invalid("hooks: not an object")
    for name in NAMES:
        entries = hooks.get(name)
        if entries is None:
            continue
        if not isinstance(entries, list):
            raise Invalid(f"hooks.{name}: not a list")
        for index, hook in enumerate(entries):
            _check(f"hooks.{name}[{index}]", hook)


def _check(where: str, hook: Any) -> None:
    if not isinstance(hook, dict):
        raise Invalid(f"{where}: not an object")
    path = hook.get("path")
    if not isinstance(path, str) or not path.startswith("/"):
        raise Invalid(f'{where}.path: "{path}" is not an absolute path')
    for field in ("args", "env"):
        words = hook.get(field)
        if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            raise Invalid(f"{where}.{field}: not a list of strings")
        if len(words or ()) > _MOST[field]:
            raise Invalid(f"{where}.{field}: more than {_MOST[field]}")
    for word in (path, *(hook.get("args") or ()), *(hook.get("env") or ())):
        if "\0" in word or not _can_be_passed(word):
            raise Invalid(f"{where}: {word!r} cannot be passed to a program")
    timeout = hook.get("timeout")
    if timeout is not None and (not isinstance(timeout, int) or isinstance(timeout, bool) or timeout <= 0):
        raise Invalid(f'{where}.timeout: "{timeout}" is not a number of seconds above 0')


def _can_be_passed(word: str) -> bool:
    try:
        os.fsencode(word)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say
        return False
    return True


def of(spec: dict[str, Any], *names: str) -> list[tuple[str, dict[str, Any]]]:
    """The hooks of the configuration with these names, in order, each with its name."""
    hooks = spec.get("hooks") or {}
    return [(name, hook) for name in names for hook in hooks.get(name) or ()]


def add_hooks(out: Plan, spec: dict[str, Any], name: str, status: str, around: Surroundings, *, filtered: bool) -> None:
    """Plan the hooks *name* to be run by the container's process, which adds its own pid to the state.

    *filtered*: the hooks run under the container's filter, which their process loads; else under what is in force.
    """
    for _, hook in of(spec, name):
        state = json.dumps({**(around.state or {}), "status": status})[:-1] + ', "pid": '
        out.add(
            plan.HOOK,
            name,
            hook["path"],
            hook.get("timeout") or 0,
            state,
            hook.get("args") or [hook["path"]],
            hook.get("env") or [],
            around.seccomp_flags & ~_NEW_LISTENER,
            around.seccomp if filtered else b"",
        )


def run(spec: dict[str, Any], names: tuple[str, ...], state: dict[str, Any], *, warn: bool = False) -> list[str]:
    """Run the hooks of these names in this process's namespaces, with *state* on standard input.

    The first that fails raises Unavailable; with *warn* all are run, and what the failures say is returned.
    """
    warnings = []
    for name, hook in of(spec, *names):
        try:
            _run(name, hook, json.dumps(state).encode(), state.get("bundle") or "/")
        except Unavailable as error:
            if not warn:
                raise
            warnings.append(str(error))
    return warnings


def _run(name: str, hook: dict[str, Any], state: bytes, directory: str) -> None:
    """One hook, a process group of its own.  Its streams are memory files: what it leaves in the background can keep
    them open without anybody waiting for that."""
    import subprocess

    path = hook["path"]
    what = f"running {name} hook {path}"
    environment = dict(entry.split("=", 1) for entry in hook.get("env") or () if "=" in entry)
    with _memory_file() as stdin, _memory_file() as output:
        stdin.write(state)
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                hook.get("args") or [path],
                executable=path,
                stdin=stdin,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=directory if os.path.isdir(directory) else "/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise Unavailable(f"{what}: {_reason(error)}") from error
        code = _await(process.pid, hook.get("timeout"))
        process.returncode = 0 if code is None else code  # it has been waited for
        if code is None:
            raise Unavailable(f"{what}: not done within {hook['timeout']} s", "its processes were killed")
        if code:
            output.seek(0)
            said = output.read()[-4096:].decode(errors="replace").strip().rsplit("\n", 1)[-1]
            ended = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise Unavailable(f"{what}: {ended}" + (f": {said}" if said else ""))


def _memory_file() -> Any:
    return os.fdopen(os.memfd_create("hook", os.MFD_CLOEXEC), "r+b", buffering=0)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _await(pid: int, timeout: int | None) -> int | None:
    """The exit code of a child (negative: a signal), or None if it took longer than *timeout* seconds and was killed
    with its group."""
    import select
    import signal

    late = False
    if timeout:
        pidfd = os.pidfd_open(pid)
        try:
            late = not select.select((pidfd,), (), (), timeout)[0]
        finally:
            os.close(pidfd)
    if late:
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return None if late else os.waitstatus_to_exitcode(status)
