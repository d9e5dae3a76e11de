"""Mounts whose ids are mapped, and sources that only the machine's root may open."""

from __future__ import annotations

import os

import pytest

from estiva.errors import EstivaError
from helpers import kernel

pytestmark = pytest.mark.needs_root

MAP = [{"containerID": 0, "hostID": 200000, "size": 65536}]


@pytest.fixture
def data(tmp_path):
    """Files of different owners in a directory nobody else may enter."""
    top = tmp_path / "private/data"
    top.mkdir(parents=True)
    for owner in (0, 5, 1000):
        (top / f"of-{owner}").touch()
        os.chown(top / f"of-{owner}", owner, owner)
    os.chmod(top.parent, 0o700)
    return top


def bind(box, source, *options, **more):
    box.spec["mounts"].append(
        {"destination": "/data", "type": "bind", "source": str(source), "options": list(options), **more}
    )


OWNERS = "stat -c '%n %u %g' /data/*"


def test_with_maps_of_its_own_without_a_user_namespace(box, data):
    maps = [{"containerID": 0, "hostID": 7000, "size": 1}, {"containerID": 5, "hostID": 50, "size": 2000}]
    bind(box, data, "bind", "idmap", uidMappings=maps, gidMappings=MAP)
    out = box.shell(f"{OWNERS}; touch /data/new 2>/dev/null || echo none")
    assert out.splitlines() == ["/data/of-0 7000 200000", "/data/of-1000 1045 201000", "/data/of-5 50 200005", "none"]


def test_maps_without_the_option_are_applied_all_the_same(box, data):
    bind(box, data, "bind", uidMappings=MAP, gidMappings=MAP)
    assert "/data/of-5 200005 200005" in box.shell(OWNERS)


def test_maps_written_as_an_option(box, data):
    bind(box, data, "bind", "idmap=uids=0-300-10;gids=0-400-10#1000-50-1")
    assert box.shell(OWNERS).splitlines() == [
        "/data/of-0 300 400", "/data/of-1000 65534 50", "/data/of-5 305 405",
    ]  # fmt: skip


def test_the_containers_own_map(box, data):
    box.in_user_namespace(200000)
    bind(box, data, "bind", "idmap")
    out = box.shell(f"{OWNERS}; touch /data/made")
    assert out.splitlines() == ["/data/of-0 0 0", "/data/of-1000 1000 1000", "/data/of-5 5 5"]
    assert os.stat(data / "made").st_uid == 0


@pytest.mark.skipif(kernel.RELEASE < (6, 3), reason="the ids of a tmpfs can be mapped since Linux 6.3")
def test_ridmap_maps_what_is_mounted_below(make_box, data):
    import subprocess

    (data / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "below", data / "below"], check=True)
    try:
        seen = {}
        for option in ("idmap", "ridmap"):
            box = make_box()
            bind(box, data, "rbind", option, uidMappings=MAP, gidMappings=MAP)
            seen[option] = box.shell("stat -c %u /data/of-0 /data/below").split()
        assert seen == {"idmap": ["200000", "0"], "ridmap": ["200000", "200000"]}
    finally:
        subprocess.run(["umount", data / "below"], check=True)


def test_many_mounts_with_few_maps_in_one_container(box, data):
    for index in range(40):
        box.spec["mounts"].append(
            {
                "destination": f"/many/{index}", "type": "bind", "source": str(data), "options": ["bind", "ridmap"],
                "uidMappings": [{"containerID": 0, "hostID": 1000 * (1 + index % 3), "size": 1000}], "gidMappings": MAP,
            }
        )  # fmt: skip
    out = box.shell("for i in $(seq 0 39); do stat -c %u /many/$i/of-5; done")
    assert out.split() == [str(1000 * (1 + index % 3) + 5) for index in range(40)]


def test_a_file_system_whose_ids_cannot_be_mapped_is_named(box):
    bind(box, "/proc", "bind", "idmap", uidMappings=MAP, gidMappings=MAP)
    with pytest.raises(EstivaError, match="map the ids of a file system that does not allow it, or not to us: /proc"):
        box.run("true")


def test_a_source_only_the_machines_root_can_reach_is_bound_for_a_user_namespace(box, data):
    box.in_user_namespace(200000)
    os.chmod(data.parent, 0o700)
    os.chown(data / "of-5", 200005, 200005)
    bind(box, data, "bind", "ro")
    assert "/data/of-5 5 5" in box.shell(OWNERS)


def test_a_bundle_only_the_machines_root_can_reach_runs_in_a_user_namespace(runtime):
    os.chmod(runtime.bundle.parent, 0o700)
    runtime.spec["linux"]["namespaces"].append({"type": "user"})
    runtime.spec["linux"].update(uidMappings=MAP, gidMappings=MAP)
    runtime.process("sh", "-c", "id -u; cat /proc/self/uid_map; ls -ln /bin/busybox | awk '{print $3}'")
    assert runtime("run", "a").split() == ["0", "0", "200000", "65536", "65534"]
