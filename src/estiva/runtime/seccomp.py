"""Seccomp filters for the hot path: the compiled program of a bundle's ``linux.seccomp``, from a cache when there.

This module imports neither the compiler nor its tables; a start with a cached filter pays for one hash and one read.
runtime-spec config-linux.md "Seccomp", seccomp(2)
"""

from __future__ import annotations

import os
import sys

from estiva.errors import Invalid
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Part of every cache key: raise it when the compiler's output changes for the same input.
COMPILER = 1

# include/uapi/linux/seccomp.h
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
NEW_LISTENER = 8
_WAIT_KILLABLE_RECV = 32
_NOTIFY = "SCMP_ACT_NOTIFY"
_LARGEST = 4096 * 8  # BPF_MAXINSNS
_NOT_IN_PROGRAM = frozenset(("flags", "listenerPath", "listenerMetadata"))


def filter_flags(seccomp: dict[str, Any]) -> int:
    """The flags for seccomp(2): those the bundle names; SPEC_ALLOW when it has no ``flags`` at all, as in runc.

    NEW_LISTENER is one of them if an action notifies; WAIT_KILLABLE_RECV is about notifications and only allowed then.
    """
    wanted = seccomp.get("flags")
    result = FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] if wanted is None else 0
    for name in wanted or ():
        if name not in FLAGS:
            raise Invalid(f'linux.seccomp.flags: unknown flag "{name}"', f"known are {', '.join(FLAGS)}")
        result |= FLAGS[name]
    return result | NEW_LISTENER if notifies(seccomp) else result & ~_WAIT_KILLABLE_RECV


def notifies(seccomp: dict[str, Any]) -> bool:
    """Whether an action of the section asks an agent."""
    if seccomp.get("defaultAction") == _NOTIFY:
        return True
    return any(rule.get("action") == _NOTIFY for rule in seccomp.get("syscalls") or ())


def agent(seccomp: dict[str, Any], state: dict[str, Any], *, executed: bool = False) -> tuple[str, list[str]]:
    """The arguments of the plan's AGENT: the agent's socket, and the parts of the container process state that it is
    sent, between which the process's id goes.

    *state* is the OCI state of the container; unless a further program is *executed* in it, its ``pid`` is not known
    yet either.  ``("", [])`` if no action notifies.  runtime-spec config-linux.md "The Container Process State"
    """
    path, metadata = seccomp.get("listenerPath") or "", seccomp.get("listenerMetadata") or ""
    if metadata and not path:
        raise Invalid("linux.seccomp.listenerMetadata: given without listenerPath")
    if not notifies(seccomp):
        return "", []
    if not path:
        raise Invalid("linux.seccomp.listenerPath: missing; SCMP_ACT_NOTIFY needs an agent")
    if not path.startswith("/"):
        raise Invalid(f'linux.seccomp.listenerPath: "{path}" is not an absolute path')
    head: dict[str, Any] = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"]}
    if metadata:
        head["metadata"] = metadata
    text = json.dumps(head)[:-1] + ', "pid": '
    if executed:
        return path, [text, f', "state": {json.dumps(state)}}}']
    rest = json.dumps({key: value for key, value in state.items() if key != "pid"})
    return path, [text, f', "state": {rest[:-1]}, "pid": ', "}}"]


def compile_cached(seccomp: dict[str, Any], cache_dir: str | None, machine: str | None = None) -> bytes:
    """The BPF program (``struct sock_filter`` array) for the OCI *seccomp* section.

    The program is kept at ``<cache_dir>/<sha256>.bpf``; the directory is made when missing and must be writable by
    nobody but the user.  ``None`` for *cache_dir* compiles anew.  *machine* is ``os.uname().machine`` by default.
    Raises Invalid for a section that cannot be compiled.
    """
    machine = machine or os.uname().machine
    if cache_dir is None:
        return _compile(seccomp, machine)
    path = os.path.join(cache_dir, cache_key(seccomp, machine) + ".bpf")
    program = _kept(path)
    if program:
        return program
    program = _compile(seccomp, machine)
    _keep(path, program)
    return program


def cache_key(seccomp: dict[str, Any], machine: str) -> str:
    """A hexadecimal SHA-256 that changes with whatever changes the program; where the agent is does not."""
    sha256 = _sha256()
    program = {key: value for key, value in seccomp.items() if key not in _NOT_IN_PROGRAM}
    text = json.dumps([COMPILER, machine, program], sort_keys=True, separators=(",", ":"))
    digest: str = sha256(text.encode()).hexdigest()
    return digest


def _sha256() -> Any:
    """The interpreter's own SHA-256: hashlib would load OpenSSL, which costs more than all else here."""
    own = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
    for name in (own, "hashlib"):
        try:
            return __import__(name).sha256
        except ImportError:
            continue
    raise AssertionError("hashlib is part of every Python")


def _compile(seccomp: dict[str, Any], machine: str) -> bytes:
    from estiva.runtime.seccomp_compiler import compile_filter

    return compile_filter(seccomp, machine)


def _kept(path: str) -> bytes:
    """The program at *path*; empty if there is none that this user wrote, whole, where nobody else could."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or status.st_mode & 0o170022 != 0o100000:
            return b""
        program = os.read(fd, _LARGEST + 1)
    finally:
        os.close(fd)
    return program if len(program) % 8 == 0 and len(program) <= _LARGEST else b""


def _keep(path: str, program: bytes) -> None:
    """Put *program* at *path*, whole or not at all.  A cache that cannot be written is no failure of the container."""
    temporary = f"{path}.{os.urandom(8).hex()}"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, program)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
