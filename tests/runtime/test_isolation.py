"""What process 1 of a container sees of the world, by the kernel's own word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from estiva.errors import CommandNotExecutable, CommandNotFound, EstivaError, Invalid

pytestmark = pytest.mark.needs_root


def test_process_is_number_one_of_its_own_namespaces(box):
    out = box.shell("echo $$; hostname; readlink /proc/self/ns/*; ls /proc | grep -c '^[0-9]'")
    lines = out.splitlines()
    assert lines[:2] == ["1", "box"]
    ours = {os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup")}
    assert not ours & set(lines)


def test_host_files_are_out_of_reach_and_the_old_root_is_gone(box):
    out = box.shell("ls /; cat /proc/self/mountinfo")
    assert str(box.lower.parent) not in out.split("lowerdir")[0]
    assert "work" not in out.splitlines()[:20]


def test_loopback_is_up_in_a_new_network_namespace(box):
    assert "127.0.0.1" in box.shell("ip -4 addr show lo")
    assert box.out.decode().count("LOOPBACK,UP") == 1


def test_masked_and_read_only_paths(box):
    box.spec["linux"]["maskedPaths"] += ["/proc/interrupts", "/proc/fs", "/proc/nonesuch"]
    box.shell("cat /proc/interrupts; ls /proc/fs; ! echo 1 > /proc/sys/kernel/msgmax; ls -l /proc/interrupts | cut -c1")
    assert box.out == b"c\n"


def test_only_the_named_capabilities_remain(box):
    assert box.shell("grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | sort -u") == "0000000000000021\n"


def test_another_user_has_no_capabilities_and_its_groups(box):
    box.spec["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [2000, 3000], "umask": 0o77}
    for kind in ("effective", "permitted"):
        box.spec["process"]["capabilities"][kind] = []
    out = box.shell("id -u; id -g; id -G; umask; grep CapEff /proc/self/status | cut -f2")
    assert out.splitlines() == ["1000", "1000", "1000 2000 3000", "0077", "0000000000000000"]


def test_no_new_privileges_and_limits(box):
    box.spec["process"]["noNewPrivileges"] = True
    box.spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    out = box.shell("grep NoNewPrivs /proc/self/status | cut -f2; ulimit -Sn; ulimit -Hn")
    assert out.split() == ["1", "100", "200"]


def test_program_gets_no_descriptors_but_the_standard_ones(box):
    assert box.shell("ls /proc/self/fd").split() == ["0", "1", "2", "3"]  # 3: the directory being listed


def test_standard_input_is_empty_unless_asked_for(box):
    assert box.shell("cat; echo end") == "end\n"


def test_the_writable_layer_takes_what_is_written_and_the_lower_layer_stays(box):
    box.shell("echo new > /etc/os-release; rm /etc/group")
    assert (box.base / "upper/etc/os-release").read_text() == "new\n"
    assert "busybox" in (box.lower / "etc/os-release").read_text()


def test_read_only_root(box):
    box.spec["root"]["readonly"] = True
    assert box.run("touch", "/x") == 1
    assert b"Read-only" in box.err


def test_bind_mounts_files_and_directories_with_their_attributes(box, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("from the host\n")
    box.spec["mounts"] += [
        {"destination": "/data/deep", "type": "bind", "source": str(tmp_path / "dir"), "options": ["rbind", "ro"]},
        {"destination": "/etc/one", "type": "bind", "source": str(tmp_path / "dir/file"), "options": ["bind", "rw"]},
    ]
    out = box.shell("cat /data/deep/file /etc/one; ! touch /data/deep/x 2>/dev/null; echo changed > /etc/one")
    assert out == "from the host\n" * 2
    assert (tmp_path / "dir/file").read_text() == "changed\n"


def test_mount_targets_are_resolved_inside_the_root(box, tmp_path):
    """An image with links that lead out gets its mounts inside all the same (CVE-2021-30465)."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (box.base / "upper/escape").symlink_to(outside)
    (box.base / "upper/up").symlink_to("../../../../../../../../tmp")
    source = tmp_path / "source"
    source.mkdir()
    (source / "mark").write_text("x")
    box.spec["mounts"].append(
        {"destination": "/up/inside", "type": "bind", "source": str(source), "options": ["rbind"]}
    )
    assert box.shell("ls /tmp/inside") == "mark\n"
    box.spec["mounts"].append({"destination": "/escape/x", "type": "tmpfs", "source": "tmpfs"})
    other = box.base / "work2"
    other.mkdir()
    box.around.rootfs.workdir = str(other)
    with pytest.raises(EstivaError, match="mount target /escape/x"):
        box.run("true")
    assert list(outside.iterdir()) == []


def test_proc_is_not_mounted_through_a_link(box):
    """CVE-2019-16884: a link at /proc would leave the masks on the wrong file system."""
    (box.base / "upper/proc").symlink_to("tmp")
    with pytest.raises(EstivaError, match="/proc"):
        box.run("true")


def test_tmpfs_is_filled_from_the_image_when_asked(box):
    box.spec["mounts"].append(
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "size=1m"]}
    )
    out = box.shell("cat /etc/os-release; grep -c '/etc tmpfs' /proc/mounts; touch /etc/new; stat -c %u:%a /etc/passwd")
    assert "busybox" in out
    assert out.splitlines()[-2:] == ["1", "0:644"]
    assert not (box.base / "upper/etc/new").exists()


def test_devices_are_made_and_the_usual_ones_work(box):
    box.spec["linux"]["devices"] = [
        {"path": "/dev/extra", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6}
    ]
    out = box.shell("stat -c '%F %t:%T %a %u:%g' /dev/extra; echo x > /dev/null; head -c 3 /dev/zero | od -An -c")
    assert out.splitlines()[0] == "character special file 1:3 640 5:6"
    assert out.splitlines()[1].split() == ["\\0", "\\0", "\\0"]


def test_working_directory_is_made(box):
    box.spec["process"]["cwd"] = "/made/here"
    assert box.shell("pwd") == "/made/here\n"


def test_sysctl_of_the_containers_namespaces(box):
    before = Path("/proc/sys/kernel/msgmax").read_text()
    box.spec["linux"]["sysctl"] = {"kernel.msgmax": "4321", "net.ipv4.ip_unprivileged_port_start": "77"}
    out = box.shell("cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start")
    assert out.split() == ["4321", "77"]
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


def test_missing_program_and_one_that_is_not_executable(box, make_box):
    with pytest.raises(CommandNotFound, match=r"executable file 'nonesuch' not found in \$PATH"):
        box.run("nonesuch")
    with pytest.raises(CommandNotFound, match="'/no/such'"):
        make_box().run("/no/such")
    with pytest.raises(CommandNotExecutable, match="permission denied"):
        make_box().run("/etc/not-executable")
    bad = make_box()
    bad.spec["process"]["args"] = []
    with pytest.raises(Invalid, match="no program"):
        bad.run()


def test_the_helper_cannot_be_overwritten_from_inside(box):
    """CVE-2019-5736: process 1 of --init is the helper; its file is a sealed copy in memory."""
    box.around.init = True
    out = box.shell("cat /proc/1/comm; (echo x > /proc/1/exe) 2>&1 || echo refused; ls /proc/1/fd 2>&1 | wc -l")
    assert out.startswith("init\n")
    assert "refused" in out


def test_init_reaps_and_passes_the_exit_code_on(box):
    box.around.init = True
    assert box.run("sh", "-c", "(sleep 0.01 &); sleep 0.1; ps; exit 7") == 7
    assert b"sleep" not in box.out.replace(b"sh -c", b"").split(b"exit 7")[-1]


def test_init_forwards_signals(box):
    box.around.init = True
    launched, attachment = box.start("sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
    assert attachment.receive() == ("stdout", b"up\n")
    os.kill(launched.pid, 15)
    assert box.collect(attachment) == 9


def test_user_namespace_of_its_own_maps_ids(box):
    box.spec["linux"]["namespaces"].append({"type": "user"})
    box.spec["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    box.spec["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    box.around.idmap = True
    for path in (box.base, *box.base.parents):
        if path != Path("/tmp"):
            path.chmod(0o755)
        if path == Path("/tmp"):
            break
    os.chown(box.base / "upper", 200000, 200000)
    out = box.shell("id -u; stat -c %u:%g /etc/passwd /; touch /mine; echo x >> /etc/passwd; cat /proc/self/uid_map")
    assert out.split()[:3] == ["0", "0:0", "0:0"]
    assert out.split()[-3:] == ["0", "200000", "65536"]
    assert (box.base / "upper/mine").stat().st_uid == 200000
    assert (box.base / "upper/etc/passwd").stat().st_uid == 200000
