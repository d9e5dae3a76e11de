"""``features`` tells what the code knows, and nothing else.  runtime-spec features.md, features-linux.md"""

from __future__ import annotations

import json

from estiva.runtime import capabilities, seccomp
from estiva.runtime.cli import bundle, information, main
from estiva.runtime.mount_options import MountOptions

KEYS = {"ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations"}
LINUX = {
    "namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "memoryPolicy", "intelRdt",
    "mountExtensions", "netDevices",
}  # fmt: skip


def test_the_document_has_every_part_of_the_specification(capsys):
    assert main.main(["features"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == information.features()
    assert set(told) == KEYS | {"potentiallyUnsafeConfigAnnotations"}
    assert set(told["linux"]) == LINUX
    assert set(told["linux"]["cgroup"]) == {"v1", "v2", "systemd", "systemdUser", "rdma"}
    assert all(isinstance(value, str) for value in told["annotations"].values())


def test_every_word_of_it_is_taken_by_the_code():
    told = information.features()
    for version in (told["ociVersionMin"], told["ociVersionMax"]):
        bundle.check({**information.base_spec(), "ociVersion": version})
    spec = information.base_spec()
    spec["linux"]["namespaces"] = [{"type": kind} for kind in told["linux"]["namespaces"]]
    spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 1, "size": 1}]
    spec["hooks"] = {name: [{"path": "/bin/true"}] for name in told["hooks"]}
    bundle.check(spec)
    assert capabilities.bits(told["linux"]["capabilities"]) == (1 << len(told["linux"]["capabilities"])) - 1
    options = [option for option in told["mountOptions"] if option not in ("remount", "idmap", "ridmap")]
    assert MountOptions(options).data == []
    for action in told["linux"]["seccomp"]["actions"]:
        for flag in told["linux"]["seccomp"]["supportedFlags"]:
            section = {"defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "listenerPath": "/x"}
            section["syscalls"] = [{"names": ["mkdir"], "action": action}]
            seccomp.filter_flags(section)
            seccomp.compile_cached(section, None, "x86_64")
