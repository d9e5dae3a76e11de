"""What the command lines of other engines have in common."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

IMAGE = "localhost/busybox:latest"
NETWORK = ("--network", "none")


class Peer(ABC):
    """Docker or Podman: commands of theirs, to their end."""

    @abstractmethod
    def run(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run one command; with *check*, a failure fails the test and shows what was written."""

    def out(self, *arguments: str, **options: Any) -> str:
        """What a command that succeeds prints."""
        return str(self.run(*arguments, **options).stdout).removesuffix("\n")

    def fails(self, code: int, *arguments: str) -> str:
        """What a command says that must end with *code*."""
        done = self.run(*arguments, check=False)
        assert done.returncode == code, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def shell(self, *words: str) -> str:
        """What a container prints that runs ``sh -c`` with the last word, and the others as options."""
        network = () if "--network" in words else NETWORK
        return self.out("run", "--rm", *network, *words[:-1], IMAGE, "sh", "-c", words[-1])

    def start(self, *words: str, name: str = "box") -> str:
        """Start a container in the background; returns its id."""
        return self.out("run", "--detach", *NETWORK, "--name", name, *words)

    def inspect(self, template: str, name: str = "box") -> str:
        return self.out("inspect", "--format", template, name)


def finish(command: Sequence[str], check: bool, options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run *command* with subprocess.run's *options*, without input unless they give some."""
    if "input" not in options:
        options = {"stdin": subprocess.DEVNULL, **options}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **options)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def eventually(find: Any, seconds: float = 20) -> Any:
    """What *find* returns, once that is something."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
