"""Options → namespaces, capabilities, filters, paths and limits of a bundle."""

from __future__ import annotations

import json
from typing import Any

import pytest

from estiva.engine.options import ContainerOptions
from estiva.engine.spec.bundle import bundle_config
from estiva.engine.spec.context import Context, Host
from estiva.engine.spec.namespaces import check_mode, join, namespaces, shared, sysctls
from estiva.engine.spec.resources import limited, parse_bytes, resources
from estiva.engine.spec.security import (
    bounding_set,
    masked_paths,
    no_new_privileges,
    process_labels,
    readonly_paths,
    seccomp,
)
from estiva.errors import Invalid, Unsupported


def context(**fields: Any) -> Context:
    fields.setdefault("image", {"Cmd": ["sh"]})
    return Context("ab" * 32, "web", "/bundle", **fields)


def options(**fields: Any) -> ContainerOptions:
    return ContainerOptions("i", **fields)


def kinds(**fields: Any) -> dict[str, str]:
    return {entry["type"]: entry.get("path", "") for entry in namespaces(options(**fields), context())}


def test_everything_is_private_by_default() -> None:
    assert set(kinds()) == {"pid", "network", "ipc", "uts", "cgroup", "mount"}


def test_host_namespaces_are_left_out_and_paths_joined() -> None:
    assert set(kinds(pid="host", ipc="host", uts="host", network="host", cgroupns="host")) == {"mount"}
    assert kinds(network="ns:/run/netns/x")["network"] == "/run/netns/x"


def test_namespaces_of_other_containers_are_filled_in_later() -> None:
    chosen = options(network="container:db", ipc="container:db")
    assert shared(chosen, context()) == {"network": "db", "ipc": "db"}
    spec: dict[str, Any] = {"linux": {"namespaces": namespaces(chosen, context())}}
    join(spec, "network", "/proc/5/ns/net")
    assert {"type": "network", "path": "/proc/5/ns/net"} in spec["linux"]["namespaces"]


def test_maps_make_a_user_namespace() -> None:
    made = bundle_config(options(), context(uid_maps=[(0, 1000, 5)], gid_maps=[(0, 1000, 5)]), [])
    assert {"type": "user"} in made["linux"]["namespaces"]
    assert made["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 5}]


@pytest.mark.parametrize(
    ("option", "value"), [("pid", "odd"), ("network", "bridge"), ("uts", "ns:"), ("ipc", "container:")]
)
def test_unknown_modes_are_refused(option: str, value: str) -> None:
    with pytest.raises(Invalid):
        check_mode(option, value)


def test_only_parameters_of_private_namespaces_can_be_set() -> None:
    assert sysctls(options(sysctl={"net.core.somaxconn": "5"}), context()) == {"net.core.somaxconn": "5"}
    for fields in (
        {"sysctl": {"net.core.somaxconn": "5"}, "network": "host"},
        {"sysctl": {"kernel.shmmax": "5"}, "ipc": "host"},
        {"sysctl": {"vm.swappiness": "5"}},
    ):
        with pytest.raises(Invalid):
            sysctls(options(**fields), context())


def test_capabilities_are_added_and_dropped() -> None:
    assert "CAP_NET_RAW" in bounding_set(options(cap_add=["net_raw"]), context())
    assert bounding_set(options(cap_drop=["ALL"]), context()) == []
    assert bounding_set(options(cap_drop=["all"], cap_add=["CHOWN"]), context()) == ["CAP_CHOWN"]
    assert bounding_set(options(), context(conf={"default_capabilities": ["KILL"]})) == ["CAP_KILL"]


def allowed(fields: dict[str, Any]) -> set[str]:
    section = seccomp(options(**fields), context())
    assert section is not None
    return {name for rule in section["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def test_the_filter_follows_the_capabilities() -> None:
    assert "read" in allowed({})
    assert "acct" not in allowed({})
    assert "acct" in allowed({"cap_add": ["SYS_PACCT"]})


def test_no_filter_where_none_is_wanted(tmp_path: Any) -> None:
    assert seccomp(options(security_opt=["seccomp=unconfined"]), context()) is None
    assert seccomp(options(privileged=True), context()) is None
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_LOG"}))
    own = seccomp(options(security_opt=[f"seccomp={path}"]), context())
    assert own is not None
    assert own["defaultAction"] == "SCMP_ACT_LOG"


def test_paths_are_masked_and_unmasked() -> None:
    assert "/proc/kcore" in masked_paths(options())
    assert "/proc/kcore" not in masked_paths(options(security_opt=["unmask=/proc/kcore:/x"]))
    assert masked_paths(options(security_opt=["unmask=ALL"])) == []
    assert readonly_paths(options(security_opt=["unmask=/proc/*"])) == []
    assert "/etc/shadow" in masked_paths(options(security_opt=["mask=/etc/shadow:/x"]))
    assert masked_paths(options(privileged=True)) == readonly_paths(options(privileged=True)) == []


def test_privileges_can_be_frozen() -> None:
    assert not no_new_privileges(options())
    assert no_new_privileges(options(security_opt=["no-new-privileges"]))
    assert no_new_privileges(options(security_opt=["no-new-privileges:true"]))
    assert not no_new_privileges(options(security_opt=["no-new-privileges=false"]))


@pytest.mark.parametrize("text", ["odd=1", "seccomp=", "label=odd:x", "no-new-privileges=maybe"])
def test_bad_security_options_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        bundle_config(options(security_opt=[text]), context(), [])


def test_labels_are_written_where_there_are_some() -> None:
    assert "selinuxLabel" not in process_labels(options(security_opt=["label=type:spc_t"]), context())
    here = context(host=Host(selinux=True))
    here.process_label, here.mount_label = "u:r:t:s0:c1,c2", "u:object_r:f:s0:c1,c2"
    made = bundle_config(options(), here, [])
    assert (made["process"]["selinuxLabel"], made["linux"]["mountLabel"]) == (here.process_label, here.mount_label)


def test_nested_labels_show_selinux_to_the_container() -> None:
    chosen = options(security_opt=["label=nested"])
    assert "/sys/fs/selinux" in masked_paths(options())
    assert "/sys/fs/selinux" not in masked_paths(chosen)
    made = bundle_config(chosen, context(host=Host(selinux=True)), [])
    assert [mount["type"] for mount in made["mounts"] if mount["destination"] == "/sys/fs/selinux"] == ["bind"]
    assert not [m for m in bundle_config(chosen, context(), [])["mounts"] if m["destination"] == "/sys/fs/selinux"]


def test_an_apparmor_profile_needs_apparmor() -> None:
    chosen = options(security_opt=["apparmor=mine"])
    with pytest.raises(Unsupported):
        process_labels(chosen, context())
    here = context(host=Host(apparmor=True))
    here.apparmor_profile = "mine"
    assert process_labels(chosen, here) == {"apparmorProfile": "mine"}
    assert process_labels(options(security_opt=["apparmor=unconfined"]), context()) == {}


def test_limits_become_resources() -> None:
    made = resources(options(memory=64 << 20, cpus=0.5, cpu_shares=5, pids_limit=7, cpuset_cpus="0-1"), context())
    assert made["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert made["cpu"] == {"shares": 5, "quota": 50_000, "period": 100_000, "cpus": "0-1"}
    assert made["pids"] == {"limit": 7}


def test_root_has_a_limit_of_processes_and_users_have_none() -> None:
    assert resources(options(), context())["pids"] == {"limit": 2048}
    assert resources(options(), context(rootless=True)) == {}
    assert "pids" not in resources(options(pids_limit=-1), context())
    assert not limited(options())
    assert limited(options(memory=1 << 30))


@pytest.mark.parametrize(
    "fields",
    [
        {"memory": 1024},
        {"memory_swap": 1 << 30},
        {"memory": 1 << 30, "memory_swap": 1 << 20},
        {"memory": 1 << 20 << 5, "memory_reservation": 1 << 30},
        {"cpus": 1.0, "cpu_quota": 5},
        {"cpus": -1.0},
        {"blkio_weight": 5},
    ],
)
def test_limits_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        resources(options(**fields), context())


def test_sizes_are_powers_of_1024() -> None:
    texts = {"0": 0, "512": 512, "64k": 65536, "1.5g": 3 << 29, "2GiB": 2 << 30, "3MB": 3 << 20, "1 m": 1 << 20}
    assert {text: parse_bytes(text) for text in texts} == texts
    for text in ("", "x", "-1", "1q", "k", "nan"):
        with pytest.raises(Invalid):
            parse_bytes(text)


def test_a_device_is_made_and_allowed() -> None:
    made = bundle_config(options(device=["/dev/null:/dev/other:r"]), context(), [])["linux"]
    assert made["devices"][0]["path"] == "/dev/other"
    assert made["devices"][0]["x-estiva.source"] == "/dev/null"
    assert made["resources"]["devices"][-1] == {"allow": True, "type": "c", "access": "r", "major": 1, "minor": 3}


def test_the_whole_document_is_json() -> None:
    document = bundle_config(options(annotation={"a": "b"}, hostname="h"), context(), [])
    assert json.loads(json.dumps(document)) == document
    assert document["hostname"] == "h"
    assert document["annotations"] == {"a": "b"}
    assert "hostname" not in bundle_config(options(uts="host"), context(), [])


def test_a_foreign_init_is_mounted_and_run_first() -> None:
    made = bundle_config(options(init=True, init_path="/usr/bin/tini"), context(), [])
    assert made["process"]["args"] == ["/run/estiva-init", "--", "sh"]
    assert made["mounts"][-1]["source"] == "/usr/bin/tini"
