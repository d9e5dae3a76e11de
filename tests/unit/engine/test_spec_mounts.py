"""Mounts as users write them, and what they become in a bundle."""

from __future__ import annotations

from typing import Any

import pytest

from estiva.engine.options import ContainerOptions, MountOption
from estiva.engine.spec import files
from estiva.engine.spec.context import Context
from estiva.engine.spec.mountparse import parse_mount, parse_tmpfs, parse_volume
from estiva.engine.spec.mounts import mounts
from estiva.engine.volumes import choose_mounts
from estiva.errors import Invalid


def context(**fields: Any) -> Context:
    return Context("ab" * 32, "web", "/bundle", **fields)


def made(
    options: ContainerOptions, chosen: list[MountOption] | None = None, **fields: Any
) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in mounts(options, context(**fields), chosen or [])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", MountOption("bind", "/a", "/b")),
        ("/a:/b/:ro,Z", MountOption("bind", "/a", "/b", ["ro", "Z"])),
        ("data:/b:U", MountOption("volume", "data", "/b", ["U"])),
        ("/b", MountOption("volume", "", "/b")),
    ],
)
def test_volume_options(text: str, expected: MountOption) -> None:
    assert parse_volume(text) == expected


@pytest.mark.parametrize("text", ["", ":/b", "/a:", "/a:b", "/a:/", "a:/b:c:d", "/a:/b:rw,ro", "/a:/b:bad", "b@d:/x",
                                  "/a:/b:z,Z", "/a:/b:O,ro"])  # fmt: skip
def test_bad_volume_options_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_volume(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bind,src=/a,dst=/b,ro", MountOption("bind", "/a", "/b", ["ro"])),
        ("type=bind,source=/a,target=/b,readonly=false", MountOption("bind", "/a", "/b", ["rw"])),
        ("type=bind,src=/a,dst=/b,bind-propagation=rshared,relabel=private",
         MountOption("bind", "/a", "/b", ["rshared", "Z"])),
        ("type=tmpfs,destination=/t,tmpfs-size=5m,tmpfs-mode=700",
         MountOption("tmpfs", "", "/t", ["size=5m", "mode=700"])),
        ("source=v,target=/b,U=true", MountOption("volume", "v", "/b", ["U"])),
        ('type=bind,"src=/a,b",dst=/b', MountOption("bind", "/a,b", "/b")),
    ],
)  # fmt: skip
def test_mount_options(text: str, expected: MountOption) -> None:
    assert parse_mount(text) == expected


@pytest.mark.parametrize("text", ["type=bind,dst=/b", "type=odd,dst=/b", "type=tmpfs,src=/a,dst=/b", "type=volume",
                                  "type=bind,src=/a,dst=/b,ro=maybe", "type=bind,src=/a,dst=/b,size=4"])  # fmt: skip
def test_bad_mount_options_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_mount(text)


def test_a_tmpfs_forbids_what_is_not_asked_for_and_starts_with_the_images_files() -> None:
    mount = made(ContainerOptions("i"), [parse_tmpfs("/t:size=5m,exec")])["/t"]
    assert mount["type"] == "tmpfs"
    assert {"size=5m", "nosuid", "nodev", "rw", "tmpcopyup"} <= set(mount["options"])
    assert not {"exec", "noexec"} & set(mount["options"])


def test_a_bind_mount_is_recursive_and_private_unless_told_otherwise() -> None:
    mount = made(ContainerOptions("i"), [parse_volume("/a:/b")])["/b"]
    assert mount["options"] == ["rbind", "rprivate", "rw"]
    mount = made(ContainerOptions("i"), [parse_volume("/a:/b:ro,bind,rslave,U,z")])["/b"]
    assert mount["options"] == ["ro", "bind", "rslave", "x-estiva.chown=0:0"]


def test_option_o_lays_an_overlay_over_the_source() -> None:
    mount = made(ContainerOptions("i"), [parse_volume("/a:/b:O")], rootless=True)["/b"]
    assert mount["type"] == "overlay"
    assert "lowerdir=/a" in mount["options"]
    assert "userxattr" in mount["options"]


def test_a_users_mount_takes_the_place_of_a_usual_one() -> None:
    chosen = [parse_volume("/a:/etc/hosts"), parse_tmpfs("/dev/shm")]
    found = mounts(ContainerOptions("i"), context(), chosen)
    assert [m["source"] for m in found if m["destination"] == "/etc/hosts"] == ["/a"]
    assert sum(m["destination"] == "/dev/shm" for m in found) == 1


def test_mounts_come_after_those_they_are_in() -> None:
    found = [m["destination"] for m in mounts(ContainerOptions("i"), context(), [parse_volume("/x:/a/b/c"),
                                                                                parse_volume("/y:/a")])]  # fmt: skip
    assert found.index("/a") < found.index("/a/b/c")
    assert found.index("/dev") < found.index("/dev/pts")


def test_the_hosts_network_without_its_users_leaves_only_a_bind_of_sys() -> None:
    assert made(ContainerOptions("i", network="host"), rootless=True)["/sys"]["type"] == "bind"
    assert made(ContainerOptions("i", network="host"))["/sys"]["type"] == "sysfs"


def test_shared_memory_follows_the_ipc_mode() -> None:
    assert "size=1024" in made(ContainerOptions("i", shm_size=1024))["/dev/shm"]["options"]
    assert "size=65536000" not in made(ContainerOptions("i"))["/dev/shm"]["options"]
    assert made(ContainerOptions("i", ipc="host"))["/dev/shm"]["type"] == "bind"
    assert "/dev/shm" not in made(ContainerOptions("i", ipc="none"))


def test_a_terminal_group_that_is_not_mapped_is_not_asked_for() -> None:
    assert "gid=5" in made(ContainerOptions("i"))["/dev/pts"]["options"]
    assert "gid=5" not in made(ContainerOptions("i"), gid_count=1)["/dev/pts"]["options"]
    assert "gid=5" not in made(ContainerOptions("i"), gid_maps=[(0, 1000, 1)])["/dev/pts"]["options"]


def test_a_read_only_container_keeps_places_to_write() -> None:
    assert "/tmp" in made(ContainerOptions("i", read_only=True))
    assert "/tmp" not in made(ContainerOptions("i", read_only=True, read_only_tmpfs=False))


def test_volumes_of_the_image_others_and_the_user_are_merged() -> None:
    options = ContainerOptions("i", volumes_from=["other:ro"])
    options.mount = [parse_volume("/a:/data")]
    others = [MountOption("bind", "/o", "/o"), MountOption("tmpfs", "", "/t")]
    chosen = choose_mounts(options, {"Volumes": {"/data": {}, "/cache/": {}}}, lambda name: others)
    found = {mount.target: mount for mount in chosen}
    assert set(found) == {"/data", "/cache", "/o"}
    assert found["/data"].source == "/a"
    assert found["/o"].options == ["ro"]
    assert found["/cache"].kind == "volume"
    assert len(found["/cache"].source) == 64


def test_image_volumes_can_be_memory_or_nothing() -> None:
    image = {"Volumes": {"/data": {}}}
    assert choose_mounts(ContainerOptions("i", image_volume="tmpfs"), image, lambda _: [])[0].kind == "tmpfs"
    assert choose_mounts(ContainerOptions("i", image_volume="ignore"), image, lambda _: []) == []


def test_hosts_has_added_names_first_and_its_own_last() -> None:
    text = files.hosts(ContainerOptions("i", add_host=["a:1.2.3.4", "b:::1"]), context(), "127.0.0.1 localhost # x\n")
    assert text.splitlines() == ["1.2.3.4\ta", "::1\tb", "127.0.0.1\tlocalhost", "127.0.0.1\tabababababab web"]
    with pytest.raises(Invalid):
        files.hosts(ContainerOptions("i", add_host=["a:host-gateway"]), context(), "")


def test_a_private_network_cannot_use_a_resolver_on_the_hosts_loopback() -> None:
    host = "search a b\nnameserver 127.0.0.53\nnameserver 9.9.9.9\noptions edns0\n"
    private = files.resolv_conf(ContainerOptions("i"), context(), host)
    assert private == "search a b\nnameserver 9.9.9.9\noptions edns0\n"
    assert "127.0.0.53" in files.resolv_conf(ContainerOptions("i", network="host"), context(), host)
    own = ContainerOptions("i", dns=["1.1.1.1"], dns_search=["."], dns_option=["ndots:2"])
    assert files.resolv_conf(own, context(), host) == "nameserver 1.1.1.1\noptions ndots:2\n"


@pytest.mark.parametrize("text", ["a", "a:", ":1.2.3.4", "a:1.2.3", "a:nonsense"])
def test_bad_host_entries_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        files.parse_host(text)
