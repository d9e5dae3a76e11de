"""Known ways out of a container by way of its mounts, each tried for real; the tests say how a weak runtime fails."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from estiva.errors import EstivaError
from helpers import attack

pytestmark = pytest.mark.needs_root


def bind(source, destination, *options):
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", *options]}


class Racer:
    def __init__(self, program: Path) -> None:
        self.program = program
        self.started: list[subprocess.Popen[bytes]] = []
        program.write_bytes(attack.program())
        program.chmod(0o755)

    def __call__(self, first: Path, second: Path) -> None:
        self.started.append(subprocess.Popen([self.program, f"swap:{first},{second}"]))

    def stop(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        self.started.clear()


@pytest.fixture
def racer(tmp_path):
    """A process that swaps two names as fast as it can, as one in another container with the same volume would."""
    made = Racer(tmp_path / "attack")
    yield made
    made.stop()


def test_a_mount_below_a_volume_that_is_swapped_for_a_link_stays_inside(make_box, racer, tmp_path):
    """CVE-2021-30465.  A directory of a shared volume becomes a link to / and back while things are mounted below it.
    Weakened: mount(2) on the path, or openat(2) in place of openat2(2): the host's directory gets it."""
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    for path in (volume / "dir", volume, outside, tmp_path / "source"):
        path.mkdir(parents=True, exist_ok=True)
    (volume / "link").symlink_to(outside)
    racer(volume / "dir", volume / "link")
    done = 0
    for _ in range(40):
        each = make_box()
        each.spec["mounts"] += [
            bind(volume, "/volume"),
            {"destination": "/volume/dir/tmp", "type": "tmpfs", "source": "tmpfs"},
            bind(tmp_path / "source", "/volume/dir/deep/er"),
        ]
        try:
            done += each.run("true") == 0
        except EstivaError:
            continue  # the race was met: refused
    assert list(outside.iterdir()) == []
    assert not os.path.ismount(outside)
    assert done  # and the race is not lost every time


def test_what_is_copied_into_a_volume_changes_nothing_that_a_link_names(make_box, racer, tmp_path):
    """The image's files go into an empty volume while its names are swapped for links to a file of the host.
    Weakened: chmod(2) by name after the copy gives that file the image's mode."""
    victim = tmp_path / "victim"
    victim.write_text("x")
    victim.chmod(0o600)
    for _ in range(25):
        each = make_box()
        content = each.base / "upper/data"
        content.mkdir()
        for number in range(20):
            (content / f"f{number}").write_text("image")
            (content / f"f{number}").chmod(0o4777)
        volume = each.base / "volume"
        volume.mkdir()
        for number in (3, 9, 15):
            (each.base / f"link{number}").symlink_to(victim)
            racer(volume / f"f{number}", each.base / f"link{number}")
        each.spec["mounts"].append(bind(volume, "/data", "x-estiva.copyup"))
        try:
            each.run("true")
        except EstivaError:
            pass
        racer.stop()
    assert victim.stat().st_mode & 0o7777 == 0o600
    assert victim.read_text() == "x"


@pytest.mark.parametrize("place", ["proc", "sys", "dev", "dev/pts"])
def test_kernel_file_systems_are_not_mounted_through_links(box, tmp_path, place):
    """CVE-2019-16884, CVE-2025-52881: writes to /proc would go elsewhere.  Weakened: without NO_SYMLINKS the container
    starts with its /proc under /tmp, and a /proc of its own with nothing masked."""
    path = box.base / "upper" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    (box.base / "upper/elsewhere").mkdir()
    path.symlink_to("/elsewhere")
    if place.startswith("dev"):
        try:
            out = box.shell("mount | grep -c elsewhere; ls -ld /dev/null; echo x > /dev/null")
        except EstivaError:
            return
        assert "crw" in out
        return
    with pytest.raises(EstivaError, match=place):
        box.run("true")


def test_a_mask_covers_what_the_kernel_shows_not_what_the_image_calls_null(box):
    """CVE-2025-31133: the image brings a /dev/null of its own, a link to what it wants to be writable."""
    dev = box.base / "upper/dev"
    dev.mkdir()
    (dev / "null").symlink_to("/proc/sysrq-trigger")
    box.spec["linux"]["maskedPaths"] = [
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/timer_list",
        "/proc/scsi",
        "/proc/acpi",
    ]
    out = box.shell(
        "stat -c %t:%T /proc/interrupts /proc/kcore; cat /proc/interrupts; ls /proc/scsi /proc/acpi 2>/dev/null; "
        "grep ' /proc/interrupts ' /proc/self/mountinfo"
    )
    assert out.startswith("1:3\n")
    assert "/null " in out
    assert "sysrq" not in out


def test_the_console_is_the_terminal_that_was_made(runtime):
    """CVE-2025-52565: /dev/console is bound by descriptor; a name in /dev/pts that is swapped is not asked."""
    from helpers.terminal import Terminal

    (runtime.bundle / "rootfs/dev/console").symlink_to("/proc/sysrq-trigger")
    (runtime.bundle / "rootfs/dev/pts").symlink_to("/proc")
    runtime.process("sh", "-c", "ls -l /dev/console; tty; echo over", terminal=True)
    terminal = Terminal(runtime.command("run", "a"), cwd=runtime.bundle)
    try:
        shown = terminal.expect("over")
    finally:
        terminal.close()
    assert "crw" in shown
    assert "/dev/pts/0" in shown
    assert "sysrq" not in shown


def test_sysctls_of_the_host_are_refused(runtime):
    """core_pattern and its like, however spelt.  Weakened: without the check the host's is written."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    names = (
        "kernel.core_pattern", "kernel/core_pattern", "net.ipv4.../kernel/core_pattern", "kernel.modprobe",
        "net/../kernel/core_pattern", "fs.binfmt_misc.register", "vm.overcommit_memory", "kernel.hotplug",
    )  # fmt: skip
    for name in names:
        runtime.spec["linux"]["sysctl"] = {name: "|/tmp/x"}
        runtime.process("true")
        runtime("run", "a", code=1)
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_nothing_mounted_inside_is_seen_outside(box, tmp_path):
    """A container with CAP_SYS_ADMIN mounts on what it shares with the host.  Weakened: without making the tree a
    slave, a mount on a shared directory comes back."""
    shared = tmp_path / "shared"
    shared.mkdir()
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    subprocess.run(["mount", "--make-shared", shared], check=True)
    try:
        for kind in box.spec["process"]["capabilities"]:
            box.spec["process"]["capabilities"][kind] = ["CAP_SYS_ADMIN"]
        box.spec["mounts"].append(bind(shared, "/shared"))
        box.shell(
            "mkdir -p /shared/d; mount -t tmpfs none /shared/d; touch /shared/d/inside; mount | grep -c /shared/d"
        )
        assert list((shared / "d").iterdir()) == []
        assert f"{shared}/d " not in Path("/proc/self/mountinfo").read_text()
    finally:
        subprocess.run(["umount", "-l", shared], check=True)


def test_hostile_names_are_names(box, tmp_path):
    """Mount destinations with dots, doubled slashes, line ends and 4096 bytes."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "mark").write_text("x")
    (box.base / "upper/loop").symlink_to("loop")
    box.spec["mounts"] += [
        bind(source, "/../../../up"),
        bind(source, "//a//.//b/../c/"),
        bind(source, "/with\nline"),
        bind(source, "/" + "/".join(["d" * 200] * 15)),
    ]
    out = box.shell("ls /up /a/c /with*; ls /ddd*/*/*/*/*/*/*/*/*/*/*/*/*/*/*")
    assert out.count("mark") == 4
    assert not Path("/up").exists()
    box.spec["mounts"] = [bind(source, "/loop/x")]
    with pytest.raises(EstivaError):
        box.run("true")


def test_a_race_of_renames_ends(box, racer, tmp_path):
    """Swapping for ever while paths are resolved does not hold the start up: it succeeds or fails within seconds."""
    volume = tmp_path / "volume"
    (volume / "a").mkdir(parents=True)
    (volume / "b").mkdir()
    racer(volume / "a", volume / "b")
    box.spec["mounts"] += [bind(volume, "/volume"), bind(tmp_path, "/volume/a/../b/c/../d")]
    began = time.monotonic()
    try:
        box.run("true")
    except EstivaError:
        pass
    assert time.monotonic() - began < 20
