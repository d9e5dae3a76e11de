"""What is refused at the border, by the name of the property; and what passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from estiva.errors import Invalid, NotFound
from estiva.runtime.cli import bundle, information


def base() -> dict[str, Any]:
    spec = information.base_spec()
    spec["process"]["terminal"] = False
    return spec


def with_change(path: str, value: Any) -> dict[str, Any]:
    """The base configuration with *value* at a dotted path; a number is a position."""
    spec = base()
    holder: Any = spec
    *keys, last = path.split(".")
    for key in keys:
        holder = holder[int(key)] if key.isdigit() else holder.setdefault(key, {})
    if isinstance(holder, list):
        holder.insert(int(last), value)
    else:
        holder[last] = value
    return spec


MAPS = [{"containerID": 0, "hostID": 1000, "size": 10}]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("ociVersion", None, "ociVersion: is missing"),
        ("ociVersion", "2.0.0", 'ociVersion: "2.0.0" is not supported; versions 1.0.0 to'),
        ("ociVersion", "1.0", 'ociVersion: "1.0" is not a semantic version'),
        ("ociVersion", "1.0.0-", "is not a semantic version"),
        ("ociVersion", 1, "ociVersion: 1 is not a string"),
        ("process", [], "process: not an object"),
        ("process.args", None, "process.args: is missing"),
        ("process.args", [], "process.args: empty"),
        ("process.args", "sh", "process.args: not a list"),
        ("process.args", ["sh", 1], r"process.args\[1\]: 1 is not a string"),
        ("process.args", ["a\0b"], "has a character that no path or word can have"),
        ("process.args", ["\ud800"], "has a character that no path or word can have"),
        ("process.cwd", "tmp", 'process.cwd: "tmp" is not an absolute path'),
        ("process.cwd", None, "process.cwd: is missing"),
        ("process.env", ["A"], r'process.env\[0\]: "A" is not NAME=VALUE'),
        ("process.terminal", 1, "process.terminal: 1 is neither true nor false"),
        ("process.user.uid", -1, "process.user.uid: -1 is not between 0 and 4294967295"),
        ("process.user.uid", True, "process.user.uid: True is not a whole number"),
        ("process.user.uid", 1.0, "process.user.uid: 1.0 is not a whole number"),
        ("process.user.umask", 0o1000, "process.user.umask: 512 is not between"),
        ("process.user.additionalGids", [1 << 32], r"process.user.additionalGids\[0\]"),
        ("process.oomScoreAdj", 1001, "process.oomScoreAdj: 1001 is not between -1000 and 1000"),
        ("process.consoleSize", {"height": 1}, "process.consoleSize.width: is missing"),
        ("process.rlimits.0", {"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}, r"process.rlimits\[0\]: the soft limit"),
        ("process.rlimits.1", {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}, "RLIMIT_NOFILE is given twice"),
        ("process.capabilities", {"bounding": "all"}, "process.capabilities.bounding: not a list"),
        ("root", None, "root: is missing"),
        ("root", {}, "root.path: is missing"),
        ("root.readonly", "yes", "root.readonly"),
        ("hostname", "x" * 65, "hostname: longer than 64"),
        ("mounts", {}, "mounts: not a list"),
        ("mounts.0", {"type": "tmpfs"}, r"mounts\[0\].destination: is missing"),
        ("mounts.0", {"destination": "/a"}, r"mounts\[0\].type: is missing"),
        ("mounts.0", {"destination": "/a", "options": ["bind"]}, r"mounts\[0\].source: is missing"),
        (
            "mounts.0",
            {"destination": "/a", "type": "bind", "source": "/", "uidMappings": MAPS},
            r"mounts\[0\]: uidMappings and gidMappings go together",
        ),
        ("annotations", {"": "x"}, "annotations: a name in it is empty"),
        ("annotations", {"a": 1}, "annotations.a: 1 is not a string"),
        ("hooks", {"prestart": [{"path": "x"}]}, r"hooks.prestart\[0\].path"),
        ("linux.namespaces.0", {"type": "nope"}, r'linux.namespaces\[0\].type: "nope" is unknown; known are cgroup'),
        ("linux.namespaces.0", {"type": "pid"}, r"linux.namespaces\[1\]: a second one of type 'pid'"),
        ("linux.namespaces.0", {"type": "time", "path": "x"}, r"linux.namespaces\[0\].path"),
        ("linux.namespaces", [], "hostname: it cannot be set without a UTS namespace"),
        ("linux.uidMappings", MAPS, "linux.namespaces has no user namespace"),
        ("linux.namespaces.0", {"type": "user"}, "are both needed for a new user namespace"),
        ("linux.timeOffsets", {"monotonic": {"secs": 1}}, "they can be set for a new time namespace only"),
        ("linux.timeOffsets", {"realtime": {"secs": 1}}, "clock 'realtime' is neither monotonic nor boottime"),
        ("linux.sysctl", {"vm.swappiness": "1"}, "linux.sysctl: 'vm.swappiness' is not part of a namespace"),
        ("linux.sysctl", {"net/../vm/swappiness": "1"}, "is not a name"),
        ("linux.sysctl", {"user.max_user_namespaces": "1"}, "no own user namespace"),
        ("linux.devices", [{"type": "c", "path": "/dev/x"}], r"linux.devices\[0\]: major and minor are needed"),
        ("linux.devices", [{"type": "x", "path": "/dev/x"}], r"linux.devices\[0\].type: \"x\" is unknown"),
        ("linux.devices", [{"type": "p", "path": "/x", "fileMode": 0o200000}], r"linux.devices\[0\].fileMode"),
        ("linux.resources", [], "linux.resources: not an object"),
        ("linux.resources.memory", {"limit": "1g"}, "linux.resources.memory.limit"),
        ("linux.seccomp", {}, "linux.seccomp.defaultAction: is missing"),
        ("linux.maskedPaths", [None], r"linux.maskedPaths\[0\]: None is not a string"),
        ("linux.personality", {}, "linux.personality.domain: is missing"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_name_of_the_property(path, value, message):
    with pytest.raises(Invalid, match=message):
        bundle.check(with_change(path, value))


@pytest.mark.parametrize("version", ["1.0.0", "1.3.0", "1.99.0", "1.0.2-dev", "1.2.0-rc.1+x", "1.1.0+build.7"])
def test_every_version_1_is_taken(version):
    bundle.check(with_change("ociVersion", version))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([{"containerID": 0, "hostID": 0, "size": 0}], r"linux.uidMappings\[0\].size: 0 is not between 1"),
        ([{"containerID": 0, "hostID": 0}], r"linux.uidMappings\[0\].size: is missing"),
        ([{"containerID": 1, "hostID": 0, "size": (1 << 32) - 1}, *MAPS], "overlaps"),
        ([{"containerID": 2, "hostID": 0, "size": (1 << 32) - 1}], "containerID and size lead past the last id"),
        (
            [*MAPS, {"containerID": 9, "hostID": 5000, "size": 2}],
            r"linux.uidMappings\[1\]: overlaps \[0\] in containerID",
        ),
        ([*MAPS, {"containerID": 90, "hostID": 1009, "size": 2}], "in hostID"),
    ],
)
def test_maps_of_ids_must_fit_together(maps, message):
    spec = with_change("linux.namespaces.0", {"type": "user"})
    spec["linux"].update(uidMappings=maps, gidMappings=MAPS)
    with pytest.raises(Invalid, match=message):
        bundle.check(spec)


def test_null_is_absent_and_unknown_properties_stay(tmp_path):
    spec = base()
    spec["process"].update(oomScoreAdj=None, rlimits=None, future={"a": 1})
    spec["linux"]["seccomp"] = spec["hostname"] = spec["hooks"] = None
    spec["windows"] = {"layerFolders": ["C:"]}
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(spec))
    read = bundle.load(str(tmp_path))
    assert {"oomScoreAdj", "rlimits"}.isdisjoint(read["process"])
    assert {"hostname", "hooks"}.isdisjoint(read)
    assert (read["process"]["future"], read["windows"]) == ({"a": 1}, {"layerFolders": ["C:"]})
    assert read["root"]["path"] == str(tmp_path / "rootfs")


def test_the_bundles_own_files_are_named_when_they_are_not_there(tmp_path):
    with pytest.raises(NotFound, match=r"no such file config\.json"):
        bundle.load(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(Invalid, match=r"config\.json"):
        bundle.load(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(base()))
    with pytest.raises(NotFound, match=r'root.path: ".*rootfs" is not a directory'):
        bundle.load(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({**base(), "process": None}))
    with pytest.raises(Invalid, match="process: is missing"):
        bundle.load(str(tmp_path))


@pytest.mark.parametrize("rootless", [True, False])
def test_what_spec_writes_passes(rootless):
    bundle.check(information.base_spec(rootless))
