"""What is odd around a command: its files, its streams, its limits.  One line, the exit code of runc, nothing left."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.needs_root


def shell(runtime, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """*script* with the command as ``"$@"``."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *runtime.command(*words)],
        capture_output=True, text=True, timeout=60, check=False, cwd=runtime.bundle, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def nothing_left(runtime) -> None:
    assert runtime("list", "-q") == ""
    if runtime.root.exists():
        assert [name for name in os.listdir(runtime.root) if not name.startswith(".")] == []


@pytest.mark.parametrize("limit", [103, 64, 30])
def test_few_descriptors_suffice(runtime, limit):
    runtime.process("sh", "-c", "echo in; exit 3", rlimits=[])
    said = shell(runtime, f'ulimit -n {limit}; exec "$@"', "run", "a")
    assert (said.returncode, said.stdout, said.stderr) == (3, "in\n", "")


@pytest.mark.parametrize("limit", [30, 12])
def test_descriptors_that_are_passed_on_are_those_given_where_there_are_few(runtime, tmp_path, limit):
    for name in ("x", "y", "z"):
        (tmp_path / name).write_text(name)
    runtime.process("sh", "-c", "cat <&3; cat <&4; cat <&5; ls /proc/self/fd | wc -l", rlimits=[])
    script = f'exec 3<{tmp_path}/x 4<{tmp_path}/y 5<{tmp_path}/z; ulimit -n {limit}; exec "$@"'
    said = shell(runtime, script, "run", "--preserve-fds", "3", "a")
    if limit == 12:
        assert said.returncode == 1
        assert said.stderr.endswith("oo many open files; raise the limit, ulimit -n\n")
        assert said.stderr.count("\n") == 1
        nothing_left(runtime)
    else:
        assert (said.returncode, said.stdout) == (0, "xyz7\n"), said.stderr


@pytest.mark.parametrize("kind", ["directory", "fifo", "device"])
def test_a_configuration_is_a_regular_file(runtime, kind):
    path = runtime.bundle / "config.json"
    path.unlink(missing_ok=True)
    {"directory": path.mkdir, "fifo": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/zero")}[kind]()
    assert runtime("run", "a", code=1).endswith("config.json: not a regular file\n")
    nothing_left(runtime)


def test_a_log_that_cannot_be_written_is_told_at_once(runtime, tmp_path):
    runtime.process("true")
    for path in (tmp_path, tmp_path / "no" / "log"):
        said = runtime("--log", str(path), "run", "a", code=1)
        assert said.startswith(f"estiva-runtime: {path}: ")
        assert said.count("\n") == 1


def test_a_state_directory_without_room_is_named_and_left_empty(runtime, tmp_path):
    runtime.process("true")
    runtime.root.mkdir()
    script = f'mount -t tmpfs -o nr_inodes=3 none {runtime.root}; "$@"; echo $?; ls {runtime.root}'
    said = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *runtime.command("run", "a")],
        capture_output=True, text=True, timeout=60, check=False, cwd=runtime.bundle, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert said.stdout == "1\n"
    assert said.stderr == f"estiva-runtime: {runtime.root}/a/state.json: No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_container_runs_without_the_standard_streams(runtime, closed):
    runtime.process("sh", "-c", "exit 3")
    assert shell(runtime, f'"$@" {closed}', "run", "a").returncode == 3
    nothing_left(runtime)


@pytest.mark.parametrize("words", [("list",), ("features",), ("--version",), ("run", "--help")], ids=str)
def test_an_answer_that_nobody_gets_is_a_failure_of_one_line(runtime, words):
    for end, why in ((">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")):
        said = shell(runtime, f'"$@" {end}', *words)
        assert (said.returncode, said.stderr) == (1, f"estiva-runtime: writing to standard output: {why}\n")
    said = shell(runtime, '{ "$@"; echo $? >&2; } | true', *words)
    assert said.stderr in ("141\n", "0\n")  # the latter where true was slower
    assert shell(runtime, '"$@" >&- 2>&-', *words).returncode == 1


@pytest.mark.parametrize(
    "state",
    [
        "", "{", "[]", "null", "{}", '{"version": 9}', '{"pid": "x"}', '{"pid": 1}', "[" * 100_000,
        '{"bundle": "/", "rootfs": "/", "created": "", "owner": 0, "pid": 1, "starttime": "x"}',
    ],
    ids=range(10),
)  # fmt: skip
def test_a_damaged_state_is_named_by_all_and_removed_by_force(runtime, state):
    (runtime.root / "bad").mkdir(parents=True)
    (runtime.root / "bad" / "state.json").write_text(state)
    for words in (["state"], ["start"], ["kill"], ["exec"], ["ps"], ["pause"], ["events", "--stats"], ["delete"]):
        operands = ["bad", "true"] if words == ["exec"] else ["bad"]
        said = runtime(*words, *operands, code=255 if words == ["exec"] else 1)
        assert said.startswith('estiva-runtime: container "bad": its state '), said
        assert said.count("\n") == 1
    assert json.loads(runtime("list", "-f", "json") or "[]") in (None, [])
    runtime("delete", "--force", "bad")
    nothing_left(runtime)
