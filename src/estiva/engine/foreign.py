"""Containers by another OCI runtime (``--runtime``), under the same monitor."""

from __future__ import annotations

import json
import os

from estiva.errors import NotFound
from estiva.runtime.external import ExternalRuntime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.container import Container
    from estiva.runtime.compile import Surroundings
    from estiva.runtime.plan import Plan


def external_runtime(container: Container, name: str) -> ExternalRuntime:
    """The runtime *name*: a path, a key of containers.conf's ``engine.runtimes``, or a program on the PATH."""
    from shutil import which

    settings = container.engine.settings
    known = settings.conf.get("engine", {}).get("runtimes", {}).get(name, [])
    found = next((path for path in known if os.access(path, os.X_OK)), None) or which(name)
    if found is None:
        raise NotFound(f"runtime {name!r}: no such program", "name one with --runtime, or leave it out")
    return ExternalRuntime(found, f"{settings.run_root}/runtime", container.run_dir)


def compile_foreign(container: Container, spec: dict[str, Any], around: Surroundings, name: str) -> Plan:
    """The plan that has the runtime create and start the container; writes the bundle in the OCI's own words."""
    runtime = external_runtime(container, name)
    around.mountpoint = f"{container.bundle}/rootfs"
    os.makedirs(around.mountpoint, 0o755, exist_ok=True)
    plain = {**spec, "mounts": [_plain(mount) for mount in spec["mounts"]]}
    bundle = f"{container.bundle}/foreign"
    os.makedirs(bundle, 0o700, exist_ok=True)
    fd = os.open(f"{bundle}/config.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(plain).encode())
    finally:
        os.close(fd)
    return runtime.compile_run(container.id, bundle, around, terminal=bool(container.options.tty))


def _plain(mount: dict[str, Any]) -> dict[str, Any]:
    """The mount without the options only our own runtime knows."""
    return {**mount, "options": [word for word in mount["options"] if not word.startswith("x-estiva.")]}


def compile_foreign_exec(container: Container, process: dict[str, Any], around: Surroundings, name: str) -> Plan:
    """The plan that has the runtime run another process in the container."""
    runtime = external_runtime(container, name)
    path = f"{container.run_dir}/exec-{os.getpid()}.json"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(process).encode())
    finally:
        os.close(fd)
    return runtime.compile_exec(container.id, path, around, terminal=bool(process["terminal"]))
