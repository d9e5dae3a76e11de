"""Namespaces and kernel parameters.  runtime-spec config-linux.md "Namespaces", "Sysctl".

A mode is ``private``, ``host``, ``ns:PATH`` or ``container:ID``; the path behind ``container:`` is only known when the
container starts, so it stays in the bundle as an annotation of ours and is filled in then.
"""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context

# option → (type in the bundle, name below /proc/PID/ns)
KINDS = {
    "pid": ("pid", "pid"),
    "network": ("network", "net"),
    "ipc": ("ipc", "ipc"),
    "uts": ("uts", "uts"),
    "cgroupns": ("cgroup", "cgroup"),
}
IPC_SYSCTLS = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
               "kernel.shmmni", "kernel.shm_rmid_forced")  # fmt: skip
SHARED_PREFIX = "container:"


def mode_of(options: ContainerOptions, context: Context, name: str) -> str:
    """The mode of one namespace: what was asked for, else containers.conf's, else private."""
    asked = getattr(options, name)
    if asked:
        return "private" if asked == "shareable" else str(asked)
    key = {"network": "netns", "ipc": "ipcns", "uts": "utsns", "pid": "pidns"}.get(name, name)
    mode = str(context.conf.get(key) or "private")
    if name == "network" and mode not in ("host", "none"):
        return "none"
    return "private" if mode in ("shareable", "") else mode


def check_mode(option: str, value: str) -> str:
    """*value* as a mode of the namespace option *option*; raises Invalid with what would do."""
    words = {"network": ("none", "host"), "ipc": ("private", "shareable", "none", "host")}.get(
        option, ("private", "host")
    )
    prefix, colon, rest = value.partition(":")
    if value in words or (colon and rest and prefix in ("ns", "container")):
        return value
    allowed = ", ".join((*words, "ns:PATH", "container:ID"))
    raise Invalid(f"option --{option} {value!r}: not a mode", f"choose from {allowed}")


def namespaces(options: ContainerOptions, context: Context) -> list[dict[str, str]]:
    """The ``linux.namespaces`` list; those left out are the host's."""
    wanted: list[dict[str, str]] = []
    for option, (kind, _) in KINDS.items():
        mode = mode_of(options, context, option)
        if mode.startswith("ns:"):
            wanted.append({"type": kind, "path": mode[3:]})
        elif mode != "host" and not mode.startswith(SHARED_PREFIX):
            wanted.append({"type": kind})
    wanted.append({"type": "mount"})
    if context.uid_maps and not context.joins_userns:
        wanted.append({"type": "user"})
    elif options.userns.startswith("ns:"):
        wanted.append({"type": "user", "path": options.userns[3:]})
    return wanted


def shared(options: ContainerOptions, context: Context) -> dict[str, str]:
    """Namespaces to be taken from other containers: option → container id or name."""
    found = {name: mode_of(options, context, name) for name in KINDS}
    found["userns"] = options.userns
    return {name: mode[len(SHARED_PREFIX) :] for name, mode in found.items() if mode.startswith(SHARED_PREFIX)}


def join(spec: dict[str, Any], option: str, path: str) -> None:
    """Make the bundle *spec* join the namespace at *path* for *option* (``userns`` included)."""
    kind = "user" if option == "userns" else KINDS[option][0]
    rest = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != kind]
    spec["linux"]["namespaces"] = [{"type": kind, "path": path}, *rest]


def id_mappings(maps: list[tuple[int, int, int]]) -> list[dict[str, int]]:
    """Id maps as the bundle spells them."""
    return [{"containerID": ctr, "hostID": host, "size": size} for ctr, host, size in maps]


def sysctls(options: ContainerOptions, context: Context) -> dict[str, str]:
    """The kernel parameters to set; raises Invalid for one that would change the host."""
    chosen = dict(_split(text) for text in context.conf.get("default_sysctls") or ())
    defaults = set(chosen)
    chosen.update(options.sysctl)
    for name in list(chosen):
        problem = _not_namespaced(name.replace("/", "."), options, context)
        if problem and name in defaults and name not in options.sysctl:
            del chosen[name]
        elif problem:
            raise Invalid(f"sysctl {name!r}: {problem}")
    return chosen


def _split(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _not_namespaced(name: str, options: ContainerOptions, context: Context) -> str:
    """Why the parameter cannot be set for this container alone; empty if it can."""
    if name in IPC_SYSCTLS or name.startswith("fs.mqueue."):
        return "the IPC namespace is the host's" if mode_of(options, context, "ipc") == "host" else ""
    if name.startswith("net."):
        return "the network namespace is the host's" if mode_of(options, context, "network") == "host" else ""
    if name in ("kernel.domainname", "kernel.hostname"):
        return "the UTS namespace is the host's" if mode_of(options, context, "uts") == "host" else ""
    return "not one that belongs to a namespace"
