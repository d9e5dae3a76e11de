"""A distribution's kernel, unpacked and not installed; and the small file system in memory that mounts the disk."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import cache

HERE = Path(__file__).resolve().parent
DRIVERS = ("virtio_pci", "virtio_blk")  # what the disk needs before it can be mounted; ext4 is built in
BUSYBOX = ("sh", "insmod", "mount", "umount", "sleep", "switch_root")


def package(name: str) -> str:
    """The package that holds the kernel: *name*, what the meta package of that name depends on, or of a version."""
    if name[:1].isdigit():
        name = f"linux-image-{name}-cloud-amd64"
    command = ["apt-cache", "depends", "--no-recommends", "--no-suggests", name]
    shown = subprocess.run(command, check=False, capture_output=True, text=True)
    if shown.returncode or not shown.stdout.strip():
        raise SystemExit(f"Error: kernel {name!r}: apt knows no such package; for example linux-image-cloud-amd64")
    for line in shown.stdout.splitlines():
        depended = line.partition("Depends: ")[2].strip()
        if depended.startswith("linux-image-"):
            return depended
    return name


def unpacked(name: str) -> Path:
    """The directory of the unpacked *package* (a name without version; a newer one is another name in Debian)."""

    def make(fresh: Path) -> None:
        environment = {**os.environ, "LC_ALL": "C"}
        # as root apt would drop to a user who cannot write here, and warn
        cache.run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name, cwd=fresh, env=environment)
        deb = next(fresh.glob("*.deb"))
        cache.run("dpkg-deb", "-x", deb, fresh)
        deb.unlink()

    return cache.made_once("vm-kernel", [name], make)


def version(kernel: Path) -> str:
    """As ``uname -r`` shows it."""
    return next((kernel / "lib/modules").iterdir()).name


def initramfs(modules: Path, target: Path) -> None:
    """Write to *target* the file system the kernel starts from.  *modules*: /lib/modules/VERSION after depmod."""
    archive = Newc()
    for name in ("bin", "dev", "proc", "sys", "root", "modules"):
        archive.directory(name)
    busybox = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    if not busybox:
        raise SystemExit("Error: busybox is not installed: apt-get install busybox-static")
    archive.file("bin/busybox", Path(busybox).read_bytes(), 0o755)
    for name in BUSYBOX:
        archive.link(f"bin/{name}", "busybox")
    archive.file("init", (HERE / "guest/init").read_bytes(), 0o755)
    wanted = _with_dependencies(modules)
    for path in wanted:
        archive.file(f"modules/{path.name}", path.read_bytes(), 0o644)
    archive.file("modules/list", "".join(f"{path.name}\n" for path in wanted).encode(), 0o644)
    target.write_bytes(gzip.compress(archive.bytes(), 6, mtime=0))


def _with_dependencies(modules: Path) -> list[Path]:
    """The drivers and what they need, in the order of loading.  modules.dep(5)"""
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[Path(path).name.partition(".")[0]] = path, others.split()
    found: dict[str, None] = {}
    for driver in DRIVERS:
        if driver in needs:  # else it is built in
            path, others = needs[driver]
            found.update(dict.fromkeys([*reversed(others), path]))
    return [_plain(modules / path) for path in found]


def _plain(module: Path) -> Path:
    """busybox's insmod takes no compressed module."""
    if module.suffix == ".xz":
        cache.run("xz", "--decompress", "--keep", "--force", module)
        return module.with_suffix("")
    return module


class Newc:
    """A cpio archive in the format the kernel unpacks.  Documentation/driver-api/early-userspace/buffer-format.rst"""

    def __init__(self) -> None:
        self._out = bytearray()
        self._count = 0

    def directory(self, name: str) -> None:
        self._member(name, 0o040755, b"")

    def file(self, name: str, data: bytes, mode: int) -> None:
        self._member(name, 0o100000 | mode, data)

    def link(self, name: str, to: str) -> None:
        self._member(name, 0o120777, to.encode())

    def bytes(self) -> bytes:
        """The whole archive; nothing can be added afterwards."""
        self._member("TRAILER!!!", 0, b"")
        return bytes(self._out)

    def _member(self, name: str, mode: int, data: bytes) -> None:
        self._count += 1
        path = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        self._padded(b"070701" + b"".join(b"%08x" % field for field in fields) + path)
        self._padded(data)

    def _padded(self, data: bytes) -> None:
        self._out += data
        self._out += bytes(-len(self._out) % 4)
