"""What ``inspect`` tells about a container, with Podman's keys."""

from __future__ import annotations

import time

from estiva.engine.spec.namespaces import KINDS
from estiva.engine.spec.rootfs import rootfs_path
from estiva.engine.volumes import fences
from estiva.runtime import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.container import Container
    from estiva.engine.options import ContainerOptions, MountOption

NEVER = "0001-01-01T00:00:00Z"


def inspect_container(container: Container) -> dict[str, Any]:
    """The document of one container."""
    spec = container.spec()
    process, options = spec["process"], container.options
    args = process["args"]
    bounding = process["capabilities"]["bounding"]
    return {
        "Id": container.id,
        "Created": rfc3339(container.created_ns),
        "Path": args[0],
        "Args": args[1:],
        "State": _state(container),
        "Image": container.image_id,
        "ImageDigest": _image_digest(container),
        "ImageName": container.image_name,
        "Rootfs": rootfs_path(options) if options.rootfs else "",
        "Pod": "",
        "ResolvConfPath": f"{container.bundle}/resolv.conf",
        "HostnamePath": f"{container.bundle}/hostname",
        "HostsPath": f"{container.bundle}/hosts",
        "StaticDir": container.bundle,
        "OCIConfigPath": f"{container.bundle}/config.json",
        "OCIRuntime": options.runtime or container.engine.settings.runtime or "estiva-runtime",
        "ConmonPidFile": options.conmon_pidfile,
        "PidFile": options.pidfile,
        "Name": container.name,
        "RestartCount": container.state().restarts,
        "Driver": container.engine.store.driver,
        "MountLabel": spec["linux"].get("mountLabel", ""),
        "ProcessLabel": process.get("selinuxLabel", ""),
        "AppArmorProfile": process.get("apparmorProfile", ""),
        "EffectiveCaps": process["capabilities"]["effective"],
        "BoundingCaps": bounding,
        "ExecIDs": [],
        "GraphDriver": {"Name": container.engine.store.driver, "Data": _graph_data(container)},
        "Mounts": [_mount(container, mount) for mount in container.mounts if mount.kind != "tmpfs"],
        "Dependencies": [],
        "NetworkSettings": {"SandboxKey": "", "Networks": {}, "Ports": {}},
        "Namespace": "",
        "IsInfra": False,
        "IsService": False,
        "LockNumber": 0,
        "Config": _config(container, spec),
        "HostConfig": _host_config(container, spec, bounding),
    }


def rfc3339(ns: int) -> str:
    """A time as Go prints it, with nanoseconds, in UTC; Go's zero time for 0."""
    if not ns:
        return NEVER
    seconds, fraction = divmod(ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"


def _state(container: Container) -> dict[str, Any]:
    state = container.state()
    return {
        "OciVersion": container.spec()["ociVersion"],
        "Status": state.status,
        "Running": state.running,
        "Paused": state.status == "paused",
        "Restarting": False,
        "OOMKilled": state.oom,
        "Dead": False,
        "Pid": state.pid,
        "ConmonPid": _monitor_pid(container, state.pid),
        "ExitCode": 0 if state.running else state.exit_code,
        "Error": "",
        "StartedAt": rfc3339(state.started_ns),
        "FinishedAt": rfc3339(state.finished_ns),
        "CgroupPath": "" if not state.pid else _cgroup_path(container),
        "StoppedByUser": state.status == "stopping",
    }


def _monitor_pid(container: Container, pid: int) -> int:
    from estiva.engine.hostfacts import read_or_empty

    if not pid:
        return 0
    words = read_or_empty(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(words[1]) if len(words) > 1 else 0


def _cgroup_path(container: Container) -> str:
    from estiva.engine.cgroups import find_cgroup

    return find_cgroup(container).path


def _image_digest(container: Container) -> str:
    rows = container.engine.database.query("SELECT digest FROM images WHERE id=?", (container.image_id,))
    return str(rows[0][0]) if rows else ""


def _graph_data(container: Container) -> dict[str, str]:
    if container.engine.store.driver == "copy" or container.options.rootfs:
        return {}
    return {"UpperDir": f"{container.bundle}/upper", "WorkDir": f"{container.bundle}/work"}


def _mount(container: Container, mount: MountOption) -> dict[str, Any]:
    words = mount.options
    propagation = next((w for w in words if w.endswith(("shared", "slave", "private", "unbindable"))), "rprivate")
    volume = mount.kind == "volume"
    if volume:
        words = [*fences(words), "rbind", *words]
    return {
        "Type": mount.kind,
        **({"Name": mount.source} if volume else {}),
        "Source": container.engine.volumes.path(mount.source) if volume else mount.source,
        "Destination": mount.target,
        "Driver": "local" if volume else "",
        "Mode": "",
        "Options": [word for word in words if word in ("nosuid", "nodev", "noexec", "rbind", "bind")] or ["rbind"],
        "RW": "ro" not in words,
        "Propagation": propagation,
    }


def _config(container: Container, spec: dict[str, Any]) -> dict[str, Any]:
    options, process = container.options, spec["process"]
    entrypoint = container.details["entrypoint"]
    return {
        "Hostname": spec.get("hostname", ""),
        "Domainname": spec.get("domainname", ""),
        "User": options.user,
        "AttachStdin": "stdin" in options.attach,
        "AttachStdout": "stdout" in options.attach,
        "AttachStderr": "stderr" in options.attach,
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": False,
        "Env": process["env"],
        "Cmd": process["args"][len(entrypoint) :],
        "Image": container.image_name,
        "Volumes": None,
        "WorkingDir": process["cwd"],
        "Entrypoint": entrypoint,
        "OnBuild": None,
        "Labels": container.labels,
        "Annotations": spec.get("annotations", {}),
        "StopSignal": _signal(container.details["stop_signal"]),
        "StopTimeout": 10 if options.stop_timeout is None else options.stop_timeout,
        "CreateCommand": options.command,
        "Umask": f"{process['user']['umask']:04o}",
        "Timeout": options.timeout,
        "Passwd": False,
        "sdNotifyMode": "container",
    }


def _signal(number: int) -> str:
    from estiva.engine.signals import signal_name

    return signal_name(number)


def _host_config(container: Container, spec: dict[str, Any], bounding: list[str]) -> dict[str, Any]:
    options = container.options
    policy, _, retries = options.restart.partition(":")
    return {
        "Binds": [_bind(container, mount) for mount in container.mounts if mount.kind != "tmpfs"],
        "Tmpfs": {mount.target: ",".join(mount.options) for mount in container.mounts if mount.kind == "tmpfs"},
        "CgroupManager": container.details.get("cgroup_manager", "cgroupfs"),
        "CgroupMode": _mode(spec, options, "cgroupns"),
        "ContainerIDFile": options.cidfile,
        "LogConfig": {
            "Type": container.log_driver,
            "Config": None,
            "Path": container.log_path if container.log_driver != "none" else "",
            "Tag": options.log_opt.get("tag", ""),
            "Size": options.log_opt.get("max-size", "0B"),
        },
        "NetworkMode": _network(spec, options),
        "PortBindings": {},
        "RestartPolicy": {"Name": policy or "no", "MaximumRetryCount": int(retries or 0)},
        "AutoRemove": container.auto_remove,
        "Annotations": spec.get("annotations", {}),
        "VolumeDriver": "",
        "VolumesFrom": options.volumes_from or None,
        "CapAdd": sorted(set(bounding) - set(capabilities.DEFAULT)),
        "CapDrop": sorted(set(capabilities.DEFAULT) - set(bounding)),
        "Dns": options.dns,
        "DnsOptions": options.dns_option,
        "DnsSearch": options.dns_search,
        "ExtraHosts": options.add_host,
        "HostsFile": options.hosts_file,
        "GroupAdd": options.group_add,
        "IpcMode": _mode(spec, options, "ipc"),
        "Cgroup": "",
        "Cgroups": options.cgroups,
        "CgroupConf": options.cgroup_conf or None,
        "CgroupParent": options.cgroup_parent,
        "Links": None,
        "OomScoreAdj": options.oom_score_adj or 0,
        "PidMode": _mode(spec, options, "pid"),
        "Privileged": options.privileged,
        "PublishAllPorts": False,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": options.security_opt,
        "UTSMode": _mode(spec, options, "uts"),
        "UsernsMode": _userns_mode(container),
        "ShmSize": _shm_size(spec),
        "Runtime": "oci",
        "ConsoleSize": [0, 0],
        "Isolation": "",
        **_limits(options, spec),
        "Ulimits": [
            {"Name": limit["type"], "Soft": _signed(limit["soft"]), "Hard": _signed(limit["hard"])}
            for limit in spec["process"]["rlimits"]
        ],
        "Init": options.init,
        "IDMappings": _id_mappings(spec),
    }


def _limits(options: ContainerOptions, spec: dict[str, Any]) -> dict[str, Any]:
    resources = spec["linux"].get("resources", {})
    memory, cpu, block = (resources.get(name, {}) for name in ("memory", "cpu", "blockIO"))
    return {
        "CpuShares": cpu.get("shares", 0),
        "Memory": memory.get("limit", 0),
        "NanoCpus": round((options.cpus or 0) * 1e9),
        "BlkioWeight": block.get("weight", 0),
        "BlkioWeightDevice": block.get("weightDevice"),
        "CpuPeriod": cpu.get("period", 0),
        "CpuQuota": cpu.get("quota", 0),
        "CpuRealtimePeriod": cpu.get("realtimePeriod", 0),
        "CpuRealtimeRuntime": cpu.get("realtimeRuntime", 0),
        "CpusetCpus": cpu.get("cpus", ""),
        "CpusetMems": cpu.get("mems", ""),
        "Devices": [
            {"PathOnHost": d.get("x-estiva.source", d["path"]), "PathInContainer": d["path"], "CgroupPermissions": ""}
            for d in spec["linux"].get("devices", [])
        ],
        "DiskQuota": 0,
        "MemoryReservation": memory.get("reservation", 0),
        "MemorySwap": memory.get("swap", 0),
        "MemorySwappiness": memory.get("swappiness", 0),
        "OomKillDisable": bool(memory.get("disableOOMKiller")),
        "PidsLimit": resources.get("pids", {}).get("limit", 0),
    }


def _bind(container: Container, mount: MountOption) -> str:
    words = ["ro" if "ro" in mount.options else "rw", "rprivate", "rbind"]
    return f"{mount.source}:{mount.target}:{','.join(words)}"


def _mode(spec: dict[str, Any], options: ContainerOptions, option: str) -> str:
    """``private``, ``host``, or what was asked for."""
    asked = getattr(options, option)
    if asked:
        return str(asked)
    kinds = {entry["type"] for entry in spec["linux"]["namespaces"]}
    return "private" if KINDS[option][0] in kinds else "host"


def _userns_mode(container: Container) -> str:
    """``private`` whichever way it came to its ids, ``""`` for the engine's own namespace."""
    mode = str(container.options.userns)
    if mode.startswith("container:"):
        return mode
    return "private" if container.details["uid_maps"] or mode.startswith("ns:") else ""


def _network(spec: dict[str, Any], options: ContainerOptions) -> str:
    mode = _mode(spec, options, "network")
    return "none" if mode == "private" else mode


def _shm_size(spec: dict[str, Any]) -> int:
    for mount in spec["mounts"]:
        if mount["destination"] == "/dev/shm":
            return next((int(word[5:]) for word in mount["options"] if word.startswith("size=")), 0)
    return 0


def _id_mappings(spec: dict[str, Any]) -> dict[str, list[str]]:
    linux = spec["linux"]
    if not linux.get("uidMappings"):
        return {}
    return {
        name: [f"{m['containerID']}:{m['hostID']}:{m['size']}" for m in linux.get(key, [])]
        for name, key in (("UidMap", "uidMappings"), ("GidMap", "gidMappings"))
    }


def _signed(limit: int) -> int:
    """An unlimited one is -1 to Go."""
    return limit - (1 << 64) if limit >= 1 << 63 else limit
