"""No configuration ends in a traceback: it is refused with one line, or planned."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estiva.errors import EstivaError, Unsupported
from estiva.runtime import hooks, rlimits, seccomp
from estiva.runtime.cgroup import settings as cgroup_settings
from estiva.runtime.cli import bundle, information
from estiva.runtime.compile import Surroundings, compile_plan

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 66), 1 << 66),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.sampled_from(["/", "/a", "c", "bind", "rbind", "user", "mount", "1.0.0", "A=b", "\ud800", "\0", "0-3", "="]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def full() -> dict[str, Any]:
    """A configuration with every section in it."""
    spec = information.base_spec()
    maps = [{"containerID": 0, "hostID": 1000, "size": 10}]
    spec["hostname"] = spec["domainname"] = "box"
    spec["annotations"] = {"org.example": "yes"}
    spec["hooks"] = {name: [{"path": "/bin/true", "args": ["x"], "env": ["A=b"], "timeout": 3}] for name in hooks.NAMES}
    spec["process"].update(
        oomScoreAdj=100,
        consoleSize={"height": 20, "width": 80},
        apparmorProfile="x",
        selinuxLabel="a:b:c:d",
        scheduler={"policy": "SCHED_OTHER", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4},
        execCPUAffinity={"initial": "0", "final": "0-1"},
    )
    spec["process"]["user"].update(umask=0o22, additionalGids=[5])
    spec["mounts"].append(
        {
            "destination": "/m", "type": "bind", "source": "/tmp", "options": ["rbind", "rro", "idmap"],
            "uidMappings": maps, "gidMappings": maps,
        }
    )  # fmt: skip
    linux = spec["linux"]
    linux["namespaces"] += [{"type": "time"}, {"type": "user"}]
    linux.update(
        uidMappings=maps,
        gidMappings=maps,
        timeOffsets={"monotonic": {"secs": 5, "nanosecs": 6}},
        devices=[{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}],
        sysctl={"net.ipv4.ip_forward": "1"},
        rootfsPropagation="rslave",
        personality={"domain": "LINUX"},
        mountLabel="a:b:c:d",
        cgroupsPath="/a/b",
        seccomp={
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {
                    "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                    "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
                }
            ],
        },
        resources={
            "devices": [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
            "memory": {"limit": 1 << 30, "swap": 1 << 31, "swappiness": 10},
            "cpu": {"shares": 100, "quota": 1000, "period": 100000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 5},
            "blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
            "network": {"classID": 1, "priorities": [{"name": "lo", "priority": 1}]},
            "rdma": {"mlx": {"hcaHandles": 3}},
            "unified": {"memory.high": "5"},
        },
    )  # fmt: skip
    return spec


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a document."""
    found = [path]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in pairs:
        found += places(member, (*path, key))
    return found


PLACES = places(full())


def changed(path: tuple[Any, ...], value: Any) -> Any:
    """The full configuration with something else at *path*."""
    if not path:
        return value
    spec = full()
    holder = spec
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return spec


def plan(spec: Any) -> None:
    """All that is done with a configuration before anything is touched."""
    bundle.check(spec)
    if not spec.get("process"):
        return
    linux = spec.get("linux") or {}
    process = spec["process"]
    process["rlimits"], _ = rlimits.clamp(process.get("rlimits") or (), may_raise=True)
    around = Surroundings("/nowhere")
    around.state = {"id": "x"}
    if linux.get("seccomp"):
        around.seccomp = seccomp.compile_cached(linux["seccomp"], None, "x86_64")
        around.seccomp_flags = seccomp.filter_flags(linux["seccomp"])
        around.seccomp_agent = seccomp.agent(linux["seccomp"], {"id": "x"}, executed=False)
    for table in (cgroup_settings.V1, cgroup_settings.V2):
        for translate in table.values():
            with suppress(Unsupported):
                list(translate(linux.get("resources") or {}))
    compile_plan(spec, around).encode()


def test_the_full_configuration_is_planned():
    plan(full())
    assert len(PLACES) > 200


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=2))
def test_no_change_of_a_configuration_ends_in_a_traceback(changes):
    (path, value), *others = changes
    spec = changed(path, copy.deepcopy(value))
    for other, replacement in others:
        holder: Any = spec
        try:
            for key in other[:-1]:
                holder = holder[key]
            holder[other[-1]] = copy.deepcopy(replacement)
        except (KeyError, IndexError, TypeError):
            continue
    with suppress(EstivaError):
        plan(spec)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.binary(max_size=60), VALUES.map(lambda value: json.dumps(value).encode())))
def test_no_file_ends_in_a_traceback(tmp_path_factory, content):
    directory = tmp_path_factory.mktemp("bundle")
    (directory / "config.json").write_bytes(content)
    with pytest.raises(EstivaError):
        bundle.load(str(directory))


def test_a_file_of_brackets_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[" * 1_000_000)
    with pytest.raises(EstivaError):
        bundle.load(str(tmp_path))
