"""What is measured: each case runs our command and the peers' in turn and gives rows of the table."""

from __future__ import annotations

import shlex
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engines import BUSYBOX, Engine, clock, parent_of, proportional_set, runc_command

from helpers import images
from helpers.registry import Registry

RUN_TRUE = ("run", "--rm", "--network", "none", BUSYBOX, "true")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: medians in *unit*, and how ours compares with *peer*'s."""

    work: str
    ours: float
    peer_name: str
    peer: float
    bar: float | None = None
    dream: float | None = None
    unit: str = "ms"
    least: tuple[float, float] = (0.0, 0.0)  # the fastest of ours and of the peer's
    at_most: float | None = None  # an absolute bar beside the ratio

    @property
    def ratio(self) -> float:
        """Ours in units of the peer's."""
        return self.ours / self.peer

    @property
    def verdict(self) -> str:
        """``dream``, ``bar`` (reached), ``MISSED`` or nothing, where nothing is asked."""
        if self.bar is None:
            return "dream" if self.dream is not None and self.ratio <= self.dream else ""
        if self.ratio > self.bar or (self.at_most is not None and self.ours > self.at_most):
            return "MISSED"
        return "dream" if self.dream is not None and self.ratio <= self.dream else "bar"


@dataclass(slots=True)
class Field:
    """Who runs: for each account label (``root``, ``user``) our engine and podman."""

    pairs: dict[str, tuple[Engine, Engine]]
    directory: Path
    busybox: images.Image
    rounds: int | None = None
    notes: list[str] = field(default_factory=list)

    def times(self, usual: int) -> int:
        """How many rounds: what was asked for, else what is usual for the case."""
        return self.rounds or usual


def row(work: str, times: dict[str, list[float]], peer: str, bar: float | None = None, dream: float | None = None,
        at_most: float | None = None) -> Row:  # fmt: skip
    """The row for label ``estiva`` against label *peer*; seconds become milliseconds."""
    ours, theirs = times["estiva"], times[peer]
    return Row(
        work, statistics.median(ours) * 1e3, peer, statistics.median(theirs) * 1e3, bar, dream,
        least=(min(ours) * 1e3, min(theirs) * 1e3), at_most=at_most,
    )  # fmt: skip


def run_true(bench: Field) -> list[Row]:
    """`run --rm --network none IMAGE true`, also against bare runc."""
    rows = []
    for who, (ours, podman) in bench.pairs.items():
        commands = {"estiva": ours.argv(*RUN_TRUE), "podman": podman.argv(*RUN_TRUE)}
        if who == "root":
            commands["runc"] = runc_command(ours, bench.busybox)
        times = clock(ours.account, ours.environment, bench.times(20), commands=commands)
        rows.append(row(f"run true, {who}", times, "podman", 0.25, 0.15))
        if who == "root":
            rows.append(row("run true, root", times, "runc", None, 1.0))
    return rows


def exec_true(bench: Field) -> list[Row]:
    """`exec CONTAINER true` in a running container."""
    rows = []
    for who, (ours, podman) in bench.pairs.items():
        for engine in (ours, podman):
            engine.run("run", "-d", "--name", "target", "--network", "none", BUSYBOX, "sleep", "1000")
        commands = {"estiva": ours.argv("exec", "target", "true"), "podman": podman.argv("exec", "target", "true")}
        times = clock(ours.account, ours.environment, bench.times(20), commands=commands)
        rows.append(row(f"exec true, {who}", times, "podman", 0.5, 0.25))
        for engine in (ours, podman):
            engine.clear()
    return rows


def ps_50(bench: Field) -> list[Row]:
    """`ps` with 50 running containers."""
    rows = []
    for who, (ours, podman) in bench.pairs.items():
        for engine in (ours, podman):
            for n in range(50):
                engine.run("run", "-d", "--name", f"c{n}", "--network", "none", BUSYBOX, "sleep", "1000")
        commands = {"estiva": ours.argv("ps"), "podman": podman.argv("ps")}
        times = clock(ours.account, ours.environment, bench.times(20), commands=commands)
        rows.append(row(f"ps, 50 containers, {who}", times, "podman", 1.0, 0.7))
        for engine in (ours, podman):
            engine.clear()
    return rows


def monitor(bench: Field) -> list[Row]:
    """Memory of the process that watches an idle container."""
    rows = []
    for who, (ours, podman) in bench.pairs.items():
        found = []
        for engine in (ours, podman):
            engine.run("run", "-d", "--name", "idle", "--network", "none", BUSYBOX, "sleep", "1000")
        time.sleep(1)
        for engine in (ours, podman):
            pid = int(engine.run("inspect", "--format", "{{.State.Pid}}", "idle"))
            found.append(proportional_set(parent_of(pid)) / 1024)
        for engine in (ours, podman):
            engine.clear()
        rows.append(Row(f"monitor PSS, {who}", found[0], "conmon", found[1], 0.5, 0.1, unit="KiB", at_most=200))
    return rows


def pull(bench: Field) -> list[Row]:
    """Pull a Debian with Python from a registry on loopback into an empty store, ready to run."""
    layout = images.debian_oci("bookworm", "python3")
    registry = Registry(bench.directory / "registry")
    rows = []
    try:
        name = registry.push(f"oci:{layout}:latest", "debian-python:latest")
        for who, (ours, podman) in bench.pairs.items():
            bar, dream = (0.4, 0.2) if who == "root" else (0.7, 0.4)
            commands, before = {}, {}
            for engine in (ours, podman):
                commands[engine.name] = engine.argv("pull", "--quiet", "--tls-verify=false", name, store="pulled")
                emptying = shlex.join(engine.argv("rmi", "--all", "--force", store="pulled"))
                before[engine.name] = [["/bin/sh", "-c", f"{emptying}; sync"]]
            times = clock(ours.account, ours.environment, bench.times(5), commands=commands, before=before)
            rows.append(row(f"pull Debian+Python, {who}", times, "podman", bar, dream))
    finally:
        registry.stop()
    return rows


def run32(bench: Field) -> list[Row]:
    """32 × `run --rm IMAGE sleep 1` at once."""
    rows = []
    words = ("run", "--rm", "--network", "none", BUSYBOX, "sleep", "1")
    for who, (ours, podman) in bench.pairs.items():
        commands = {"estiva": ours.argv(*words), "podman": podman.argv(*words)}
        times = clock(ours.account, ours.environment, bench.times(3), commands=commands, together=32)
        rows.append(row(f"32 × run sleep 1, {who}", times, "podman", 0.5, None, at_most=3000))
    return rows


CASES: dict[str, Callable[[Field], list[Row]]] = {
    case.__name__: case for case in (run_true, exec_true, ps_50, monitor, pull, run32)
}
