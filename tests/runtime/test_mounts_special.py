"""File systems of the kernel's own, where only owners of a namespace may mount them; ways into the root; labels."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from estiva.runtime.cgroup import hierarchy
from estiva.runtime.cgroup.mounts import file_systems
from estiva.runtime.compile import compile_plan

pytestmark = pytest.mark.needs_root


def test_control_groups_are_mounted_as_the_machine_has_them(box):
    hierarchies = hierarchy.detect()
    box.around.cgroup_mounts = file_systems(hierarchies)
    options = ["nosuid", "noexec", "nodev", "ro"]
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}
    box.spec["mounts"].append(mount)
    out = box.shell("grep ' /sys/fs/cgroup' /proc/self/mountinfo; mkdir /sys/fs/cgroup/x 2>&1 || true")
    lines = [line for line in out.splitlines() if " - cgroup" in line or " - tmpfs" in line]
    assert len(lines) == (1 if hierarchies.mode == "v2" else len(box.around.cgroup_mounts) + 1)
    for line in lines:
        assert {"ro", "nosuid", "noexec", "nodev"} <= set(line.split()[5].split(","))
    assert "Read-only file system" in out


@pytest.mark.parametrize(("kind", "target"), [("network", "/sys"), ("pid", "/proc"), ("ipc", "/dev/mqueue")])
def test_a_file_system_of_a_namespace_that_is_the_hosts_is_the_hosts(box, kind, target):
    linux = box.spec["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != kind]
    box.in_user_namespace()
    if kind == "ipc":
        box.spec["mounts"].append({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"})
    if kind == "pid":
        box.spec["linux"].update(maskedPaths=[], readonlyPaths=[])
    types = {"/sys": "sysfs", "/proc": "proc", "/dev/mqueue": "mqueue"}
    if kind == "ipc" and not os.path.ismount("/dev/mqueue"):
        pytest.skip("the host has no /dev/mqueue to be bound")
    out = box.shell(f"grep ' {target} ' /proc/self/mountinfo")
    assert f" - {types[target]} " in out
    if kind != "ipc":
        assert {"nosuid", "noexec", "nodev"} <= set(out.split()[5].split(","))


def test_without_pivot_root_the_root_is_moved(runtime):
    runtime.process("ls", "/", "/proc/self/root/..")
    out = runtime("run", "--no-pivot", "a")
    assert out.split().count("bin") == 2
    assert "boot" not in out.split()


def test_a_root_that_is_no_mount_point_and_has_mounts_in_it(runtime):
    below = runtime.bundle / "rootfs/data"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "data", below], check=True)
    try:
        (below / "mark").touch()
        runtime.process("ls", "/data")
        assert runtime("run", "a") == "mark\n"
    finally:
        subprocess.run(["umount", below], check=True)


def test_labels_of_mounts_where_the_kernel_has_them(box):
    """Only the plan: SELinux itself needs the virtual machine."""
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    box.spec["linux"]["mountLabel"] = label
    box.spec["mounts"] += [
        {"destination": "/t", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/q", "type": "mqueue", "source": "mqueue"},
        {"destination": "/b", "type": "bind", "source": "/tmp", "options": ["bind"]},
    ]
    assert "context=" not in str(compile_plan(box.spec, box.around))
    box.around.selinux = True
    lines = [line for line in str(compile_plan(box.spec, box.around)).splitlines() if "context=" in line]
    found = {re.search(r"'(/\S+)'", line)[1]: re.search(r"(\w*context=[^']*)", line)[1] for line in lines}
    assert found == {
        "/dev": f"context={label}", "/dev/pts": f"context={label}", "/t": f"context={label}",
    }  # fmt: skip


def is_alive(pid):
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_create_leaves_no_process_and_its_hook_is_the_last_of_it(runtime, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat > {tmp_path}/seen.new\nmv {tmp_path}/seen.new {tmp_path}/seen\nexec sleep 3\n")
    hook.chmod(0o755)
    runtime.spec["hooks"] = {"createRuntime": [{"path": str(hook)}]}
    runtime.process("sleep", "1000")
    command = subprocess.Popen(runtime.command("create", "a"), cwd=runtime.bundle, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (tmp_path / "seen").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = json.loads((tmp_path / "seen").read_text())["pid"]
    command.send_signal(signal.SIGKILL)
    command.wait()
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    runtime("delete", "--force", "a")
    assert runtime("list", "-q") == ""


@pytest.fixture
def rootless(user, runtime, public_directory):
    """A bundle of an ordinary user with a map of two ranges: change ``spec``, then ``run``."""
    place = public_directory / f"rootless-{os.urandom(4).hex()}"
    shutil.copytree(runtime.bundle, place, symlinks=True)
    made = SimpleNamespace(place=place, user=user, spec=json.loads(json.dumps(runtime.spec)))
    for name, own in (("uid", user.uid), ("gid", user.gid)):
        lines = Path(f"/etc/sub{name}").read_text().splitlines()
        first = next(int(line.split(":")[1]) for line in lines if line.startswith(f"{user.name}:"))
        made.spec["linux"][f"{name}Mappings"] = [
            {"containerID": 0, "hostID": own, "size": 1}, {"containerID": 1, "hostID": first, "size": 1000},
        ]  # fmt: skip
    made.spec["linux"]["namespaces"].append({"type": "user"})
    made.spec["mounts"] = [mount for mount in made.spec["mounts"] if mount["type"] != "cgroup"]
    for mount in made.spec["mounts"]:
        mount["options"] = [option for option in mount.get("options") or () if option != "gid=5"]

    def run(*words):
        made.spec["process"]["args"] = list(words)
        (place / "config.json").write_text(json.dumps(made.spec))
        subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", place], check=True)
        main = str(user.sources / "estiva/runtime/__main__.py")
        result = user.run([user.python, "-I", "-S", main, "run", "--bundle", str(place), "r1"])
        assert result.returncode == 0, result.stderr
        return result.stdout

    made.run = run
    yield made
    shutil.rmtree(place)


def test_a_user_with_subordinate_ids_maps_them_by_newuidmap(rootless):
    """Maps that are not the caller's own to write are written by newuidmap and newgidmap."""
    lines = [line.split() for line in rootless.run("sh", "-c", "cat /proc/self/uid_map; id -u").splitlines()]
    first = rootless.spec["linux"]["uidMappings"][1]["hostID"]
    assert lines == [["0", str(rootless.user.uid), "1"], ["1", str(first), "1000"], ["0"]]


def test_a_users_hook_can_enter_the_namespaces_and_mount_into_the_root(rootless):
    hook = rootless.place / "hook"
    hook.write_text(
        "#!/bin/sh\npid=$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/')\n"
        f"exec nsenter -t $pid -U -m --preserve-credentials mount -t tmpfs made-by-a-hook {rootless.place}/rootfs/tmp\n"
    )
    hook.chmod(0o755)
    rootless.spec["hooks"] = {"createRuntime": [{"path": str(hook), "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]}
    assert "made-by-a-hook /tmp tmpfs" in rootless.run("cat", "/proc/mounts")
