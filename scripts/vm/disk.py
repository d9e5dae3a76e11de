"""The guest's disk: Debian's packages, the kernel's modules, what the tests import, all labelled for SELinux."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from pathlib import Path

import cache
import kernel

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
SUITE, PYTHON = "bookworm", "3.11"
SIZE = "4G"  # sparse
PACKAGES = """
    systemd systemd-sysv dbus dbus-user-session libpam-systemd passwd uidmap kmod
    python3 gcc libc6-dev busybox-static procps iproute2 util-linux strace attr e2fsprogs
    runc crun podman conmon golang-github-containers-common
    apparmor selinux-policy-default policycoreutils selinux-utils semodule-utils checkpolicy m4 make gawk zstd
"""
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
SITE = f"usr/local/lib/python{PYTHON}/dist-packages"
# what a machine that lives for minutes does not need; each costs a second or more of emulation
MASKED = """
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    systemd-binfmt.service systemd-hwdb-update.service systemd-journal-flush.service systemd-networkd.service
    systemd-random-seed.service systemd-remount-fs.service systemd-timesyncd.service systemd-update-utmp.service
    systemd-udev-settle.service systemd-udev-trigger.service systemd-udevd.service systemd-udevd-control.socket
    systemd-udevd-kernel.socket ldconfig.service systemd-sysusers.service systemd-firstboot.service
    systemd-pstore.service getty.target selinux-autorelabel-mark.service podman.service podman.socket
    podman-auto-update.timer podman-restart.service
"""


class Disk:
    """What a guest boots from: the *image* of its disk, the *kernel* and its *initramfs*."""

    def __init__(self, directory: Path) -> None:
        self.image = directory / "root.ext4"
        self.kernel = directory / "vmlinuz"
        self.initramfs = directory / "initramfs"


def disk(kernel_package: str) -> Disk:
    """The disk with that kernel's modules; made when there is none of the same ingredients."""
    requirements = _requirements()
    guest = [path.read_bytes() for path in sorted((HERE / "guest").iterdir())]
    recipe = [Path(module).read_bytes() for module in (__file__, kernel.__file__)]

    def make(fresh: Path) -> None:
        print(f"making the disk with {kernel_package} (a minute)", file=sys.stderr, flush=True)
        _make(fresh, kernel.unpacked(kernel_package), requirements)

    return Disk(cache.made_once("vm-disk", [SUITE, kernel_package, *requirements, *guest, *recipe], make))


def _requirements() -> list[str]:
    """What the package and its tests need from the Python package index."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["test"]]


def _packages() -> Path:
    """The directory with ``root.tar``: what the packages alone make, and the policy's source."""
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=tar", "--skip=output/dev"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT] + ["--dpkgopt=force-unsafe-io"]
    command += [f"--include={','.join(PACKAGES.split())}", f'--customize-hook={HERE}/guest/policy fetch "$1"', SUITE]

    def make(fresh: Path) -> None:
        print(f"installing Debian {SUITE} (some minutes)", file=sys.stderr, flush=True)
        _alone(*command, str(fresh / "root.tar"))

    ingredients = [SUITE, PACKAGES, *LEFT_OUT, (HERE / "guest/policy").read_bytes()]
    return cache.made_once("vm-packages", ingredients, make)


def _make(directory: Path, unpacked: Path, requirements: list[str]) -> None:
    root = directory / "root"
    for name in ("dev", "proc", "run", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    # not SELinux's labels, which come last
    cache.run("tar", "--xattrs", "--xattrs-include=security.capability", "-C", root, "-xf", _packages() / "root.tar")
    release = kernel.version(unpacked)
    shutil.copytree(unpacked / "lib/modules" / release, root / "usr/lib/modules" / release, symlinks=True)
    _alone("chroot", str(root), "depmod", release)
    kernel.initramfs(root / "usr/lib/modules" / release, directory / "initramfs")
    shutil.copyfile(unpacked / f"boot/vmlinuz-{release}", directory / "vmlinuz")
    cache.run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--target", root / SITE, "--python-version", PYTHON, "--only-binary=:all:", *requirements),
    )
    cache.run(HERE / "guest/policy", "build", root)
    shutil.copy(HERE / "guest/session.cil", root / "tmp")
    cache.run("chroot", root, "semodule", "--noreload", "-s", "default", "-i", "/tmp/session.cil")
    (root / "tmp/session.cil").unlink()
    _settle(root)
    _label(root)
    # hashed directories are of no use in a tree this small, and 64 bit block numbers on none below 16 TB
    cache.run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", root, directory / "root.ext4", SIZE)
    shutil.rmtree(root)


def _settle(root: Path) -> None:
    """The few files that make it a test machine."""
    own = root / "usr/local/lib/estiva-vm"
    own.mkdir(parents=True)
    units = root / "etc/systemd/system"
    shutil.copy(HERE / "guest/run", own / "run")
    shutil.copy(HERE / "guest/as-user", root / "usr/local/bin/as-user")
    shutil.copy(HERE / "guest/estiva-vm.service", units)
    (units / "user@.service.d").mkdir()
    shutil.copy(HERE / "guest/delegate.conf", units / "user@.service.d")
    for unit in MASKED.split():
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (root / SITE / "estiva.pth").write_text("/estiva/src\n")
    (root / "etc/hostname").write_text("estiva-vm\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost estiva-vm\n::1 localhost\n")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("")
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (root / "etc/fstab").write_text("")
    (root / "etc/modules-load.d/estiva-vm.conf").write_text("virtio_console\noverlay\nfuse\nloop\nerofs\n")
    cache.run("chroot", root, "useradd", "--create-home", "--shell", "/bin/sh", "--uid", "1000", "tester")
    for file in ("etc/subuid", "etc/subgid"):
        (root / file).write_text("tester:100000:65536\n")


def _label(root: Path) -> None:
    """Give each file the label the policy has for it; the kernel here need not have SELinux for that."""
    contexts = "etc/selinux/default/contexts/files/file_contexts"
    (root / "etc/selinux/config").write_text("SELINUX=enforcing\nSELINUXTYPE=default\n")
    # setfiles reaches files by /proc/self/fd
    script = f'mount -t proc proc "$1/proc" && exec chroot "$1" setfiles -F -m /{contexts} /'
    _alone("sh", "-c", script, "sh", str(root))


def _alone(*command: str) -> None:
    """Run what mounts and starts things in namespaces of its own: they go with the command, however that ends."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    apart = ["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"]
    cache.run(*apart, "--", *command, env=environment)
