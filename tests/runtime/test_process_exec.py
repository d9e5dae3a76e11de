"""Joining a running container: what the joining process is, and what the container sees of it meanwhile."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from estiva.errors import CommandNotFound, Unavailable
from estiva.runtime import capabilities, plan
from estiva.runtime.cli import information
from estiva.runtime.compile import Surroundings
from estiva.runtime.compile_exec import compile_exec
from estiva.runtime.compile_namespaces import NAMESPACES
from estiva.runtime.launch import launch
from helpers.bundle import Runtime, compile_probe

pytestmark = pytest.mark.needs_root
ALL = sum(NAMESPACES.values())


def give(runtime, *names):
    runtime.spec["process"]["capabilities"] = {
        kind: list(names) for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_who_may_trace_sees_nothing_in_a_joining_process_but_what_the_program_has(runtime, no_new_privileges):
    """With CAP_SYS_PTRACE, in our own user namespace, that a process is not dumpable protects nothing of it."""
    probe = compile_probe(runtime.bundle / "rootfs")
    give(runtime, "CAP_SYS_PTRACE", "CAP_CHOWN")
    runtime.spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}],
    }
    runtime.process(probe, "watch:/tmp/end", noNewPrivileges=no_new_privileges)
    mask, foreign, descriptors = watched(runtime)
    assert set(capabilities.names(int(mask, 16))) == {"CAP_SYS_PTRACE", "CAP_CHOWN"}
    assert (foreign, descriptors) == ("0", "0")


def watched(runtime):
    """What `watch` of probe.c, which is the container's process, saw while 25 programs were executed beside it."""
    with open(runtime.bundle / "seen", "w") as seen:
        runtime.create("a", output=seen)
    runtime("start", "a")
    for _ in range(25):
        runtime("exec", "a", "true")
    (runtime.bundle / "rootfs/tmp/end").touch()
    runtime.await_status("a", "stopped")
    text = (runtime.bundle / "seen").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("permitted=")]
    return [word.partition("=")[2] for word in line.split()]


def test_root_of_a_user_namespace_cannot_look_into_a_joining_process(runtime):
    """Born inside with all that root has, it is not dumpable: only its status, which everybody may read, is seen."""
    for path in (runtime.bundle, *runtime.bundle.parents):
        if path not in (Path("/tmp"), Path("/")):
            path.chmod(0o755)
    (runtime.bundle / "rootfs/tmp").chmod(0o777)
    probe = compile_probe(runtime.bundle / "rootfs")
    give(runtime, "CAP_SYS_PTRACE", "CAP_CHOWN")
    runtime.spec["linux"]["namespaces"].append({"type": "user"})
    for kind in ("uid", "gid"):
        runtime.spec["linux"][f"{kind}Mappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    runtime.process(probe, "watch:/tmp/end")
    assert watched(runtime)[1:] == ["0", "0"]


def test_the_joining_process_enters_the_pid_namespace_last():
    around = Surroundings("")
    around.seccomp = b"filter"
    process = {"args": ["true"], "noNewPrivileges": True}
    codes = [code for code, _ in compile_exec({}, process, ALL & ~NAMESPACES["user"], 100, around).operations]
    assert codes[-3:] == [plan.FORK_INSIDE, plan.SECCOMP, plan.EXEC]
    assert codes.index(plan.CLONE) < codes.index(plan.HIDE) < codes.index(plan.JOIN_FD)


def test_of_a_user_namespace_it_is_hidden_before_it_is_born():
    codes = [code for code, _ in compile_exec({}, {"args": ["true"]}, ALL, 100, Surroundings("")).operations]
    assert codes[:3] == [plan.JOIN_FD, plan.HIDE, plan.CLONE]
    assert plan.FORK_INSIDE not in codes


def test_it_is_a_process_like_the_first(runtime):
    give(runtime, "CAP_CHOWN", "CAP_KILL")
    runtime.spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    runtime.start("a", user={"uid": 9, "gid": 10, "additionalGids": [11], "umask": 0o037}, oomScoreAdj=400)
    script = "id -u; id -G; umask; cat /proc/self/oom_score_adj; grep -E '^(Cap|Secc|NoNew|Groups)' /proc/self/status"
    first = runtime("exec", "a", "sh", "-c", "grep -E '^(Cap|Secc|NoNew|Groups)' /proc/1/status")
    seen = runtime("exec", "a", "sh", "-c", script)
    assert seen == "9\n10 11\n0037\n400\n" + first


def test_other_groups_and_users(runtime):
    runtime.start("a", user={"uid": 9, "gid": 10, "additionalGids": [11]})
    assert runtime("exec", "-u", "5:6", "-g", "7", "-g", "8", "a", "id", "-G").split()[0] == "6"
    assert set(runtime("exec", "-u", "5:6", "-g", "7", "-g", "8", "a", "id", "-G").split()) >= {"6", "7", "8"}


def test_home_follows_the_user(runtime):
    runtime.start("a")
    assert runtime("exec", "-u", "1000", "a", "sh", "-c", "echo $HOME") == "/home/tester\n"


def test_a_process_from_a_file_has_the_containers_limits_and_capabilities(runtime, tmp_path):
    give(runtime, "CAP_KILL")
    runtime.start("a", rlimits=[{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}])
    process = {
        "args": ["sh", "-c", "ulimit -Sn; grep CapEff /proc/self/status"],
        "cwd": "/",
        "user": {"uid": 0, "gid": 0},
    }
    (tmp_path / "process.json").write_text(json.dumps(process))
    assert runtime("exec", "-p", str(tmp_path / "process.json"), "a").split() == ["55", "CapEff:", "0000000000000020"]


def test_descriptors_are_passed_on_and_no_others(runtime):
    runtime.start("a")
    read, write = os.pipe()
    other, _ = os.pipe()
    command = ["bash", "-c", f'exec 3<&{read} 4<&{other}; exec "$0" "$@"']
    words = runtime.command("exec", "--preserve-fds", "1", "a", "sh", "-c", "cat <&3; ls /proc/self/fd")
    os.write(write, b"through\n")
    os.close(write)
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, check=True, timeout=60, pass_fds=(read, other), cwd="/"
    )
    assert done.stdout.split() == ["through", "0", "1", "2", "3", "4"]  # 3: ours; 4: the directory that is listed


def test_a_terminal_is_the_controlling_terminal_of_a_session_of_its_own(runtime):
    runtime.start("a")
    master, slave = pty.openpty()
    words = runtime.command("exec", "-t", "a", "sh", "-c", "tty; cut -d' ' -f6,8 /proc/self/stat; echo $$; ps | wc -l")
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd="/")
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 1024)
        except OSError:
            break
        seen += piece
    os.close(master)
    assert process.wait(20) == 0
    tty, session, group, shell, *_ = seen.decode().split()
    assert tty == "/dev/pts/0"
    assert session == shell
    assert int(group) > 0


def test_killed_helpers_leave_no_process_behind(runtime):
    """The command is killed again and again while it joins: nothing of it may stay in the container."""
    runtime.start("a")
    for step in range(30):
        process = subprocess.Popen(runtime.command("exec", "a", "sleep", "0"), stderr=subprocess.DEVNULL, cwd="/")
        try:
            process.wait(0.02 + step * 0.004)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    runtime("exec", "a", "true")
    left = runtime("exec", "a", "sh", "-c", "sleep 0.5; ps").splitlines()
    assert [line for line in left if "estiva" in line] == []


def test_paused_containers_refuse_unless_told(runtime):
    runtime.start("a")
    runtime("pause", "a")
    assert "cannot exec in a paused container" in runtime("exec", "a", "true", code=255)
    command = runtime.command("exec", "--ignore-paused", "a", "echo", "thawed")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.7)
    runtime("resume", "a")
    assert process.communicate(timeout=20)[0] == "thawed\n"


def test_a_sub_cgroup(runtime):
    pid = runtime.start("a")
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    from estiva.runtime.cgroup import hierarchy

    made = [Path(f"{mount}/estiva/a/inner") for mount in hierarchy.detect().mounts()]
    for path in made:
        path.mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (path / name).exists():
                (path / name).write_text((path.parent / name).read_text())
    try:
        seen = runtime("exec", "--cgroup", "/inner", "a", "sh", "-c", "cat /proc/self/cgroup").splitlines()
        assert len(seen) == len(lines)
        assert sum(line.endswith("/inner") for line in seen) == len(made)
        assert "there is no cgroup" in runtime("exec", "--cgroup", "/outer", "a", "true", code=255)
        assert "leads out" in runtime("exec", "--cgroup", "/../x", "a", "true", code=255)
    finally:
        for path in made:
            path.rmdir()


def test_a_label_for_one_program(runtime):
    if os.path.exists("/sys/module/apparmor"):
        pytest.skip("this kernel has the module")
    runtime.start("a")
    said = runtime("exec", "--apparmor", "docker-default", "a", "true", code=255)
    assert "process.apparmorProfile: this kernel has no AppArmor for docker-default" in said


def test_whoever_speaks_in_the_name_of_a_process_inside_is_not_believed(tmp_path):
    """Once inside, the line to the monitor is in a process that others may look into: a number is taken once."""
    work = plan.Plan().add(plan.CLONE, 0, "", "", 0).add(plan.FORK_INSIDE, 0)
    once = launch(plan.Plan().extend(work).add(plan.EXEC, ["/bin/true"], []), None, ["estiva-monitor"])
    os.close(once.fd)
    twice = work.add(plan.FORK_INSIDE, 0).add(plan.EXEC, ["/usr/bin/touch", f"{tmp_path}/ran"], [])
    with pytest.raises(Unavailable, match="listen to the container's process: protocol error"):
        launch(twice, None, ["estiva-monitor"])
    assert not (tmp_path / "ran").exists()


def test_what_an_image_calls_its_files_does_not_reach_the_terminal(box):
    with pytest.raises(CommandNotFound) as failure:
        box.run("/no/\x1b[2Jsuch")
    assert str(failure.value).startswith("executable file '/no/?[2Jsuch' not found")


def test_an_ordinary_user_joins_by_the_user_namespace(user):
    """It owns the others; nothing may be entered before it."""
    bundle = user.home / "exec-bundle"
    made = Runtime(bundle)
    spec = information.base_spec(rootless=True)
    spec["process"].update(terminal=False, args=["sleep", "100"])
    for field in ("uidMappings", "gidMappings"):
        spec["linux"][field] = [{"containerID": 0, "hostID": user.uid if field[0] == "u" else user.gid, "size": 1}]
    (made.bundle / "config.json").write_text(json.dumps(spec))
    subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", str(bundle)], check=True)
    program = [user.python, "-I", "-S", str(user.sources / "estiva/runtime/__main__.py")]

    def command(*words):
        # the streams of a container that stays are not to be waited for
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        streams = quiet | {"capture_output": False} if words[0] == "create" else {"stdin": subprocess.DEVNULL}
        return user.run([*program, *words], cwd=made.bundle, **streams)

    assert command("create", "a").returncode == 0
    try:
        assert command("start", "a").returncode == 0
        seen = command("exec", "a", "sh", "-c", "id -u; cat /proc/self/uid_map; readlink /proc/1/exe")
        assert seen.stdout.split() == ["0", "0", str(user.uid), "1", "/bin/busybox"], seen.stderr
    finally:
        command("delete", "--force", "a")
        subprocess.run(["rm", "-rf", str(bundle)], check=True)
