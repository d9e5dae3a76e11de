"""Archives and directories: exchanged with skopeo and podman both ways, and hostile ones."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estiva.engine.importing import import_tar, spooled
from estiva.engine.saveload import load, save
from estiva.errors import Conflict, EstivaError, Invalid, NotFound, Unavailable, Unsupported
from helpers.images import Image, LayerTar, busybox_layer, compress, digest
from helpers.place import Place

pytestmark = pytest.mark.needs_root
NAME = "localhost/busybox:latest"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path / "place") as made:
        yield made


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path / "other") as made:
        yield made


@pytest.fixture
def image() -> Image:
    return Image([busybox_layer(), LayerTar().add("etc/extra", b"x" * 5000).bytes()])


def run_load(place: Place, path: Path) -> list[Any]:
    return load(place.store, place.images, str(path), settings=place.settings())


def run_save(place: Place, names: list[str], output: Any, form: str) -> None:
    save(place.store, place.images, names, output, format=form)


def skopeo(source: str, target: str) -> None:
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--quiet", source, target],
        check=True,
        capture_output=True,
        env={**os.environ, "TMPDIR": "/var/tmp"},
    )


def layer_bytes(place: Place, record: Any) -> list[str]:
    return [diff_id for diff_id in record.diff_ids if place.store.layers.has(diff_id)]


# What others wrote.


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci", "dir"])
def test_what_skopeo_writes_is_loaded(image: Image, place: Place, tmp_path: Path, form: str) -> None:
    source = f"oci:{image.oci(tmp_path / 'source')}:latest"
    target = tmp_path / form
    skopeo(source, f"{form}:{target}" + {"dir": "", "oci": f":{NAME}"}.get(form, f":{NAME}"))
    (record,) = run_load(place, target)
    assert record.names == ([] if form == "dir" else [NAME])
    assert layer_bytes(place, record) == [digest(layer) for layer in image.layers]
    assert record.config["config"]["Cmd"] == ["/bin/sh"]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci", "dir"])
def test_a_transport_can_be_pulled_from(image: Image, place: Place, tmp_path: Path, form: str) -> None:
    source = f"oci:{image.oci(tmp_path / 'source')}:latest"
    suffix = "" if form == "dir" else f":{NAME}"
    skopeo(source, f"{form}:{tmp_path / form}{suffix}")
    record = place.pull(f"{form}:{tmp_path / form}{suffix}")
    assert record.names == ([] if form == "dir" else [NAME])
    assert place.pull(f"{form}:{tmp_path / form}").id == record.id
    if suffix:
        with pytest.raises(NotFound, match="no image 'localhost/other:1' in it; there are"):
            place.pull(f"{form}:{tmp_path / form}:localhost/other:1")


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """Podman wants a run root of at most 50 characters."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        yield Path(directory)


def podman(directory: Path, *arguments: str) -> str:
    places = ["--root", f"{directory}/podman", "--runroot", f"{directory}/run", "--storage-driver", "vfs"]
    command = ["podman", *places, *arguments]
    run = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "TMPDIR": "/var/tmp"})
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("podman"), reason="needs podman")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_and_we_read_each_others_archives(
    image: Image, place: Place, short_directory: Path, tmp_path: Path, form: str
) -> None:
    ours, theirs = tmp_path / "ours.tar", tmp_path / "theirs.tar"
    (record,) = run_load(place, image.docker_archive(tmp_path / "source.tar", NAME, "example.com/two:2"))
    names = [NAME, "example.com/two:2"] if form == "docker-archive" else [NAME]  # podman wants one in the others
    run_save(place, names, str(ours), form)
    podman(short_directory, "load", "--quiet", "--input", str(ours))
    listed = json.loads(podman(short_directory, "images", "--format", "json"))
    assert {each["Id"] for each in listed} == {record.id}
    assert {name for each in listed for name in each["Names"]} == set(names)
    podman(short_directory, "save", "--quiet", "--format", form, "--output", str(theirs), NAME)
    with Place(tmp_path / "fresh") as fresh:
        (again,) = run_load(fresh, theirs)
        assert (again.id, again.names) == (record.id, [NAME])
    podman(short_directory, "rmi", "--all", "--force")


# What we write.


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir", "docker-dir"])
@pytest.mark.parametrize("source", ["docker", "oci"])
def test_skopeo_reads_what_is_saved_and_so_do_we(
    image: Image, place: Place, other: Place, tmp_path: Path, form: str, source: str
) -> None:
    if source == "docker":
        (record,) = run_load(place, image.docker_archive(tmp_path / "source.tar", NAME))
    else:
        record = place.pull(f"oci:{image.oci(tmp_path / 'source', NAME)}:{NAME}")
    saved = tmp_path / "saved"
    run_save(place, [NAME], str(saved), form)
    transport = {"oci-dir": "oci", "docker-dir": "dir"}.get(form, form)
    skopeo(f"{transport}:{saved}", f"dir:{tmp_path / 'out'}")
    (again,) = run_load(other, saved)
    assert again.id == record.id
    assert again.names == ([] if form == "docker-dir" else [NAME])
    types = {json.loads(other.store.blobs.read(again.digest))["mediaType"].split(".")[1]}
    assert types == ({"docker"} if form.startswith("docker") else {"oci"})


def test_several_images_share_layers_in_one_archive(image: Image, place: Place, other: Place, tmp_path: Path) -> None:
    second = Image([image.layers[0], LayerTar().add("etc/other", b"y").bytes()])
    for number, each in enumerate((image, second)):
        run_load(place, each.docker_archive(tmp_path / f"{number}.tar", f"localhost/x:{number}"))
    for form in ("docker-archive", "oci-archive"):
        run_save(place, ["x:0", "x:1"], str(tmp_path / "both"), form)
        with tarfile.open(tmp_path / "both") as archive:
            names = archive.getnames()
        assert len(names) == len(set(names))
        assert [record.names for record in run_load(other, tmp_path / "both")] == [["localhost/x:0"], ["localhost/x:1"]]
    with pytest.raises(Invalid, match="holds one"):
        run_save(place, ["x:0", "x:1"], str(tmp_path / "dir"), "oci-dir")
    with pytest.raises(Invalid, match=r"several images; name one: localhost/x:0, localhost/x:1"):
        place.pull(f"oci-archive:{tmp_path / 'both'}")
    assert place.pull(f"oci-archive:{tmp_path / 'both'}:@1").names == ["localhost/x:1"]


def test_the_same_image_gives_the_same_archive(image: Image, place: Place, tmp_path: Path) -> None:
    run_load(place, image.docker_archive(tmp_path / "source.tar", NAME))
    for form in ("docker-archive", "oci-archive"):
        contents = []
        for name in ("one", "two"):
            run_save(place, ["busybox"], str(tmp_path / name), form)
            contents.append((tmp_path / name).read_bytes())
        assert contents[0] == contents[1]


def test_an_id_saves_no_name_and_an_open_file_takes_an_archive(image: Image, place: Place, tmp_path: Path) -> None:
    (record,) = run_load(place, image.docker_archive(tmp_path / "source.tar", NAME))
    buffer = io.BytesIO()
    run_save(place, [record.id[:12]], buffer, "docker-archive")
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert entry["RepoTags"] is None
    with pytest.raises(Invalid, match="--output"):
        run_save(place, [NAME], buffer, "oci-dir")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(image: Image, place: Place, tmp_path: Path) -> None:
    (record,) = run_load(place, image.docker_archive(tmp_path / "source.tar", NAME))
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").write_text("old")
    blob = Path(place.store.blobs.path(record.layers[1]["digest"]))
    blob.write_bytes(blob.read_bytes().replace(b"x" * 100, b"y" * 100))
    for form, name in (("docker-archive", "file"), ("oci-archive", "file"), ("oci-dir", "new"), ("docker-dir", "new")):
        with pytest.raises(Invalid, match="damaged; pull the image again"):
            run_save(place, [NAME], str(out / name), form)
        assert [each.name for each in out.iterdir()] == ["file"]
    assert (out / "file").read_text() == "old"
    with pytest.raises(Conflict, match="it exists"):
        run_save(place, [NAME], str(out), "oci-dir")
    with pytest.raises(NotFound, match="image 'none'"):
        run_save(place, ["none"], str(out / "file"), "oci-archive")
    with pytest.raises(Unavailable, match="saving to /nonexistent/file: No such file"):
        run_save(place, [NAME], "/nonexistent/file", "oci-archive")


@pytest.mark.parametrize("how", ["gzip", "zstd", "xz"])
def test_a_compressed_archive_is_loaded(image: Image, place: Place, tmp_path: Path, how: str) -> None:
    data = image.docker_archive(tmp_path / "source.tar", NAME).read_bytes()
    (tmp_path / "packed").write_bytes(lzma.compress(data) if how == "xz" else compress(data, how))
    assert run_load(place, tmp_path / "packed")[0].names == [NAME]
    (tmp_path / "packed").write_bytes((tmp_path / "packed").read_bytes()[:-100])
    with pytest.raises(EstivaError, match=r"damaged|cut short|early"):
        run_load(place, tmp_path / "packed")


def test_an_archive_comes_through_a_pipe(image: Image, place: Place, tmp_path: Path) -> None:
    image.docker_archive(tmp_path / "source.tar", NAME)
    with subprocess.Popen(["gzip", "-1c", str(tmp_path / "source.tar")], stdout=subprocess.PIPE) as gzip_process:
        assert gzip_process.stdout
        (record,) = run_load(place, Path(f"/dev/fd/{gzip_process.stdout.fileno()}"))
    assert record.names == [NAME]


def test_an_archive_with_compressed_layers_is_loaded(image: Image, place: Place, tmp_path: Path) -> None:
    packed = Image(image.layers)
    packed.layers = [compress(layer, "gzip") for layer in image.layers]
    (record,) = run_load(place, packed.docker_archive(tmp_path / "source.tar", NAME))
    assert record.diff_ids == [digest(layer) for layer in image.layers]
    assert [layer["digest"] for layer in record.layers] == [digest(layer) for layer in packed.layers]


# Hostile archives.


def hostile(tmp_path: Path, *members: tuple[str, Any]) -> Path:
    with tarfile.open(tmp_path / "hostile.tar", "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, content[0]
                archive.addfile(info)
    return tmp_path / "hostile.tar"


def entry(**changes: Any) -> bytes:
    return json.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"], **changes}]).encode()


CONFIG = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest(b"")]}}).encode()


@pytest.mark.parametrize(
    ("members", "kind", "text"),
    [
        ([("a", b"x")], Invalid, "holds no images"),
        ([("manifest.json", b"{}")], Invalid, "not a list of images"),
        ([("manifest.json", b"[[]]")], Invalid, "not a list of images"),
        ([("manifest.json", entry(Config=1))], Invalid, "not a list of images"),
        ([("manifest.json", entry(RepoTags=["UPPER:1"]))], Invalid, "upper-case"),
        ([("manifest.json", entry())], NotFound, "has no file 'c.json'"),
        ([("manifest.json", entry(Config="/etc/hostname"))], NotFound, "has no file '/etc/hostname'"),
        ([("manifest.json", entry(Config="../../etc/hostname"))], NotFound, "has no file"),
        ([("manifest.json", entry()), ("c.json", ["/etc/hostname"])], NotFound, "has no file 'c.json'"),
        ([("manifest.json", entry()), ("c.json", CONFIG), ("l.tar", ["/etc/passwd"])], NotFound, "has no file 'l.tar'"),
        ([("manifest.json", entry(Layers=[])), ("c.json", CONFIG)], Invalid, "0 layers, but"),
        ([("manifest.json", b" " * (5 << 20))], Invalid, "more than 4 MiB"),
        ([("manifest.json", entry()), ("c.json", CONFIG), ("l.tar", b"junk" * 500)], Invalid, "digest|diff_id|tar"),
        ([("oci-layout", b"[]"), ("index.json", b"{}")], Invalid, "not a JSON object"),
        ([("oci-layout", b'{"imageLayoutVersion":"9"}'), ("index.json", b"{}")], Invalid, "version '9'"),
        ([("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", b"{}")], Invalid, "manifests: not a list"),
        ([("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')], NotFound, "has no file 'index.json'"),
    ],
)
def test_a_hostile_archive_reads_nothing_outside_and_leaves_nothing(
    place: Place, tmp_path: Path, members: list[tuple[str, Any]], kind: type[EstivaError], text: str
) -> None:
    with pytest.raises(kind, match=text):
        run_load(place, hostile(tmp_path, *members))
    assert place.files() == []
    assert place.images.list() == []


def test_an_index_that_points_outside_is_refused(place: Place, tmp_path: Path) -> None:
    index = {"manifests": [{"mediaType": "x", "digest": "sha256:../../../etc/passwd", "size": 1}]}
    layout = ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    with pytest.raises(Invalid, match="is not a digest"):
        run_load(place, hostile(tmp_path, layout, ("index.json", json.dumps(index).encode())))


@pytest.mark.parametrize(("path", "text"), [("none", "no such file"), ("text", "not a tar")])
def test_what_is_no_archive_is_named(place: Place, tmp_path: Path, path: str, text: str) -> None:
    (tmp_path / "text").write_text("hello\n" * 200)
    with pytest.raises(EstivaError, match=text):
        run_load(place, tmp_path / path)


def test_other_transports_are_named_as_not_known(place: Place) -> None:
    with pytest.raises(Unsupported, match="transport 'docker-daemon': not known here; there are docker, oci"):
        place.pull("docker-daemon:x:1")


# Importing.


@pytest.mark.parametrize("how", ["none", "gzip", "zstd", "xz"])
def test_a_tar_becomes_an_image_of_one_layer(place: Place, tmp_path: Path, how: str) -> None:
    layer = busybox_layer()
    path = tmp_path / "rootfs.tar"
    path.write_bytes(lzma.compress(layer) if how == "xz" else compress(layer, how))
    record = import_tar(
        place.store,
        place.images,
        str(path),
        name="mine:1",
        message="by hand",
        changes=['CMD ["sh"]', "ENV A=b"],
        platform="linux/arm64",
        environ={"SOURCE_DATE_EPOCH": "1700000000"},
    )
    assert record.names == ["localhost/mine:1"]
    assert record.diff_ids == [digest(layer)]
    assert record.architecture == "arm64"
    assert record.config["config"]["Cmd"] == ["sh"]
    assert record.config["created"] == "2023-11-14T22:13:20Z"
    assert record.config["history"][0]["comment"] == "by hand"
    assert place.store.blobs.verify(record.layers[0]["digest"])


def test_what_is_no_tar_is_not_imported_and_leaves_nothing(place: Place, tmp_path: Path) -> None:
    for content in (b"hello" * 1000, gzip.compress(b"hello" * 1000), gzip.compress(busybox_layer())[:-1000]):
        (tmp_path / "junk").write_bytes(content)
        with pytest.raises(Invalid):
            import_tar(place.store, place.images, str(tmp_path / "junk"))
        assert place.files() == []
    with pytest.raises(NotFound, match="no such file"):
        import_tar(place.store, place.images, str(tmp_path / "none"))


def test_standard_input_is_spooled_to_a_file_that_goes_away(place: Place) -> None:
    with spooled(io.BytesIO(b"content"), place.settings()) as path:
        assert Path(path).read_bytes() == b"content"
    assert not Path(path).exists()
