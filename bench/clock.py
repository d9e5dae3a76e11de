"""Time whole commands, in turn, as the user this program runs as.

    python3 -I -S clock.py < request

The request is JSON: ``commands`` (label → argument list), ``rounds``, ``environment``, ``before`` (label → command run
before each timing, not timed), ``together`` (how many of one command to start at once).  The answer is label → list of
seconds.  Each round runs every command once, so that a busy moment of the machine hits all of them; one round more, the
first, is not counted.
"""

from __future__ import annotations

import json
import os
import sys
import time


def start(command: list[str], environment: dict[str, str], stderr: int) -> int:
    """Start a command with nothing to read and nobody to write to; returns its process id."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, stderr, 2),
    ]
    return os.posix_spawn(command[0], command, environment, file_actions=actions)


def seconds_of(command: list[str], environment: dict[str, str], together: int) -> float:
    """How long it takes until all of *together* such processes have ended well."""
    stderr = os.memfd_create("stderr")
    began = time.perf_counter()
    pids = [start(command, environment, stderr) for _ in range(together)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    took = time.perf_counter() - began
    size = os.fstat(stderr).st_size
    if any(codes):
        message = os.pread(stderr, size, 0).decode(errors="replace")
        sys.exit(f"{' '.join(command)}: exit codes {sorted(set(codes))}\n{message}")
    os.close(stderr)
    return took


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    environment = request["environment"]
    times: dict[str, list[float]] = {label: [] for label in request["commands"]}
    for turn in range(request["rounds"] + 1):
        for label, command in request["commands"].items():
            for preparation in request.get("before", {}).get(label, []):
                seconds_of(preparation, environment, 1)
            took = seconds_of(command, environment, request.get("together", 1))
            if turn:
                times[label].append(took)
    json.dump(times, sys.stdout)


main()
