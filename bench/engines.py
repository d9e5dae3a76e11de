"""The engines that are compared, each with a store of its own, and the accounts they run as."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from helpers import kernel
from helpers.accounts import Account
from helpers.images import Image
from helpers.isolation import WORLD

CHECKOUT = Path(__file__).resolve().parent.parent
CLOCK = Path(__file__).with_name("clock.py")
BUSYBOX = "localhost/busybox:latest"

#: Podman's defaults, but for limits higher than a container of root's may ask for on every machine
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Engine:
    """One engine as one user: ``argv`` makes its command lines, everything it keeps is below ``directory``."""

    def __init__(self, name: str, command: list[str], account: Account, directory: Path) -> None:
        self.name = name
        self.account = account
        self.directory = directory / f"{name[0]}{account.uid}"  # podman wants its run directory's path to be short
        for path in (self.directory, self.directory / "tmp"):
            path.mkdir()
            os.chown(path, account.uid, account.gid)
        self.command = command
        self.environment = {
            **account.environment(),
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "TMPDIR": str(self.directory / "tmp"),
        }

    def argv(self, *words: str, store: str = "main") -> list[str]:
        """A command line on the store of that name."""
        options = ["--root", f"{self.directory}/{store}", "--runroot", f"{self.directory}/{store}-run"]
        if self.name == "podman":
            options += ["--tmpdir", f"{self.directory}/{store}-tmp", "--log-level", "error"]
        return [*self.command, *options, *words]

    def run(self, *words: str, store: str = "main", check: bool = True) -> str:
        """Standard output of a command; a failure ends the benchmark."""
        done = self.account.run(self.argv(*words, store=store), env=self.environment, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            sys.exit(f"{self.name} {' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def load(self, image: Image, name: str = BUSYBOX) -> None:
        """Put an image into the main store."""
        archive = image.docker_archive(self.directory / "image.tar", name)
        archive.chmod(0o644)
        self.run("pull", "--quiet", f"docker-archive:{archive}")
        archive.unlink()

    def clear(self) -> None:
        """Remove all containers of the main store; what keeps the user's namespace ends too."""
        if (self.directory / "main").exists():
            self.run("rm", "--all", "--force", "--time", "0", check=False)
        for pause in self.directory.glob("*-run/pause"):
            with suppress(OSError, ValueError, IndexError):
                os.kill(int(pause.read_text().split()[0]), 9)


def install(directory: Path, python: str) -> Path:
    """Install this checkout as a user would, into a new virtual environment everybody can read; returns the command."""
    environment = directory / "installed"
    subprocess.run([python, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", str(CHECKOUT)]
    subprocess.run(WORLD.outside(pip), check=True, stderr=subprocess.DEVNULL)
    return environment / "bin" / "estiva"


def clock(account: Account, environment: dict[str, str], rounds: int, **request: Any) -> dict[str, list[float]]:
    """Label → seconds of each round; see clock.py for the other parts of a request."""
    request |= {"environment": environment, "rounds": rounds}
    command = ["/usr/bin/python3", "-I", "-S", "-c", CLOCK.read_text()]
    done = account.run(command, input=json.dumps(request), env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    answer: dict[str, list[float]] = json.loads(done.stdout)
    return answer


def proportional_set(pid: int) -> int:
    """Memory of a process in bytes, shared pages divided by their users.  proc_pid_smaps(5)"""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def parent_of(pid: int) -> int:
    """The process id of the parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def runc_command(engine: Engine, image: Image) -> list[str]:
    """`runc run` of the very bundle *engine* makes for ``run --network none IMAGE true``, on a plain directory."""
    container = engine.run("create", "--network", "none", BUSYBOX, "true")
    config = json.loads((engine.directory / "main" / "containers" / container / "config.json").read_text())
    bundle = engine.directory / "bundle"
    rootfs = bundle / "rootfs"
    rootfs.mkdir(parents=True)
    for n, layer in enumerate(image.layers):
        (bundle / f"{n}.tar").write_bytes(layer)
        subprocess.run(["tar", "-xf", str(bundle / f"{n}.tar"), "-C", str(rootfs)], check=True)
    config["root"] = {"path": str(rootfs)}
    for n, mount in enumerate(config["mounts"]):  # /etc/hosts and its kin are written when a container starts
        source = Path(mount["source"])
        if source.is_absolute() and not source.exists():
            (bundle / f"mount-{n}").write_text("")
            mount["source"] = str(bundle / f"mount-{n}")
    config["linux"]["cgroupsPath"] = "/bench-runc"
    config["process"]["terminal"] = False
    config.pop("annotations", None)
    (bundle / "config.json").write_text(json.dumps(config))
    runc = shutil.which("runc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if runc is None:
        sys.exit("runc is not installed")
    return [runc, "--root", str(bundle / "state"), "run", "--bundle", str(bundle), "bench-runc"]


def remove(directory: Path) -> None:
    """Remove everything the benchmark made."""
    kernel.remove_tree(directory)
