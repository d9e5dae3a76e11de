"""What ``info`` and ``version`` tell, with Podman's keys."""

from __future__ import annotations

import os
import sys
import time

from estiva.engine.hostfacts import observe, read_or_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.engine import Engine


def info(engine: Engine) -> dict[str, Any]:
    """The host, the store, the version."""
    return {"host": _host(engine), "store": _store(engine), "registries": _registries(engine), "version": version()}


def version() -> dict[str, Any]:
    """Versions of this program and what it runs on."""
    from estiva import __version__

    uname = os.uname()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(uname.machine, uname.machine)
    return {
        "Version": __version__,
        "APIVersion": "5.0.0",
        "PythonVersion": sys.version.split()[0],
        "Os": "linux",
        "OsArch": f"linux/{arch}",
        "Built": 0,
    }


def _host(engine: Engine) -> dict[str, Any]:
    from estiva.engine.cgroups import chosen_manager
    from estiva.runtime.cgroup.hierarchy import detect

    uname = os.uname()
    facts = observe(engine.settings.rootless)
    hierarchies = detect()
    memory = dict(_meminfo())
    uids, gids = engine.id_maps()
    return {
        "arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(uname.machine, uname.machine),
        "cgroupManager": chosen_manager(engine.settings, engine.settings.cgroup_manager),
        "cgroupVersion": "v2" if hierarchies.mode == "v2" else hierarchies.mode,
        "cgroupControllers": sorted({*hierarchies.v1, *hierarchies.v2_controllers}),
        "conmon": {"package": "", "path": _helper(), "version": ""},
        "cpus": os.cpu_count() or 1,
        "distribution": _distribution(),
        "hostname": uname.nodename,
        "idMappings": {"uidmap": list(map(_map, uids)), "gidmap": list(map(_map, gids))},
        "kernel": uname.release,
        "logDriver": "k8s-file",
        "memFree": memory.get("MemFree", 0),
        "memTotal": memory.get("MemTotal", 0),
        "ociRuntime": {"name": engine.settings.runtime or "estiva-runtime", "path": _helper()},
        "os": "linux",
        "security": {
            "apparmorEnabled": facts.apparmor,
            "rootless": engine.settings.rootless,
            "seccompEnabled": "Seccomp:" in read_or_empty("/proc/self/status"),
            "seccompProfilePath": str(engine.settings.default("seccomp_profile", "")),
            "selinuxEnabled": facts.selinux,
        },
        "swapFree": memory.get("SwapFree", 0),
        "swapTotal": memory.get("SwapTotal", 0),
        "uptime": _uptime(),
    }


def _store(engine: Engine) -> dict[str, Any]:
    settings = engine.settings
    settings.make_dirs()
    states = [container.state() for container in engine.containers.list(all=True)]
    running = sum(state.status == "running" for state in states)
    paused = sum(state.status == "paused" for state in states)
    usage = os.statvfs(settings.root)
    return {
        "configFile": "",
        "containerStore": {
            "number": len(states), "paused": paused, "running": running, "stopped": len(states) - running - paused,
        },
        "graphDriverName": engine.store.driver,
        "graphOptions": {},
        "graphRoot": settings.root,
        "graphRootAllocated": usage.f_blocks * usage.f_frsize,
        "graphRootUsed": (usage.f_blocks - usage.f_bfree) * usage.f_frsize,
        "imageStore": {"number": engine.database.query("SELECT count(*) FROM images")[0][0]},
        "runRoot": settings.run_root,
        "volumePath": f"{settings.root}/volumes",
    }  # fmt: skip


def _registries(engine: Engine) -> dict[str, Any]:
    from estiva.registry.registriesconf import load
    from estiva.registry.settings import RegistrySettings

    settings = RegistrySettings.from_environ(engine.settings.environ, engine.settings.uid)
    search = getattr(load(settings), "search", ())
    return {"search": list(search)} if search else {}


def _helper() -> str:
    from estiva.runtime.helper import HELPER

    return HELPER


def _map(entry: Any) -> dict[str, int]:
    return {"container_id": entry.ctr, "host_id": entry.host, "size": entry.size}


def _meminfo() -> list[tuple[str, int]]:
    """(name, bytes) of /proc/meminfo's lines."""
    lines = [line.split() for line in read_or_empty("/proc/meminfo").splitlines()]
    return [(words[0].rstrip(":"), int(words[1]) * 1024) for words in lines if len(words) == 3]


def _distribution() -> dict[str, str]:
    lines = (line.partition("=") for line in read_or_empty("/etc/os-release").splitlines())
    fields = {name: value.strip('"') for name, _, value in lines}
    return {
        "codename": fields.get("VERSION_CODENAME", ""),
        "distribution": fields.get("ID", ""),
        "version": fields.get("VERSION_ID", ""),
    }


def _uptime() -> str:
    seconds = int(time.clock_gettime(time.CLOCK_BOOTTIME))
    hours, rest = divmod(seconds, 3600)
    return f"{hours}h {rest // 60}m {rest % 60:.2f}s"
