"""What the OCI's ``linux.resources`` means in control files: pure translation, no I/O.

A setting is one write: which controller it belongs to, the file, the text.  The same request is spelled differently
in v1 and v2, so every controller has a function for each; the driver calls the one of the hierarchy that controller is
in.  runtime-spec config-linux.md "Control groups", Documentation/admin-guide/cgroup-v1, cgroup-v2.rst
"""

from __future__ import annotations

from estiva.errors import Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Translation = Callable[[dict[str, Any]], Iterator["Setting"]]


class Setting:
    """One write of *value* to *file*.

    ``otherwise``: the (file, value) to use where *file* does not exist.  ``optional``: no harm if neither exists.
    """

    __slots__ = ("file", "optional", "otherwise", "value")

    def __init__(
        self, file: str, value: object, *, otherwise: tuple[str, object] | None = None, optional: bool = False
    ) -> None:
        self.file = file
        self.value = str(value)
        self.otherwise = otherwise
        self.optional = optional

    def __repr__(self) -> str:
        return f"{self.file}={self.value}"


def needed(resources: dict[str, Any]) -> dict[str, str]:
    """The controllers that *resources* (its ``devices`` apart) cannot do without: v1 name to the field asking."""
    result = {}
    for controller, (section, keys) in _FIELDS.items():
        value = resources.get(section) or {}
        present = [key for key in keys if value.get(key) not in (None, 0, "", [])] if keys else [""] if value else []
        if present:
            result[controller] = f"linux.resources.{section}" + (f".{present[0]}" if present[0] else "")
    return result


# controller → the section of linux.resources and the fields in it that need this controller (none: all of it)
_FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "memory": ("memory", ("limit", "swap", "reservation", "kernelTCP", "swappiness", "disableOOMKiller")),
    "cpu": ("cpu", ("shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "idle")),
    "cpuset": ("cpu", ("cpus", "mems")),
    "pids": ("pids", ("limit",)),
    "blkio": (
        "blockIO",
        (
            "weight",
            "leafWeight",
            "weightDevice",
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        ),
    ),
    "hugetlb": ("hugepageLimits", ()),
    "net_cls": ("network", ("classID",)),
    "net_prio": ("network", ("priorities",)),
    "rdma": ("rdma", ()),
}


def _memory_v1(resources: dict[str, Any]) -> Iterator[Setting]:
    memory = resources.get("memory") or {}
    limit, swap = memory.get("limit"), memory.get("swap")
    # The driver retries what the kernel refuses in this order: raising needs memsw first, lowering the limit first.
    if limit:
        yield Setting("memory.limit_in_bytes", limit)
    if swap or (limit == -1 and swap is None):
        yield Setting("memory.memsw.limit_in_bytes", swap or -1, optional=True)
    if memory.get("reservation"):
        yield Setting("memory.soft_limit_in_bytes", memory["reservation"])
    if memory.get("kernelTCP"):
        yield Setting("memory.kmem.tcp.limit_in_bytes", memory["kernelTCP"])
    if memory.get("swappiness") is not None:
        yield Setting("memory.swappiness", memory["swappiness"])
    if memory.get("disableOOMKiller") is not None:
        yield Setting("memory.oom_control", int(memory["disableOOMKiller"]))


def _memory_v2(resources: dict[str, Any]) -> Iterator[Setting]:
    memory = resources.get("memory") or {}
    limit, swap = memory.get("limit"), memory.get("swap")
    if swap or (limit == -1 and swap is None):
        yield Setting("memory.swap.max", _swap_alone(limit, swap or -1), optional=True)
    if limit:
        yield Setting("memory.max", _or_max(limit))
    if memory.get("reservation"):
        yield Setting("memory.low", _or_max(memory["reservation"]))


def _swap_alone(limit: int | None, swap: int) -> int | str:
    """v2 limits swap by itself; the OCI's *swap* is memory plus swap."""
    if swap == -1:
        return "max"
    if not limit or limit == -1:
        raise Invalid("linux.resources.memory.swap: a swap limit needs a memory limit", "set the memory limit too")
    if swap < limit:
        raise Invalid(f"linux.resources.memory.swap: {swap} is less than the memory limit {limit}")
    return swap - limit


def _cpu_v1(resources: dict[str, Any]) -> Iterator[Setting]:
    cpu = resources.get("cpu") or {}
    for field, file in (
        ("shares", "cpu.shares"),
        ("period", "cpu.cfs_period_us"),
        ("quota", "cpu.cfs_quota_us"),
        ("burst", "cpu.cfs_burst_us"),
        ("realtimePeriod", "cpu.rt_period_us"),
        ("realtimeRuntime", "cpu.rt_runtime_us"),
    ):
        if cpu.get(field):
            yield Setting(file, cpu[field])
    if cpu.get("idle") is not None:
        yield Setting("cpu.idle", cpu["idle"])


def _cpu_v2(resources: dict[str, Any]) -> Iterator[Setting]:
    cpu = resources.get("cpu") or {}
    if cpu.get("realtimeRuntime") or cpu.get("realtimePeriod"):
        raise Unsupported("linux.resources.cpu: cgroup v2 has no realtime limits")
    if cpu.get("idle") is not None:
        yield Setting("cpu.idle", cpu["idle"])
    if cpu.get("shares"):
        yield Setting("cpu.weight", weight_of_shares(cpu["shares"]))
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota or period:
        yield Setting("cpu.max", f"{quota if quota and quota > 0 else 'max'} {period or 100000}")
    if cpu.get("burst"):
        yield Setting("cpu.max.burst", cpu["burst"])


def weight_of_shares(shares: int) -> int:
    """cpu.weight (1 to 10000) for v1's cpu.shares (2 to 262144), with the defaults 1024 and 100 corresponding.

    The curve is the one crun and runc agreed on; a straight line would make the default shares a weight of 39.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    from math import ceil, log2

    exponent = log2(shares)
    return ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))


def _cpuset(resources: dict[str, Any]) -> Iterator[Setting]:
    cpu = resources.get("cpu") or {}
    if cpu.get("cpus"):
        yield Setting("cpuset.cpus", cpu["cpus"])
    if cpu.get("mems"):
        yield Setting("cpuset.mems", cpu["mems"])


def _pids(resources: dict[str, Any]) -> Iterator[Setting]:
    limit = (resources.get("pids") or {}).get("limit")
    if limit:
        yield Setting("pids.max", _or_max(limit))


_THROTTLES = (
    ("throttleReadBpsDevice", "read_bps", "rbps"),
    ("throttleWriteBpsDevice", "write_bps", "wbps"),
    ("throttleReadIOPSDevice", "read_iops", "riops"),
    ("throttleWriteIOPSDevice", "write_iops", "wiops"),
)


def _blkio_v1(resources: dict[str, Any]) -> Iterator[Setting]:
    block = resources.get("blockIO") or {}
    if block.get("weight"):
        yield Setting("blkio.weight", block["weight"], otherwise=("blkio.bfq.weight", block["weight"]))
    if block.get("leafWeight"):
        yield Setting("blkio.leaf_weight", block["leafWeight"])
    for device in block.get("weightDevice") or ():
        value = f"{_number(device)} {device['weight']}"
        yield Setting("blkio.weight_device", value, otherwise=("blkio.bfq.weight_device", value))
    for field, name, _ in _THROTTLES:
        for device in block.get(field) or ():
            yield Setting(f"blkio.throttle.{name}_device", f"{_number(device)} {device['rate']}")


def _io_v2(resources: dict[str, Any]) -> Iterator[Setting]:
    block = resources.get("blockIO") or {}
    if block.get("weight"):
        weight = block["weight"]
        # io.weight has 1 to 10000 where blkio.weight and bfq have 10 (or 1) to 1000.
        yield Setting("io.bfq.weight", weight, otherwise=("io.weight", 1 + (weight - 10) * 9999 // 990))
    for device in block.get("weightDevice") or ():
        yield Setting("io.bfq.weight", f"{_number(device)} {device['weight']}")
    for field, _, name in _THROTTLES:
        for device in block.get(field) or ():
            yield Setting("io.max", f"{_number(device)} {name}={device['rate']}")


def _hugetlb(suffix: str) -> Translation:
    def translate(resources: dict[str, Any]) -> Iterator[Setting]:
        for entry in resources.get("hugepageLimits") or ():
            yield Setting(f"hugetlb.{entry['pageSize']}.{suffix}", entry["limit"])

    return translate


def _rdma(resources: dict[str, Any]) -> Iterator[Setting]:
    for device, limits in (resources.get("rdma") or {}).items():
        parts = [device]
        for field, key in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if limits.get(field) is not None:
                parts.append(f"{key}={limits[field]}")
        yield Setting("rdma.max", " ".join(parts))


def _net_cls(resources: dict[str, Any]) -> Iterator[Setting]:
    class_id = (resources.get("network") or {}).get("classID")
    if class_id:
        yield Setting("net_cls.classid", class_id)


def _net_prio(resources: dict[str, Any]) -> Iterator[Setting]:
    for entry in (resources.get("network") or {}).get("priorities") or ():
        yield Setting("net_prio.ifpriomap", f"{entry['name']} {entry['priority']}")


V1: dict[str, Translation] = {
    "memory": _memory_v1,
    "cpu": _cpu_v1,
    "cpuset": _cpuset,
    "pids": _pids,
    "blkio": _blkio_v1,
    "hugetlb": _hugetlb("limit_in_bytes"),
    "net_cls": _net_cls,
    "net_prio": _net_prio,
    "rdma": _rdma,
}
V2: dict[str, Translation] = {
    "memory": _memory_v2,
    "cpu": _cpu_v2,
    "cpuset": _cpuset,
    "pids": _pids,
    "io": _io_v2,
    "hugetlb": _hugetlb("max"),
    "rdma": _rdma,
}


def unified(resources: dict[str, Any]) -> Iterator[tuple[str, Setting]]:
    """The raw v2 files of ``linux.resources.unified``: (controller or ``cgroup``, setting)."""
    for file, value in (resources.get("unified") or {}).items():
        if "/" in file or "." not in file:
            raise Invalid(f'linux.resources.unified: "{file}" is not the name of a control file')
        yield file.split(".")[0], Setting(file, value)


def _or_max(limit: int) -> int | str:
    return limit if limit >= 0 else "max"


def _number(device: dict[str, Any]) -> str:
    return f"{device['major']}:{device['minor']}"
