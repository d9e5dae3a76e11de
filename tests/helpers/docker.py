"""Docker as its users have it, dockerd over containerd, with our runtime in it; all of its own, and gone afterwards.

The daemons run in a mount and a network namespace of their own: their ``/run`` is a tmpfs, their network ``lo``.  What
they mount ends with them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from helpers.isolation import WORLD, kill_all
from helpers.peer import Peer, finish
from helpers.terminal import Terminal

PROGRAMS = ("docker", "dockerd", "containerd", "containerd-shim-runc-v2", "ctr", "unshare")
# Containerd is asked for, not started by dockerd, so that it survives a dockerd that is killed.
CONTAINERD = """version = 2
root = "{base}/containerd"
state = "{base}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{base}/containerd.sock"
"""


def missing() -> list[str]:
    """The programs that are not here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Docker(Peer):
    """The two daemons and their clients.  ``runtime``: the program that dockerd knows as ``estiva``, and uses unless
    told otherwise."""

    def __init__(self, base: Path, runtime: Path) -> None:
        self.base = base
        self.runtime = runtime
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(base),
            "DOCKER_CONFIG": str(base / "client"),
            "DOCKER_HOST": f"unix://{base}/docker.sock",
            "TERM": "xterm",
        }
        self._before = WORLD.processes()
        (base / "containerd.toml").write_text(CONTAINERD.format(base=base))
        configuration = {
            "data-root": f"{base}/docker",
            "exec-root": f"{base}/exec",
            "pidfile": f"{base}/docker.pid",
            "hosts": [self.env["DOCKER_HOST"]],
            "containerd": f"{base}/containerd.sock",
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "storage-driver": "overlay2",
            "live-restore": True,
            "runtimes": {"estiva": {"path": str(runtime)}},
            "default-runtime": "estiva",
        }
        (base / "daemon.json").write_text(json.dumps(configuration))
        script = 'ip link set lo up; mount -t tmpfs -o mode=0755 run /run; exec containerd --config "$1"'
        apart = ["unshare", "--mount", "--net", "--propagation", "private", "--", "sh", "-c", script, "sh"]
        self._containerd = self._daemon("containerd", [*apart, str(base / "containerd.toml")])
        self._await((base / "containerd.sock").exists)
        self._dockerd = self._start_dockerd()

    def _daemon(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with open(self.base / f"{name}.log", "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)

    def _start_dockerd(self) -> subprocess.Popen[bytes]:
        command = [*self._there(), "dockerd", "--config-file", str(self.base / "daemon.json")]
        started = self._daemon("dockerd", command)
        self._await(lambda: self.run("version", check=False).returncode == 0)
        return started

    def _there(self) -> list[str]:
        """What a command begins with that is to run in the daemons' namespaces."""
        return ["nsenter", f"--target={self._containerd.pid}", "--mount", "--net", "--"]

    def _await(self, holds: Any, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                logs = "".join(path.read_text()[-2000:] for path in self.base.glob("*.log"))
                raise AssertionError(f"a daemon does not come up:\n{logs}")
            time.sleep(0.05)

    def kill_dockerd(self) -> None:
        """Kill the daemon and start it again; containers go on."""
        self._dockerd.kill()
        self._dockerd.wait()
        (self.base / "docker.pid").unlink()
        self._dockerd = self._start_dockerd()

    def run(
        self, *arguments: str, check: bool = True, program: tuple[str, ...] = ("docker",), **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the client to its end."""
        return finish([*program, *arguments], check, {"env": self.env, **options})

    def ctr(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of containerd's own client, which shares pipes in ``/run`` with the daemon."""
        program = (*self._there(), "ctr", "--address", f"{self.base}/containerd.sock")
        return self.run(*arguments, program=program, check=check)

    def terminal(self, *arguments: str, **options: Any) -> Terminal:
        """A command of the client on a terminal; the caller closes it."""
        return Terminal(["docker", *arguments], env=self.env, **options)

    def clear(self) -> None:
        """Remove all containers and volumes."""
        if ids := self.out("ps", "--all", "--quiet").split():
            self.run("rm", "--force", "--volumes", *ids)
        if names := self.out("volume", "ls", "--quiet").split():
            self.run("volume", "rm", *names)

    def stop(self) -> None:
        """End both, and what they would leave running."""
        for daemon in (self._dockerd, self._containerd):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        kill_all(self._own_processes)

    def _own_processes(self) -> set[int]:
        """Those of the session that name the directory: shims."""
        found = set()
        for pid in WORLD.processes() - self._before - {os.getpid()}:
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if str(self.base).encode() in words:
                found.add(pid)
        return found
