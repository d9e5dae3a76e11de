"""Devices of the machine's network moved into a container.  runtime-spec config-linux.md "Network Devices" """

from __future__ import annotations

import ctypes
import os
import subprocess
import time

import pytest

from estiva.errors import EstivaError, Invalid

pytestmark = pytest.mark.needs_root
CLONE_NEWNET = 0x40000000


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def host():
    """A network namespace that is the host's for this test, with two ends of a cable, one of them configured."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNET) == 0
    try:
        ip("link", "set", "lo", "up")
        ip("link", "add", "veth-a", "address", "02:00:00:00:00:0a", "mtu", "1400", "type", "veth", "peer", "veth-b")
        ip("link", "set", "veth-a", "up")
        ip("link", "set", "veth-b", "up")
        ip("address", "add", "192.0.2.1/24", "broadcast", "192.0.2.255", "dev", "veth-a")
        ip("address", "add", "192.0.2.7/24", "dev", "veth-a")
        ip("address", "add", "2001:db8::1/64", "dev", "veth-a", "nodad")
        ip("address", "add", "198.51.100.1/24", "dev", "veth-a", "valid_lft", "1000", "preferred_lft", "1000")
        ip("address", "add", "169.254.3.3/16", "scope", "link", "dev", "veth-a")
        yield
    finally:
        assert libc.setns(before, CLONE_NEWNET) == 0
        os.close(before)


def names():
    return {line.split(":")[1].split("@")[0].strip() for line in ip("-o", "link").splitlines()}


def test_a_device_moves_with_its_addresses_and_attributes(host, box):
    box.spec["linux"]["netDevices"] = {"veth-a": {"name": "eth7"}, "veth-b": {}}
    out = box.shell("ip -o link show eth7; ip -o addr show eth7; ip -o link show veth-b")
    assert "02:00:00:00:00:0a" in out
    assert "mtu 1400" in out
    assert out.splitlines()[0].count("UP") >= 1
    assert "inet 192.0.2.1/24 brd 192.0.2.255 scope global" in out
    assert "inet 192.0.2.7/24" in out
    assert "inet6 2001:db8::1/64 scope global" in out
    assert "198.51.100.1" not in out  # not permanent
    assert "169.254.3.3" not in out  # of the link only


def test_a_moved_device_carries_packets(host, box):
    box.spec["linux"]["netDevices"] = {"veth-a": None}
    ip("address", "add", "192.0.2.2/24", "dev", "veth-b")
    box.spec["process"]["args"] = ["sh", "-c", "ping -c 1 -W 5 192.0.2.2 >/dev/null && echo reached"]
    for kind in ("bounding", "effective", "permitted"):
        box.spec["process"]["capabilities"][kind].append("CAP_NET_RAW")
    box.run(*box.spec["process"]["args"])
    assert box.out == b"reached\n", box.err


def test_a_template_lets_the_kernel_choose_the_name(host, box):
    box.spec["linux"]["netDevices"] = {"veth-a": {"name": "net%d"}, "veth-b": {"name": "net%d"}}
    out = box.shell("ls /sys/class/net; ip -o addr show to 192.0.2.1")
    assert out.split()[:3] == ["lo", "net0", "net1"]
    assert "net0" in out.splitlines()[3]


def test_a_device_moves_into_a_joined_namespace(host, box):
    holder = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
    try:
        deadline = time.monotonic() + 20
        while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/thread-self/ns/net"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        entries = box.spec["linux"]["namespaces"]
        next(entry for entry in entries if entry["type"] == "network")["path"] = f"/proc/{holder.pid}/ns/net"
        box.spec["linux"]["netDevices"] = {"veth-a": {"name": "eth0"}}
        assert "192.0.2.1" in box.shell("ip -o addr show eth0")
    finally:
        holder.kill()
        holder.wait()


def test_a_device_moves_into_the_network_of_a_user_namespace(host, box):
    box.in_user_namespace()
    box.spec["linux"]["netDevices"] = {"veth-a": {"name": "eth0"}}
    assert "192.0.2.1" in box.shell("ip -o addr show eth0")


@pytest.mark.parametrize("failing", ["later", "name in use"])
def test_all_is_as_before_when_the_container_cannot_be_made(host, box, failing):
    if failing == "later":
        box.spec["linux"]["netDevices"] = {"veth-b": {"name": "one"}, "veth-a": {"name": "two"}}
        box.spec["mounts"].append({"destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"]})
        words = "bind /no/such"
    else:
        box.spec["linux"]["netDevices"] = {"veth-a": {"name": "same"}, "veth-b": {"name": "same"}}
        words = "move network device veth-b: file exists"
    with pytest.raises(EstivaError, match=words):
        box.run("true")
    assert names() == {"lo", "veth-a", "veth-b"}
    out = ip("-o", "addr", "show", "veth-a")
    assert "192.0.2.1/24 brd 192.0.2.255" in out
    assert "2001:db8::1/64" in out
    assert "UP" in ip("-o", "link", "show", "veth-a")
    assert "mtu 1400" in ip("-o", "link", "show", "veth-a")


def test_a_device_that_is_not_there_is_named(host, box):
    box.spec["linux"]["netDevices"] = {"nothing0": {}}
    with pytest.raises(EstivaError, match="move network device nothing0: no such device"):
        box.run("true")


@pytest.mark.parametrize("name", ["", "a/b", "a b", "..", "x" * 16, "a:b"])
def test_a_name_no_device_can_have_is_refused(box, name):
    box.spec["linux"]["netDevices"] = {"veth-a": {"name": name}} if name else {"": {}}
    with pytest.raises(Invalid, match=r"linux.netDevices: .* is not a device's name"):
        box.run("true")
