"""A store in a namespace of its own, for tests of what storage drivers do on the real kernel.

Each check runs in a forked child: as root in a new mount namespace, or as an ordinary user's root in a new user
namespace.  What it mounts goes away with it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from estiva.linux import mount
from estiva.linux.tree import rmtree
from estiva.spec.rootfs import RootfsMount
from estiva.storage.store import Store
from helpers import kernel
from helpers.accounts import Account

CLONE_NEWUSER = 0x1000_0000
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


class Bench:
    """A store, and what a test does with it.  It exists in the child only."""

    def __init__(self, base: str, driver: str, in_userns: bool) -> None:
        self.base = base
        self.in_userns = in_userns
        self.store = Store(f"{base}/root", f"{base}/run", driver=driver, in_userns=in_userns)
        self.driver = driver

    def layer(self, tar: bytes, blob: bytes | None = None) -> str:
        """Take a layer in, compressed by gzip unless *blob* says how; return its diff_id."""
        diff_id = digest(tar)
        blob = gzip.compress(tar, 1, mtime=0) if blob is None else blob
        with self.store.layers.ingest(GZIP, digest(blob), len(blob), diff_id) as ingest:
            for at in range(0, len(blob), 10_000):
                ingest.write(blob[at : at + 10_000])
            ingest.commit()
        return diff_id

    def start(self, key: str, diff_ids: list[str], *, volatile: bool = False, again: bool = False) -> str:
        """Make a container's root file system of layers, bottom first, and return where it is mounted."""
        if not again:
            self.store.snapshots.prepare(key, diff_ids)
        with self.store.layers.acquire(diff_ids) as lease:
            return self.attach(key, self.store.snapshots.rootfs(key, lease, volatile=volatile))

    def attach(self, key: str, what: RootfsMount) -> str:
        """Mount what a driver described."""
        target = f"{self.base}/mnt-{key}"
        os.makedirs(target, exist_ok=True)
        if what.kind == "bind":
            mount.mount(what.source, target, None, mount.MS_BIND)
            return target
        rmtree(f"{what.workdir}/work/incompat/volatile")  # whoever mounts it takes it away, as the helper does
        context_fd = mount.fsopen("overlay")
        for lower in what.lowerdirs:
            mount.fsconfig_set_string(context_fd, "lowerdir+", lower)
        mount.fsconfig_set_string(context_fd, "upperdir", what.upperdir)
        mount.fsconfig_set_string(context_fd, "workdir", what.workdir)
        for option in what.options:
            name, equals, value = option.partition("=")
            if equals:
                mount.fsconfig_set_string(context_fd, name, value)
            else:
                mount.fsconfig_set_flag(context_fd, name)
        mount.fsconfig_create(context_fd)
        mount_fd = mount.fsmount(context_fd)
        mount.move_mount(mount_fd, target)
        os.close(mount_fd)
        os.close(context_fd)
        return target

    def stop(self, key: str) -> None:
        """Unmount a container's root file system."""
        mount.umount2(f"{self.base}/mnt-{key}")

    def see(self, *tars: bytes) -> str:
        """The root file system of an image with these layers, bottom first."""
        return self.start(f"see{len(os.listdir(self.base))}", [self.layer(tar) for tar in tars])


class Place:
    """Where checks run: a driver, and whose store it is."""

    def __init__(self, driver: str, account: Account, directory: Path) -> None:
        self.driver = driver
        self.account = account
        self.directory = directory
        self.in_userns = account.uid != 0

    def __call__(self, check: Callable[[Bench], None]) -> None:
        """Run *check* in a child with a store of its own; what it raises fails the test."""
        base = tempfile.mkdtemp(prefix="bench-", dir=self.directory)
        os.chown(base, self.account.uid, self.account.gid)
        read_fd, write_fd = os.pipe()
        ready_fd, go_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_fd)
            os.close(go_fd)
            self._child(check, base, write_fd, ready_fd)
        os.close(write_fd)
        os.close(ready_fd)
        try:
            self._map_ids(pid, read_fd)
            os.write(go_fd, b"!")
        finally:
            os.close(go_fd)
        with open(read_fd, encoding="utf-8") as report:
            said = report.read()
        os.waitpid(pid, 0)
        left = os.listdir(base)
        kernel.remove_tree(base)
        assert not said, said
        assert not left, "the check ended without a word"

    def _child(self, check: Callable[[Bench], None], base: str, write_fd: int, ready_fd: int) -> None:
        said = ""
        try:
            self._enter(write_fd, ready_fd)
            try:
                check(Bench(base, self.driver, self.in_userns))
                _check_clean(base)
            finally:
                _unmount_below(base)
                for name in os.listdir(base):
                    rmtree(f"{base}/{name}")
        except BaseException:
            said = traceback.format_exc()
        os.write(write_fd, said.encode())
        os._exit(1 if said else 0)

    def _enter(self, write_fd: int, ready_fd: int) -> None:
        """The child's own namespaces; in a user namespace it waits for the maps."""
        if not self.in_userns:
            kernel.unshare(kernel.CLONE_NEWNS)
        else:
            if not self.account.is_self:
                os.setgroups([])
                os.setgid(self.account.gid)
                os.setuid(self.account.uid)
                _make_dumpable()  # changing ids gave /proc/self to root, but newuidmap comes as this user
            kernel.unshare(CLONE_NEWUSER | kernel.CLONE_NEWNS)
        os.write(write_fd, b"\n")
        os.read(ready_fd, 1)
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)

    def _map_ids(self, pid: int, read_fd: int) -> None:
        if os.read(read_fd, 1) != b"\n" or not self.in_userns:
            return
        for file, program, own in (
            ("/etc/subuid", "newuidmap", self.account.uid),
            ("/etc/subgid", "newgidmap", self.account.gid),
        ):
            entry = next(line for line in Path(file).read_text().split() if line.startswith(f"{self.account.name}:"))
            _, start, count = entry.split(":")
            done = self.account.run([program, str(pid), "0", str(own), "1", "1", start, count])
            if done.returncode:
                raise subprocess.SubprocessError(done.stderr)


def _make_dumpable() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)


def _unmount_below(base: str) -> None:
    for point, _, _ in reversed(kernel.mounts()):
        if point.startswith(base + "/"):
            kernel.unmount(point)


def _check_clean(base: str) -> None:
    """Whatever was done, nothing may be half-made."""
    staging = f"{base}/root/staging"
    left = os.listdir(staging) if os.path.isdir(staging) else []
    assert not left, f"left in the staging directory: {left}"


def digest(data: bytes) -> str:
    """The sha256 digest of *data*."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
