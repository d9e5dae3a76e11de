"""Notifications of the seccomp filter: an agent gets the listener, whatever the call or action, or nothing is left."""

from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path

import pytest

from estiva.errors import Invalid
from estiva.runtime.cli.version import OCI_VERSION
from estiva.runtime.seccomp import agent, compile_cached, filter_flags
from helpers.agent import Agent
from helpers.cli import BUSYBOX

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("no_leaks")]
MKDIR, EXECVE, SENDMSG = (83, 59, 46) if os.uname().machine == "x86_64" else (34, 221, 211)
STATE = {"ociVersion": "1.2.0", "id": "box", "status": "creating", "pid": 0, "bundle": "/b"}


def notifying(path: Path, *names: str, **more: object) -> dict[str, object]:
    """A section that allows all but asks about *names*; about every call without any."""
    if not names:
        return {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": str(path), **more}
    rule = {"names": list(names), "action": "SCMP_ACT_NOTIFY"}
    return {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path), "syscalls": [rule], **more}


def full(number: int, _arguments: tuple[int, ...]) -> tuple[int, int, int] | None:
    """There is no room for directories."""
    return (0, errno.ENOSPC, 0) if number == MKDIR else None


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_an_agent_answers_for_the_kernel(runtime, tmp_path, no_new_privileges):
    """config-linux.md "The Container Process State": one document with the descriptor, then the end."""
    section = notifying(tmp_path / "agent", "mkdir", "mkdirat", listenerMetadata="for you")
    runtime.spec["linux"]["seccomp"] = section
    runtime.spec["annotations"] = {"org.example.long": "x" * 3000}
    runtime.process("sh", "-c", "mkdir /tmp/x; echo $?; pwd", noNewPrivileges=no_new_privileges)
    with Agent(tmp_path / "agent", full) as told:
        said = runtime("run", "a")
    assert said == "1\n/\n"
    assert not (runtime.bundle / "rootfs/tmp/x").exists()
    assert told.numbers() == {MKDIR}
    (state,) = told.states
    assert (state["fds"], state["metadata"], state["ociVersion"]) == (["seccompFd"], "for you", OCI_VERSION)
    inner = state["state"]
    assert (inner["id"], inner["status"], inner["bundle"]) == ("a", "creating", str(runtime.bundle))
    assert inner["annotations"] == runtime.spec["annotations"]
    assert inner["pid"] == state["pid"] > 1


def test_the_pid_told_is_the_containers(runtime, tmp_path):
    runtime.spec["linux"]["seccomp"] = notifying(tmp_path / "agent", "mkdir")
    with Agent(tmp_path / "agent") as told:
        pid = runtime.start("a")
        assert told.states[0]["pid"] == pid
        runtime("delete", "--force", "a")


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("init", [True, False])
def test_every_call_may_be_notified(box, tmp_path, no_new_privileges, init):
    """Even those that other runtimes need to pass the listener on; the program's execve is among the first."""
    section = notifying(tmp_path / "agent", flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])
    box.around.seccomp = compile_cached(section, None)
    box.around.seccomp_flags = filter_flags(section)
    box.around.seccomp_agent = agent(section, STATE)
    box.around.init = init
    box.spec["process"]["noNewPrivileges"] = no_new_privileges
    with Agent(tmp_path / "agent", full) as told:
        assert box.run("sh", "-c", "mkdir /x || echo full; echo done") == 0
    assert box.out == b"full\ndone\n"
    assert {MKDIR, EXECVE} <= told.numbers()
    if no_new_privileges and not init:
        assert told.calls[0][0] == EXECVE  # nothing of the helper's own is filtered
    assert SENDMSG not in told.numbers()


def test_the_program_has_no_listener_nor_a_second_thread(box, tmp_path):
    section = notifying(tmp_path / "agent", "mkdir")
    box.around.seccomp = compile_cached(section, None)
    box.around.seccomp_flags = filter_flags(section)
    box.around.seccomp_agent = agent(section, STATE)
    with Agent(tmp_path / "agent"):
        out = box.shell("ls -l /proc/self/fd | grep -c seccomp; grep -E 'Threads|Seccomp:' /proc/1/status")
    assert out.split() == ["0", "Threads:", "1", "Seccomp:", "2"]


def test_an_executed_program_gets_a_listener_of_its_own(runtime, tmp_path):
    runtime.spec["linux"]["seccomp"] = notifying(tmp_path / "agent", "mkdir", "mkdirat")
    with Agent(tmp_path / "agent", full) as told:
        pid = runtime.start("a")
        assert "No space left" in runtime("exec", "a", "mkdir", "/tmp/x", code=1)
        assert [state["state"]["pid"] for state in told.states] == [pid, pid]
        assert told.states[0]["pid"] == pid != told.states[1]["pid"]
        assert told.states[1]["state"]["status"] == "running"
        runtime("delete", "--force", "a")


@pytest.mark.parametrize("kind", ["missing", "nobody", "a file"])
def test_without_an_agent_nothing_starts_and_nothing_is_left(runtime, tmp_path, kind):
    path = tmp_path / "agent"
    if kind == "nobody":
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(str(path))
    elif kind == "a file":
        path.write_text("")
    runtime.spec["linux"]["seccomp"] = notifying(path)
    runtime.process("touch", "/tmp/started")
    said = runtime("run", "a", code=1)
    assert f"send the listener to the seccomp agent at {path}: " in said
    assert runtime("list", "-q") == ""
    assert not (runtime.bundle / "rootfs/tmp/started").exists()


def test_without_an_agent_nothing_is_executed(runtime, tmp_path):
    runtime.spec["linux"]["seccomp"] = notifying(tmp_path / "agent", "mkdir")
    with Agent(tmp_path / "agent"):
        runtime.start("a")
        (tmp_path / "agent").unlink()
        assert "no such file or directory" in runtime("exec", "a", "true", code=255)
        runtime("delete", "--force", "a")


def test_calls_do_not_exist_once_the_agent_has_gone(runtime, tmp_path):
    """seccomp_unotify(2): ENOSYS when nobody holds the listener."""
    runtime.spec["linux"]["seccomp"] = notifying(tmp_path / "agent", "mkdir", "mkdirat")
    with Agent(tmp_path / "agent") as told:
        runtime.start("a", "sh", "-c", "trap 'mkdir /tmp/y 2>/tmp/said; exit' USR1; while :; do sleep 0.1; done")
        assert len(told.states) == 1
    runtime("kill", "a", "USR1")
    runtime.await_status("a", "stopped")
    assert "not implemented" in (runtime.bundle / "rootfs/tmp/said").read_text()


def test_the_engine_tells_an_agent_for_root_and_for_users(estiva):
    """An ordinary user's monitor may not look into the container's process; it need not."""
    estiva.load()
    profile = estiva.work / "profile.json"
    profile.write_text(json.dumps(notifying(estiva.work / "agent", "mkdir", "mkdirat")))
    profile.chmod(0o644)
    options = ["--security-opt", f"seccomp={profile}"]
    with Agent(estiva.work / "agent", full) as told:
        (estiva.work / "agent").chmod(0o777)
        ended = estiva.run("run", "--name", "a", *options, BUSYBOX, "mkdir", "/x", check=False)
        assert "No space left" in ended.stderr
        estiva.out("run", "-d", "--name", "b", *options, BUSYBOX, "sleep", "100")
        assert "No space left" in estiva.run("exec", "b", "mkdir", "/x", check=False).stderr
        estiva.out("rm", "-f", "-t0", "a", "b")
    assert len(told.states) == 3
    assert [state["state"]["status"] for state in told.states] == ["creating", "creating", "running"]


def test_the_agents_fields_are_checked():
    with pytest.raises(Invalid, match="listenerPath: missing; SCMP_ACT_NOTIFY needs an agent"):
        agent({"defaultAction": "SCMP_ACT_NOTIFY"}, STATE)
    with pytest.raises(Invalid, match="listenerMetadata: given without listenerPath"):
        agent({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}, STATE)
    with pytest.raises(Invalid, match="is not an absolute path"):
        agent({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "agent.sock"}, STATE)
    assert agent({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}, STATE) == ("", [])


def test_the_document_is_json_whatever_is_in_it():
    odd = {**STATE, "annotations": {"k": 'quote " and pid": 3 \n'}}
    path, parts = agent({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x", "listenerMetadata": '"}'}, odd)
    document = json.loads("77".join(parts))
    assert (path, document["pid"], document["metadata"]) == ("/x", 77, '"}')
    assert document["state"] == {**odd, "pid": 77}
    executed = json.loads(
        "78".join(agent({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"}, odd, executed=True)[1])
    )
    assert (executed["pid"], executed["state"]) == (78, odd)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["accepts nobody", "reads nothing"])
def test_an_agent_that_does_not_listen_is_given_up(runtime, tmp_path, kind):
    runtime.spec["linux"]["seccomp"] = notifying(tmp_path / "agent", "mkdir")
    runtime.process("true")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as other:
        listening.bind(str(tmp_path / "agent"))
        if kind == "accepts nobody":
            listening.listen(0)
            other.connect(str(tmp_path / "agent"))  # and so there is no place left
        else:
            listening.listen()
            runtime.spec["annotations"] = {"org.example.long": "x" * (2 << 20)}
            runtime.process("true")
        said = runtime("run", "a", code=1)
    assert "send the listener to the seccomp agent at" in said
    assert "connection timed out" in said
    assert runtime("list", "-q") == ""
