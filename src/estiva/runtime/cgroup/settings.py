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
    """One write of *value* to *file*, line by line.

    ``otherwise``: the (file, value) to use where *file* does not exist.  ``optional``: no harm if neither exists, or
    the kernel has given the file up.  ``undo``: what takes the value back where reading the file does not tell.
    """

    __slots__ = ("file", "optional", "otherwise", "undo", "value")

    def __init__(
        self,
        file: str,
        value: object,
        *,
        otherwise: tuple[str, object] | None = None,
        optional: bool = False,
        undo: str = "",
    ) -> None:
        self.file = file
        self.value = str(value)
        self.otherwise = otherwise
        self.optional = optional
        self.undo = undo

    def __repr__(self) -> str:
        return f"{self.file}={self.value}"


def needed(resources: dict[str, Any]) -> dict[str, str]:
    """The controllers that *resources* (its ``devices`` apart) cannot do without: v1 name to the field asking."""
    result = {}
    for controller, (section, keys) in _FIELDS.items():
        value = resources.get(section) or {}
        present = [key for key in keys if value.get(key) not in _NOTHING] if keys else [""] if value else []
        if present:
            result[controller] = f"linux.resources.{section}" + (f".{present[0]}" if present[0] else "")
    if (resources.get("pids") or {}).get("limit") == 0:
        result["pids"] = "linux.resources.pids.limit"
    return result


_NOTHING: tuple[object, ...] = (None, 0, "", [])
_BLOCK_FIELDS = (
    "weight",
    "leafWeight",
    "weightDevice",
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
)
# controller → the section of linux.resources and the fields in it that need this controller (none: all of it)
_FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "memory": ("memory", ("limit", "swap", "reservation", "kernelTCP", "swappiness", "disableOOMKiller")),
    "cpu": ("cpu", ("shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "idle")),
    "cpuset": ("cpu", ("cpus", "mems")),
    "pids": ("pids", ("limit",)),
    "blkio": ("blockIO", _BLOCK_FIELDS),
    "hugetlb": ("hugepageLimits", ()),
    "net_cls": ("network", ("classID",)),
    "net_prio": ("network", ("priorities",)),
    "rdma": ("rdma", ()),
}


def _memory_v1(resources: dict[str, Any]) -> Iterator[Setting]:
    memory = resources.get("memory") or {}
    limit, swap = memory.get("limit"), memory.get("swap")
    if memory.get("useHierarchy") is not None:
        yield Setting("memory.use_hierarchy", int(memory["useHierarchy"]))
    # The driver retries what the kernel refuses in this order: raising needs memsw first, lowering the limit first.
    if limit:
        yield Setting("memory.limit_in_bytes", limit)
    if swap or (limit == -1 and swap is None):
        yield Setting("memory.memsw.limit_in_bytes", swap or -1, optional=not swap or swap == -1)
    if memory.get("reservation"):
        yield Setting("memory.soft_limit_in_bytes", memory["reservation"])
    if memory.get("kernel"):  # without effect since Linux 5.11, gone since 6.16; the specification lets it be ignored
        yield Setting("memory.kmem.limit_in_bytes", memory["kernel"], optional=True)
    if memory.get("kernelTCP"):
        yield Setting("memory.kmem.tcp.limit_in_bytes", memory["kernelTCP"])
    if memory.get("swappiness") is not None:
        yield Setting("memory.swappiness", memory["swappiness"])
    if memory.get("disableOOMKiller") is not None:
        yield Setting("memory.oom_control", int(memory["disableOOMKiller"]), undo="0")


def _memory_v2(resources: dict[str, Any]) -> Iterator[Setting]:
    memory = resources.get("memory") or {}
    for field, wanted in (("swappiness", "swappiness"), ("disableOOMKiller", "disabling the OOM killer")):
        if memory.get(field):
            raise Unsupported(f"linux.resources.memory.{field}: cgroup v2 has no {wanted} of a cgroup")
    if (memory.get("kernelTCP") or 0) > 0:
        raise Unsupported("linux.resources.memory.kernelTCP: cgroup v2 counts these buffers in memory.max")
    if memory.get("useHierarchy") is False:
        raise Unsupported("linux.resources.memory.useHierarchy: cgroup v2 is always hierarchical")
    limit, swap = memory.get("limit"), memory.get("swap")
    if swap or (limit == -1 and swap is None):
        alone = _swap_alone(limit, swap or -1)
        yield Setting("memory.swap.max", alone, optional=alone == "max")
    if limit:
        yield Setting("memory.max", _or_max(limit))
    if memory.get("reservation"):
        yield Setting("memory.low", _or_max(memory["reservation"]))


def _swap_alone(limit: int | None, swap: int) -> int | str:
    """v2 limits swap by itself; the OCI's *swap* is memory plus swap."""
    if swap == -1:
        return "max"
    if limit == -1:
        return swap
    if not limit:
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
        ("realtimePeriod", "cpu.rt_period_us"),
        ("realtimeRuntime", "cpu.rt_runtime_us"),
    ):
        if cpu.get(field):
            yield Setting(file, cpu[field])
    for field, file in (("burst", "cpu.cfs_burst_us"), ("idle", "cpu.idle")):
        if cpu.get(field) is not None:
            yield Setting(file, cpu[field], optional=cpu[field] == 0)


def _cpu_v2(resources: dict[str, Any]) -> Iterator[Setting]:
    cpu = resources.get("cpu") or {}
    if cpu.get("realtimeRuntime") or cpu.get("realtimePeriod"):
        raise Unsupported("linux.resources.cpu: cgroup v2 has no realtime limits")
    if cpu.get("shares") and not cpu.get("idle"):  # an idle group has no weight to set
        yield Setting("cpu.weight", weight_of_shares(cpu["shares"]))
    if cpu.get("idle") is not None:
        yield Setting("cpu.idle", cpu["idle"], optional=cpu["idle"] == 0)
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota or period:  # the period alone is completed by the driver, who knows the quota; the quota alone keeps it
        text = str(quota) if quota and quota > 0 else "max"
        yield Setting("cpu.max", f"{text} {period}" if period else text)
    if cpu.get("burst") is not None:
        yield Setting("cpu.max.burst", cpu["burst"], optional=cpu["burst"] == 0)


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
    """0 is written as 1, as runc does: systemd knows no TasksMax of 0, and a container has its first process anyway."""
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        yield Setting("pids.max", _or_max(limit) or 1)


_THROTTLES = (
    ("throttleReadBpsDevice", "read_bps", "rbps"),
    ("throttleWriteBpsDevice", "write_bps", "wbps"),
    ("throttleReadIOPSDevice", "read_iops", "riops"),
    ("throttleWriteIOPSDevice", "write_iops", "wiops"),
)


def _blkio_v1(resources: dict[str, Any]) -> Iterator[Setting]:
    block = resources.get("blockIO") or {}
    for field, file in (("weight", "weight"), ("leafWeight", "leaf_weight")):
        if block.get(field):
            yield Setting(f"blkio.{file}", block[field], otherwise=(f"blkio.bfq.{file}", block[field]))
        for device, value in _weights(block, field):
            text = f"{device} {value}"
            yield Setting(
                f"blkio.{file}_device", text, otherwise=(f"blkio.bfq.{file}_device", text), undo=f"{device} 0"
            )
    for field, name, _ in _THROTTLES:
        for device in block.get(field) or ():
            number = _number(device)
            yield Setting(f"blkio.throttle.{name}_device", f"{number} {device['rate']}", undo=f"{number} 0")


def _io_v2(resources: dict[str, Any]) -> Iterator[Setting]:
    block = resources.get("blockIO") or {}
    if block.get("leafWeight") or next(_weights(block, "leafWeight"), None):
        raise Unsupported("linux.resources.blockIO.leafWeight: cgroup v2 has no processes beside child cgroups")
    if block.get("weight"):
        weight = block["weight"]
        yield Setting("io.bfq.weight", weight, otherwise=("io.weight", io_weight(weight)))
    for device, weight in _weights(block, "weight"):
        text = f"{device} {io_weight(weight)}"
        yield Setting("io.bfq.weight", f"{device} {weight}", otherwise=("io.weight", text), undo=f"{device} default")
    for field, _, name in _THROTTLES:
        for device in block.get(field) or ():
            number = _number(device)
            yield Setting("io.max", f"{number} {name}={device['rate'] or 'max'}", undo=f"{number} {name}=max")


def io_weight(weight: int) -> int:
    """io.weight (1 to 10000) for what blkio.weight and bfq have as 10 (or 1) to 1000."""
    return max(1, 1 + (weight - 10) * 9999 // 990)


def _weights(block: dict[str, Any], field: str) -> Iterator[tuple[str, int]]:
    """(device number, its ``weight`` or ``leafWeight``) of the devices that have one.  Raises Invalid."""
    for position, device in enumerate(block.get("weightDevice") or ()):
        if device.get("weight") is None and device.get("leafWeight") is None:
            raise Invalid(f"linux.resources.blockIO.weightDevice[{position}]: has neither weight nor leafWeight")
        if device.get(field):
            yield _number(device), device[field]


def _hugetlb(suffix: str) -> Translation:
    """Reservations and page faults are limited alike; kernels before 5.7 count the faults alone."""

    def translate(resources: dict[str, Any]) -> Iterator[Setting]:
        for position, entry in enumerate(resources.get("hugepageLimits") or ()):
            size = str(entry.get("pageSize"))
            if not size[:1].isdigit() or "/" in size:
                raise Invalid(f'linux.resources.hugepageLimits[{position}].pageSize: "{size}" is not like 2MB or 1GB')
            yield Setting(f"hugetlb.{size}.{suffix}", entry["limit"])
            yield Setting(f"hugetlb.{size}.rsvd.{suffix}", entry["limit"], optional=True)

    return translate


def _rdma(resources: dict[str, Any]) -> Iterator[Setting]:
    for device, limits in (resources.get("rdma") or {}).items():
        parts = [device]
        for field, key in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if limits.get(field) is not None:
                parts.append(f"{key}={limits[field]}")
        if len(parts) == 1:
            raise Invalid(f"linux.resources.rdma.{device}: has neither hcaHandles nor hcaObjects")
        yield Setting("rdma.max", " ".join(parts), undo=f"{device} hca_handle=max hca_object=max")


def _net_cls(resources: dict[str, Any]) -> Iterator[Setting]:
    class_id = (resources.get("network") or {}).get("classID")
    if class_id is not None:
        yield Setting("net_cls.classid", class_id)


def _net_prio(resources: dict[str, Any]) -> Iterator[Setting]:
    for entry in (resources.get("network") or {}).get("priorities") or ():
        yield Setting("net_prio.ifpriomap", f"{entry['name']} {entry['priority']}", undo=f"{entry['name']} 0")


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
