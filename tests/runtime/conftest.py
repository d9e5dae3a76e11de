"""A bundle in miniature: take the base configuration, change what the test is about, run, look at what was seen."""

from __future__ import annotations

import copy
import os
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from estiva.monitor.client import Attachment
from estiva.monitor.state import read_state
from estiva.runtime.cgroup import hierarchy
from estiva.runtime.compile import Surroundings, compile_plan
from estiva.runtime.launch import Launched, MonitorSpec, launch
from estiva.spec.rootfs import RootfsMount
from helpers.bundle import Runtime, compile_probe
from helpers.images import busybox_layer

BASE: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "hostname": "box",
    "process": {
        "args": ["true"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "user": {"uid": 0, "gid": 0},
        "capabilities": {kind: ["CAP_CHOWN", "CAP_KILL"] for kind in ("bounding", "effective", "permitted")},
    },
    "root": {"path": "rootfs"},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts", "cgroup")],
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
    },
}


class Box:
    """One container's directory, its configuration ``spec`` (to be changed), what it depends on, its monitor."""

    def __init__(self, base: Path, lower: Path) -> None:
        self.base = base
        self.lower = lower
        for name in ("upper", "work", "mountpoint"):
            (base / name).mkdir()
        self.spec = copy.deepcopy(BASE)
        rootfs = RootfsMount(
            "overlay", lowerdirs=[str(lower)], upperdir=f"{base}/upper", workdir=f"{base}/work", options=["volatile"]
        )
        self.around = Surroundings(f"{base}/mountpoint", rootfs)
        self.monitor = MonitorSpec()
        self.monitor.status = f"{base}/status"
        self.monitor.exit = f"{base}/exit"
        self.monitor.attach = f"{base}/attach"
        self.monitor.log = f"{base}/log"
        self.out = b""
        self.err = b""
        self._lines: list[int] = []

    def start(self, *args: str) -> tuple[Launched, Attachment]:
        """Start; the caller has the line to the monitor."""
        if args:
            self.spec["process"]["args"] = list(args)
        self.monitor.terminal = bool(self.spec["process"].get("terminal"))
        launched = launch(compile_plan(self.spec, self.around), self.monitor, ["estiva-monitor", "test"], attach=True)
        self._lines.append(launched.fd)
        return launched, Attachment(launched.fd)

    def run(self, *args: str) -> int | None:
        """Start and wait; ``out`` and ``err`` hold what was written."""
        _, attachment = self.start(*args)
        return self.collect(attachment)

    def shell(self, script: str) -> str:
        """The output of a script that must succeed."""
        code = self.run("sh", "-c", script)
        assert code == 0, (code, self.out, self.err)
        return self.out.decode()

    def collect(self, attachment: Attachment) -> int | None:
        """Read to the end."""
        for kind, data in attachment.events():
            self.out += data if kind == "stdout" else b""
            self.err += data if kind == "stderr" else b""
        return attachment.exit_code

    def state(self) -> Any:
        """What the monitor wrote down."""
        return read_state(str(self.base), str(self.base))

    def in_user_namespace(self, base: int = 300000, *, size: int = 65536) -> None:
        """Map ids 0 to *size* to those from *base* on, who may then use the box's directories."""
        self.spec["linux"]["namespaces"].append({"type": "user"})
        maps = [{"containerID": 0, "hostID": base, "size": size}]
        self.spec["linux"].update(uidMappings=maps, gidMappings=maps)
        self.around.idmap = True
        for path in (self.base, *self.base.parents):
            if str(path).startswith("/tmp/"):
                path.chmod(path.stat().st_mode | 0o055)
        for name in ("upper", "work"):
            os.chown(self.base / name, base, base)

    def close(self) -> None:
        for fd in self._lines:
            os.close(fd)


@pytest.fixture(scope="session")
def lower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A busybox root file system."""
    directory = tmp_path_factory.mktemp("lower")
    with tarfile.open(fileobj=BytesIO(busybox_layer())) as archive:
        archive.extractall(directory, numeric_owner=True)  # ours, and as root with its owners
    return directory


@pytest.fixture(scope="session")
def probe(lower: Path) -> str:
    """The path, in boxes, of a program that tells what the kernel says about it; see helpers/probe.c."""
    return compile_probe(lower)


@pytest.fixture
def make_box(tmp_path: Path, lower: Path) -> Iterator[Callable[[], Box]]:
    """Makes boxes."""
    boxes: list[Box] = []

    def make() -> Box:
        directory = tmp_path / f"box{len(boxes)}"
        directory.mkdir()
        boxes.append(Box(directory, lower))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


@pytest.fixture
def box(make_box: Callable[[], Box]) -> Box:
    """A container that has not been started."""
    return make_box()


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """The command ``estiva-runtime`` and a bundle; its containers are deleted in the end."""
    if os.geteuid() != 0:
        pytest.skip("a bundle without a user namespace needs root")
    made = Runtime(tmp_path)
    yield made
    names = made("list", "-q").split()
    for name in names:
        made("delete", "--force", name)
    for mount in hierarchy.detect().mounts():
        assert not set(names) & set(_names(f"{mount}/estiva"))


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []
