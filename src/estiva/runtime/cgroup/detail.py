"""All that the kernel counts for a container, in the shape of runc's ``events``: what monitoring tools parse.

Numbers that are 0 are left out where runc leaves them out.  github.com/opencontainers/runc, types/events.go
"""

from __future__ import annotations

import os

from estiva.runtime.cgroup.files import read_int, read_keyed, read_text
from estiva.runtime.cgroup.stats import TICK_NS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle

NO_LIMIT = (1 << 64) - 1
_BLKIO = (
    ("ioServiceBytesRecursive", ("blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive")),
    ("ioServicedRecursive", ("blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive")),
    ("ioQueueRecursive", ("blkio.bfq.io_queued_recursive", "blkio.io_queued_recursive")),
    ("ioServiceTimeRecursive", ("blkio.bfq.io_service_time_recursive", "blkio.io_service_time_recursive")),
    ("ioWaitTimeRecursive", ("blkio.bfq.io_wait_time_recursive", "blkio.io_wait_time_recursive")),
    ("ioMergedRecursive", ("blkio.bfq.io_merged_recursive", "blkio.io_merged_recursive")),
    ("ioTimeRecursive", ("blkio.bfq.time_recursive", "blkio.time_recursive")),
    ("sectorsRecursive", ("blkio.bfq.sectors_recursive", "blkio.sectors_recursive")),
)


def detail(handle: CgroupHandle) -> dict[str, Any]:
    """The ``data`` of a ``stats`` event, without ``intel_rdt`` and ``network_interfaces``."""
    return {
        "cpu": _cpu(handle),
        "cpuset": _cpuset(handle),
        "memory": _memory(handle),
        "pids": _pids(handle),
        "blkio": _blkio(handle),
        "hugetlb": _hugetlb(handle),
    }


def _present(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is 0 or empty."""
    return {name: value for name, value in values.items() if value}


def _pressure(handle: CgroupHandle, resource: str) -> dict[str, Any]:
    """``{"psi": …}``, or nothing where the kernel does not measure stalls.  Documentation/accounting/psi.rst"""
    if not handle.v2_dir:
        return {}
    try:
        text = read_text(f"{handle.v2_dir}/{resource}.pressure")
    except OSError:  # not there, or switched off
        return {}
    found = {}
    for line in text.splitlines():
        kind, *parts = line.split()
        pairs = dict(part.split("=", 1) for part in parts)
        found[kind] = {name: int(value) if name == "total" else float(value) for name, value in pairs.items()}
    return {"psi": found} if found else {}


def _cpu(handle: CgroupHandle) -> dict[str, Any]:
    accounting = handle.v1_dir("cpuacct")
    if accounting:
        ticks = read_keyed(f"{accounting}/cpuacct.stat")
        usage: dict[str, Any] = {"total": read_int(f"{accounting}/cpuacct.usage") or 0, **_per_cpu(accounting)}
        kernel, user = ticks.get("system", 0) * TICK_NS, ticks.get("user", 0) * TICK_NS
        throttling = read_keyed(f"{handle.v1_dir('cpu') or accounting}/cpu.stat")
        throttled = throttling.get("throttled_time", 0)
    else:
        throttling = read_keyed(f"{handle.v2_dir}/cpu.stat")
        usage = {"total": throttling.get("usage_usec", 0) * 1000}
        kernel, user = throttling.get("system_usec", 0) * 1000, throttling.get("user_usec", 0) * 1000
        throttled = throttling.get("throttled_usec", 0) * 1000
    return {
        "usage": {**_present(usage), "kernel": kernel, "user": user},
        "throttling": _present(
            {
                "periods": throttling.get("nr_periods", 0),
                "throttledPeriods": throttling.get("nr_throttled", 0),
                "throttledTime": throttled,
            }
        ),
        **_pressure(handle, "cpu"),
    }


def _per_cpu(directory: str) -> dict[str, list[int]]:
    found = {"percpu": [int(word) for word in _text(f"{directory}/cpuacct.usage_percpu").split()]}
    rows = [line.split() for line in _text(f"{directory}/cpuacct.usage_all").splitlines()[1:]]  # "cpu user system"
    found["percpu_kernel"] = [int(row[2]) for row in rows]
    found["percpu_user"] = [int(row[1]) for row in rows]
    return found


def _text(path: str) -> str:
    try:
        return read_text(path)
    except OSError:
        return ""


def _cpuset(handle: CgroupHandle) -> dict[str, Any]:
    directory = handle.v1_dir("cpuset")
    names = (
        "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab",
        "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
    )  # fmt: skip
    if directory:
        flags = {name: read_int(f"{directory}/cpuset.{name}") or 0 for name in names}
        cpus, mems = _text(f"{directory}/cpuset.cpus"), _text(f"{directory}/cpuset.mems")
    else:
        flags = dict.fromkeys(names, 0)
        cpus = _text(f"{handle.v2_dir}/cpuset.cpus.effective")
        mems = _text(f"{handle.v2_dir}/cpuset.mems.effective")
    return {**_present({"cpus": _numbers(cpus), "mems": _numbers(mems)}), **flags}


def _numbers(text: str) -> list[int]:
    """The numbers in ``0-3,7``."""
    found: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _entry(
    usage: int | None, limit: int | None, peak: int | None = None, failures: int | None = None
) -> dict[str, Any]:
    return {
        "limit": NO_LIMIT if limit is None else limit,
        **_present({"usage": usage, "max": peak}),
        "failcnt": failures or 0,
    }


def _memory(handle: CgroupHandle) -> dict[str, Any]:
    directory = handle.v1_dir("memory")
    if directory:
        raw = read_keyed(f"{directory}/memory.stat")
        found: dict[str, Any] = _present({"cache": raw.get("cache", 0)})
        for name, prefix in (
            ("usage", "memory"), ("swap", "memory.memsw"), ("kernel", "memory.kmem"), ("kernelTCP", "memory.kmem.tcp"),
        ):  # fmt: skip
            values = (
                read_int(f"{directory}/{prefix}.{file}")
                for file in ("usage_in_bytes", "limit_in_bytes", "max_usage_in_bytes", "failcnt")
            )
            usage, limit, peak, failures = values
            found[name] = _entry(usage, limit or 0, peak, failures)
        events = {"oom_kill": handle.oom_kills()}
    else:
        base = handle.v2_dir or ""
        raw = read_keyed(f"{base}/memory.stat")
        events = read_keyed(f"{base}/memory.events")
        usage, limit = read_int(f"{base}/memory.current") or 0, read_int(f"{base}/memory.max")
        swap, swap_limit = read_int(f"{base}/memory.swap.current") or 0, read_int(f"{base}/memory.swap.max")
        both = None if limit is None or swap_limit is None else limit + swap_limit
        found = _present({"cache": raw.get("file", 0)})
        found["usage"] = _entry(usage, limit, read_int(f"{base}/memory.peak"), events.get("max", 0))
        found["swap"] = _entry(usage + swap, both)  # memory and swap together, as v1 has it
        found["kernel"] = found["kernelTCP"] = {"limit": 0, "failcnt": 0}
    names = ("low", "high", "max", "oom", "oom_kill")
    return {
        **found,
        "raw": raw,
        **_pressure(handle, "memory"),
        "event_count": _present({n: events.get(n) for n in names}),
    }


def _pids(handle: CgroupHandle) -> dict[str, int]:
    directory = handle.v1_dir("pids") or handle.v2_dir
    current = read_int(f"{directory}/pids.current") if directory else None
    if current is None:
        return _present({"current": len(handle.pids())})
    return _present({"current": current, "limit": read_int(f"{directory}/pids.max") or 0})


def _blkio(handle: CgroupHandle) -> dict[str, Any]:
    directory = handle.v1_dir("blkio")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name, _ in _BLKIO}
    if directory:
        for name, files in _BLKIO:
            for file in files:
                found[name] = _blkio_entries(_text(f"{directory}/{file}"))
                if found[name]:
                    break
    elif handle.v2_dir:
        kinds = {"rbytes": (0, "Read"), "wbytes": (0, "Write"), "rios": (1, "Read"), "wios": (1, "Write")}
        for line in _text(f"{handle.v2_dir}/io.stat").splitlines():
            number, *parts = line.split()
            for key, _, value in (part.partition("=") for part in parts):
                if key in kinds:
                    position, operation = kinds[key]
                    found[_BLKIO[position][0]].append(_block(number, operation, int(value)))
    return {**_present(found), **_pressure(handle, "io")}


def _blkio_entries(text: str) -> list[dict[str, Any]]:
    """``8:0 Read 4096`` lines; without an operation in some files."""
    entries = []
    for line in text.splitlines():
        number, *rest = line.split()
        if ":" in number and rest and rest[-1].isdecimal():
            entries.append(_block(number, rest[0] if len(rest) > 1 else "", int(rest[-1])))
    return entries


def _block(number: str, operation: str, value: int) -> dict[str, Any]:
    major, _, minor = number.partition(":")
    return _present({"major": int(major), "minor": int(minor), "op": operation, "value": value})


def _hugetlb(handle: CgroupHandle) -> dict[str, Any]:
    directory = handle.v1_dir("hugetlb")
    suffix, usage, peak = ".limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes"
    if not directory:
        directory, suffix, usage, peak = handle.v2_dir, ".max", "current", ""
    found = {}
    for name in sorted(os.listdir(directory)) if directory else ():
        if not name.startswith("hugetlb.") or not name.endswith(suffix) or ".rsvd." in name:
            continue
        size = name.removeprefix("hugetlb.").removesuffix(suffix)
        base = f"{directory}/hugetlb.{size}"
        failures = read_int(f"{base}.failcnt") if peak else read_keyed(f"{base}.events").get("max", 0)
        counted = {
            "usage": read_int(f"{base}.rsvd.{usage}") or read_int(f"{base}.{usage}"),
            "max": read_int(f"{base}.{peak}") if peak else 0,
        }
        found[size] = {**_present(counted), "failcnt": failures or 0}
    return found
