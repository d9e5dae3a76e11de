"""Images on the command line: names, lists, archives, removal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def box(estiva: Any) -> str:
    """The id of the busybox image in the store."""
    estiva.load()
    return str(estiva.out("images", "-q", "--no-trunc")).removeprefix("sha256:")


def test_images_lists_names_and_ids(estiva: Any, box: str) -> None:
    estiva.run("tag", "busybox", "two:x", "registry.example:5000/team/app")
    lines = estiva.out("images", "--sort", "repository").splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["localhost/busybox", "latest", box[:12]],
        ["localhost/two", "x", box[:12]],
        ["registry.example:5000/team/app", "latest", box[:12]],
    ]
    assert estiva.out("images", "-q") == box[:12]
    assert estiva.out("images", "--noheading", "--format", "{{.Repository}}:{{.Tag}}", "two:x").count("\n") == 2
    assert [image["Id"] for image in estiva.json("images", "--format", "json")] == [box]
    assert estiva.out("images", "--filter", "reference=nothing", "-q") == ""


def test_a_name_is_untagged_until_the_last_goes_with_the_image(estiva: Any, box: str) -> None:
    estiva.run("tag", "busybox", "two")
    assert "more than one tag" in estiva.fails(2, "rmi", box)
    assert estiva.out("rmi", "two") == "Untagged: localhost/two:latest"
    assert estiva.out("rmi", box[:12]).splitlines() == ["Untagged: localhost/busybox:latest", f"Deleted: {box}"]
    assert estiva.out("images", "-q") == ""
    assert not [*(estiva.root / "layers").iterdir()]
    assert not [path for path in (estiva.root / "blobs").rglob("*") if path.is_file()]


def test_layers_that_another_image_needs_stay(estiva: Any, box: str) -> None:
    container = estiva.out("create", "--network", "none", "busybox", "true")
    assert estiva.fails(2, "rmi", "busybox").startswith(f"Error: image used by {container}: image is in use")
    estiva.run("rmi", "-f", "busybox")
    assert estiva.out("ps", "-aq") == ""


def test_untag_takes_names_and_leaves_the_image(estiva: Any, box: str) -> None:
    estiva.run("tag", "busybox", "two")
    estiva.run("untag", "busybox", "two")
    estiva.run("untag", "busybox")
    assert estiva.out("images", "--noheading").split()[:3] == ["<none>", "<none>", box[:12]]
    assert estiva.out("images", "-q", "--filter", "dangling=true") == box[:12]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir", "docker-dir"])
def test_what_is_saved_can_be_loaded(estiva: Any, box: str, form: str) -> None:
    target = estiva.work / "saved"
    estiva.run("save", "--format", form, "-o", target, "busybox")
    estiva.run("rmi", "busybox")
    loaded = estiva.out("load", "-q", "-i", target)
    assert estiva.out("images", "-q", "--no-trunc") == f"sha256:{box}"
    assert loaded in (f"Loaded image: sha256:{box}", "Loaded image: localhost/busybox:latest")


def test_archives_come_from_standard_input_and_go_to_standard_output(estiva: Any, box: str) -> None:
    target = estiva.work / "saved.tar"
    target.write_bytes(estiva.run("save", "busybox", text=False).stdout)
    estiva.run("rmi", "busybox")
    with target.open("rb") as archive:
        assert "localhost/busybox:latest" in estiva.out("load", "-q", stdin=archive)
    assert "standard input: holds no images" in estiva.fails(125, "load", "-q")


def test_a_tar_becomes_an_image(estiva: Any, tmp_path: Path, busybox_image: Any) -> None:
    layer = estiva.work / "layer.tar"
    layer.write_bytes(busybox_image.layers[0])
    done = estiva.out("import", "-q", "-c", 'CMD ["echo", "hi"]', "-m", "by hand", layer, "mine:1")
    document = estiva.json("image", "inspect", "mine:1")[0]
    assert done == f"sha256:{document['Id']}"
    assert document["Config"]["Cmd"] == ["echo", "hi"]
    assert document["Comment"] == "by hand"
    assert estiva.out("run", "--rm", "--network", "none", "mine:1") == "hi"


def test_an_image_is_inspected(estiva: Any, box: str) -> None:
    document = json.loads(estiva.out("inspect", "busybox"))[0]
    assert document["Id"] == box
    assert document["RepoTags"] == ["localhost/busybox:latest"]
    assert estiva.out("inspect", "--format", "{{.Id}} {{len .RootFS.Layers}}", "busybox") == f"{box} 1"
    assert estiva.run("image", "exists", "busybox").returncode == 0
    assert estiva.run("image", "exists", "nosuch", check=False).returncode == 1


def test_pulling_what_does_not_exist_is_one_line(estiva: Any) -> None:
    assert "nosuch.tar" in estiva.fails(125, "pull", "-q", "docker-archive:nosuch.tar")
    estiva.fails(125, "pull", "-q", "--policy", "never", "nosuch")
