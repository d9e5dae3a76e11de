"""Limits on what the container uses.  runtime-spec config-linux.md "Control groups"; podman-run(1)."""

from __future__ import annotations

import os

from estiva.engine.spec.devices import device_rules
from estiva.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context

DEFAULT_PIDS = 2048
CPU_PERIOD_US = 100_000
MINIMUM_MEMORY = 4 << 20


def resources(options: ContainerOptions, context: Context) -> dict[str, Any]:
    """The ``linux.resources`` object; empty sections are left out."""
    document: dict[str, Any] = {
        "memory": memory(options),
        "cpu": cpu(options),
        "blockIO": block_io(options),
        "unified": dict(options.cgroup_conf),
    }
    limit = pids_limit(options, context)
    if limit:
        document["pids"] = {"limit": limit}
    if not context.rootless:
        document["devices"] = device_rules(options)
    return {name: section for name, section in document.items() if section}


def limited(options: ContainerOptions) -> bool:
    """Whether a limit was asked for: then a host that cannot set it is an error, otherwise not."""
    return bool(
        memory(options)
        or cpu(options)
        or block_io(options)
        or options.cgroup_conf
        or (options.pids_limit is not None and options.pids_limit > 0)
    )


def memory(options: ContainerOptions) -> dict[str, Any]:
    """Bytes; ``swap`` is memory and swap together and defaults to twice the memory, as Podman has it."""
    limit, swap, soft = options.memory, options.memory_swap, options.memory_reservation
    if limit is not None and 0 < limit < MINIMUM_MEMORY:
        raise Invalid(f"memory limit {limit} bytes: too small", "the least is 4m")
    if swap is not None and swap != -1:
        if limit is None:
            raise Invalid("option --memory-swap: needs a memory limit", "give --memory, too")
        if swap < limit:
            raise Invalid("option --memory-swap: counts the memory, too, so must not be below --memory")
    if soft is not None and limit is not None and soft > limit:
        raise Invalid("option --memory-reservation: must not be above --memory")
    found = {"limit": limit, "reservation": soft, "swap": swap, "swappiness": options.memory_swappiness}
    if limit and swap is None:
        found["swap"] = limit * 2
    if options.oom_kill_disable:
        found["disableOOMKiller"] = True
    return {name: value for name, value in found.items() if value is not None}


def cpu(options: ContainerOptions) -> dict[str, Any]:
    """``--cpus`` becomes a quota of microseconds in a period of 100 ms."""
    found = {
        "shares": options.cpu_shares,
        "quota": options.cpu_quota,
        "period": options.cpu_period,
        "realtimePeriod": options.cpu_rt_period,
        "realtimeRuntime": options.cpu_rt_runtime,
        "cpus": options.cpuset_cpus or None,
        "mems": options.cpuset_mems or None,
    }
    if options.cpus is not None:
        if options.cpu_quota is not None or options.cpu_period is not None:
            raise Invalid("option --cpus: excludes --cpu-quota and --cpu-period")
        if options.cpus < 0:
            raise Invalid(f"option --cpus {options.cpus}: must not be negative")
        if options.cpus:
            found.update(period=CPU_PERIOD_US, quota=max(1000, round(options.cpus * CPU_PERIOD_US)))
    return {name: value for name, value in found.items() if value is not None}


def pids_limit(options: ContainerOptions, context: Context) -> int | None:
    """How many tasks there may be; None for no limit.  Rootless containers get one only when asked."""
    limit = options.pids_limit
    if limit is None:
        limit = context.conf.get("pids_limit", 0 if context.rootless else DEFAULT_PIDS)
    return int(limit) if limit and limit > 0 else None


def block_io(options: ContainerOptions) -> dict[str, Any]:
    """Weights and rates of block devices, by their numbers."""
    found: dict[str, Any] = {}
    if options.blkio_weight is not None:
        if options.blkio_weight and not 10 <= options.blkio_weight <= 1000:
            raise Invalid(f"option --blkio-weight {options.blkio_weight}: must be from 10 to 1000")
        found["weight"] = options.blkio_weight
    weights = [_rate(text, "weight", "blkio-weight-device") for text in options.blkio_weight_device]
    if weights:
        found["weightDevice"] = weights
    for option, key in (
        ("device_read_bps", "throttleReadBpsDevice"),
        ("device_write_bps", "throttleWriteBpsDevice"),
        ("device_read_iops", "throttleReadIOPSDevice"),
        ("device_write_iops", "throttleWriteIOPSDevice"),
    ):
        rates = [_rate(text, "rate", option.replace("_", "-")) for text in getattr(options, option)]
        if rates:
            found[key] = rates
    return found


def _rate(text: str, key: str, option: str) -> dict[str, int]:
    path, colon, value = text.rpartition(":")
    if not colon or not path:
        raise Invalid(f"option --{option} {text!r}: not of the form DEVICE:VALUE")
    try:
        number = os.stat(path).st_rdev
    except FileNotFoundError:
        raise NotFound(f"option --{option} {text!r}: no such device") from None
    return {"major": os.major(number), "minor": os.minor(number), key: parse_bytes(value)}


def parse_bytes(text: str) -> int:
    """Bytes of ``512``, ``64k``, ``1.5g``, ``2GiB`` …: powers of 1024.  Raises Invalid."""
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    factor = 1
    if number and number[-1] in "kmgtp":
        factor = 1 << (10 * ("kmgtp".index(number[-1]) + 1))
        number = number[:-1].rstrip()
    try:
        value = float(number) if "." in number else int(number)
    except ValueError:
        value = -1
    if value < 0:
        raise Invalid(f"size {text!r}: not a number of bytes", "examples: 65536, 64k, 512m, 1.5g")
    return int(value * factor)
