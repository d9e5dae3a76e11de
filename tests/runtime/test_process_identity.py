"""Who process 1 is and what it may do: user, groups, capabilities, limits, environment, by the kernel's own word."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from estiva.errors import Invalid, Unsupported
from estiva.runtime import capabilities
from estiva.runtime.cli import information, possible
from helpers.bundle import Runtime

pytestmark = pytest.mark.needs_root
KINDS = ("bounding", "effective", "inheritable", "permitted", "ambient")
SHOW_CAPS = "sed -n 's/^Cap\\(...\\):\\t/\\1 /p' /proc/self/status"


def caps_seen(text):
    """The five sets in the output of SHOW_CAPS, by their names in a bundle."""
    found = dict(line.split() for line in text.splitlines())
    names = {"Bnd": "bounding", "Eff": "effective", "Inh": "inheritable", "Prm": "permitted", "Amb": "ambient"}
    return {names[key]: capabilities.names(int(value, 16)) for key, value in found.items()}


def test_all_five_sets_are_what_was_asked_for(box):
    sets = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SYS_CHROOT"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
        "ambient": ["CAP_NET_RAW"],
    }
    box.spec["process"].update(capabilities=sets, user={"uid": 1000, "gid": 1000})
    seen = caps_seen(box.shell(SHOW_CAPS))
    # execve of an unprivileged user keeps the ambient ones only; bounding and inheritable stay
    assert seen == {**sets, "permitted": ["CAP_NET_RAW"], "effective": ["CAP_NET_RAW"]}


def test_root_is_permitted_what_is_bounding(box):
    """capabilities(7): execve by user 0 gives all that is in the bounding set."""
    names = ["CAP_CHOWN", "CAP_SETUID"]
    box.spec["process"]["capabilities"] = {"bounding": names, "permitted": names, "effective": names}
    assert caps_seen(box.shell(SHOW_CAPS)) == {
        "bounding": names, "permitted": names, "effective": names, "inheritable": [], "ambient": []
    }  # fmt: skip


def test_without_capabilities_there_are_none(box):
    del box.spec["process"]["capabilities"]
    assert caps_seen(box.shell(SHOW_CAPS)) == {kind: [] for kind in KINDS}


def test_unknown_capabilities_are_a_warning(runtime):
    names = ["CAP_CHOWN", "CAP_TIME_TRAVEL"]
    runtime.process("sh", "-c", SHOW_CAPS, capabilities=dict.fromkeys(KINDS[:-1], names))
    result = run_with_errors(runtime, "run", "a")
    assert "process.capabilities: unknown and left out: CAP_TIME_TRAVEL" in result.stderr
    assert caps_seen(result.stdout)["bounding"] == ["CAP_CHOWN"]


def run_with_errors(runtime, *words, **options):
    done = subprocess.run(
        runtime.command(*words), capture_output=True, text=True, timeout=60, cwd=runtime.bundle, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done


def test_capabilities_that_cannot_be_had_are_left_out_with_a_warning(runtime):
    """Whoever starts it lacks one itself: docker run --privileged in a container."""
    everything = list(capabilities.NAMES)
    runtime.process("sh", "-c", SHOW_CAPS, capabilities=dict.fromkeys(KINDS, everything))
    lacking = ["capsh", "--drop=cap_sys_time", "--", "-c", 'exec "$0" "$@"']
    done = subprocess.run(
        [*lacking, *runtime.command("run", "a")], capture_output=True, text=True, timeout=60, cwd=runtime.bundle,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not ours to give: CAP_" in done.stderr
    assert "CAP_SYS_TIME" in done.stderr
    seen = caps_seen(done.stdout)
    assert "CAP_SYS_TIME" not in seen["permitted"]
    assert "CAP_SYS_ADMIN" in seen["permitted"]
    assert seen["ambient"] == seen["permitted"]


def test_ambient_capabilities_need_to_be_inheritable(runtime):
    sets = {kind: ["CAP_CHOWN"] if kind != "inheritable" else [] for kind in KINDS}
    runtime.process("sh", "-c", SHOW_CAPS, capabilities=sets)
    done = run_with_errors(runtime, "run", "a")
    assert "process.capabilities.ambient: not permitted and inheritable, so left out: CAP_CHOWN" in done.stderr
    assert caps_seen(done.stdout)["ambient"] == []


def test_groups_and_umask(box):
    box.spec["process"]["user"] = {"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o027}
    assert box.shell("id -u; id -g; id -G; umask").split("\n")[:-1] == ["7", "8", "8 9 10", "0027"]


def test_without_additional_groups_there_are_none(box):
    box.spec["process"]["user"] = {"uid": 7, "gid": 8}
    assert box.shell("grep Groups: /proc/self/status") == "Groups:\t \n"


def test_the_umask_is_not_the_callers(runtime):
    runtime.process("sh", "-c", "umask")
    command = ["sh", "-c", 'umask 077; exec "$0" "$@"', *runtime.command("run", "a")]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=runtime.bundle).stdout == "0022\n"


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ({"uid": 1000, "gid": 0}, "user 1000, group 0"),
        ({"uid": 0, "gid": 1000}, "user 0, group 1000"),
        ({"uid": 0, "gid": 0, "additionalGids": [500]}, "user 0, group 0"),
    ],
)
def test_ids_that_are_not_mapped_are_named(runtime, user, told):
    _reachable(runtime)
    runtime.spec["linux"]["namespaces"].append({"type": "user"})
    for kind in ("uid", "gid"):
        runtime.spec["linux"][f"{kind}Mappings"] = [{"containerID": 0, "hostID": 200000, "size": 100}]
    runtime.process("id", user=user)
    assert f"process.user: become {told}: invalid argument" in runtime("run", "a", code=1)


def test_groups_where_setgroups_is_denied_are_refused(user, public_directory):
    """An ordinary user without subordinate ids has one group."""
    made = Runtime(Path(tempfile.mkdtemp(dir=public_directory)), user)
    made.spec = information.base_spec(rootless=True)
    for kind, own in (("uid", user.uid), ("gid", user.gid)):
        made.spec["linux"][f"{kind}Mappings"] = [{"containerID": 0, "hostID": own, "size": 1}]
    made.spec["process"]["terminal"] = False
    made.process("id", "-G", user={"uid": 0, "gid": 0, "additionalGids": [5]})
    assert "additionalGids: cannot set any additional groups in a rootless container" in made("run", "a", code=1)
    made.process("id", "-u", user={"uid": 0, "gid": 0})
    assert made("run", "a") == "0\n"


LIMITS = {
    "RLIMIT_CPU": 700, "RLIMIT_FSIZE": 1 << 30, "RLIMIT_DATA": 1 << 31, "RLIMIT_STACK": 4 << 20, "RLIMIT_CORE": 0,
    "RLIMIT_RSS": 1 << 32, "RLIMIT_NPROC": 900, "RLIMIT_NOFILE": 77, "RLIMIT_MEMLOCK": 65536, "RLIMIT_AS": 1 << 33,
    "RLIMIT_LOCKS": 99, "RLIMIT_SIGPENDING": 88, "RLIMIT_MSGQUEUE": 7777, "RLIMIT_NICE": 0, "RLIMIT_RTPRIO": 0,
    "RLIMIT_RTTIME": 5000000,
}  # fmt: skip


def test_all_sixteen_limits(box, probe):
    box.spec["process"]["rlimits"] = [
        {"type": kind, "soft": value // 2, "hard": value} for kind, value in reversed(LIMITS.items())
    ]
    assert box.run(probe, "limits") == 0
    assert box.out.decode().split() == [f"{value // 2}:{value}" for value in LIMITS.values()]


def test_a_hard_limit_is_raised_for_a_user_namespace_too(runtime):
    """Its own root could not; the monitor makes room."""
    if not capabilities.bounding() >> 24 & 1:
        pytest.skip("needs CAP_SYS_RESOURCE")
    _reachable(runtime)
    runtime.spec["linux"]["namespaces"].append({"type": "user"})
    for kind in ("uid", "gid"):
        runtime.spec["linux"][f"{kind}Mappings"] = [{"containerID": 0, "hostID": 200000, "size": 100}]
    runtime.process("sh", "-c", "ulimit -Hn", rlimits=[{"type": "RLIMIT_NOFILE", "soft": 500, "hard": 900}])
    command = ["sh", "-c", 'ulimit -n 300; exec "$0" "$@"', *runtime.command("run", "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=runtime.bundle)
    assert done.stdout == "900\n"


def _reachable(runtime):
    """Root of a user namespace is somebody else outside."""
    for path in (runtime.bundle, *runtime.bundle.parents):
        if path not in (Path("/tmp"), Path("/")):
            path.chmod(0o755)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ([{"type": "RLIMIT_LUCK", "soft": 1, "hard": 1}], "RLIMIT_LUCK"),
        ([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2, "RLIMIT_CORE is given twice"),
        ([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}], "RLIMIT_CORE: the soft limit 2 is above the hard limit 1"),
    ],
)
def test_limits_that_make_no_sense_are_named(box, limits, words):
    box.spec["process"]["rlimits"] = limits
    with pytest.raises(Invalid, match=words):
        box.run("true")


def test_limits_beyond_what_we_may_set_are_lowered_with_a_warning(runtime):
    runtime.process("sh", "-c", "ulimit -Hn", rlimits=[{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 900}])
    command = ["capsh", "--drop=cap_sys_resource", "--", "-c", 'ulimit -n 200; exec "$0" "$@"']
    done = subprocess.run(
        [*command, *runtime.command("run", "a")], capture_output=True, text=True, check=True, cwd=runtime.bundle
    )
    assert done.stdout == "200\n"
    assert "process.rlimits: RLIMIT_NOFILE is lowered" in done.stderr


def test_the_last_of_two_variables_counts(box):
    box.spec["process"]["env"] = ["A=1", "PATH=/bin", "B=2", "A=3"]
    assert box.shell("env | grep -E '^(A|B)' | sort") == "A=3\nB=2\n"


@pytest.mark.parametrize(
    ("env", "uid", "home"),
    [
        ([], 0, "/root"),
        ([], 1000, "/home/tester"),
        ([], 4321, "/"),
        (["HOME=/else"], 1000, "/else"),
        (["HOME="], 1000, ""),
    ],
)
def test_home_is_that_of_the_user_unless_it_is_given(box, env, uid, home):
    """The specification is silent; every runtime does so, and engines rely on it."""
    box.spec["process"].update(env=["PATH=/bin", *env], user={"uid": uid, "gid": 0})
    assert box.run("sh", "-c", 'echo "$HOME"') == 0
    assert box.out.decode() == f"{home}\n"


@pytest.mark.parametrize("kind", ["fifo", "link", "huge", "lies", "missing"])
def test_an_image_that_lies_about_its_accounts_cannot_do_more_than_that(runtime, kind):
    passwd = runtime.bundle / "rootfs/etc/passwd"
    passwd.unlink()
    if kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "link":
        passwd.symlink_to("/proc/1/environ")
    elif kind == "huge":
        passwd.write_bytes(b"x" * 300000 + b"\nroot:x:0:0::/late:\n")
    elif kind == "lies":
        passwd.write_text("root\nroot:x:0\nroot:x:00:0::/zero:\nroot:x:0:0::relative:\nroot:x:0:0::/first:/bin/sh\n")
    env = ["PATH=/bin"]
    runtime.process("sh", "-c", "echo $HOME", env=env)
    assert runtime("run", "a") == {"lies": "/first\n"}.get(kind, "/\n")


def test_the_working_directory_is_made_and_lies_in_the_root(box):
    box.spec["process"]["cwd"] = "/new/deep"
    assert box.shell("pwd; stat -c %u:%a /new/deep") == "/new/deep\n0:755\n"


def test_oom_score(box):
    box.spec["process"]["oomScoreAdj"] = 321
    assert box.shell("cat /proc/self/oom_score_adj") == "321\n"


def test_an_oom_score_that_may_not_be_lowered_stays_with_a_warning(runtime):
    runtime.process("cat", "/proc/self/oom_score_adj", oomScoreAdj=-900)
    command = ["capsh", "--drop=cap_sys_resource", "--", "-c", 'exec "$0" "$@"', *runtime.command("run", "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=runtime.bundle)
    own = Path("/proc/self/oom_score_adj").read_text()
    assert done.stdout == own
    assert "process.oomScoreAdj: -900 needs CAP_SYS_RESOURCE" in done.stderr


def test_without_an_oom_score_it_is_the_callers(box):
    assert box.shell("cat /proc/self/oom_score_adj") == Path("/proc/self/oom_score_adj").read_text()


def test_a_session_keyring_of_its_own(box, probe, make_box):
    first, second = box, make_box()
    for each in (first, second):
        assert each.run(probe, "keyring") == 0
    assert "keyring;0;0;" in first.out.decode()
    assert first.out.split()[0] != second.out.split()[0]


def test_no_new_keyring(runtime):
    from helpers.bundle import compile_probe

    probe = compile_probe(runtime.bundle / "rootfs")
    runtime.process(probe, "keyring")
    ours = subprocess.run([f"{runtime.bundle}/rootfs{probe}", "keyring"], capture_output=True, text=True, check=True)
    assert runtime("run", "--no-new-keyring", "a").split()[0] == ours.stdout.split()[0]
    assert runtime("run", "a").split()[0] != ours.stdout.split()[0]


@pytest.mark.parametrize("field", ["apparmorProfile", "selinuxLabel"])
def test_a_label_without_its_security_module_is_refused(box, field):
    """As in runc: a label is a promise of protection.  With the modules, see the virtual machine's tests."""
    module = {"apparmorProfile": "/sys/module/apparmor", "selinuxLabel": "/sys/fs/selinux/enforce"}[field]
    if os.path.exists(module):
        pytest.skip("this kernel has the module")
    box.spec["process"][field] = "some_label"
    with pytest.raises(Unsupported, match=rf"process.{field}: this kernel has no \w+ for some_label"):
        box.run("true")


@pytest.mark.parametrize("field", ["apparmorProfile", "selinuxLabel"])
def test_an_empty_label_changes_nothing(box, field):
    box.spec["process"][field] = ""
    assert box.shell("cat /proc/self/attr/current 2>/dev/null; echo ran").endswith("ran\n")


def test_more_words_than_a_page_are_passed_on(box):
    words = [str(number) for number in range(20000)]
    assert box.run("sh", "-c", 'echo "$#"', "sh", *words) == 0
    assert box.out == b"20000\n"


def test_more_than_the_helper_takes_is_refused_not_cut(box):
    with pytest.raises(Exception, match="argument list too long"):
        box.run("sh", "-c", "true", *["word" * 100] * 30000)


def test_terminal_and_its_size(box):
    box.spec["process"].update(terminal=True, consoleSize={"height": 33, "width": 99})
    assert box.run("sh", "-c", "stty size; tty; ls -l /dev/console | cut -c1") == 0
    assert box.out.decode().split() == ["33", "99", "/dev/pts/0", "c"]


def test_what_is_adapted_is_told():
    process = {
        "capabilities": {"effective": ["CAP_KILL", "CAP_X"], "permitted": ["CAP_CHOWN"]},
        "oomScoreAdj": -1000,
    }
    warnings = possible.adapt(process, rootless=True, user_namespace=True)
    assert [text.split(":")[0] for text in warnings] == [
        "process.oomScoreAdj", "process.capabilities", "process.capabilities.effective"
    ]  # fmt: skip
    assert process["oomScoreAdj"] == int(Path("/proc/self/oom_score_adj").read_text())
    assert json.dumps(process)
