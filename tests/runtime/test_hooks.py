"""Hooks: which run, when, where, with what, and what their failures do.  runtime-spec config.md, runtime.md"""

from __future__ import annotations

import json
import os
import time

import pytest

from estiva.errors import Invalid
from estiva.runtime import hooks

pytestmark = pytest.mark.needs_root

IN_ORDER = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {"path": str(path)}


def use(runtime, **named):
    """Hooks for the bundle; each value one hook or several."""
    runtime.spec["hooks"] = {name: hook if isinstance(hook, list) else [hook] for name, hook in named.items()}


@pytest.fixture
def everywhere(runtime, tmp_path):
    """A directory that is at the same path for the host and in the container."""
    shared = tmp_path / "shared"
    shared.mkdir()
    runtime.spec["mounts"].append(
        {"destination": str(shared), "type": "bind", "source": str(shared), "options": ["rbind", "rw"]}
    )
    return shared


def test_all_six_run_in_order_with_the_state_on_standard_input(runtime, everywhere):
    named = {
        name: script(everywhere / name, f"cat > {everywhere}/{name}.json; echo {name} >> {everywhere}/order")
        for name in IN_ORDER
    }
    use(runtime, **named)
    runtime.spec["annotations"] = {"a": "b"}
    runtime.process("sh", "-c", f"echo program >> {everywhere}/order")
    runtime.create("a")
    seen = {name: json.loads((everywhere / f"{name}.json").read_text()) for name in IN_ORDER[:3]}
    pid = json.loads(runtime("state", "a"))["pid"]
    assert (everywhere / "order").read_text().split() == list(IN_ORDER[:3])
    runtime("start", "a")
    runtime.await_status("a", "stopped")
    runtime("delete", "a")
    order = (everywhere / "order").read_text().split()
    assert sorted(order[4:6]) == ["poststart", "program"]  # the program runs while poststart does
    assert [*order[:4], "poststart", order[6]] == list(IN_ORDER)
    seen.update({name: json.loads((everywhere / f"{name}.json").read_text()) for name in IN_ORDER[3:]})
    statuses = [seen[name]["status"] for name in IN_ORDER]
    assert statuses == ["creating", "creating", "creating", "created", "running", "stopped"]
    # The pid as it is seen where the hook runs.
    assert [seen[name]["pid"] for name in IN_ORDER] == [pid, pid, 1, 1, pid, 0]
    for state in seen.values():
        assert state["id"] == "a"
        assert state["bundle"] == str(runtime.bundle)
        assert state["annotations"] == {"a": "b"}
        assert state["ociVersion"].startswith("1.")


def test_args_env_and_several_hooks_of_one_kind(runtime, everywhere):
    tell = script(everywhere / "tell", f'echo "$0 $*,$WORD,$HOME" >> {everywhere}/told')
    path = tell["path"]
    entries = [
        {"path": path, "args": [path, "x y", "z"], "env": ["WORD=a=b"]},
        {"path": path, "args": [path], "env": []},
        {"path": path},
    ]
    use(runtime, createRuntime=entries, createContainer=entries, startContainer=entries)
    runtime.process("true")
    runtime("run", "a")
    assert (everywhere / "told").read_text().splitlines() == [f"{path} x y z,a=b,", f"{path} ,,", f"{path} ,,"] * 3


def test_hooks_of_the_runtime_see_the_container_before_its_root_is_entered(runtime, tmp_path):
    """They may mount into the root file system: it is a mount at root.path in the container's mount namespace."""
    rootfs = runtime.bundle / "rootfs"
    use(
        runtime,
        createRuntime=script(
            tmp_path / "hook",
            f"pid=$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/')\n"
            f"readlink /proc/self/ns/mnt /proc/self/ns/net > {tmp_path}/mine\n"
            f"readlink /proc/$pid/ns/mnt /proc/$pid/ns/net > {tmp_path}/its\n"
            f"nsenter -t $pid -m mount -t tmpfs made-by-a-hook {rootfs}/tmp\n"
            f"nsenter -t $pid -n ip link add br7 type bridge",
        ),
    )
    runtime.process("sh", "-c", "grep made-by-a-hook /proc/mounts; ls /sys/class/net")
    out = runtime("run", "a")
    assert out.startswith("made-by-a-hook /tmp tmpfs")
    assert out.split()[-2:] == ["br7", "lo"]
    ours = [os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/ns/net")]
    assert (tmp_path / "mine").read_text().split() == ours
    assert not set(ours) & set((tmp_path / "its").read_text().split())


def test_create_container_is_found_outside_and_runs_inside_before_the_pivot(runtime, tmp_path):
    use(
        runtime,
        createContainer=script(
            tmp_path / "hook",
            f"{{ pwd; echo $$; hostname; readlink /proc/self/ns/mnt; }} > {tmp_path}/seen\n"
            "mount -t tmpfs made-by-a-hook tmp",
        ),
    )
    runtime.process("sh", "-c", "readlink /proc/self/ns/mnt; cat /proc/mounts")
    out = runtime("run", "a")
    cwd, pid, name, namespace = (tmp_path / "seen").read_text().split()
    assert (cwd, name) == (str(runtime.bundle / "rootfs"), "estiva")
    assert int(pid) < 10
    assert namespace == out.splitlines()[0]
    assert "made-by-a-hook /tmp tmpfs" in out


def test_start_container_is_found_inside_and_has_the_programs_privileges(runtime):
    runtime.spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
    for no_new_privileges in (True, False):
        look = "grep -E 'CapEff|Seccomp:|NoNewPrivs|^Uid' /proc/self/status"
        script(runtime.bundle / "rootfs/inside", f"{{ {look}; pwd; mkdir /tmp/x; }} >/tmp/hook 2>&1; true")
        use(runtime, startContainer={"path": "/inside"})
        runtime.process(
            "sh", "-c", f"{look}; cat /tmp/hook", noNewPrivileges=no_new_privileges
        )  # fmt: skip
        lines = runtime("run", "a").splitlines()
        assert lines[:4] == lines[4:8]
        assert "Seccomp:\t2" in lines
        assert lines[8] == "/"
        assert "not permitted" in lines[9]


@pytest.mark.parametrize("name", IN_ORDER[:3])
def test_a_hook_of_create_that_fails_undoes_the_container(runtime, tmp_path, name):
    other = script(tmp_path / "other", f"echo ran >> {tmp_path}/later")
    hook = script(tmp_path / "hook", "echo first; echo the reason >&2; exit 3")
    use(runtime, **{name: [hook, other], "poststop": script(tmp_path / "stop", f"cat > {tmp_path}/stopped")})
    runtime.process("true")
    said = runtime("create", "a", code=1)
    assert f"running {name} hook {hook['path']}: exit code 3: the reason" in said
    assert len(said.splitlines()) == 1
    assert runtime("list", "-q") == ""
    assert not (tmp_path / "later").exists()
    assert json.loads((tmp_path / "stopped").read_text())["status"] == "stopped"


def test_a_start_container_hook_that_fails_stops_the_container(runtime):
    runtime.process("sh", "-c", "echo started")
    use(runtime, startContainer={"path": "/bin/false"})
    runtime.process("sh", "-c", "echo started")
    runtime.create("a")
    said = runtime("start", "a", code=1)
    assert "running startContainer hook /bin/false: exit code 1" in said
    assert "started" not in said
    runtime.await_status("a", "stopped")
    runtime("delete", "a")
    assert "startContainer hook" in runtime("run", "a", code=1)
    assert runtime("list", "-q") == ""


def test_a_poststart_hook_that_fails_stops_the_container(runtime):
    use(runtime, poststart={"path": "/bin/false"})
    runtime.process("sleep", "1000")
    runtime.create("a")
    assert "running poststart hook /bin/false: exit code 1" in runtime("start", "a", code=1)
    runtime.await_status("a", "stopped")


def test_a_poststop_hook_that_fails_is_told_and_the_rest_goes_on(runtime, tmp_path):
    use(runtime, poststop=[{"path": "/bin/false"}, script(tmp_path / "hook", f"echo ran > {tmp_path}/ran")])
    runtime.process("true")
    runtime("run", "a")
    assert (tmp_path / "ran").exists()
    assert runtime("list", "-q") == ""


@pytest.mark.parametrize("name", IN_ORDER[:4])
def test_a_hook_that_takes_too_long_is_killed_with_all_it_started(runtime, everywhere, name):
    seconds = 100000 + IN_ORDER.index(name)
    hook = script(everywhere / "hook", f"sleep {seconds} & echo started > {everywhere}/mark; wait")
    use(runtime, **{name: {**hook, "timeout": 1}})
    runtime.process("true")
    began = time.monotonic()
    said = runtime("run", "a", code=1)
    assert time.monotonic() - began < 30
    assert f"running {name} hook {hook['path']}: " in said
    assert "not done within 1 s" in said
    assert (everywhere / "mark").exists()
    deadline = time.monotonic() + 5
    while [pid for pid in os.listdir("/proc") if pid.isdigit() and f"sleep\0{seconds}".encode() in command_line(pid)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


@pytest.mark.parametrize("name", IN_ORDER[:4])
def test_a_hook_that_is_missing(runtime, name):
    use(runtime, **{name: {"path": "/no/such/hook"}})
    runtime.process("true")
    said = runtime("run", "a", code=1)
    assert f"{name} hook /no/such/hook: no such file or directory" in said


def test_a_hook_may_leave_something_in_the_background(runtime, everywhere):
    hook = script(everywhere / "hook", "sleep 30 & echo $! > " + f"{everywhere}/pid")
    use(runtime, createRuntime=hook)
    runtime.process("true")
    began = time.monotonic()
    runtime("run", "a")
    assert time.monotonic() - began < 25
    os.kill(int((everywhere / "pid").read_text()), 9)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "hooks: not an object"),
        ({"prestart": {}}, "hooks.prestart: not a list"),
        ({"poststop": ["x"]}, r"hooks.poststop\[0\]: not an object"),
        ({"prestart": [{}]}, r"hooks.prestart\[0\].path"),
        ({"prestart": [{"path": "relative"}]}, r'hooks.prestart\[0\].path: "relative" is not an absolute path'),
        ({"prestart": [{"path": "/x"}, {"path": "/x", "timeout": 0}]}, r'hooks.prestart\[1\].timeout: "0"'),
        ({"prestart": [{"path": "/x", "args": "y"}]}, r"hooks.prestart\[0\].args: not a list of strings"),
        ({"prestart": [{"path": "/x", "args": ["\ud800"]}]}, "cannot be passed to a program"),
        ({"prestart": [{"path": "/x", "args": ["x"] * 256}]}, r"hooks.prestart\[0\].args: more than 255"),
        ({"prestart": [{"path": "/x\0y"}]}, "cannot be passed to a program"),
        ({"prestart": [{"path": "/x", "env": [1]}]}, r"hooks.prestart\[0\].env: not a list of strings"),
    ],
)
def test_hooks_that_make_no_sense_are_named(given, words):
    with pytest.raises(Invalid, match=words):
        hooks.check(given)
