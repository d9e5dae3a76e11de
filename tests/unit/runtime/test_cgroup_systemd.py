"""What goes over the bus: the wire format, the properties of units, the names of scopes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid, Unavailable
from estiva.runtime.cgroup import bus, dbus, units
from estiva.runtime.cgroup.dbus import Message, Variant
from estiva.runtime.cgroup.systemd import UnitName

# The first call on every bus, put together by hand from the specification's "Message Format"
HELLO = bytes.fromhex(
    "6c01000100000000010000006d00000001016f0015000000"
    "2f6f72672f667265656465736b746f702f44427573000000"
    "0201730014000000" "6f72672e667265656465736b746f702e44427573" "00000000"
    "0301730005000000" "48656c6c6f000000"
    "0601730014000000" "6f72672e667265656465736b746f702e44427573" "00000000"
)  # fmt: skip


def test_a_message_has_the_bytes_of_the_specification():
    name = "org.freedesktop.DBus"
    fields = {"path": "/org/freedesktop/DBus", "interface": name, "member": "Hello", "destination": name}
    assert Message(dbus.METHOD_CALL, 1, fields).encode() == HELLO
    read = dbus.decode(HELLO)
    assert (read.kind, read.serial, read.fields, read.body) == (dbus.METHOD_CALL, 1, fields, [])
    assert dbus.size_of(HELLO[:16]) == len(HELLO)


def test_messages_of_the_other_byte_order_are_read():
    fields = bytes.fromhex("05017500000000070801670001750000")
    data = b"B" + bytes([2, 0, 1]) + bytes.fromhex("00000004000000010000000f") + fields + bytes.fromhex("00000009")
    read = dbus.decode(data)
    assert (read.fields, read.body) == ({"reply_serial": 7, "signature": "u"}, [9])


simple = {
    "y": st.integers(0, 255), "b": st.booleans(), "n": st.integers(-(1 << 15), (1 << 15) - 1),
    "q": st.integers(0, (1 << 16) - 1), "i": st.integers(-(1 << 31), (1 << 31) - 1), "u": st.integers(0, (1 << 32) - 1),
    "x": st.integers(-(1 << 63), (1 << 63) - 1), "t": st.integers(0, (1 << 64) - 1),
    "d": st.floats(allow_nan=False), "s": st.text(), "o": st.just("/a/b"), "g": st.just("a{sv}"),
}  # fmt: skip


def values_of(depth):
    """Pairs of a signature and a value that fits it."""
    leaf = st.sampled_from(sorted(simple)).flatmap(lambda code: simple[code].map(lambda value: (code, value)))
    if not depth:
        return leaf
    inner = values_of(depth - 1)
    return st.one_of(
        leaf,
        inner.map(lambda pair: ("v", Variant(*pair))),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda pairs: (f"({''.join(code for code, _ in pairs)})", tuple(value for _, value in pairs))
        ),
        inner.filter(lambda pair: pair[0] != "y").map(lambda pair: ("a" + pair[0], [pair[1], pair[1]])),
        st.tuples(st.text(), inner).map(lambda pair: (f"a{{s{pair[1][0]}}}", {pair[0]: pair[1][1]})),
        st.binary().map(lambda data: ("ay", data)),
    )


@given(st.lists(values_of(3), max_size=4))
def test_what_is_written_is_read(pairs):
    signature = "".join(code for code, _ in pairs)
    if len(signature) > 255:
        return
    message = Message(dbus.SIGNAL, 5, {"path": "/x", "signature": signature}, [value for _, value in pairs])
    data = message.encode()
    assert dbus.size_of(data[:16]) == len(data)
    assert dbus.decode(data).body == message.body


@given(st.binary(max_size=200), st.integers(0, len(HELLO) - 1))
def test_bytes_that_are_no_message_are_refused_and_nothing_else(data, at):
    for damaged in (data, HELLO[:16] + data, HELLO[:at] + data[:1] + HELLO[at + 1 :]):
        try:
            dbus.decode(damaged.ljust(16, b"\0"))
        except dbus.WireError:
            continue


@pytest.mark.parametrize(("code", "value"), [("u", -1), ("s", 5), ("as", 7), ("(su)", ("a",)), ("v", 5), ("y", 256)])
def test_values_must_fit_their_signature(code, value):
    with pytest.raises(dbus.WireError):
        Message(dbus.SIGNAL, 1, {"signature": code}, [value]).encode()


@pytest.mark.parametrize("signature", ["z", "a", "(u", "{s", "a" * 80 + "y"])
def test_signatures_are_checked(signature):
    with pytest.raises(dbus.WireError):
        dbus.complete_types(signature)


def told(resources, version=252, v2=True):
    return {name: variant.value for name, variant in units.resource_properties(resources, version, v2).items()}


def test_limits_become_properties():
    resources = {
        "memory": {"limit": 1 << 30, "swap": 3 << 29, "reservation": 1 << 20},
        "cpu": {"shares": 1024, "quota": 12345, "period": 100000, "cpus": "0-1,3", "mems": "0"},
        "pids": {"limit": 100},
        "blockIO": {"weight": 500},
    }
    assert told(resources) == {
        "MemoryMax": 1 << 30,
        "MemoryLow": 1 << 20,
        "MemorySwapMax": 1 << 29,
        "CPUWeight": 100,
        "CPUQuotaPeriodUSec": 100000,
        "CPUQuotaPerSecUSec": 130000,
        "AllowedCPUs": b"\x0b",
        "AllowedMemoryNodes": b"\x01",
        "TasksMax": 100,
        "IOWeight": 4950,
    }
    assert told(resources, v2=False) == {
        "MemoryLimit": 1 << 30,
        "CPUShares": 1024,
        "CPUQuotaPeriodUSec": 100000,
        "CPUQuotaPerSecUSec": 130000,
        "AllowedCPUs": b"\x0b",
        "AllowedMemoryNodes": b"\x01",
        "TasksMax": 100,
        "BlockIOWeight": 500,
    }
    assert not {"CPUQuotaPeriodUSec", "AllowedCPUs"} & set(told(resources, version=239))


def test_no_limit_is_infinity_and_nothing_is_nothing():
    infinite = (1 << 64) - 1
    assert told({"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}}) == {
        "MemoryMax": infinite,
        "MemorySwapMax": infinite,
        "TasksMax": infinite,
        "CPUQuotaPerSecUSec": infinite,
    }
    assert told({"pids": {"limit": 0}}) == {"TasksMax": 1}
    assert told({"cpu": {"idle": 1, "shares": 512}}) == {"CPUWeight": 0}
    assert told({"cpu": {"idle": 1}}, version=250) == {}
    assert told({}) == told({"memory": {}, "cpu": {}, "pids": {}}) == {}


def test_unified_files_become_properties_where_there_is_one():
    unified = {
        "memory.high": "900", "memory.max": "max", "cpu.max": "5000 10000", "cpu.weight": "7", "cpuset.cpus": "8",
        "pids.max": "5", "io.max": "8:0 rbps=1", "memory.oom.group": "1",
    }  # fmt: skip
    assert told({"unified": unified}, version=253) == {
        "MemoryHigh": 900,
        "MemoryMax": (1 << 64) - 1,
        "CPUQuotaPeriodUSec": 10000,
        "CPUQuotaPerSecUSec": 500000,
        "CPUWeight": 7,
        "AllowedCPUs": b"\x00\x01",
        "TasksMax": 5,
        "OOMPolicy": "kill",
    }


def test_device_rules_become_a_list_or_are_left_to_us():
    deny = {"allow": False, "access": "rwm"}
    rules = [
        deny,
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "c", "major": 136, "access": "rw"},
        {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"},
    ]
    assert told({"devices": rules}) == {
        "DevicePolicy": "strict",
        "DeviceAllow": [("/dev/block/8:0", "r"), ("/dev/char/1:3", "rwm"), ("char-136", "rwm"), ("char-*", "m")],
    }
    for other in ([{"allow": True, "access": "rwm"}], [deny, {"allow": True, "type": "c", "minor": 3, "access": "r"}]):
        assert told({"devices": other}) == {"DevicePolicy": "auto", "DeviceAllow": []}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("CollectMode", "'inactive'", ("CollectMode", Variant("s", "inactive"))),
        ("TimeoutStopUSec", "uint64 5", ("TimeoutStopUSec", Variant("t", 5))),
        ("TimeoutStopSec", "1.5", ("TimeoutStopUSec", Variant("t", 1500000))),
        ("SendSIGHUP", "true", ("SendSIGHUP", Variant("b", True))),
        ("After", "['a.service', 'b.service']", ("After", Variant("as", ["a.service", "b.service"]))),
        ("After", "@as []", ("After", Variant("as", []))),
        ("Nice", "-5", ("Nice", Variant("i", -5))),
    ],
)
def test_annotations_set_properties(name, text, expected):
    annotations = {units.ANNOTATION + name: text, "org.other": "x"}
    assert list(units.annotated_properties(annotations).items()) == [expected]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("A-b", "true"),
        ("X", "nonsense"),
        ("X", "[]"),
        ("X", "uint64 -1"),
        ("WatchdogSec", "'a'"),
        ("X", "__import__('os')"),
    ],
)
def test_annotations_are_checked(name, text):
    with pytest.raises(Invalid, match=r"org\.systemd\.property"):
        units.annotated_properties({units.ANNOTATION + name: text})


@pytest.mark.parametrize(
    ("path", "user", "slice_name", "name"),
    [
        ("", False, "system.slice", "estiva-abc.scope"),
        ("", True, "user.slice", "estiva-abc.scope"),
        ("machine.slice:libpod:x", False, "machine.slice", "libpod-x.scope"),
        (":docker:x", False, "system.slice", "docker-x.scope"),
        ("a-b.slice::x", False, "a-b.slice", "x.scope"),
        ("-.slice:p:x", False, "-.slice", "p-x.scope"),
    ],
)
def test_scopes_are_named_by_the_path(path, user, slice_name, name):
    unit = UnitName.parse(path, "abc", user=user)
    assert (unit.slice, unit.name) == (slice_name, name)


@pytest.mark.parametrize("path", ["/a/b", "a/b", "a:b", "a:b:c:d", "noslice:p:n", "a.slice:p:", "a.slice:p:b.slice"])
def test_paths_that_name_no_scope_are_refused(path):
    with pytest.raises(Invalid, match=r"linux\.cgroupsPath"):
        UnitName.parse(path, "abc", user=False)


def test_addresses_are_tried_in_order():
    assert bus.addresses(False, {}) == [("/run/dbus/system_bus_socket", True), ("/run/systemd/private", False)]
    environ = {
        "XDG_RUNTIME_DIR": "/r",
        "DBUS_SESSION_BUS_ADDRESS": "tcp:host=x;unix:abstract=/t%2fx,guid=1;unix:path=/p",
    }
    assert bus.addresses(True, environ) == [
        ("\0/t/x", True),
        ("/p", True),
        ("/r/bus", True),
        ("/r/systemd/private", False),
    ]


def test_nobody_there_is_said_with_every_place(tmp_path):
    with pytest.raises(Unavailable, match=r"a: No such file.*b: No such file"):
        bus.Bus([(f"{tmp_path}/a", True), (f"{tmp_path}/b", False)])
