"""Containers on the command line: lists, filters, logs, stopping, waiting, removing, attaching."""

from __future__ import annotations

import time
from typing import Any

import pytest

from helpers.cli import BUSYBOX

LOOP = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def running(estiva: Any) -> str:
    """The id of a container ``web`` that runs and ends with 7 when it is told to."""
    estiva.load()
    identity = estiva.out("run", "-d", "--name", "web", "--network", "none", "-l", "app=x", "busybox", "sh", "-c", LOOP)
    deadline = time.monotonic() + 20
    while "ready" not in estiva.out("logs", "web"):
        assert time.monotonic() < deadline
    return str(identity)


def test_ps_shows_what_runs_and_with_all_everything(estiva: Any, running: str) -> None:
    other = estiva.out("create", "--network", "none", "--name", "other", "busybox", "true")
    lines = estiva.out("ps").splitlines()
    assert lines[0].split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert len(lines) == 2
    assert lines[1].startswith(running[:12])
    assert " Up " in lines[1]
    assert estiva.out("ps", "-aq", "--no-trunc").splitlines() == [running, other]
    assert estiva.out("ps", "-lq") == other[:12]
    assert estiva.out("ps", "-a", "--sort", "names", "--format", "{{.Names}}").splitlines() == ["other", "web"]
    row = estiva.json("ps", "--format", "json")[0]
    assert (row["Id"], row["Names"], row["State"], row["ExitCode"]) == (running, ["web"], "running", 0)
    assert row["Pid"] > 1
    assert estiva.out("ps", "--ns", "--noheading").split()[:2] == [running[:12], "web"]
    assert "virtual" in estiva.out("ps", "--size")


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["name=we"], ["web"]),
        (["status=created"], ["other"]),
        (["status=created", "status=running"], ["other", "web"]),
        (["label=app"], ["web"]),
        (["label=app=y"], []),
        (["ancestor=busybox"], ["other", "web"]),
        (["before=other"], ["web"]),
        (["since=web"], ["other"]),
        (["name=web", "status=created"], []),
    ],
)
def test_ps_filters(estiva_root: Any, filters: list[str], names: list[str]) -> None:
    estiva_root.load()
    estiva_root.run("run", "-d", "--name", "web", "--network", "none", "-l", "app=x", "busybox", "sleep", "60")
    estiva_root.run("create", "--network", "none", "--name", "other", "busybox", "true")
    words = [word for each in filters for word in ("--filter", each)]
    assert sorted(estiva_root.out("ps", "-a", "--format", "{{.Names}}", *words).split()) == names


def test_wrong_filters_are_one_line(estiva_root: Any) -> None:
    assert "foo" in estiva_root.fails(125, "ps", "--filter", "foo=bar")
    assert "foo" in estiva_root.fails(125, "ps", "--filter", "foo")


def test_stop_wait_and_rm(estiva: Any, running: str) -> None:
    assert "cannot be removed without force" in estiva.fails(2, "rm", "web")
    waiting = estiva.popen("wait", "web", stdout=-1)
    time.sleep(0.3)
    assert estiva.out("stop", "--time", "20", "web") == "web"
    assert waiting.communicate(timeout=20)[0] == "7\n"
    assert "Exited (7)" in estiva.out("ps", "-a")
    assert estiva.out("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web") == "exited 7"
    assert estiva.out("rm", "web") == "web"
    estiva.fails(1, "rm", "web")


def test_kill_sends_the_signal(estiva: Any, running: str) -> None:
    assert estiva.out("kill", "--signal", "TERM", running[:10]) == running[:10]
    assert estiva.out("wait", "web") == "7"
    estiva.fails(125, "kill", "web")


def test_several_that_ignore_the_signal_are_stopped_side_by_side(estiva_root: Any) -> None:
    estiva_root.load()
    for name in ("a", "b", "c"):
        estiva_root.run("run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "100")
    started = time.monotonic()
    assert estiva_root.out("stop", "-t", "2", "a", "b", "c").splitlines() == ["a", "b", "c"]
    assert time.monotonic() - started < 5


def test_rename_and_restart(estiva: Any, running: str) -> None:
    estiva.run("rename", "web", "site")
    assert estiva.out("ps", "--format", "{{.Names}}") == "site"
    before = estiva.out("inspect", "--format", "{{.State.Pid}}", "site")
    assert estiva.out("restart", "site") == "site"
    assert estiva.out("inspect", "--format", "{{.State.Pid}}", "site") != before


def test_top_shows_processes_by_descriptor(estiva: Any, running: str) -> None:
    lines = estiva.out("top", "web", "pid", "comm").splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert lines[1].split() == ["1", "sh"]


def test_logs_select_and_follow(estiva: Any) -> None:
    estiva.load()
    script = "echo one; echo two; echo bad >&2; sleep 1.5; echo three"
    estiva.run("run", "-d", "--name", "talk", "--network", "none", "busybox", "sh", "-c", script)
    following = estiva.popen("logs", "-f", "talk", stdout=-1, stderr=-1)
    out, err = following.communicate(timeout=30)
    assert (out, err) == ("one\ntwo\nthree\n", "bad\n")
    assert estiva.out("logs", "--tail", "1", "talk") == "three"
    stamped = estiva.out("logs", "-t", "--tail", "1", "talk")
    assert stamped.endswith(" three")
    assert stamped[4] == "-"
    assert estiva.out("logs", "--since", "1h", "--names", "talk").splitlines()[0] == "talk one"
    assert estiva.out("logs", "--until", "1h", "talk") == ""


def test_attach_shows_what_comes_and_ends_with_the_code(estiva: Any, running: str) -> None:
    attached = estiva.popen("attach", "--no-stdin", "web", stdout=-1, stderr=-1)
    time.sleep(0.7)
    estiva.run("stop", "web")
    assert attached.wait(timeout=20) == 7


def test_cleanup_and_exists(estiva: Any, running: str) -> None:
    assert estiva.run("container", "exists", "web").returncode == 0
    assert estiva.run("container", "exists", "nosuch", check=False).returncode == 1
    estiva.run("stop", "web")
    estiva.run("container", "cleanup", "web")
    assert "Exited (7)" in estiva.out("ps", "-a")


def test_info_and_completion(estiva: Any, running: str) -> None:
    told = estiva.json("info", "--format", "json")
    assert set(told) >= {"host", "store", "version"}
    assert estiva.out("info", "--format", "{{.store.graphRoot}}") == str(estiva.root)
    assert "web\tlocalhost/busybox:latest" in estiva.out("__complete", "stop", "")


def test_rm_depend_removes_those_that_share_a_namespace_too(estiva: Any) -> None:
    estiva.load()
    estiva.run("run", "-d", "--name", "first", BUSYBOX, "sleep", "100")
    estiva.run("run", "-d", "--name", "second", "--network", "container:first", BUSYBOX, "sleep", "100")
    estiva.run("create", "--name", "apart", BUSYBOX, "true")
    estiva.run("rm", "--force", "--time", "0", "--depend", "first")
    assert estiva.run("ps", "--all", "--format", "{{.Names}}").stdout == "apart\n"
