"""The command ``estiva-runtime`` on bundles, as engines and people use it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from estiva.errors import Invalid
from estiva.runtime.cgroup import hierarchy
from estiva.runtime.cli import bundle, control
from estiva.runtime.cli.version import OCI_VERSION

pytestmark = pytest.mark.needs_root


def test_run_passes_output_input_and_exit_code_on(runtime):
    runtime.process("sh", "-c", "read word; echo got $word; echo $$; exit 7")
    assert runtime("run", "a", text="hello\n", code=7) == "got hello\n1\n"
    assert runtime("list", "-q") == ""


def test_run_many_times_always_starts(runtime):
    runtime.process("true")
    for _ in range(10):
        runtime("run", "a")


def test_a_container_goes_from_created_to_running_to_stopped(runtime, tmp_path):
    runtime.process("sh", "-c", "echo out; sleep 100")
    with open(tmp_path / "out", "w") as output:
        runtime.create("a", "--pid-file", str(tmp_path / "pid"), output=output)
    state = json.loads(runtime("state", "a"))
    assert (state["id"], state["status"], state["bundle"]) == ("a", "created", str(runtime.bundle))
    assert state["pid"] == int((tmp_path / "pid").read_text())
    assert (tmp_path / "out").read_text() == ""
    runtime("start", "a")
    runtime.await_status("a", "running")
    assert "cannot start an already running container" in runtime("start", "a", code=1)
    assert "that is not stopped: running" in runtime("delete", "a", code=1)
    (listed,) = json.loads(runtime("list", "-f", "json"))
    assert (listed["id"], listed["status"]) == ("a", "running")
    runtime("kill", "a", "KILL")
    runtime.await_status("a", "stopped")
    assert (tmp_path / "out").read_text() == "out\n"
    assert "not running" in runtime("kill", "a", code=1)
    runtime("delete", "a")
    assert "does not exist" in runtime("state", "a", code=1)


def test_an_id_is_used_once(runtime):
    runtime.process("sleep", "100")
    runtime.create("a")
    assert 'container "a": container with given ID already exists' in runtime("create", "a", code=1)
    assert "not made of" in runtime("create", "../x", code=1)


def test_create_says_that_the_program_is_missing_and_leaves_nothing(runtime):
    runtime.process("nosuch")
    assert "executable file 'nosuch' not found in $PATH" in runtime("create", "a", code=1)
    runtime.process("/tmp")
    assert "permission denied" in runtime("create", "a", code=1)
    assert runtime("list", "-q") == ""


def test_failures_are_logged_as_json_for_engines(runtime, tmp_path):
    log = tmp_path / "log"
    runtime("--log", str(log), "--log-format", "json", "state", "nobody", code=1)
    entry = json.loads(log.read_text())
    assert (entry["level"], entry["msg"]) == ("error", 'container "nobody": container does not exist')


def test_exec_runs_in_the_containers_namespaces_and_cgroup(runtime, tmp_path):
    runtime.process("sleep", "100")
    runtime.create("a")
    runtime("start", "a")
    runtime.await_status("a", "running")
    assert runtime(
        "exec", "-e", "WORD=hi", "--cwd", "/tmp", "a", "sh", "-c", "hostname; pwd; echo $WORD; exit 5", code=5
    ) == ("estiva\n/tmp\nhi\n")
    assert runtime("exec", "--user", "7:8", "a", "id", "-u") == "7\n"
    assert "executable file 'nosuch' not found in $PATH" in runtime("exec", "a", "nosuch", code=255)
    process = {"args": ["sleep", "50"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (tmp_path / "process.json").write_text(json.dumps(process))
    words = ["exec", "--detach", "--process", str(tmp_path / "process.json"), "--pid-file", str(tmp_path / "pid"), "a"]
    subprocess.run(
        runtime.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60
    )
    pid = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x0050\x00"
    first = json.loads(runtime("state", "a"))["pid"]
    assert Path(f"/proc/{pid}/cgroup").read_text() == Path(f"/proc/{first}/cgroup").read_text()


def test_limits_of_the_bundle_hold_and_can_be_updated(runtime):
    found = hierarchy.detect()
    if "pids" not in found.v1 and "pids" not in found.v2_controllers:
        pytest.skip("no pids controller")
    runtime.spec["linux"]["resources"]["pids"] = {"limit": 33}
    runtime.process("sleep", "100")
    runtime.create("a")
    runtime("start", "a")
    (path,) = [f"{mount}/estiva/a/pids.max" for mount in found.mounts() if os.path.exists(f"{mount}/estiva/a/pids.max")]
    assert Path(path).read_text() == "33\n"
    runtime("update", "--pids-limit", "44", "a")
    assert Path(path).read_text() == "44\n"
    runtime("update", "-r", "-", "a", text='{"pids": {"limit": 55}}')
    assert Path(path).read_text() == "55\n"


def test_pause_stops_a_container_and_delete_force_ends_it(runtime):
    runtime.process("sleep", "100")
    runtime.create("a")
    runtime("start", "a")
    runtime.await_status("a", "running")
    runtime("pause", "a")
    assert runtime.status("a") == "paused"
    runtime("resume", "a")
    assert runtime.status("a") == "running"
    runtime("pause", "a")
    runtime("delete", "--force", "a")
    runtime("delete", "--force", "a")


def test_a_container_is_confined_by_its_filter_and_capabilities(runtime):
    runtime.spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    runtime.process("sh", "-c", "mkdir /tmp/x; grep -E 'Seccomp:|NoNewPrivs|CapEff' /proc/self/status")
    seen = runtime("run", "a")
    assert "Seccomp:\t2" in seen
    assert "NoNewPrivs:\t1" in seen
    assert "CapEff:\t0000000020000420" in seen
    assert not (runtime.bundle / "rootfs/tmp/x").exists()
    assert [name.suffix for name in (runtime.root / ".seccomp").iterdir()] == [".bpf"]


def test_a_terminal_of_its_own_and_by_console_socket(runtime, tmp_path):
    import socket

    runtime.process("sh", "-c", "[ -t 0 ] && [ -t 1 ] && echo terminal; exit 3", terminal=True)
    assert "cannot allocate tty if estiva-runtime will detach" in runtime("create", "a", code=1)
    assert runtime("run", "a", code=3).strip() == "terminal"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen(1)
        runtime.create("b", "--console-socket", str(tmp_path / "console"))
        connection, _ = listener.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 64, 1)
    runtime("start", "b")
    assert os.read(master, 100).strip() == b"terminal"
    os.close(master)


def test_descriptors_are_preserved_when_asked(runtime):
    runtime.process("sh", "-c", "cat <&3; ls /proc/self/fd | wc -l")
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"through\n")
    os.close(write_fd)
    shell = f'exec 3<&{read_fd} {read_fd}<&-; exec "$@"'
    command = ["bash", "-c", shell, "x", *runtime.command("run", "--preserve-fds", "1", "a")]
    result = subprocess.run(
        command, pass_fds=[read_fd], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        cwd=runtime.bundle,
    )  # fmt: skip
    os.close(read_fd)
    assert result.stdout.splitlines()[0] == "through", result.stderr


def test_features_and_version_are_told(runtime):
    told = json.loads(runtime("features"))
    assert told["ociVersionMax"] == OCI_VERSION
    assert {"mount", "pid", "user"} <= set(told["linux"]["namespaces"])
    assert told["linux"]["seccomp"]["enabled"]
    assert f"spec: {OCI_VERSION}" in runtime("--version")


def test_spec_writes_a_configuration_once(runtime, tmp_path):
    target = tmp_path / "new"
    target.mkdir()
    runtime("spec", "--bundle", str(target))
    bundle.check(json.loads((target / "config.json").read_text()))
    assert "it exists" in runtime("spec", "--bundle", str(target), code=1)


def test_signals_are_numbers_and_names():
    assert [control.signal_number(text) for text in ("9", "KILL", "sigterm", "SIGRTMIN+3")] == [9, 9, 15, 37]
    with pytest.raises(Invalid, match="SIGNOPE"):
        control.signal_number("SIGNOPE")


def test_a_created_container_can_be_ended_by_a_signal_its_program_never_saw(runtime):
    runtime.process("sleep", "100")
    runtime.create("a")
    runtime("kill", "a", "TERM")
    runtime.await_status("a", "stopped")
    assert "cannot start a container that has stopped" in runtime("start", "a", code=1)
    assert "cannot exec in a stopped container" in runtime("exec", "a", "true", code=255)
    runtime("delete", "a")
