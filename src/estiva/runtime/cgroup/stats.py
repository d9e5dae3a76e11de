"""What a container uses, read from whichever hierarchy accounts for it."""

from __future__ import annotations

import os

from estiva.errors import NotFound
from estiva.runtime.cgroup.files import read_int, read_keyed, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.runtime.cgroup.handle import CgroupHandle

TICK_NS = 10_000_000  # USER_HZ is 100 on every architecture we run on
_UNLIMITED = 1 << 62  # v1 writes "no limit" as the largest multiple of a page


class CgroupStats:
    """Times in nanoseconds, sizes in bytes; a ``None`` limit is none.

    ``memory_usage`` leaves out file pages that the kernel can drop at once, as ``docker stats`` and ``podman stats``
    do; ``memory_cache`` is all file pages.
    """

    __slots__ = (
        "block_read",
        "block_written",
        "cpu_system_ns",
        "cpu_throttled_ns",
        "cpu_usage_ns",
        "cpu_user_ns",
        "memory_cache",
        "memory_limit",
        "memory_peak",
        "memory_swap",
        "memory_usage",
        "oom_kills",
        "pids",
        "pids_limit",
    )

    def __init__(self) -> None:
        self.cpu_usage_ns = self.cpu_user_ns = self.cpu_system_ns = self.cpu_throttled_ns = 0
        self.memory_usage = self.memory_cache = self.memory_swap = self.memory_peak = self.oom_kills = 0
        self.memory_limit: int | None = None
        self.pids = 0
        self.pids_limit: int | None = None
        self.block_read = self.block_written = 0


def collect(handle: CgroupHandle) -> CgroupStats:
    """The figures of *handle*'s cgroup; 0 where no controller accounts.  Raises NotFound if it is gone."""
    if not handle.exists():
        raise NotFound(f"reading statistics of cgroup {handle.path or '(none)'}: it does not exist")
    stats = CgroupStats()
    _cpu(handle, stats)
    _memory(handle, stats)
    _pids(handle, stats)
    _block(handle, stats)
    stats.oom_kills = handle.oom_kills()
    return stats


def _cpu(handle: CgroupHandle, stats: CgroupStats) -> None:
    accounting = handle.v1_dir("cpuacct")
    if accounting:
        stats.cpu_usage_ns = read_int(f"{accounting}/cpuacct.usage") or 0
        ticks = read_keyed(f"{accounting}/cpuacct.stat")
        stats.cpu_user_ns = ticks.get("user", 0) * TICK_NS
        stats.cpu_system_ns = ticks.get("system", 0) * TICK_NS
        throttling = handle.v1_dir("cpu")
        if throttling:
            stats.cpu_throttled_ns = read_keyed(f"{throttling}/cpu.stat").get("throttled_time", 0)
    elif handle.v2_dir:
        figures = read_keyed(f"{handle.v2_dir}/cpu.stat")
        stats.cpu_usage_ns = figures.get("usage_usec", 0) * 1000
        stats.cpu_user_ns = figures.get("user_usec", 0) * 1000
        stats.cpu_system_ns = figures.get("system_usec", 0) * 1000
        stats.cpu_throttled_ns = figures.get("throttled_usec", 0) * 1000


def _memory(handle: CgroupHandle, stats: CgroupStats) -> None:
    directory = handle.v1_dir("memory")
    if directory:
        figures = read_keyed(f"{directory}/memory.stat")
        used = read_int(f"{directory}/memory.usage_in_bytes") or 0
        stats.memory_peak = read_int(f"{directory}/memory.max_usage_in_bytes") or 0
        limit = read_int(f"{directory}/memory.limit_in_bytes")
        stats.memory_limit = None if limit is None or limit >= _UNLIMITED else limit
        stats.memory_cache = figures.get("total_cache", 0)
        stats.memory_swap = figures.get("total_swap", 0)
        stats.memory_usage = max(0, used - figures.get("total_inactive_file", 0))
    elif handle.v2_dir:
        figures = read_keyed(f"{handle.v2_dir}/memory.stat")
        used = read_int(f"{handle.v2_dir}/memory.current") or 0
        stats.memory_peak = read_int(f"{handle.v2_dir}/memory.peak") or 0
        stats.memory_limit = read_int(f"{handle.v2_dir}/memory.max")
        stats.memory_cache = figures.get("file", 0)
        stats.memory_swap = read_int(f"{handle.v2_dir}/memory.swap.current") or 0
        stats.memory_usage = max(0, used - figures.get("inactive_file", 0))


def _pids(handle: CgroupHandle, stats: CgroupStats) -> None:
    directory = handle.v1_dir("pids") or handle.v2_dir
    current = read_int(f"{directory}/pids.current") if directory else None
    if current is None:
        stats.pids = len(handle.pids())
    else:
        stats.pids = current
        stats.pids_limit = read_int(f"{directory}/pids.max")


def _block(handle: CgroupHandle, stats: CgroupStats) -> None:
    directory = handle.v1_dir("blkio")
    if directory:
        for file in ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"):
            if os.path.exists(f"{directory}/{file}"):
                for line in read_text(f"{directory}/{file}").splitlines():
                    _, _, figure = line.partition(" ")  # "8:0 Read 4096"
                    kind, _, count = figure.partition(" ")
                    stats.block_read += int(count) if kind == "Read" else 0
                    stats.block_written += int(count) if kind == "Write" else 0
                return
    elif handle.v2_dir and os.path.exists(f"{handle.v2_dir}/io.stat"):
        for line in read_text(f"{handle.v2_dir}/io.stat").splitlines():  # "8:0 rbytes=1 wbytes=2 rios=…"
            figures = dict(part.split("=", 1) for part in line.split()[1:] if "=" in part)
            stats.block_read += int(figures.get("rbytes", 0))
            stats.block_written += int(figures.get("wbytes", 0))
