"""Images and options that want out of their container, tried through the engine as root and as an ordinary user.

docs/security.md lists the classes; the docstrings say how a weakened engine was seen to fail, or would.
"""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest

from helpers import attack
from helpers.cli import BUSYBOX
from helpers.images import LayerTar, busybox_image

SECRET = "nothing of the host's\n"


def hostile(*members, config=None):
    """Busybox with a layer of the given (name, content, fields) on top."""
    layer = LayerTar()
    for name, content, fields in members:
        layer.add(name, content, **fields)
    return busybox_image(layer.bytes(), config=config)


def link(target):
    return {"type": tarfile.SYMTYPE, "linkname": target, "mode": 0o777}


@pytest.mark.parametrize(
    "passwd",
    [
        ("etc/passwd", None, link("{secret}")),
        ("etc/passwd", None, link("../../../../../../../../{secret}")),
        ("etc/passwd", None, link("/proc/self/fd/3")),
        ("etc/passwd", None, {"type": tarfile.FIFOTYPE}),
        ("etc/passwd", None, {"type": tarfile.DIRTYPE}),
        ("etc/passwd", b"\xff\0\xfe:x:0:0\n" * 100, {}),
        ("etc/passwd", b"root:x:" + b"9" * 100_000 + b":0::/:\n", {}),
        ("etc/passwd", b"a" * (3 << 20), {}),
    ],
)  # fmt: skip
def test_an_image_that_lies_about_its_users(estiva, passwd):
    """run and exec look a user up without leaving the image, waiting or failing badly.  Weakened: open(2) by path reads
    the host's file or waits for a writer for ever."""
    secret = estiva.work / "secret"
    secret.write_text("evil:x:0:0::/:/bin/sh\n")
    secret.chmod(0o644)
    name, content, fields = passwd
    fields = {key: value.format(secret=secret) if key == "linkname" else value for key, value in fields.items()}
    estiva.load(hostile((name, content, fields)))
    assert "evil" in estiva.fails(125, "run", "--rm", "-u", "evil", BUSYBOX, "id", timeout=30)
    estiva.out("run", "-d", "--name", "a", "--user", "7:8", BUSYBOX, "sleep", "100", timeout=30)
    assert "evil" in estiva.fails(125, "exec", "-u", "evil", "a", "id", timeout=30)
    assert estiva.out("exec", "-u", "9:9", "a", "echo", "in", timeout=30) == "in"
    estiva.out("rm", "-f", "-t0", "a")


def test_a_running_container_that_changes_its_users_into_devices_and_fifos(estiva_root):
    """The look-up of exec opens nothing but regular files.  Weakened: it waits at the fifo for ever."""
    estiva_root.load()
    estiva_root.out("run", "-d", "--name", "a", "--cap-add", "mknod", BUSYBOX, "sleep", "100")
    for make in (
        "mkfifo /etc/passwd",
        "mknod /etc/passwd c 1 3",
        "ln -s /proc/1/root/etc/passwd /etc/passwd",
        "mkdir /etc/passwd",
    ):
        estiva_root.out("exec", "a", "sh", "-c", f"rm -rf /etc/passwd; {make}")
        assert "tester" in estiva_root.fails(125, "exec", "-u", "tester", "a", "id", timeout=30)
    estiva_root.out("rm", "-f", "-t0", "a")


@pytest.mark.parametrize("name", ["etc/resolv.conf", "etc/hosts", "etc/hostname", "run/.containerenv"])
def test_the_engines_files_are_not_written_through_the_images_links(estiva, name):
    """Links that lead out, and ones that lead nowhere.  Weakened: the file they name is made or overwritten."""
    victim = estiva.work / "victim"
    victim.write_text(SECRET)
    for target in (str(victim), f"../../../../../../../..{victim}"):
        estiva.load(hostile((name, None, link(target))))
        estiva.run("run", "--rm", BUSYBOX, "cat", f"/{name}", check=False)
        assert victim.read_text() == SECRET


def test_odd_bytes_in_an_images_configuration(estiva):
    """Line ends, escapes and dots where names and paths are expected: taken as they are, or one clear line."""
    for config in (
        {"WorkingDir": "/../../../../tmp/\n\x1b[31m", "Cmd": ["pwd"]},
        {"WorkingDir": "/proc/self/fd/9/../../../..", "Cmd": ["pwd"]},
        {"User": "root\n:0:0", "Cmd": ["id"]},
        {"Volumes": {"/../../etc\n": {}, "/": {}, "relative": {}}, "Cmd": ["true"]},
        {"Entrypoint": ["sh", "-c", "exit 0\0rm -rf /"], "Cmd": []},
        {"Env": ["LD_PRELOAD=/evil.so", "PATH=\n", "=x", "A\0=1"], "Cmd": ["/bin/true"]},
    ):
        estiva.load(hostile(("tmp", None, {"mode": 0o1777}), config=config))
        done = estiva.run("run", "--rm", BUSYBOX, check=False, timeout=30)
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr, (config, done.stderr)
        assert done.returncode in (0, 125, 126, 127), done.stderr


def test_kernel_interfaces_are_out_of_reach(estiva):
    """core_pattern, uevent_helper, sysrq, modprobe, binfmt_misc, release_agent, kcore.  With
    --privileged as root several of these can be written: that is what it means."""
    estiva.load()
    files = (
        "/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sysrq-trigger "
        "/sys/kernel/uevent_helper /proc/sys/fs/binfmt_misc/register /proc/irq/default_smp_affinity "
        "/sys/fs/cgroup/release_agent /sys/fs/cgroup/memory/release_agent /sys/fs/cgroup/*/release_agent "
        "/proc/1/oom_score_adj_none /sys/kernel/mm/ksm/run /sys/power/state"
    )
    script = f"for f in {files}; do (echo 1 > $f) 2>/dev/null && echo wrote $f; done; " \
        "mkdir -p /c; mount -t cgroup -o memory none /c 2>/dev/null && echo mounted; " \
        "unshare -m true 2>/dev/null && echo unshared; " \
        "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | head -c 1; " \
        "ls /sys/firmware /proc/scsi /proc/acpi 2>/dev/null | grep -v :"  # fmt: skip
    done = estiva.run("run", "--rm", BUSYBOX, "sh", "-c", script, check=False)
    assert done.stdout.strip() == ""


def test_devices_of_the_host_cannot_be_made_or_opened(estiva_root):
    """The device rules hold where mknod is allowed.  Weakened: without the rules the disk is read."""
    estiva_root.load()
    disk = next((path for path in map(Path, ("/dev/vda", "/dev/sda", "/dev/nvme0n1")) if path.exists()), None)
    number = disk.stat().st_rdev if disk else os.makedev(7, 0)
    script = (
        f"mknod /tmp/disk b {os.major(number)} {os.minor(number)} && head -c1 /tmp/disk | wc -c;"
        "mknod /tmp/mem c 1 1 && head -c1 /tmp/mem | wc -c; mknod /tmp/loop c 10 237 && head -c1 /tmp/loop | wc -c;"
        "mknod /tmp/null c 1 3 && echo fine > /tmp/null && echo null"
    )
    done = estiva_root.run("run", "--rm", "--cap-add", "mknod", BUSYBOX, "sh", "-c", script, check=False)
    assert "1" not in done.stdout.split()
    assert "null" in done.stdout
    assert "not permitted" in done.stderr


def test_a_set_user_id_program_in_a_volume_gives_nothing_to_its_finder(estiva):
    """Named volumes are mounted nosuid and nodev, as with Podman.  Weakened: id says euid=0."""
    estiva.load()
    make = "cp /bin/busybox /v/id; chmod 4755 /v/id; ls -l /v/id"
    assert "rws" in estiva.out("run", "--rm", "-v", "vol:/v", BUSYBOX, "sh", "-c", make)
    assert "euid=0" not in estiva.out("run", "--rm", "-u", "1000", "-v", "vol:/v", BUSYBOX, "/v/id")


def test_groups_of_the_caller_do_not_come_along(estiva_root):
    """Weakened: without setgroups the caller's groups are those of the container's process.  CVE-2022-2989 is the other
    way round: a process outside of its own group passes where only the group is denied."""
    estiva_root.load()
    command = [
        "setpriv",
        "--groups",
        "7,8,9",
        "--",
        *estiva_root.argv("run", "--rm", BUSYBOX, "cat", "/proc/self/status"),
    ]
    import subprocess

    done = subprocess.run(command, env=estiva_root.env, capture_output=True, text=True, check=True, timeout=60)
    groups = next(line for line in done.stdout.splitlines() if line.startswith("Groups:")).split()[1:]
    assert not {"7", "8", "9"} & set(groups)
    shown = estiva_root.out("run", "--rm", "-u", "1000:2000", BUSYBOX, "cat", "/proc/self/status")
    assert "2000" in next(line for line in shown.splitlines() if line.startswith("Groups:"))


def test_overlay_attributes_of_an_image_mean_nothing(estiva):
    """An opaque, redirected or metacopy entry that the tar invents would show files of other layers.  They go."""
    pax = {f"SCHILY.xattr.{kind}.overlay.{name}": value for kind in ("trusted", "user")
           for name, value in (("redirect", "/etc"), ("opaque", "y"), ("metacopy", ""), ("origin", "x"))}  # fmt: skip
    estiva.load(hostile(("etc", None, {"pax_headers": pax}), ("home", None, {"pax_headers": pax})))
    out = estiva.out("run", "--rm", BUSYBOX, "sh", "-c", "ls /home; ls /etc")
    assert "tester" in out.splitlines()[0]
    assert "os-release" in out


def test_nothing_of_the_monitor_can_be_reached_from_inside(estiva):
    """Neither its sockets nor its process, nor the directory of the container."""
    estiva.load()
    script = f"ls {estiva.run_root} {estiva.root} 2>/dev/null;"
    script += "ps | grep -v grep | grep -c 'estiva-mon[i]tor\\|estiva-ex[e]c'; grep -c @ /proc/net/unix"
    out = estiva.run("run", "--rm", BUSYBOX, "sh", "-c", script, check=False).stdout
    assert out.split() == ["0", "0"]


def test_a_flood_of_output_does_not_hold_the_end_up(estiva):
    """The container writes as fast as it can and is stopped: the end is noted at once, the log within its bounds."""
    layer = LayerTar().add("bin/attack", attack.program(), mode=0o755).bytes()
    estiva.load(busybox_image(layer))
    estiva.out("run", "-d", "--name", "a", "--log-opt", "max-size=1m", BUSYBOX, "/bin/attack", "flood:60")
    estiva.out("kill", "a", timeout=20)
    assert estiva.out("wait", "a", timeout=20) == "137"
    estiva.out("rm", "-f", "-t0", "a")


def test_exhausting_pids_and_descriptors_inside_ends_inside(estiva_root):
    estiva_root.load()
    script = "for i in $(seq 200); do sleep 5 & done 2>/dev/null; echo over"
    done = estiva_root.run(
        "run", "--name", "a", "--pids-limit", "20", BUSYBOX, "sh", "-c", script, check=False, timeout=40
    )
    assert done.returncode in (0, 2)
    estiva_root.out("rm", "-f", "-t0", "a", timeout=20)


def test_hard_links_and_device_nodes_of_a_layer_stay_in_it(estiva):
    """A layer that links to, or writes through, names outside of itself."""
    victim = estiva.work / "victim"
    victim.write_text(SECRET)
    layer = LayerTar()
    layer.link("out", str(estiva.work))
    layer.add("out/victim", b"overwritten")
    layer.add("hard", None, type=tarfile.LNKTYPE, linkname=str(victim))
    archive = estiva.work / "hostile.tar"
    busybox_image(layer.bytes()).docker_archive(archive, BUSYBOX)
    archive.chmod(0o644)
    done = estiva.run("pull", "--quiet", f"docker-archive:{archive}", check=False)
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        estiva.run("run", "--rm", BUSYBOX, "sh", "-c", "cat /hard; echo x > /hard", check=False)
    assert victim.read_text() == SECRET
    assert not stat.S_ISLNK(victim.lstat().st_mode)
