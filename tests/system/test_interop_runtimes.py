"""The engine on other OCI runtimes, and on its own as a program: the tests of the embedded runtime, and what only an
external one can get wrong.  The whole of tests/system runs this way with ``pytest --engine-runtime NAME tests/system``.
"""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.peer import eventually
from helpers.runtimes import use_runtime
from system.test_cli_containers import (  # noqa: F401  (collected here once more, with this module's fixtures)
    running,
    test_attach_shows_what_comes_and_ends_with_the_code,
    test_kill_sends_the_signal,
    test_logs_select_and_follow,
    test_rename_and_restart,
    test_stop_wait_and_rm,
    test_top_shows_processes_by_descriptor,
)
from system.test_container_options import (  # noqa: F401
    test_a_named_volume_outlives_containers_and_an_anonymous_one_does_not,
    test_a_new_volume_starts_with_the_images_files,
    test_a_users_directory_is_seen_and_can_be_protected,
    test_namespaces_of_another_container_are_joined,
    test_restart_on_failure_counts,
    test_uidmap_gives_the_image_to_the_mapped_ids,
)

pytestmark = pytest.mark.needs_root
PAIRS = ["runc root", "runc user", "crun root", "crun user", "estiva-runtime root"]
NETWORK = ("--network", "none")


@pytest.fixture(params=PAIRS)
def estiva(request: pytest.FixtureRequest) -> Any:
    """The command line, which starts its containers by another runtime."""
    name, _, who = request.param.partition(" ")
    return use_runtime(request.getfixturevalue(f"estiva_{who}"), name)


@pytest.fixture
def ready(estiva: Any) -> Any:
    """The same, with a container ``c`` that waits."""
    estiva.load()
    estiva.run("run", "-d", "--name", "c", "-e", "WORD=there", *NETWORK, "busybox", "sleep", "100")
    return estiva


def test_streams_and_codes_of_a_foreground_run(estiva: Any) -> None:
    estiva.load()
    script = "cat; echo bad >&2; exit 7"
    done = estiva.run("run", "--rm", "-i", *NETWORK, "busybox", "sh", "-c", script, input="given\n", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "given\n", "bad\n")
    assert "nosuch" in estiva.fails(127, "run", "--rm", *NETWORK, "busybox", "nosuch")
    said = estiva.fails(126, "run", "--rm", *NETWORK, "busybox", "/etc")
    assert "/etc" in said or "open executable" in said  # crun does not name it
    assert estiva.out("ps", "-aq") == ""


def test_a_terminal_is_the_containers_own_and_follows_the_size(estiva: Any) -> None:
    estiva.load()
    script = "read x; stty size; tty; exit 3"
    terminal = estiva.terminal("run", "--rm", "-it", *NETWORK, "busybox", "sh", "-c", script, rows=31, columns=101)
    terminal.send("go\n")
    assert "31 101" in terminal.expect("/dev/")
    assert terminal.wait() == 3


def test_signals_are_as_a_program_expects_them(estiva: Any) -> None:
    estiva.load()
    script = "grep -E 'Sig(Ign|Blk)' /proc/self/status"
    assert estiva.out("run", "--rm", *NETWORK, "busybox", *script.split(" ", 1)[:1], "-E", "Sig(Ign|Blk)",
                      "/proc/self/status").split()[1::2] == ["0" * 16] * 2  # fmt: skip


def test_exec_gets_user_directory_environment_and_code(ready: Any) -> None:
    words = ["exec", "-u", "5:6", "-w", "/tmp", "-e", "MORE=1", "c", "sh", "-c", "id -u; pwd; echo $WORD$MORE; exit 9"]
    done = ready.run(*words, check=False)
    assert (done.returncode, done.stdout) == (9, "5\n/tmp\nthere1\n")
    assert ready.run("exec", "-i", "c", "cat", input="through").stdout == "through"
    assert "nosuch" in ready.fails(127, "exec", "c", "nosuch")
    said = ready.fails(126, "exec", "c", "/etc")
    assert "/etc" in said or "open executable" in said  # crun does not name it
    terminal = ready.terminal("exec", "-it", "c", "sh", "-c", "tty; exit 4")
    terminal.expect("/dev/pts/")
    assert terminal.wait() == 4


def test_exec_side_by_side_and_nothing_stays_behind(ready: Any) -> None:
    def one(number: int) -> str:
        return str(ready.out("exec", "c", "sh", "-c", f"sleep 0.2; echo {number}"))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(4))) == ["0", "1", "2", "3"]
    ready.run("exec", "-d", "c", "sh", "-c", "echo made > /made")
    assert eventually(lambda: ready.run("exec", "c", "cat", "/made", check=False).stdout) == "made\n"
    (run_dir,) = (ready.run_root / "containers").iterdir()
    assert eventually(lambda: not [path for path in run_dir.iterdir() if path.name.startswith("exec-")])


def test_descriptors_are_passed_on(ready: Any) -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"one\ntwo\n")
    os.close(write_fd)
    script = "read word <&3; echo $word"
    try:
        for word, command in (("one", ("run", "--rm", *NETWORK)), ("two", ("exec",))):
            name = "busybox" if command[0] == "run" else "c"
            argv = ready.argv(*command, "--preserve-fds", "1", name, "sh", "-c", script)
            shell = ["bash", "-c", f'exec 3<&{read_fd} {read_fd}<&-; exec "$@"', "x", *argv]
            done = subprocess.run(
                shell, pass_fds=[read_fd], env=ready.env, text=True, capture_output=True, timeout=30, check=False,
                **ready.account.identity(),
            )  # fmt: skip
            assert (done.returncode, done.stdout) == (0, f"{word}\n"), done.stderr
    finally:
        os.close(read_fd)


def test_limits_hold_where_the_engine_looks(ready: Any) -> None:
    if ready.rootless:
        pytest.skip("an ordinary user is delegated no cgroups here")
    words = ("-m", "16m", "--memory-swap", "16m", "busybox", "sh", "-c", "head -c 60000000 /dev/zero | tail; true")
    ready.run("run", "-d", "--name", "big", *NETWORK, *words)
    ready.run("wait", "big")
    assert ready.json("inspect", "big")[0]["State"]["OOMKilled"]


def test_init_reaps_and_passes_signals_on(estiva: Any) -> None:
    estiva.load()
    script = "trap 'exit 6' TERM; (true &); cat /proc/1/comm; echo ready; while :; do sleep 0.1; done"
    estiva.run("run", "-d", "--init", "--name", "c", *NETWORK, "busybox", "sh", "-c", script)
    eventually(lambda: "ready" in estiva.out("logs", "c"))
    assert estiva.out("logs", "c").splitlines() == ["init", "ready"]
    with pytest.raises(AssertionError):  # process 1 cannot be written to, whoever it is
        estiva.run("exec", "c", "sh", "-c", "echo > /proc/1/exe")
    estiva.run("stop", "c")
    assert estiva.out("wait", "c") == "6"


def test_a_device_by_another_name(estiva: Any) -> None:
    estiva.load()
    script = "head -c 3 /dev/nil | wc -c"
    assert estiva.out("run", "--rm", *NETWORK, "--device", "/dev/zero:/dev/nil", "busybox", "sh", "-c", script) == "3"


def test_nothing_is_left_when_the_monitor_is_killed(ready: Any) -> None:
    pid = int(ready.out("inspect", "--format", "{{.State.Pid}}", "c"))
    monitor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(monitor, 9)
    eventually(lambda: not os.path.exists(f"/proc/{monitor}"))
    ready.run("rm", "--force", "--time", "0", "c")
    assert eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    assert json.loads(ready.out("ps", "-a", "--format", "json")) == []
