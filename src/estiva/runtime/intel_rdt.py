"""Cache and memory bandwidth for a container: a group of the resctrl file system.

A group (class of service) is a directory there; who is in ``tasks`` shares what its ``schemata`` allot.  It is the
container's own, named by its id, or one that the bundle names and others may have prepared.  A monitoring group below
it counts for the container alone.  runtime-spec config-linux.md "IntelRdt", Documentation/arch/x86/resctrl.rst
"""

from __future__ import annotations

import os

from estiva.errors import Conflict, Invalid, NotFound, Unsupported
from estiva.runtime.cgroup.files import failure, read_text, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FIELDS = {
    "closID": str,
    "schemata": list,
    "l3CacheSchema": str,
    "memBwSchema": str,
    "enableMonitoring": bool,
    "enableCMT": bool,
    "enableMBM": bool,
}


class Group:
    """``path``: the group's directory · ``own``: it is this container's alone, and goes with it · ``monitoring``: the
    directory of its monitoring group, or ``""``."""

    __slots__ = ("monitoring", "own", "path")

    def __init__(self, path: str, own: bool, monitoring: str = "") -> None:
        self.path = path
        self.own = own
        self.monitoring = monitoring

    def fields(self) -> dict[str, Any]:
        return {"path": self.path, "own": self.own, "monitoring": self.monitoring}

    def join(self, pid: int) -> None:
        """Put process *pid* in; those it starts will be in, too."""
        for directory in (self.path, self.monitoring) if self.monitoring else (self.path,):
            try:
                write_text(f"{directory}/tasks", str(pid))
            except OSError as error:
                raise failure(f"joining the class of service {directory}", error) from error

    def write(self, lines: list[str]) -> None:
        """Set these lines of its schemata."""
        try:
            write_text(f"{self.path}/schemata", "".join(f"{line}\n" for line in lines))
        except OSError as error:
            raise failure(f"setting schemata {'; '.join(lines)} of {self.path}", error, _said(self.path)) from error

    def remove(self) -> None:
        """Remove what was made for the container; processes that are in it fall back to the default group."""
        for directory in (self.monitoring, self.path if self.own else ""):
            try:
                if directory:
                    os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise failure(f"removing the class of service {directory}", error) from error


def mount_point(mountinfo: str = "/proc/self/mountinfo") -> str:
    """Where resctrl is mounted.  Raises Unsupported if it is not."""
    with open(mountinfo) as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.startswith("resctrl "):
                return before.split(" ")[4]
    raise Unsupported(
        "linux.intelRdt: no resctrl file system is mounted",
        "where the processor has it: mount -t resctrl resctrl /sys/fs/resctrl",
    )


def create(wanted: Any, container_id: str, root: str = "") -> Group:
    """Make, or find, the group that ``linux.intelRdt`` describes; on failure nothing is left."""
    _check(wanted)
    root = root or mount_point()
    class_id = wanted.get("closID") or ""
    lines = _schemata(wanted)
    path = root if class_id == "/" else f"{root}/{class_id or container_id}"
    group = Group(path, own=not class_id)
    made = _make(group, class_id, lines)
    try:
        if lines and (made or not class_id):
            group.write(lines)
        elif lines:
            _compare(path, lines)
        if wanted.get("enableMonitoring") or wanted.get("enableCMT") or wanted.get("enableMBM"):
            group.monitoring = _monitor(path, container_id)
    except BaseException:
        if made:
            os.rmdir(path)
        raise
    return group


def _check(wanted: Any) -> None:
    if not isinstance(wanted, dict):
        raise Invalid("linux.intelRdt: not an object")
    for field, kind in _FIELDS.items():
        if wanted.get(field) is not None and not isinstance(wanted[field], kind):
            raise Invalid(f"linux.intelRdt.{field}: not a {kind.__name__}")
    class_id = wanted.get("closID") or ""
    if class_id != "/" and ("/" in class_id or class_id in (".", "..", "info", "mon_groups", "mon_data")):
        raise Invalid(f'linux.intelRdt.closID: "{class_id}" cannot be the name of a class of service')
    if wanted.get("memBwSchema") and not wanted["memBwSchema"].startswith("MB:"):
        raise Invalid(f'linux.intelRdt.memBwSchema: "{wanted["memBwSchema"]}" does not begin with MB:')
    if "\n" in (wanted.get("memBwSchema") or ""):
        raise Invalid("linux.intelRdt.memBwSchema: is more than one line")


def _schemata(wanted: dict[str, Any]) -> list[str]:
    """The lines to write: that of ``memBwSchema`` for such in ``l3CacheSchema``, those of ``schemata`` last."""
    cache = [line for line in (wanted.get("l3CacheSchema") or "").splitlines() if line.strip()]
    if wanted.get("memBwSchema"):
        cache = [line for line in cache if not line.startswith("MB:")] + [wanted["memBwSchema"]]
    return cache + [line for text in wanted.get("schemata") or () for line in str(text).splitlines() if line.strip()]


def _make(group: Group, class_id: str, lines: list[str]) -> bool:
    """Make the group's directory; whether it was not there.  One that is only named must be there."""
    if class_id and not lines and not os.path.isdir(group.path):
        raise NotFound(f'linux.intelRdt.closID: there is no class of service "{class_id}"', "give it a schema, too")
    try:
        os.mkdir(group.path, 0o755)
    except FileExistsError:
        return False
    except OSError as error:
        cure = "there are no classes of service left" if error.errno == 28 else ""  # ENOSPC
        raise failure(f"making the class of service {group.path}", error, cure) from error
    return True


def _compare(path: str, lines: list[str]) -> None:
    """Conflict unless the group that is there has what is asked for."""
    present = {_canonical(line) for line in read_text(f"{path}/schemata").splitlines()}
    for line in lines:
        resource, parts = _canonical(line)
        if not any(resource == name and parts <= values for name, values in present):
            raise Conflict(f'linux.intelRdt: "{line}" is not what class of service {path} has', "name another closID")


def _canonical(line: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """``L3:0=0ff;1=f`` as its resource and (domain, value) pairs; hexadecimal masks without leading zeros."""
    resource, _, values = line.strip().partition(":")
    pairs = [part.strip().partition("=")[::2] for part in values.split(";") if part.strip()]
    return resource, frozenset((domain, value.lstrip("0").lower() or "0") for domain, value in pairs)


def _monitor(path: str, container_id: str) -> str:
    directory = f"{path}/mon_groups/{container_id}"
    try:
        os.mkdir(directory, 0o755)
    except FileNotFoundError as error:
        raise Unsupported("linux.intelRdt.enableMonitoring: this processor does not monitor") from error
    except FileExistsError:
        pass  # left behind by a container of this id that was killed while it was made
    except OSError as error:
        raise failure(f"making the monitoring group {directory}", error) from error
    return directory


def _said(path: str) -> str:
    """What the kernel has to say about the last command."""
    try:
        return read_text(f"{os.path.dirname(path)}/info/last_cmd_status")
    except OSError:
        return ""


def statistics(group: Group) -> dict[str, Any]:
    """The ``intel_rdt`` object that runc's events have."""
    root = group.path
    while root and not os.path.isdir(f"{root}/info"):
        root = os.path.dirname(root)
        if root == "/":
            return {}
    found: dict[str, Any] = {}
    here, top = _by_resource(group.path), _by_resource(root)
    for resource, prefix, info, kinds in (
        ("L3", "l3_cache", "l3_cache_info", {"cbm_mask": str, "min_cbm_bits": int, "num_closids": int}),
        (
            "MB",
            "mem_bw",
            "mem_bw_info",
            {"bandwidth_gran": int, "delay_linear": int, "min_bandwidth": int, "num_closids": int},
        ),
    ):
        directory = f"{root}/info/{resource}"
        if os.path.isdir(directory):
            found[info] = {
                name: kind(read_text(f"{directory}/{name}"))
                for name, kind in kinds.items()
                if os.path.exists(f"{directory}/{name}")
            }
            found[f"{prefix}_schema_root"] = top.get(resource, "")
            found[f"{prefix}_schema"] = here.get(resource, "")
    found.update(_monitored(f"{group.monitoring or group.path}/mon_data"))
    return found


def _by_resource(path: str) -> dict[str, str]:
    return {line.strip().partition(":")[0]: line.strip() for line in read_text(f"{path}/schemata").splitlines()}


def _monitored(directory: str) -> dict[str, Any]:
    try:
        domains = sorted(os.listdir(directory))
    except FileNotFoundError:
        return {}
    bandwidth, occupancy = [], []
    for domain in domains:
        values = {}
        for name in ("mbm_total_bytes", "mbm_local_bytes", "llc_occupancy"):
            try:
                text = read_text(f"{directory}/{domain}/{name}")
            except FileNotFoundError:
                continue
            values[name] = int(text) if text.isdecimal() else 0  # "Unavailable" while no counter is assigned
        if "llc_occupancy" in values:
            occupancy.append({"llc_occupancy": values.pop("llc_occupancy")})
        if values:
            bandwidth.append(values)
    return {**({"mbm_stats": bandwidth} if bandwidth else {}), **({"cmt_stats": occupancy} if occupancy else {})}
