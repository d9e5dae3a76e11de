"""Commands killed at any instant, and commands at once: the next command finds its way, and nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from estiva.runtime.cgroup import hierarchy
from estiva.runtime.cli import records

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]
ROUNDS = 20


def processes(word: str) -> list[str]:
    """The command lines in which *word* is one of the words."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                line = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in line:
                found.append(f"{entry}: {b' '.join(line).decode(errors='replace')}")
    return found


def cgroups(name: str) -> list[str]:
    return [
        f"{mount}/estiva/{name}" for mount in hierarchy.detect().mounts() if os.path.exists(f"{mount}/estiva/{name}")
    ]


class Scene:
    """A runtime whose container and programs have names of their own, and what there was before."""

    def __init__(self, runtime, word):
        self.runtime = runtime
        self.word = word
        self.mounts = Path("/proc/self/mountinfo").read_text()
        runtime.process("sleep", word)

    def kill_somewhere(self, longest, *words):
        """Start a command and kill it within *longest* seconds; whether it was killed."""
        command = subprocess.Popen(
            self.runtime.command(*words), cwd=self.runtime.bundle, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(random.random() * longest)
        command.send_signal(signal.SIGKILL)
        return command.wait() == -signal.SIGKILL

    def nothing_is_left(self):
        """After ``delete --force``."""
        deadline = time.monotonic() + 10
        while left := [*processes(self.word), *cgroups("a")]:
            assert time.monotonic() < deadline, left
            time.sleep(0.02)
        assert self.runtime("list", "-q") == ""
        if self.runtime.root.exists():  # the first command may have been killed before it made it
            assert [name for name in os.listdir(self.runtime.root) if not name.startswith(".")] == []
        assert Path("/proc/self/mountinfo").read_text() == self.mounts

    def how_long(self, *words):
        """The time the command takes, for the moments to be spread over it."""
        began = time.monotonic()
        self.runtime.create("a") if words[0] == "create" else subprocess.run(
            self.runtime.command(*words), cwd=self.runtime.bundle, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        return (time.monotonic() - began) * 1.2


@pytest.fixture
def scene(runtime):
    return Scene(runtime, str(100_000 + random.randrange(800_000)))


def test_create_killed_anywhere_leaves_what_delete_clears(scene):
    longest = scene.how_long("create")
    scene.runtime("delete", "--force", "a")
    killed = 0
    for _ in range(ROUNDS):
        killed += scene.kill_somewhere(longest, "create", "a")
        assert len(processes(scene.word)) <= 1
        status = scene.runtime("state", "a", code=None)
        assert "container does not exist" in status or '"stopped"' in status or '"created"' in status, status
        scene.runtime("delete", "--force", "a")
        scene.nothing_is_left()
    assert killed > ROUNDS // 4


def test_a_name_can_be_used_again_after_a_kill_even_without_delete(scene):
    longest = scene.how_long("create")
    scene.runtime("delete", "--force", "a")
    for _ in range(ROUNDS // 4):
        scene.kill_somewhere(longest / 2, "create", "a")
        if "container does not exist" in scene.runtime("state", "a", code=None):
            scene.runtime.create("a")
        scene.runtime("delete", "--force", "a")
    scene.nothing_is_left()


def test_run_killed_anywhere_leaves_what_delete_clears(scene):
    for _ in range(ROUNDS):
        scene.kill_somewhere(0.15, "run", "a")
        scene.runtime("delete", "--force", "a")
        scene.nothing_is_left()


def test_delete_killed_anywhere_can_be_repeated(scene):
    scene.runtime.create("a")
    longest = scene.how_long("delete", "--force", "a")
    for turn in range(ROUNDS):
        scene.runtime.create("a")
        if turn % 2:
            scene.runtime("start", "a")
        scene.kill_somewhere(longest, "delete", "--force", "a")
        scene.runtime("delete", "--force", "a")
        scene.nothing_is_left()


def test_exec_killed_anywhere_leaves_the_container_as_it_was(scene):
    scene.runtime.create("a")
    scene.runtime("start", "a")
    for _ in range(ROUNDS):
        scene.kill_somewhere(0.1, "exec", "a", "sleep", "0.1")
        assert scene.runtime.status("a") == "running"
    time.sleep(0.5)
    assert len(scene.runtime("ps", "--format", "json", "a").split(",")) == 1
    scene.runtime("delete", "--force", "a")
    scene.nothing_is_left()


def at_once(runtime, *commands):
    """Exit code and standard error of commands that are started together."""
    started = [
        subprocess.Popen(
            runtime.command(*words), cwd=runtime.bundle, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )
        for words in commands
    ]  # fmt: skip
    told = [each.communicate(timeout=30)[1] for each in started]
    return [(each.returncode, words) for each, words in zip(started, told, strict=True)]


def test_of_two_starts_one_starts(scene):
    for _ in range(8):
        scene.runtime.create("a")
        results = at_once(scene.runtime, ("start", "a"), ("start", "a"), ("start", "a"))
        assert sorted(code for code, _ in results) == [0, 1, 1], results
        assert scene.runtime.status("a") == "running"
        scene.runtime("delete", "--force", "a")
    scene.nothing_is_left()


def test_of_two_creates_one_creates(scene):
    for _ in range(8):
        with open(os.devnull, "w") as nowhere:
            started = [
                subprocess.Popen(
                    scene.runtime.command("create", "a"), cwd=scene.runtime.bundle, stdin=subprocess.DEVNULL,
                    stdout=nowhere, stderr=nowhere,
                )
                for _ in range(3)
            ]  # fmt: skip
        assert sorted(each.wait(30) for each in started) == [0, 1, 1]
        assert scene.runtime.status("a") == "created"
        scene.runtime("delete", "--force", "a")
    scene.nothing_is_left()


def test_deletes_during_a_create_leave_nothing(scene):
    for turn in range(12):
        creating = subprocess.Popen(
            scene.runtime.command("create", "a"), cwd=scene.runtime.bundle, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(0.01 * turn)
        results = at_once(scene.runtime, ("delete", "--force", "a"), ("delete", "--force", "a"))
        assert [code for code, _ in results] == [0, 0], results
        creating.wait(30)
        scene.runtime("delete", "--force", "a")
        scene.nothing_is_left()


def test_a_number_given_to_another_process_is_not_the_containers(scene):
    """A record whose process has ended, with its number in use again."""
    scene.runtime.create("a")
    record = records.find(str(scene.runtime.root), "a")
    first = record.pid
    scene.runtime("kill", "a", "KILL")
    scene.runtime.await_status("a", "stopped")
    other = subprocess.Popen(["sleep", "100"])
    try:
        record.fields["pid"] = other.pid
        record.save()
        assert scene.runtime.status("a") == "stopped"
        assert "container not running" in scene.runtime("kill", "a", "KILL", code=1)
        scene.runtime("delete", "--force", "a")
        assert other.poll() is None
        assert first != other.pid
    finally:
        other.kill()
        other.wait()
    scene.nothing_is_left()


def test_a_state_that_is_no_json_can_be_deleted(scene):
    scene.runtime.create("a")
    state = scene.runtime.root / "a" / "state.json"
    good = state.read_text()
    state.write_text(good[: len(good) // 2])
    assert "state.json" in scene.runtime("state", "a", code=1)
    assert scene.runtime("list", "-q") == ""
    assert "state.json" in scene.runtime("delete", "a", code=1)
    scene.runtime("delete", "--force", "a")
    scene.nothing_is_left()
