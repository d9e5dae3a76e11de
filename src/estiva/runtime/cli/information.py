"""``spec``: a configuration to begin with; ``features``: what this runtime can do.  runtime-spec features.md"""

from __future__ import annotations

import os
import sys

from estiva.errors import Conflict
from estiva.runtime import capabilities
from estiva.runtime.cli.version import OCI_VERSION, OCI_VERSION_MIN
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.options import Options


def command_spec(context: Context, options: Options) -> int:
    write_spec(options.text("bundle"), options.switch("rootless"))
    return 0


def command_features(context: Context, options: Options) -> int:
    sys.stdout.write(json.pretty(features()) + "\n")
    return 0


def base_spec(rootless: bool = False) -> dict[str, Any]:
    """A configuration that runs ``sh`` in ``rootfs``, confined as containers usually are."""
    held = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    spec: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": held, "effective": held, "permitted": held},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "estiva",
        "mounts": _mounts(rootless),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }  # fmt: skip
    if rootless:
        linux = spec["linux"]
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "network"] + [
            {"type": "user"}
        ]
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
        del linux["resources"]
    return spec


def _mounts(rootless: bool) -> list[dict[str, Any]]:
    strict = ["nosuid", "noexec", "nodev"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *([] if rootless else ["gid=5"])]
    sys_mount = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*strict, "ro"]}
    if rootless:  # the network namespace is not ours, so a new sysfs is refused
        sys_mount = {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", *strict, "ro"]}
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*strict, "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": strict},
        sys_mount,
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*strict, "relatime", "ro"]},
    ]


def write_spec(bundle: str, rootless: bool) -> None:
    """Write config.json into *bundle*.  Raises Conflict if there is one."""
    path = os.path.join(bundle or ".", "config.json")
    try:
        with open(path, "x") as file:
            file.write(json.pretty(base_spec(rootless), "\t") + "\n")
    except FileExistsError:
        raise Conflict(f"writing {path}: it exists", "remove it first") from None


def features() -> dict[str, Any]:
    """The document that ``features`` prints."""
    from estiva import __version__
    from estiva.linux import landlock
    from estiva.runtime import compile_process, hooks, mount_options, settings
    from estiva.runtime.cgroup import units
    from estiva.runtime.compile_namespaces import NAMESPACES
    from estiva.runtime.seccomp import FLAGS
    from estiva.runtime.seccomp_bpf import OPERATORS
    from estiva.runtime.seccomp_compiler import ACTIONS, ARCHITECTURES

    return {
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": list(hooks.NAMES),
        "mountOptions": mount_options.known(),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(ACTIONS),
                "operators": sorted(OPERATORS),
                "archs": sorted(ARCHITECTURES),
                "knownFlags": sorted(FLAGS),
                "supportedFlags": sorted(FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "memoryPolicy": {"modes": list(settings.MEMORY_MODES), "flags": list(settings.MEMORY_FLAGS)},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {
            "org.estiva.version": __version__,
            "org.estiva.landlock.abi": str(landlock.abi()),
            "org.opencontainers.runc.checkpoint.enabled": "true",  # where callers look for it
        },
        # Those that change what is done; a name that ends in a dot stands for all that begin so.
        "potentiallyUnsafeConfigAnnotations": [compile_process.ANNOTATION, units.ANNOTATION],
    }
