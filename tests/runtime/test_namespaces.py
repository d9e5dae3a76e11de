"""Namespaces by type and by path, alone and together; what needs one; ids, clocks, names and sysctls in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from estiva.errors import EstivaError, Invalid

pytestmark = pytest.mark.needs_root

FILES = {
    "mount": "mnt", "network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid", "user": "user", "cgroup": "cgroup",
    "time": "time",
}  # fmt: skip
MOUNTINFO = Path("/proc/self/mountinfo")
MAP = [{"containerID": 0, "hostID": 300000, "size": 65536}]
# A process in new namespaces (flags in hexadecimal, then an id map) that waits to be looked at.
HOLDER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(int(sys.argv[1], 16)):
    os._exit(1)
os.write(1, b"u")
os.read(0, 1)
if sys.argv[2:]:
    os.setgid(0); os.setuid(0)
    if libc.unshare(int(sys.argv[2], 16)):
        os._exit(2)
child = os.fork()
os.write(1, b"%d\\n" % (child or 0)) if child else None
import signal
signal.pause()
"""


class Holder:
    """Namespaces held by a process: of the clone flags *first*, then, as root of a user namespace, of *second*."""

    def __init__(self, first: int, second: int = 0) -> None:
        words = [f"{first:x}", *([f"{second:x}"] if second else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self.process.stdout.read(1) == b"u"
        if first & 0x10000000:
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{self.process.pid}/{name}", "w") as file:
                    file.write("0 300000 65536\n")
        self.process.stdin.write(b"g")
        self.child = int(self.process.stdout.readline())

    def path(self, kind: str) -> str:
        name = FILES[kind]
        return f"/proc/{self.child if name in ('pid', 'time') else self.process.pid}/ns/{name}"

    def close(self) -> None:
        os.kill(self.child, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def hold():
    held = []

    def make(*flags):
        held.append(Holder(*flags))
        return held[-1]

    yield make
    for holder in held:
        holder.close()


def use(box, **paths):
    """The namespaces of the container: ``None`` leaves one out, ``""`` makes it, a path joins it."""
    entries = {entry["type"]: entry for entry in box.spec["linux"]["namespaces"]}
    for kind, path in paths.items():
        if path is None:
            entries.pop(kind, None)
        else:
            entries[kind] = {"type": kind, **({"path": path} if path else {})}
    box.spec["linux"]["namespaces"] = list(entries.values())


def open_to_all(box):
    """Let other users reach the box's directories."""
    for path in (box.base, *box.base.parents):
        if str(path).startswith("/tmp/"):
            os.chmod(path, os.stat(path).st_mode | 0o055)
    box.around.idmap = True
    for name in ("upper", "work"):
        os.chown(box.base / name, 300000, 300000)


def inside(box):
    """Which namespaces the program is in, by kind."""
    out = box.shell("for kind in mnt net ipc uts pid user cgroup time; do readlink /proc/self/ns/$kind; done")
    return dict(zip(("mount", "network", "ipc", "uts", "pid", "user", "cgroup", "time"), out.split(), strict=True))


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "pid", "time"])
def test_one_namespace_by_path_and_the_others_new(box, hold, kind):
    flag = {"network": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000, "cgroup": 0x02000000, "pid": 0x20000000,
            "time": 0x80}[kind]  # fmt: skip
    path = hold(flag).path(kind)
    wanted = os.readlink(path)
    use(box, **{kind: path})
    if kind == "uts":
        box.spec.pop("hostname")
    seen = inside(box)
    assert seen[kind] == wanted
    for other, name in FILES.items():
        own = os.readlink(f"/proc/self/ns/{name}")
        assert (seen[other] == own) == (other in ("user", "time") and other != kind), other


def test_several_by_path_at_once(box, hold):
    holder = hold(0x40000000 | 0x08000000 | 0x04000000)
    paths = {kind: holder.path(kind) for kind in ("network", "ipc", "uts")}
    wanted = {kind: os.readlink(path) for kind, path in paths.items()}
    use(box, **paths)
    box.spec["hostname"] = "renamed"  # a joined UTS namespace is the container's own
    seen = inside(box)
    assert {kind: seen[kind] for kind in paths} == wanted


def test_namespaces_left_out_are_the_runtimes(box):
    use(box, network=None, ipc=None, uts=None, cgroup=None, pid=None)
    box.spec.pop("hostname")
    seen = inside(box)
    for kind in ("network", "ipc", "uts", "cgroup", "pid"):
        assert seen[kind] == os.readlink(f"/proc/self/ns/{FILES[kind]}")


def test_a_user_namespace_by_path_owns_what_is_made_with_it(box, hold):
    holder = hold(0x10000000, 0x40000000)
    open_to_all(box)
    use(box, user=holder.path("user"))
    box.spec["process"]["capabilities"] = {
        kind: ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"] for kind in ("bounding", "effective", "permitted")
    }
    wanted = os.readlink(holder.path("user"))
    out = box.shell(
        "readlink /proc/self/ns/user; id -u; cat /proc/self/uid_map; ip link add br0 type bridge && ip link show br0 | "
        "grep -c br0; mkdir -p /tmp/m && mount -t tmpfs x /tmp/m && echo mounted; echo $$"
    )
    assert out.split() == [wanted, "0", "0", "300000", "65536", "1", "mounted", "1"]


def test_a_user_namespace_by_path_with_the_network_that_belongs_to_it(box, hold):
    holder = hold(0x10000000, 0x40000000)
    open_to_all(box)
    use(box, user=holder.path("user"), network=holder.path("network"))
    wanted = {kind: os.readlink(holder.path(kind)) for kind in ("user", "network")}
    seen = inside(box)
    assert {kind: seen[kind] for kind in wanted} == wanted


@pytest.mark.parametrize("by_path", [False, True])
def test_a_user_namespace_with_a_network_of_the_machine(box, hold, by_path):
    """Only the machine's root may join that one: it is joined before the user namespace is."""
    network, users = hold(0x40000000), hold(0x10000000, 0x08000000)
    open_to_all(box)
    if by_path:
        use(box, user=users.path("user"), network=network.path("network"))
    else:
        use(box, user="", network=network.path("network"))
        box.spec["linux"].update(uidMappings=MAP, gidMappings=MAP)
    # sysfs belongs to the owner of the network namespace
    box.spec["mounts"] = [mount for mount in box.spec["mounts"] if mount["destination"] != "/sys"]
    wanted = os.readlink(network.path("network"))
    assert inside(box)["network"] == wanted
    assert os.readlink("/proc/self/ns/net") != wanted  # nor did anybody here move


def test_a_new_user_namespace_maps_many_ranges(box):
    use(box, user="")
    open_to_all(box)
    ranges = [{"containerID": index * 10, "hostID": 300000 + index * 7, "size": 5} for index in range(300)]
    box.spec["linux"].update(uidMappings=ranges, gidMappings=MAP)
    out = box.shell("wc -l < /proc/self/uid_map; tail -1 /proc/self/uid_map")
    assert out.split() == ["300", "2990", "302093", "5"]


def test_a_mount_namespace_by_path_is_used_as_it_is(runtime, tmp_path, hold):
    holder = hold(0x00020000)
    subprocess.run(["nsenter", "-t", str(holder.process.pid), "-m", "mount", "--make-rprivate", "/"], check=True)
    for entry in runtime.spec["linux"]["namespaces"]:
        if entry["type"] == "mount":
            entry["path"] = holder.path("mount")
    runtime.process("sh", "-c", "readlink /proc/self/ns/mnt; ls /; cat /proc/sys/kernel/osrelease")
    wanted = os.readlink(holder.path("mount"))
    lines = runtime("run", "a").splitlines()
    assert lines[0] == wanted
    assert "bin" in lines
    assert "boot" not in lines
    assert str(runtime.bundle) not in MOUNTINFO.read_text()


def test_without_a_mount_namespace_the_root_is_changed_and_the_host_is_not(runtime):
    before = MOUNTINFO.read_text()
    spec = runtime.spec
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != "mount"]
    runtime.process("ls", "/")
    assert "mounts: not possible without a mount namespace" in runtime("run", "a", code=1)
    spec["mounts"] = []
    for field in ("maskedPaths", "readonlyPaths"):
        spec["linux"].pop(field, None)
    runtime.process("sh", "-c", "ls /; readlink /proc/self/ns/mnt; pwd")
    assert "busybox" in runtime("run", "a") or "bin" in runtime("run", "a")
    assert MOUNTINFO.read_text() == before


def test_clocks_of_a_new_time_namespace(box, hold):
    use(box, time="")
    box.spec["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 500, "nanosecs": 5}}
    uptime = float(box.shell("cut -d' ' -f1 /proc/uptime; cat /proc/self/timens_offsets").split()[0])
    assert 999000 < uptime - time.clock_gettime(time.CLOCK_BOOTTIME) < 1001000
    assert box.out.decode().split()[1:] == ["monotonic", "500", "5", "boottime", "1000000", "0"]


def test_a_name_and_a_domain_of_ones_own(box):
    box.spec["domainname"] = "example.org"
    assert box.shell("hostname; cat /proc/sys/kernel/domainname").split() == ["box", "example.org"]
    assert os.uname().nodename != "box"


def test_sysctls_in_both_spellings(box):
    use(box, ipc="", network="", uts="")
    box.spec["linux"]["sysctl"] = {
        "kernel.msgmax": "9000",
        "net/ipv4/ip_forward": "1",
        "net.ipv4.conf.lo.forwarding": "0",
        "net/ipv4/conf/lo/rp_filter": "2",
        "fs.mqueue.msg_max": "11",
    }
    names = "kernel/msgmax net/ipv4/ip_forward net/ipv4/conf/lo/forwarding net/ipv4/conf/lo/rp_filter fs/mqueue/msg_max"
    assert box.shell(f"cd /proc/sys; cat {names}").split() == ["9000", "1", "0", "2", "11"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"namespaces": [{"type": "pid"}, {"type": "pid"}]}, r"linux.namespaces\[1\]: a second one of type 'pid'"),
        ({"namespaces": [{"type": "pid", "path": "x"}]}, r"linux.namespaces\[0\].path: 'x' is not an absolute path"),
        ({"namespaces": [{"type": "moon"}]}, "type 'moon' is unknown"),
        ({"without": "uts"}, "hostname: it cannot be set without a UTS namespace"),
        ({"uidMappings": MAP}, "linux.namespaces has no user namespace"),
        ({"with": "user"}, "linux.uidMappings and linux.gidMappings are both needed"),
        ({"with": "user", "uidMappings": MAP * 341, "gidMappings": MAP}, "341 entries; the kernel takes 340"),
        ({"with": "user", "uidMappings": MAP * 330, "gidMappings": MAP}, "longer than the page the kernel takes"),
        ({"with": "user", "uidMappings": MAP}, "linux.uidMappings and linux.gidMappings are both needed"),
        ({"timeOffsets": {"boottime": {"secs": 1}}}, "linux.timeOffsets: they can be set for a new time namespace"),
        ({"with": "time", "timeOffsets": {"wall": {"secs": 1}}}, "clock 'wall' is neither monotonic nor boottime"),
        ({"sysctl": {"vm.swappiness": "1"}}, "'vm.swappiness' is not part of a namespace"),
        ({"sysctl": {"net/../kernel/core_pattern": "x"}}, "'net/../kernel/core_pattern' is not a name"),
        ({"sysctl": {"net...kernel.core_pattern": "x"}}, "is not a name"),
        ({"without": "network", "sysctl": {"net.ipv4.ip_forward": "1"}}, "no own network namespace"),
        ({"without": "ipc", "sysctl": {"kernel.shmmax": "1"}}, "no own ipc namespace"),
        ({"without": "network", "netDevices": {"eth0": {}}}, "linux.netDevices: devices can only be moved"),
        ({"without": "mount"}, "mounts: not possible without a mount namespace"),
    ],
)
def test_contradictions_are_refused_by_name(box, change, words):
    linux = box.spec["linux"]
    if "without" in change:
        use(box, **{change.pop("without"): None})
    if "with" in change:
        use(box, **{change.pop("with"): ""})
    linux.update(change)
    with pytest.raises(Invalid, match=words):
        box.run("true")


def test_a_path_that_is_not_a_namespace_of_its_type(box, hold):
    holder = hold(0x08000000)
    use(box, network=holder.path("ipc"))
    with pytest.raises(EstivaError, match=r"setns /proc/\d+/ns/ipc: invalid argument"):
        box.run("true")
    use(box, network="/no/such/namespace")
    with pytest.raises(EstivaError, match="open /no/such/namespace: no such file or directory"):
        box.run("true")


@pytest.mark.parametrize(
    ("word", "fields"),
    [("", []), ("private", []), ("rprivate", []), ("slave", ["master"]), ("rslave", ["master"]),
     ("shared", ["shared"]), ("rshared", ["shared"]), ("unbindable", ["unbindable"])],
)  # fmt: skip
def test_propagation_of_the_root(runtime, word, fields):
    """Seen from inside a host whose mounts are shared, as systemd makes them."""
    if word:
        runtime.spec["linux"]["rootfsPropagation"] = word
    root = runtime.bundle / "rootfs"
    runtime.process("sh", "-c", "grep ' / / ' /proc/self/mountinfo; grep ' / ' /proc/self/mountinfo | head -1")
    script = f"mount --make-rshared / && mount --bind {root} {root} && mount --make-shared {root} && exec "
    script += " ".join(runtime.command("run", "a")) + f"; grep -c {runtime.bundle} /proc/self/mountinfo"
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, cwd=runtime.bundle, check=False
    )
    assert result.returncode == 0, result.stderr
    line = result.stdout.splitlines()[0].split()
    seen = [field.split(":")[0] for field in line[6 : line.index("-")]]
    if word in ("", "slave", "rslave"):
        assert seen == ["master"]
    else:
        assert seen == fields


def test_a_mount_of_a_container_whose_root_is_shared_is_seen_outside_and_no_other_is(runtime, tmp_path):
    (tmp_path / "meet").mkdir()
    runtime.spec["linux"]["rootfsPropagation"] = "rshared"
    for kind in ("bounding", "effective", "permitted"):
        runtime.spec["process"]["capabilities"][kind].append("CAP_SYS_ADMIN")
    runtime.spec["mounts"].append(
        {"destination": "/meet", "type": "bind", "source": str(tmp_path / "meet"), "options": ["rbind", "rshared"]}
    )
    (tmp_path / "meet/sub").mkdir()
    runtime.process("mount", "-t", "tmpfs", "from-inside", "/meet/sub")
    script = "mount --make-rshared / && " + " ".join(runtime.command("run", "a")) + "; cat /proc/self/mountinfo"
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, cwd=runtime.bundle, check=False
    )
    lines = result.stdout.splitlines()
    assert any("from-inside" in line and f"{tmp_path}/meet/sub" in line for line in lines), result.stderr
    assert not any(str(runtime.bundle / "rootfs") in line for line in lines)
