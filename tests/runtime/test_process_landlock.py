"""Landlock: a fence besides all others, by the kernel's own word."""

from __future__ import annotations

import json
import os
import socket

import pytest

from estiva.errors import Invalid, Unsupported
from estiva.linux import landlock
from estiva.runtime import plan
from estiva.runtime.compile import compile_plan
from estiva.runtime.landlock import ANNOTATION, arguments, from_annotations
from estiva.runtime.launch import launch

pytestmark = pytest.mark.needs_root
READ_ALL = {"path": "/", "access": ["read", "execute"]}


@pytest.fixture(autouse=True)
def needs_landlock():
    if landlock.abi() == 0:
        pytest.skip("this kernel has no Landlock")


def fence(spec, **rules):
    spec.setdefault("annotations", {})[ANNOTATION] = json.dumps(rules)


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
def test_only_what_a_rule_allows_is_done_with_files(box, no_new_privileges, uid):
    box.spec["process"].update(noNewPrivileges=no_new_privileges, user={"uid": uid, "gid": 0})
    if uid:
        box.spec["process"]["capabilities"] = {"bounding": [], "effective": [], "permitted": []}
    box.spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]})
    box.spec["mounts"].append({"destination": "/open", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]})
    fence(box.spec, paths=[READ_ALL, {"path": "/tmp", "access": ["all"]}, {"path": "/no/such", "access": ["all"]}])
    out = box.shell(
        "echo a > /tmp/a && cat /tmp/a; mkdir /tmp/d; mv /tmp/a /tmp/d/b; cat /tmp/d/b /etc/os-release | wc -l;"
        "(echo x > /open/x) 2>&1; mkdir /open/d 2>&1; ln -s a /open/l 2>&1 | grep -c denied"
    )
    assert out.splitlines()[:2] == ["a", "3"]
    assert out.count("ermission denied") == 2
    assert out.endswith("1\n")


def test_a_file_and_a_directory_have_the_rights_of_their_kind(box):
    fence(
        box.spec,
        paths=[
            {"path": "/bin", "access": ["read", "execute"]},
            {"path": "/etc/os-release", "access": ["all"]},
            {"path": "/dev", "access": ["read", "write_file"]},
        ],
    )
    out = box.shell("cat /etc/os-release >/dev/null && echo yes; cat /etc/passwd 2>&1; ls /etc 2>&1; echo > /dev/null")
    assert out.splitlines()[0] == "yes"
    assert out.count("ermission denied") == 2


def test_ports(box):
    if landlock.abi() < 4:
        pytest.skip("TCP needs version 4 of Landlock")
    fence(box.spec, ports=[{"port": 7001, "access": ["connect"]}])
    out = box.shell(
        "nc 127.0.0.1 7001 2>&1 </dev/null; nc 127.0.0.1 7002 2>&1 </dev/null; nc -l -p 7001 2>&1 </dev/null; echo > /x"
    )
    refused, connect, bind = out.splitlines()
    assert "refused" in refused
    assert "ermission denied" in connect
    assert "ermission denied" in bind


def test_no_ports_at_all(box):
    fence(box.spec, ports=[])
    assert "ermission denied" in box.shell("nc 127.0.0.1 7001 2>&1 </dev/null; true")


def test_scopes_end_at_the_container(box, probe):
    if landlock.abi() < 6:
        pytest.skip("scopes need version 6 of Landlock")
    box.spec["linux"]["namespaces"] = [n for n in box.spec["linux"]["namespaces"] if n["type"] != "network"]
    name = f"estiva-test-{os.getpid()}"
    box.spec["mounts"] = [m for m in box.spec["mounts"] if m["destination"] != "/sys"]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        fence(box.spec, scopes=["abstract_unix_socket"])
        assert box.run(probe, f"abstract:{name}") == 0
    assert box.out == b"Operation not permitted\n"


def test_without_the_annotation_there_is_no_fence(box, probe):
    box.spec["linux"]["namespaces"] = [n for n in box.spec["linux"]["namespaces"] if n["type"] != "network"]
    box.spec["mounts"] = [m for m in box.spec["mounts"] if m["destination"] != "/sys"]
    name = f"estiva-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        assert box.run(probe, f"abstract:{name}") == 0
    assert box.out == b"connected\n"


def test_executed_programs_are_fenced_too(runtime):
    fence(runtime.spec, paths=[READ_ALL])
    runtime.start("a")
    assert "ermission denied" in runtime("exec", "a", "mkdir", "/tmp/x", code=1)
    assert runtime("exec", "a", "cat", "/etc/os-release")


def test_a_program_outside_of_the_fence_cannot_be_executed(runtime):
    fence(runtime.spec, paths=[{"path": "/etc", "access": ["all"]}])
    runtime.process("true")
    assert "executing 'true': permission denied" in runtime("run", "a", code=1)
    assert runtime("list", "-q") == ""


def test_a_newer_version_than_the_kernels_is_refused_only_if_it_is_wanted(box, make_box):
    """The helper decides, with the version in its words."""
    for least, failure in ((landlock.abi() + 1, Unsupported), (landlock.abi(), None)):
        each = make_box()
        work = compile_plan(each.spec, each.around)
        position = next(i for i, (code, _) in enumerate(work.operations) if code == plan.CAPABILITIES)
        work.operations.insert(position, (plan.LANDLOCK, (least, 1 << 13, 0, 0, [], [], [])))
        if failure:
            with pytest.raises(failure, match=f"version {least} is wanted, this kernel has {landlock.abi()}"):
                launch(work, each.monitor, ["estiva-monitor"])
        else:
            os.close(launch(work, each.monitor, ["estiva-monitor"]).fd)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"path": []}, 'unknown field "path"'),
        ({"paths": {}}, "paths: not a list of objects"),
        ({"paths": [{"path": "tmp", "access": []}]}, r"paths\[0\].path: 'tmp' is not an absolute path"),
        ({"paths": [{"path": "/", "access": ["reed"]}]}, 'unknown word "reed"'),
        ({"paths": [{"path": "/"}]}, "access: not a list of words"),
        ({"ports": [{"port": 70000, "access": ["bind"]}]}, "70000 is not a port"),
        ({"scopes": ["everything"]}, "unknown word"),
        ({"abi": 99}, "99 is not a version"),
    ],
)
def test_bad_rules_are_named(rules, words):
    with pytest.raises(Invalid, match=words):
        arguments(rules)


def test_the_annotation_is_json():
    with pytest.raises(Invalid, match="not JSON"):
        from_annotations({ANNOTATION: "{"})
    with pytest.raises(Invalid, match="not an object"):
        from_annotations({ANNOTATION: "[]"})
    assert from_annotations({"other": "{"}) is None
    assert from_annotations({ANNOTATION: '{"paths": []}'}) == (0, 0xFFFF, 0, 0, [], [], [])
