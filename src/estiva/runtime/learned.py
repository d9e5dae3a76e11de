"""A seccomp profile learned from what a container's programs did: the profile they ran under, cut to the calls made.

It allows nothing that the profile it came from does not: conditions on arguments stay as they were, and what was
refused is still refused the same way.  ``socket`` and ``personality`` are allowed for the address families and values
seen.  The file is one that Docker and Podman take; several runs, even at the same time, are merged into it.
containers-seccomp.json(5)
"""

from __future__ import annotations

import json
import os
import re

from estiva.errors import Invalid
from estiva.runtime.seccomp_compiler import ARCHITECTURES, NATIVE, TABLES, X32_BIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Arguments = list[dict[str, Any]]

ALLOW = "SCMP_ACT_ALLOW"
# Calls whose first argument is worth a condition.
TRACED = ("socket", "personality")
MARK = "what runtimes call before the program runs; learned by estiva"
# Between loading the filter and the program, by our own runtime, crun and runc; beyond our own they are harmless ones.
STARTING = (
    "brk", "capget", "capset", "chdir", "clone", "close", "close_range", "dup3", "epoll_ctl", "epoll_pwait",
    "execve", "exit", "exit_group", "faccessat2", "fchdir", "fchown", "fcntl", "fstat", "fstatfs", "futex",
    "getcwd", "getdents64", "getpid", "getppid", "getuid", "ioctl", "lseek", "mmap", "mprotect", "munmap",
    "nanosleep", "newfstatat", "openat", "openat2", "pipe2", "prctl", "pread64", "read", "readlinkat",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_yield", "seccomp", "sendto", "setgid", "setgroups",
    "setresgid", "setresuid", "setsid", "setuid", "sigaltstack", "stat", "statx", "tgkill", "umask", "write",
)  # fmt: skip


class Learned:
    """What was seen: ``names`` of calls, ``values`` of the first argument of traced ones, ``archs``."""

    def __init__(self, base: dict[str, Any] | None, machine: str) -> None:
        """:param base: the OCI ``linux.seccomp`` section the container is under, None for none"""
        self.base = base or {"defaultAction": ALLOW}
        self.native = NATIVE[machine]
        self.names: set[str] = set()
        self.values: dict[str, set[int]] = {}
        self.archs: set[str] = set()
        with open(TABLES, "rb") as file:
            self._numbers = json.loads(file.read())
        self._tables: dict[str, dict[int, list[str]]] = {}

    def note(self, audit_arch: int, number: int, first: int) -> bool:
        """Take note of a call; *first* is its first argument.  Returns whether more of the same can teach nothing."""
        arch = self._arch(audit_arch, number)
        names = self._table(arch).get(number, [])
        self.names.update(names)
        self.archs.add(arch)
        traced = [name for name in names if name in TRACED]
        for name in traced:
            self.values.setdefault(name, set()).add(first & 0xFFFFFFFF)
        return not traced

    def _arch(self, audit_arch: int, number: int) -> str:
        if audit_arch == ARCHITECTURES["SCMP_ARCH_X86_64"][1] and number >= X32_BIT:
            return "SCMP_ARCH_X32"
        return next(name for name, (_, audit, _) in ARCHITECTURES.items() if audit == audit_arch)

    def _table(self, arch: str) -> dict[int, list[str]]:
        if arch not in self._tables:
            table = self._tables[arch] = {}
            for name, number in self._numbers[ARCHITECTURES[arch][0]].items():
                table.setdefault(number, []).append(name)
        return self._tables[arch]

    def merge(self, document: Any) -> None:
        """Add what an earlier profile has.  Raises Invalid if it is none of ours."""
        try:
            if any(rule.get("comment") == MARK for rule in document["syscalls"]):
                self._add(document)
                return
        except (AttributeError, KeyError, TypeError, IndexError):
            pass
        raise Invalid("it is not a learned profile", "name another file, or one that is not there yet")

    def _add(self, document: dict[str, Any]) -> None:
        for rule in document["syscalls"]:
            if rule["action"] != ALLOW or rule.get("comment") == MARK:
                continue
            self.names.update(rule["names"])
            for arg in rule.get("args") or ():
                if arg["index"] == 0 and arg["op"] == "SCMP_CMP_EQ" and rule["names"][0] in TRACED:
                    self.values.setdefault(rule["names"][0], set()).add(arg["value"])
        for entry in document["archMap"]:
            self.archs.update(entry.get("subArchitectures") or ())

    def document(self) -> dict[str, Any]:
        """The profile."""
        default = self.base["defaultAction"]
        refusal = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1}
        if default != ALLOW:
            refusal = {key: self.base[key] for key in ("defaultAction", "defaultErrnoRet") if key in self.base}
        others = sorted(self.archs - {self.native})
        rules: list[dict[str, Any]] = [{"names": list(STARTING), "action": ALLOW, "args": [], "comment": MARK}]
        for rule in self._base_rules(default):
            rules += self._cut(rule, refusal)
        return {
            **refusal,
            "archMap": [{"architecture": self.native, "subArchitectures": others}],
            "syscalls": rules,
        }

    def _base_rules(self, default: str) -> Iterable[dict[str, Any]]:
        yield from self.base.get("syscalls") or ()
        if default == ALLOW:
            yield {"names": sorted(self.names), "action": ALLOW}

    def _cut(self, rule: dict[str, Any], refusal: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """A rule of the base as the profile has it: nothing, itself, or one for each value seen."""
        action, args = rule["action"], list(rule.get("args") or ())
        if action != ALLOW:
            same = action == refusal["defaultAction"] and rule.get("errnoRet", 1) == refusal.get("defaultErrnoRet", 1)
            if not same:
                yield {**rule, "args": args}
            return
        names = sorted(self.names & set(rule["names"]))
        plain = [name for name in names if name not in TRACED]
        if plain:
            yield {"names": plain, "action": ALLOW, "args": args}
        for name in names:
            if name in TRACED:
                for value in sorted(self.values.get(name, ())):
                    narrowed = narrow(args, value)
                    if narrowed is not None:
                        yield {"names": [name], "action": ALLOW, "args": narrowed}

    def save(self, path: str) -> None:
        """Merge with what *path* has, and write it there; the file appears whole.  Raises Invalid, OSError."""
        import fcntl

        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if not _is_at(fd, path):
                    continue  # another has just put a newer one in its place
                text = os.read(fd, 1 << 22)
                if text.strip():
                    self.merge(_parsed(text))
                _replace(path, to_json(self.document()).encode())
                return
            finally:
                os.close(fd)


def to_json(document: dict[str, Any]) -> str:
    """Indented, but each condition on one line: people read and edit it."""
    text = json.dumps(document, indent=2)
    return re.sub(r"\{\s+(\"index\"[^{}]*?)\s+\}", lambda found: "{" + " ".join(found[1].split()) + "}", text) + "\n"


def narrow(args: Arguments, value: int) -> Arguments | None:
    """The conditions *args* with the first argument equal to *value*; None if they do not allow it."""
    kept = []
    for arg in args:
        if arg["index"] != 0:
            kept.append(arg)
        elif not _holds(arg, value):
            return None
    return [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}, *kept]


def _holds(arg: dict[str, Any], value: int) -> bool:
    wanted, second = int(arg.get("value", 0)), int(arg.get("valueTwo") or 0)
    return {
        "SCMP_CMP_EQ": value == wanted,
        "SCMP_CMP_NE": value != wanted,
        "SCMP_CMP_LT": value < wanted,
        "SCMP_CMP_LE": value <= wanted,
        "SCMP_CMP_GT": value > wanted,
        "SCMP_CMP_GE": value >= wanted,
        "SCMP_CMP_MASKED_EQ": value & wanted == second & wanted,
    }[str(arg["op"])]


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Invalid(f"it is not JSON: {error}", "name another file") from None


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _replace(path: str, data: bytes) -> None:
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
