"""One bundle of busybox and the command ``estiva-runtime`` on it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import estiva.runtime
from estiva.runtime.cli import information
from helpers.accounts import Account
from helpers.images import busybox_layer

MAIN = os.path.join(estiva.runtime.__path__[0], "__main__.py")
PROBE = Path(__file__).parent / "probe.c"


def compile_probe(rootfs: Path) -> str:
    """Put the program of probe.c into a root file system; its path there."""
    command = ["cc", "-static", "-O1", "-Wall", "-o", str(rootfs / "bin/probe"), str(PROBE)]
    subprocess.run(command, check=True, timeout=60)
    return "/bin/probe"


class Runtime:
    """The command with a state directory of its own and one bundle; as another user, if one is given."""

    def __init__(self, base: Path, user: Account | None = None) -> None:
        self.user = user
        self.root = base / "state"
        self.bundle = base / "bundle"
        rootfs = self.bundle / "rootfs"
        rootfs.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(busybox_layer())) as archive:
            archive.extractall(rootfs)
        for name in ("proc", "dev", "sys", "tmp"):
            (rootfs / name).mkdir(exist_ok=True)
        self.spec = information.base_spec()
        self.spec["process"]["terminal"] = False
        self.spec["root"]["readonly"] = False
        if user and not user.is_self:
            for path in (base, *base.rglob("*")):
                os.chown(path, user.uid, user.gid, follow_symlinks=False)

    def process(self, *args: str, **fields: Any) -> None:
        """Write the configuration with this process."""
        self.spec["process"].update(args=list(args), **fields)
        (self.bundle / "config.json").write_text(json.dumps(self.spec))

    def command(self, *words: str) -> list[str]:
        """The command line of a command."""
        python, main = sys.executable, MAIN
        if self.user:
            python, main = self.user.python, f"{self.user.sources}/estiva/runtime/__main__.py"
        return [python, "-I", "-S", main, "--root", str(self.root), *words]

    def __call__(self, *words: str, text: str = "", code: int | None = 0, **how: Any) -> str:
        """What a command that must end with this exit code (None: any) wrote: on failure, errors included.

        *how* goes to subprocess.run: ``env``, ``pass_fds``.
        """
        who: dict[str, Any] = {**self.user.identity(), "env": self.user.environment()} if self.user else {}
        result = subprocess.run(
            self.command(*words), input=text, capture_output=True, text=True, timeout=60, check=False, cwd=self.bundle,
            **{**who, **how},
        )  # fmt: skip
        assert code in (None, result.returncode), result.stderr
        return result.stdout + result.stderr if result.returncode else result.stdout

    def create(self, name: str, *words: str, output: Any = None) -> None:
        """``create`` with the container's streams in *output*, which nobody here waits for."""
        command = self.command("create", *words, name)
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60, check=False, cwd=self.bundle
        )
        assert result.returncode == 0

    def status(self, name: str) -> str:
        """The container's status."""
        return str(json.loads(self("state", name))["status"])

    def await_status(self, name: str, wanted: str) -> None:
        """Wait for it, for at most 20 seconds."""
        deadline = time.monotonic() + 20
        while self.status(name) != wanted:
            assert time.monotonic() < deadline, f"{name} is {self.status(name)}, not {wanted}"
            time.sleep(0.05)

    def start(self, name: str, *args: str, **fields: Any) -> int:
        """Create and start a container that stays; its process id."""
        self.process(*(args or ("sleep", "100")), **fields)
        self.create(name)
        self("start", name)
        return int(json.loads(self("state", name))["pid"])
