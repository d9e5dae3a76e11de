"""Learned seccomp profiles, and the agents that write them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from estiva.runtime.learned import ALLOW, MARK
from helpers.isolation import WORLD


def allowed(file: Path) -> set[str]:
    """The calls in a profile, without those that every one allows."""
    rules = json.loads(file.read_text())["syscalls"]
    return {name for rule in rules if rule["action"] == ALLOW and rule.get("comment") != MARK for name in rule["names"]}


def agents() -> list[int]:
    found = []
    for pid in WORLD.processes():
        try:
            if b"learning_agent.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def no_agent_left() -> bool:
    deadline = time.monotonic() + 10
    while agents() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not agents()
