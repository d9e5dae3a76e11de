"""One boot of the guest: the checkout goes in as a disk, output comes by a port, results by another disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import cache
import disk

RESULTS_SIZE = 64 << 20
# a periodic tick: guests that stood still were seen with a one-shot timer, for a reason not found
KERNEL_OPTIONS = """
    console=ttyS0 quiet loglevel=4 tsc=unstable nohz=off highres=off no_timer_check mitigations=off nokaslr
    random.trust_cpu=on cryptomgr.notests cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1
    systemd.unit=estiva-vm.service systemd.log_level=warning systemd.show_status=0 panic=1
"""
LSM = {
    "none": ["lsm=landlock,lockdown,yama,bpf", "audit=0"],
    "selinux": ["lsm=landlock,lockdown,yama,selinux,bpf", "enforcing=1", "audit=1"],
    "apparmor": ["lsm=landlock,lockdown,yama,apparmor,bpf", "audit=0"],
}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other guest runs: two at once are each more than twice as slow, and their tests time out."""
    with open(cache.directory() / ".vm.lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another virtual machine to end", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def boot(
    where: disk.Disk, checkout: Path, directory: Path, *, lsm: str, accel: str, memory: str, timeout: float
) -> int | None:
    """Run the command that is in the *checkout* tar; its output goes to standard output while it runs.

    The guest's results are unpacked to *directory*/results, and what its kernel said is *directory*/console.  Returns
    the command's exit code; None if the guest did not come to its end, in *timeout* seconds or at all.
    """
    results = directory / "results.tar"
    (directory / "console").touch()
    with open(results, "wb") as file:
        file.truncate(RESULTS_SIZE)
    read_fd, write_fd = os.pipe()
    processors = min(2, os.cpu_count() or 1)
    command = ["qemu-system-x86_64", "-M", "q35", "-accel", accel, "-m", memory, "-smp", str(processors)]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]
    command += ["-kernel", str(where.kernel), "-initrd", str(where.initramfs)]
    command += ["-append", " ".join([*KERNEL_OPTIONS.split(), *LSM[lsm]])]
    command += _drive(where.image, "snapshot=on") + _drive(checkout, "readonly=on") + _drive(results)
    command += ["-serial", f"file:{directory}/console"]
    # not a second serial port: output through one was seen to stop for good, for a reason not found
    command += ["-chardev", f"file,id=out,path=/dev/fd/{write_fd}"]
    command += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=out,name=out"]
    # the disk's changes are in a file without a name there
    environment = {**os.environ, "TMPDIR": str(directory)}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(write_fd,), env=environment)
    os.close(write_fd)
    try:
        _copy_output(read_fd, time.monotonic() + timeout)
    finally:
        os.close(read_fd)
        _end(process)
    with contextlib.suppress(tarfile.TarError), tarfile.open(results) as archive:
        archive.extractall(directory / "results", filter="data")
    results.unlink()
    status = directory / "results/status"
    return int(status.read_text()) if status.exists() else None


def _drive(image: Path, *options: str) -> list[str]:
    return ["-drive", ",".join((f"file={image},format=raw,if=virtio,cache=unsafe", *options))]


def _end(process: subprocess.Popen[bytes]) -> None:
    """See that QEMU is gone; it says something about itself only by a signal."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    if process.poll() is None:
        print("stopping the guest: its time is over", file=sys.stderr)
        process.kill()
    elif process.returncode:
        print(f"QEMU ended with {process.returncode}", file=sys.stderr)
    process.wait()


def _copy_output(fd: int, deadline: float) -> None:
    """Until the guest's end, or the deadline."""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            data = os.read(fd, 1 << 16)
            if not data:
                return
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
