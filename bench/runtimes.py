"""The runtime by itself: `estiva-runtime` on a bundle against runc, crun and bubblewrap on the same."""

from __future__ import annotations

import json
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import Field, Row, row
from engines import Engine, clock, runc_command

IN_PROCESS = Path(__file__).with_name("inprocess.py")
PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
BAR_MS, DREAM_MS = 30.0, 15.0


class Bundle:
    """The bundle that `estiva run --network none IMAGE true` makes, and the command lines of runtimes on it."""

    def __init__(self, bench: Field) -> None:
        self.engine: Engine = bench.pairs["root"][0]
        self.runc = runc_command(self.engine, bench.busybox)[0]
        self.path = self.engine.directory / "bundle"
        self.change(lambda config: config["linux"].pop("cgroupsPath"))  # each runtime's own: two may run at once
        self.ours = str(Path(self.engine.command[0]).with_name("estiva-runtime"))
        self.crun = shutil.which("crun", path=PATH)
        self.bwrap = shutil.which("bwrap", path=PATH)

    def change(self, how: Callable[[dict[str, Any]], object]) -> None:
        config = json.loads((self.path / "config.json").read_text())
        how(config)
        (self.path / "config.json").write_text(json.dumps(config))

    def argv(self, program: str, *words: str) -> list[str]:
        """A command line with a state directory of that program's own, in memory as their defaults are."""
        return [program, "--root", f"/run/bench-{Path(program).name}", *words]

    def run(self, program: str) -> list[str]:
        return self.argv(program, "run", "--bundle", str(self.path), f"bench-{Path(program).name}")

    def works(self, command: list[str]) -> bool:
        nowhere = subprocess.DEVNULL  # no pipe: a container that stays would keep it open
        return subprocess.run(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, check=False).returncode == 0

    def sandbox(self) -> list[str]:
        """bubblewrap with the namespaces and file systems of the bundle, as far as it has options for them."""
        words = ["--unshare-all", "--bind", str(self.path / "rootfs"), "/", "--proc", "/proc", "--dev", "/dev"]
        words += ["--tmpfs", "/dev/shm", "--mqueue", "/dev/mqueue", "--ro-bind", "/sys", "/sys", "--cap-drop", "ALL"]
        return [str(self.bwrap), *words, "--die-with-parent", "true"]

    def times(self, rounds: int, commands: dict[str, list[str]], **request: object) -> dict[str, list[float]]:
        return clock(self.engine.account, self.engine.environment, rounds, commands=commands, **request)

    def clear(self) -> None:
        for program in filter(None, (self.ours, self.runc, self.crun)):
            for name in (f"bench-{Path(program).name}", "up"):
                subprocess.run(self.argv(program, "delete", "--force", name), capture_output=True, check=False)
            shutil.rmtree(f"/run/bench-{Path(program).name}", ignore_errors=True)
        shutil.rmtree(self.path)


def runtime_run(bench: Field) -> list[Row]:
    """`run` of a bundle whose program is `true`: bar 1 × runc, dream 0.5 ×."""
    bundle = Bundle(bench)
    try:
        commands = {"estiva": bundle.run(bundle.ours), "runc": bundle.run(bundle.runc)}
        if bundle.crun and bundle.works(bundle.run(bundle.crun)):
            commands["crun"] = bundle.run(bundle.crun)
        if bundle.bwrap and bundle.works(bundle.sandbox()):
            commands["bwrap"] = bundle.sandbox()
        times = bundle.times(bench.times(30), commands)
        rows = [row("runtime run true", times, "runc", 1.0, 0.5)]
        rows += [row("runtime run true", times, peer) for peer in ("crun", "bwrap") if peer in commands]
        return rows
    finally:
        bundle.clear()


def runtime_steps(bench: Field) -> list[Row]:
    """create, start and delete; exec in and state of a container that runs."""
    bundle = Bundle(bench)
    try:
        bundle.change(lambda config: config["process"].update(args=["sleep", "1000"]))
        whole, started, executed, told = {}, {}, {}, {}
        for label, program in (("estiva", bundle.ours), ("runc", bundle.runc)):
            steps = (("create", "--bundle", str(bundle.path), "up"), ("start", "up"), ("delete", "--force", "up"))
            script = " && ".join(shlex.join(bundle.argv(program, *step)) for step in steps)
            whole[label] = ["/bin/sh", "-c", script]
            started[label] = ["/bin/sh", "-c", " && ".join(script.split(" && ")[:2])]
            executed[label] = bundle.argv(program, "exec", "up", "true")
            told[label] = bundle.argv(program, "state", "up")
        rows = [row("runtime create+start+delete", bundle.times(bench.times(20), whole), "runc", 1.0, 0.5)]
        for command in started.values():
            if not bundle.works(command):
                sys.exit(f"{shlex.join(command)}: failed")
        rows.append(row("runtime exec true", bundle.times(bench.times(20), executed), "runc", 1.0, 0.5))
        rows.append(row("runtime state", bundle.times(bench.times(20), told), "runc"))
        return rows
    finally:
        bundle.clear()


def start_in_process(bench: Field) -> list[Row]:
    """From a call in a warm Python to a running program: bar 30 ms, dream 15 ms."""
    bundle = Bundle(bench)
    try:
        python = str(Path(bundle.engine.command[0]).with_name("python"))
        request = {"bundle": str(bundle.path), "root": "/run/bench-estiva-runtime", "rounds": bench.times(50)}
        done = subprocess.run(
            [python, "-I", str(IN_PROCESS)], input=json.dumps(request), capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        seconds = json.loads(done.stdout)
        median = statistics.median(seconds) * 1e3
        least = (min(seconds) * 1e3, 0.0)
        return [Row("start from a warm Python", median, "limit", BAR_MS, 1.0, DREAM_MS / BAR_MS, least=least)]
    finally:
        bundle.clear()


CASES = {case.__name__: case for case in (runtime_run, runtime_steps, start_in_process)}
