"""Known ways out of a container by way of its mounts, each tried for real.

"Weakened" in a docstring: how the test was seen to fail with that protection taken out of the code by hand.
"""

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
    Weakened: without RESOLVE_IN_ROOT directories are made in the host's."""
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


@pytest.mark.parametrize("place", ["proc", "sys"])
def test_kernel_file_systems_are_not_mounted_through_links(box, place):
    """CVE-2019-16884, CVE-2025-52881: writes to /proc would go elsewhere.  Weakened: without NO_SYMLINKS the container
    starts with its /proc, masks and all, under /elsewhere."""
    (box.base / "upper/elsewhere").mkdir()
    (box.base / "upper" / place).symlink_to("/elsewhere")
    with pytest.raises(EstivaError, match=place):
        box.run("true")


def without(spec, *destinations):
    spec["mounts"] = [mount for mount in spec["mounts"] if not mount["destination"].startswith(destinations)]


def test_devices_are_not_made_through_a_link_of_the_image(box, tmp_path):
    """The image's /dev is a link to a directory of the host.  Weakened: without RESOLVE_IN_ROOT the nodes are there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (box.base / "upper/dev").symlink_to(outside)
    without(box.spec, "/dev")
    with pytest.raises(EstivaError, match="/dev"):
        box.run("true")
    assert list(outside.iterdir()) == []


def test_a_mask_covers_what_the_kernel_shows_not_what_the_image_calls_null(make_box, racer, tmp_path):
    """CVE-2025-31133: /dev is a volume in which somebody swaps null for a link while masks are made.  A /dev/null that
    is something else all the time is refused before, as a device.  Weakened: masked by the /dev/null of the root, the
    file shows what the link names."""
    dev = tmp_path / "dev"
    dev.mkdir()
    os.mknod(dev / "null", 0o20666, os.makedev(1, 3))
    (dev / "link").symlink_to("/etc/passwd")
    racer(dev / "null", dev / "link")
    started = 0
    for _ in range(60):
        each = make_box()
        without(each.spec, "/dev")
        each.spec["mounts"].append(bind(dev, "/dev"))
        each.spec["linux"]["maskedPaths"] = ["/proc/interrupts"]
        try:
            shown = each.shell("stat -c %t:%T /proc/interrupts")
        except EstivaError:
            continue  # met while the device was looked at
        started += 1
        assert shown == "1:3\n"
    assert started


@pytest.mark.parametrize("linked", ["console", "pts"])
def test_the_console_is_the_terminal_that_was_made(runtime, linked):
    """CVE-2025-52565: the image's /dev, with links to a file of its own and to the terminals of the host.  Weakened:
    with links followed, the terminal is mounted on that file, or is one of the host's."""
    from helpers.terminal import Terminal

    rootfs = runtime.bundle / "rootfs"
    gone = ("/dev", "/dev/pts") if linked == "pts" else ("/dev",)
    runtime.spec["mounts"] = [mount for mount in runtime.spec["mounts"] if mount["destination"] not in gone]
    (rootfs / "victim").write_text("")
    (rootfs / "dev" / linked).symlink_to("/victim" if linked == "console" else "/dev/pts")
    runtime.process("sh", "-c", "ls -l /victim; tty; echo ran", terminal=True)
    terminal = Terminal(runtime.command("run", "a"), cwd=runtime.bundle)
    try:
        terminal.expect("symbolic links")
    finally:
        terminal.close()


@pytest.mark.parametrize(
    "name",
    [
        "kernel.core_pattern", "kernel/core_pattern", "net.ipv4.../kernel/core_pattern", "net/../kernel/core_pattern",
        "kernel.panic", "vm.overcommit_memory",
    ],
)  # fmt: skip
def test_sysctls_of_the_host_are_refused(runtime, name):
    """However spelt.  Weakened: without the check the container starts, the host's setting having been written (with
    the value it has, for this test may find such a runtime)."""
    where = "vm/overcommit_memory" if name.startswith("vm") else f"kernel/{name.rpartition('/')[2].rpartition('.')[2]}"
    value = Path("/proc/sys", where).read_text().strip()
    runtime.spec["linux"]["sysctl"] = {name: value}
    runtime.process("true")
    assert "linux.sysctl" in runtime("run", "a", code=1)


def test_nothing_mounted_inside_is_seen_outside(box, tmp_path):
    """A container with CAP_SYS_ADMIN mounts on what it shares with the host.  Weakened: without making the tree a
    slave, a mount on a shared directory is seen on the host."""
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
    """Mount destinations with dots, doubled slashes, line ends and 3000 bytes.  Weakened: without RESOLVE_IN_ROOT the
    dots lead out."""
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
    """Swapping for ever while paths are resolved does not hold the start up: it succeeds or fails within seconds.
    So it was seen to be without a limit to the attempts, too."""
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
