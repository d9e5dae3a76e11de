"""Podman with our runtime in it, and storage of its own, as root or as an ordinary user.

Its commands run in a mount namespace of their own: what Podman mounts there ends with it, ``/run`` is a tmpfs, and in
``/sys/fs/cgroup`` is nothing but hierarchies (Podman takes every directory for one).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from helpers.accounts import Account
from helpers.isolation import WORLD, kill_all
from helpers.peer import Peer, finish
from helpers.terminal import Terminal

PROGRAMS = ("podman", "conmon", "unshare", "nsenter", "setpriv")
PREPARE = """set -e
mount -t tmpfs -o mode=0755 run /run
if [ "$(stat -f -c %T /sys/fs/cgroup)" = tmpfs ]; then
    new=$(mktemp -d /run/cgroups-XXXXXX)
    mount -t tmpfs -o mode=0755 cgroup "$new"
    while read -r _ place _; do
        case $place in /sys/fs/cgroup/*)
            mkdir -p "$new/${place##*/}"
            mount --move "$place" "$new/${place##*/}" ;;
        esac
    done </proc/mounts
    umount /sys/fs/cgroup
    mount --move "$new" /sys/fs/cgroup
fi
echo ready
exec sleep infinity"""
CONFIGURATION = """[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "estiva"
runtime_supports_nocgroups = []
runtime_supports_json = ["estiva"]
[engine.runtimes]
estiva = ["{runtime}"]
"""


def missing() -> list[str]:
    """The programs that are not here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Podman(Peer):
    """Its command line.  ``base``: a directory of *account*'s, for all it keeps."""

    def __init__(self, account: Account, base: Path, runtime: Path) -> None:
        self.account = account
        self.base = base
        (base / "containers.conf").write_text(CONFIGURATION.format(runtime=runtime))
        self.env = account.environment()
        self.env |= {"CONTAINERS_CONF": str(base / "containers.conf"), "TMPDIR": str(base)}
        self._before = WORLD.processes()
        command = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", PREPARE]
        self._holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"

    @property
    def rootless(self) -> bool:
        return self.account.uid != 0

    def argv(self, *arguments: str) -> list[str]:
        """The command line as given to the kernel, by root."""
        there = ["nsenter", f"--target={self._holder.pid}", "--mount", "--"]
        if self.rootless:
            there += ["setpriv", f"--reuid={self.account.uid}", f"--regid={self.account.gid}", "--clear-groups", "--"]
        storage = ["--root", str(self.base / "root"), "--runroot", str(self.base / "run")]
        return [*there, "podman", *storage, *arguments]

    def run(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return finish(self.argv(*arguments), check, {"env": self.env, "cwd": self.base, **options})

    def terminal(self, *arguments: str, **options: Any) -> Terminal:
        """A command on a terminal; the caller closes it."""
        return Terminal(self.argv(*arguments), env=self.env, cwd=self.base, **options)

    def clear(self) -> None:
        """Remove all pods, containers and volumes.

        Podman's own clean-up after a container's end may be at work on the same mounts; the second time it is not.
        """
        self.run("pod", "rm", "--all", "--force", "--time", "0", check=False)
        self.run("rm", "--all", "--force", "--time", "0", check=False)
        self.run("pod", "rm", "--all", "--force", "--time", "0")
        self.run("rm", "--all", "--force", "--time", "0")
        self.run("volume", "rm", "--all", "--force")

    def stop(self) -> None:
        """End what keeps its namespaces, the pause process of an ordinary user included, and remove the cgroups that
        Podman leaves behind."""
        self._holder.send_signal(signal.SIGKILL)
        self._holder.wait()
        if self._holder.stdout:
            self._holder.stdout.close()
        if self.rootless:
            kill_all(lambda: self.account.processes() - self._before)
        deadline = time.monotonic() + 10  # conmon may be taking its leave
        while self._left_cgroups() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _left_cgroups(self) -> bool:
        """Remove Podman's own cgroups; whether one is still there."""
        left = False
        for hierarchy in WORLD.hierarchies:
            for name in ("libpod_parent/conmon", "libpod_parent", "mine/conmon", "mine"):
                directory = f"{hierarchy.mount_point}/{name}"
                with suppress(OSError):
                    os.rmdir(directory)
                left |= os.path.exists(directory)
        return left
