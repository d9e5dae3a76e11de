"""The processes of a container, as ``ps`` would list them.  podman-top(1) "FORMAT DESCRIPTORS"."""

from __future__ import annotations

import os

from estiva.engine.cgroups import find_cgroup
from estiva.engine.hostfacts import read_or_empty
from estiva.engine.identity import read_in_root
from estiva.errors import Conflict, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from estiva.engine.container import Container

DEFAULT = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """One process, from ``/proc/PID``; ids as the host sees them in ``h…`` fields, else as the container does."""

    __slots__ = ("args", "fields", "pid", "status", "uptime", "users")

    def __init__(self, pid: int, users: dict[int, str], uptime: float) -> None:
        stat = read_or_empty(f"/proc/{pid}/stat")
        if not stat:
            raise ProcessLookupError(pid)
        self.pid = pid
        self.fields = [stat[stat.index("(") + 1 : stat.rindex(")")], *stat[stat.rindex(")") + 2 :].split()]
        self.status = dict(line.split(":\t", 1) for line in read_or_empty(f"/proc/{pid}/status").splitlines())
        self.args = read_or_empty(f"/proc/{pid}/cmdline").rstrip("\0").split("\0")
        self.users = users
        self.uptime = uptime

    def number(self, index: int) -> int:
        """A field of stat(5), counted from 1 as the manual page does."""
        return int(self.fields[index - 2])

    @property
    def seconds(self) -> float:
        """CPU time used."""
        return (self.number(14) + self.number(15)) / _TICKS

    @property
    def elapsed(self) -> float:
        return max(self.uptime - self.number(22) / _TICKS, 0.01)

    def inner_pid(self, key: str) -> str:
        return self.status.get(key, str(self.pid)).split()[-1]

    @property
    def inner_parent(self) -> str:
        """The parent's process id in the container, 0 if it is outside."""
        if self.inner_pid("NSpid") == "1":
            return "0"
        parent = read_or_empty(f"/proc/{self.number(4)}/status")
        for line in parent.splitlines():
            if line.startswith("NSpid:") and len(line.split()) == len(self.status.get("NSpid", "").split()) + 1:
                return line.split()[-1]
        return "0"

    def user(self, key: str, index: int) -> str:
        uid = int(self.status.get(key, "0 0 0 0").split()[index])
        return self.users.get(uid, str(uid))

    def capabilities(self, key: str) -> str:
        from estiva.runtime import capabilities

        bits = int(self.status.get(key, "0"), 16)
        if bits == (1 << capabilities.last_cap() + 1) - 1:
            return "full"
        return ",".join(name.removeprefix("CAP_") for name in capabilities.names(bits)) or "none"


def _duration(seconds: float) -> str:
    """As Go prints it: 1h2m3.5s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _tty(process: Process) -> str:
    number = process.number(7)
    major, minor = os.major(number), os.minor(number)
    if not number:
        return "?"
    return f"pts/{minor + (major - 136) * 256}" if 136 <= major < 144 else f"tty{minor}"


# descriptor → (heading, value)
DESCRIPTORS: dict[str, tuple[str, Callable[[Process], str]]] = {
    "args": ("COMMAND", lambda p: " ".join(p.args) if p.args != [""] else f"[{p.fields[0]}]"),
    "capamb": ("AMBIENT CAPS", lambda p: p.capabilities("CapAmb")),
    "capbnd": ("BOUNDING CAPS", lambda p: p.capabilities("CapBnd")),
    "capeff": ("EFFECTIVE CAPS", lambda p: p.capabilities("CapEff")),
    "capinh": ("INHERITED CAPS", lambda p: p.capabilities("CapInh")),
    "capprm": ("PERMITTED CAPS", lambda p: p.capabilities("CapPrm")),
    "comm": ("COMMAND", lambda p: p.fields[0]),
    "etime": ("ELAPSED", lambda p: _duration(p.elapsed)),
    "group": ("GROUP", lambda p: p.status.get("Gid", "0").split()[1]),
    "hgroup": ("HGROUP", lambda p: p.status.get("Gid", "0").split()[1]),
    "hpid": ("HPID", lambda p: str(p.pid)),
    "huser": ("HUSER", lambda p: p.status.get("Uid", "0").split()[1]),
    "label": ("LABEL", lambda p: read_or_empty(f"/proc/{p.pid}/attr/current").strip("\0\n") or "?"),
    "nice": ("NI", lambda p: str(p.number(19))),
    "pcpu": ("%CPU", lambda p: f"{100 * p.seconds / p.elapsed:.3f}"),
    "pgid": ("PGID", lambda p: p.inner_pid("NSpgid")),
    "pid": ("PID", lambda p: p.inner_pid("NSpid")),
    "ppid": ("PPID", lambda p: p.inner_parent),
    "rgroup": ("RGROUP", lambda p: p.status.get("Gid", "0").split()[0]),
    "rss": ("RSS", lambda p: str(p.number(24) * _PAGE // 1024)),
    "ruser": ("RUSER", lambda p: p.user("Uid", 0)),
    "seccomp": (
        "SECCOMP",
        lambda p: {"0": "disabled", "1": "strict", "2": "filter"}.get(p.status.get("Seccomp", ""), "?"),
    ),
    "stime": ("STIME", lambda p: _duration(p.elapsed)),
    "state": ("STATE", lambda p: p.fields[1]),
    "time": ("TIME", lambda p: _duration(p.seconds)),
    "tty": ("TTY", _tty),
    "user": ("USER", lambda p: p.user("Uid", 1)),
    "vsz": ("VSZ", lambda p: str(p.number(23) // 1024)),
}
# ps(1)'s ways of saying it, which podman-top(1) lists as well
ALIASES = {
    "%C": "pcpu", "%G": "group", "%P": "ppid", "%U": "user", "%a": "args", "%c": "comm", "%g": "rgroup", "%n": "nice",
    "%p": "pid", "%r": "pgid", "%t": "etime", "%u": "ruser", "%x": "time", "%y": "tty", "%z": "vsz",
}  # fmt: skip


def top(container: Container, descriptors: Sequence[str]) -> list[list[str]]:
    """Headings, then a row for each process in the container's cgroup (its pid namespace where it has none)."""
    state = container.state()
    if not state.pid:
        raise Conflict(f"top can only be used on running containers: container {container.name} is {state.status}")
    wanted = [ALIASES.get(word, word) for text in descriptors for word in text.split(",") if word] or list(DEFAULT)
    for word in wanted:
        if word not in DESCRIPTORS:
            raise Invalid(f"top: descriptor {word!r} is unknown", f"choose from {', '.join(sorted(DESCRIPTORS))}")
    users = _users(state.pid)
    uptime = float(read_or_empty("/proc/uptime").split()[0])
    rows = [[DESCRIPTORS[word][0] for word in wanted]]
    for pid in _pids(container, state.pid):
        try:
            process = Process(pid, users, uptime)
        except ProcessLookupError:
            continue
        rows.append([DESCRIPTORS[word][1](process) for word in wanted])
    return rows


def _pids(container: Container, first: int) -> list[int]:
    found = find_cgroup(container).pids()
    if first in found:
        return sorted(found)
    return sorted({first, *_in_namespace(first)})


def _in_namespace(first: int) -> list[int]:
    """The processes of the same pid namespace that can be seen."""
    wanted = os.readlink(f"/proc/{first}/ns/pid")
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                    found.append(int(name))
            except OSError:
                continue
    return found


def _users(pid: int) -> dict[int, str]:
    """Host uid → name in the container's user database."""
    from estiva.runtime.idmap import parse_maps, to_outer

    maps = parse_maps(read_or_empty(f"/proc/{pid}/uid_map"))
    users: dict[int, str] = {}
    for line in read_in_root(pid, "/etc/passwd").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            outer = to_outer(maps, int(fields[2]))
            if outer is not None:
                users.setdefault(outer, fields[0])
    return users
