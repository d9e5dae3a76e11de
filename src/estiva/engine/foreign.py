"""Containers by another OCI runtime (``--runtime``), under the same monitor."""

from __future__ import annotations

import json
import os

from estiva.engine.cgroups import SYSTEMD, manager, scope_name
from estiva.engine.spec.mounts import OPTIONAL
from estiva.engine.state import RUNTIME_STATES
from estiva.errors import NotFound, Unsupported
from estiva.runtime.external import ExternalRuntime
from estiva.runtime.helper import HELPER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.container import Container
    from estiva.runtime.compile import Surroundings
    from estiva.runtime.plan import Plan

INIT = "/dev/init"  # where process 1 of --init is put


def external_runtime(container: Container, name: str, work_dir: str) -> ExternalRuntime:
    """The runtime *name*: a path, a key of containers.conf's ``engine.runtimes``, or a program on the PATH."""
    from shutil import which

    settings = container.engine.settings
    known = settings.conf.get("engine", {}).get("runtimes", {}).get(name, [])
    found = next((path for path in known if os.access(path, os.X_OK)), None) or which(name)
    if found is None:
        raise NotFound(f"runtime {name!r}: no such program", "name one with --runtime, or leave it out")
    flags = []
    if container.options.cgroups == "disabled":
        if os.path.basename(found) != "crun":
            raise Unsupported(f"--cgroups disabled: runtime {name} cannot do without", "use another, or leave it out")
        flags = ["--cgroup-manager", "disabled"]
    elif manager(container) == SYSTEMD:
        flags = ["--systemd-cgroup"]
    # Paths below the container's directory are too long for the address of a socket, which has room for 107 bytes.
    console = f"{settings.run_root}/.{os.urandom(6).hex()}"
    return ExternalRuntime(found, f"{settings.run_root}/{RUNTIME_STATES}", work_dir, console, flags)


def compile_foreign(
    container: Container, spec: dict[str, Any], around: Surroundings, name: str, cgroup_path: str
) -> Plan:
    """The plan that has the runtime create and start the container, in the cgroup that was made for it; writes the
    bundle in the OCI's own words."""
    runtime = external_runtime(container, name, container.run_dir)
    around.mountpoint = f"{container.bundle}/rootfs"
    os.makedirs(around.mountpoint, 0o755, exist_ok=True)
    bundle = f"{container.bundle}/foreign"
    os.makedirs(bundle, 0o700, exist_ok=True)
    plain = _plain(spec, around.init)
    if manager(container) == SYSTEMD and container.options.cgroups != "disabled":
        unit = scope_name(container)
        name = unit.name.removesuffix(".scope").removeprefix("estiva-")
        plain["linux"]["cgroupsPath"] = f"{unit.slice}:estiva:{name}"
    elif cgroup_path:
        plain["linux"]["cgroupsPath"] = cgroup_path
    _write(f"{bundle}/config.json", plain)
    return runtime.compile_run(container.id, bundle, spec, around)


def _plain(spec: dict[str, Any], init: bool) -> dict[str, Any]:
    """The configuration without the words only our own runtime knows: what they mean is said with the OCI's."""
    mounts = [_plain_mount(mount, spec["linux"]) for mount in spec["mounts"] if _is_there(mount)]
    devices = []
    for device in spec["linux"].get("devices") or ():
        source = device.get("x-estiva.source")
        if source is None:
            devices.append(device)
        else:
            mounts.append(_bind(device["path"], source, "nosuid", "noexec"))
    # Configurations are understood by later versions; crun before 1.9 takes no other.
    plain = {**spec, "ociVersion": "1.0.2", "mounts": mounts, "linux": {**spec["linux"], "devices": devices}}
    if init:
        mounts.append(_bind(INIT, HELPER, "ro", "nosuid", "nodev"))
        plain["process"] = {**spec["process"], "args": [INIT, "--", *spec["process"]["args"]]}
    return plain


def _bind(destination: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": ["bind", "rprivate", *options]}


def _is_there(mount: dict[str, Any]) -> bool:
    return OPTIONAL not in mount["options"] or os.path.lexists(mount["source"])


def _plain_mount(mount: dict[str, Any], linux: dict[str, Any]) -> dict[str, Any]:
    if "idmap" in mount["options"] and "uidMappings" not in mount:  # others want to be told
        mount = {**mount, **{name: linux.get(name, []) for name in ("uidMappings", "gidMappings")}}
    return {**mount, "options": [word for word in mount["options"] if not word.startswith("x-estiva.")]}


def compile_foreign_exec(
    container: Container, process: dict[str, Any], around: Surroundings, name: str, work_dir: str
) -> Plan:
    """The plan that has the runtime run another process in the container; *work_dir*, to be removed afterwards, is for
    files of this process alone."""
    runtime = external_runtime(container, name, work_dir)
    os.mkdir(work_dir, 0o700)
    _write(f"{work_dir}/process.json", process)
    return runtime.compile_exec(container.id, f"{work_dir}/process.json", around, terminal=bool(process["terminal"]))


def _write(path: str, document: dict[str, Any]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(json.dumps(document).encode())
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
