"""Control groups with a real systemd and every controller in v2: scopes, delegation, what the user manager gives."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

import estiva
from helpers.bundle import Runtime

# The tests of root run in a cgroup namespace of their own, in which systemd's cgroups are not to be seen.
OUTSIDE = [] if os.geteuid() else ["nsenter", "--target", "1", "--cgroup", "--mount", "--"]
ROOT = "/sys/fs/cgroup" if os.geteuid() else "/proc/1/root/sys/fs/cgroup"


class SystemdRuntime(Runtime):
    """The command with cgroups by systemd."""

    def command(self, *words: str) -> list[str]:
        return [*OUTSIDE, "env", f"--chdir={self.bundle}", *super().command("--systemd-cgroup", *words)]


def show(unit: str, *properties: str, user: bool = False) -> dict[str, str]:
    names = [f"--property={name}" for name in properties]
    words = [*OUTSIDE, "systemctl", *(["--user"] if user else []), "show", unit, *names]
    output = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    return dict(line.split("=", 1) for line in output.splitlines())


def wait_until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def gone(unit: str, user: bool = False) -> bool:
    return show(unit, "LoadState", user=user) == {"LoadState": "not-found"}


@pytest.fixture
def runtime(tmp_path):
    made = SystemdRuntime(tmp_path)
    if os.geteuid() != 0:
        linux = made.spec["linux"]
        linux["namespaces"] = [*linux["namespaces"], {"type": "user"}]
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
        linux["resources"] = {}
        made.spec["mounts"] = [
            {**mount, "options": [o for o in mount.get("options") or () if o != "gid=5"]}
            for mount in made.spec["mounts"]
        ]
    yield made
    for name in made("list", "-q").split():
        made("delete", "--force", name)


def test_a_container_is_a_scope_of_systemds(runtime) -> None:
    user = os.geteuid() != 0
    runtime.spec["linux"]["cgroupsPath"] = f"{'user' if user else 'machine'}.slice:test:a"
    runtime.spec["linux"]["resources"].update(
        memory={"limit": 64 << 20, "swap": 64 << 20},
        pids={"limit": 40},
        cpu={"quota": 25000, "period": 100000, "shares": 512},
    )
    runtime.spec["annotations"] = {"org.systemd.property.TimeoutStopSec": "7"}
    pid = runtime.start("a", "sleep", "3000")
    unit = "test-a.scope"
    names = ("ActiveState", "ControlGroup", "MemoryMax", "TasksMax", "CPUWeight", "CPUQuotaPerSecUSec", "Delegate")
    shown = show(unit, *names, "TimeoutStopUSec", user=user)
    path = shown.pop("ControlGroup")
    wait_until(lambda: Path(f"{ROOT}{path}/cgroup.procs").read_text() == f"{pid}\n")  # the placeholder is gone
    assert shown == {
        "ActiveState": "active",
        "MemoryMax": str(64 << 20),
        "TasksMax": "40",
        "CPUWeight": "59",
        "CPUQuotaPerSecUSec": "250ms",
        "Delegate": "yes",
        "TimeoutStopUSec": "7s",
    }
    for file, text in (("memory.max", str(64 << 20)), ("pids.max", "40"), ("cpu.max", "25000 100000")):
        assert Path(f"{ROOT}{path}/{file}").read_text() == f"{text}\n"
    runtime("update", "--memory", "96m", "--memory-swap", "96m", "--cpu-quota", "12345", "--pids-limit", "50", "a")
    assert show(unit, "MemoryMax", "TasksMax", user=user) == {"MemoryMax": str(96 << 20), "TasksMax": "50"}
    assert Path(f"{ROOT}{path}/cpu.max").read_text() == "12345 100000\n", "as asked for, not as systemd rounds"
    subprocess.run([*OUTSIDE, "systemctl", *(["--user"] if user else []), "daemon-reload"], check=True, timeout=120)
    assert Path(f"{ROOT}{path}/memory.max").read_text() == f"{96 << 20}\n"
    runtime("exec", "a", "true")
    runtime("pause", "a")
    assert runtime.status("a") == "paused"
    runtime("delete", "--force", "a")
    wait_until(lambda: gone(unit, user))
    assert not os.path.exists(ROOT + path)


def test_devices_stay_closed_when_systemd_reloads(runtime) -> None:
    if os.geteuid() != 0:
        pytest.skip("an ordinary user has no device rules")
    for kind in ("bounding", "effective", "permitted"):
        runtime.spec["process"]["capabilities"][kind] = ["CAP_MKNOD"]
    runtime.start("a", "sh", "-c", "mknod /tmp/mem c 1 1; sleep 1000")
    subprocess.run([*OUTSIDE, "systemctl", "daemon-reload"], check=True, timeout=120)
    assert "ok" in runtime("exec", "a", "sh", "-c", "head -c 1 /dev/zero >/dev/null && echo ok")
    said = subprocess.run(runtime.command("exec", "a", "cat", "/tmp/mem"), capture_output=True, text=True, check=False)
    assert "not permitted" in said.stderr


def test_a_scope_ends_with_its_container_and_with_a_killed_start(runtime) -> None:
    user = os.geteuid() != 0
    runtime.start("a", "sleep", "1")
    unit = "estiva-a.scope"
    wait_until(lambda: gone(unit, user))
    runtime("delete", "a")
    runtime.process("nosuch")
    runtime("run", "a", code=1)
    wait_until(lambda: gone(unit, user))


def test_running_out_of_memory_leaves_no_failed_unit(runtime) -> None:
    user = os.geteuid() != 0
    runtime.spec["linux"]["resources"].update(memory={"limit": 32 << 20, "swap": 32 << 20})
    runtime.start("a", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 1")
    wait_until(lambda: runtime.status("a") == "stopped")
    runtime("delete", "a")
    wait_until(lambda: gone("estiva-a.scope", user))


SESSION = """
import os
from estiva.runtime.cgroup import driver, hierarchy, systemd
found = hierarchy.detect()
print(hierarchy.delegated_parent(found))
print(systemd.enter_user_scope(found, os.environ))
parent = hierarchy.delegated_parent(found)
print(parent)
handle = driver.create(found, f"{parent}/estiva/x", {"pids": {"limit": 5}, "memory": {"limit": 1 << 25}}, rootless=True)
print(open(handle.v2_dir + "/pids.max").read().strip())
open(handle.procs_paths[0], "w").write("0")
print(hierarchy.own_paths()[""] == handle.path)
print(systemd.enter_user_scope(found, os.environ))
"""


def test_a_login_session_is_left_for_a_scope_of_the_users() -> None:
    """What a user has who comes by ssh: a scope of the system's, which the user may not divide."""
    if os.geteuid() != 0:
        pytest.skip("root makes the session")
    import pwd

    uid = pwd.getpwnam("tester").pw_uid
    subprocess.run([*OUTSIDE, "systemctl", "start", f"user@{uid}.service"], check=True, timeout=120)
    sources = os.path.dirname(os.path.dirname(estiva.__file__))
    environment = [f"XDG_RUNTIME_DIR=/run/user/{uid}", "HOME=/home/tester", f"PYTHONPATH={sources}"]
    session = ["systemd-run", "--scope", "--quiet", "--", "runuser", "-u", "tester", "--", "env", "-i", *environment]
    result = subprocess.run(
        [*OUTSIDE, *session, "/usr/bin/python3", "-c", SESSION],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    parent = f"/user.slice/user-{uid}.slice/user@{uid}.service"
    assert result.stdout.splitlines() == ["None", "True", parent, "5", "True", "False"], result.stderr
    os.rmdir(f"{ROOT}{parent}/estiva/x")
    os.rmdir(f"{ROOT}{parent}/estiva")


@pytest.mark.parametrize("restart", ["no", "on-failure:2"])
def test_the_engine_makes_scopes_too(estiva_root, monkeypatch, restart) -> None:
    plain = estiva_root.argv
    monkeypatch.setattr(estiva_root, "argv", lambda *words, **how: [*OUTSIDE, *plain(*words, **how)])
    estiva_root.load()
    words = ("--cgroup-manager", "systemd", "run", "-d", "--name", "c", "--memory", "64m", "--restart", restart)
    program = ("sh", "-c", "[ -e /again ] && exec sleep 1000; touch /again; exit 3")
    container_id = estiva_root.out(*words, "busybox", *(program if restart != "no" else ("sleep", "1000")))
    unit = f"estiva-{container_id}.scope"
    if restart != "no":
        wait_until(lambda: estiva_root.json("inspect", "c")[0]["RestartCount"] == 1)
    assert show(unit, "ActiveState", "MemoryMax") == {"ActiveState": "active", "MemoryMax": str(64 << 20)}
    (inspected,) = estiva_root.json("inspect", "c")
    path = show(unit, "ControlGroup")["ControlGroup"]
    assert inspected["State"]["CgroupPath"] == path
    assert str(inspected["State"]["Pid"]) in Path(f"{ROOT}{path}/cgroup.procs").read_text().split()
    estiva_root.run("rm", "-f", "-t", "0", "c")
    wait_until(lambda: gone(unit))
