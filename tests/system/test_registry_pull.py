"""Pulling from a real registry: content, authentication, TLS, damage on the way, nothing half-made after a failure."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from estiva.errors import Denied, EstivaError, Invalid, NotFound, Unavailable
from estiva.spec import oci
from helpers.images import Image, LayerTar, busybox_layer, digest
from helpers.place import Place
from helpers.registry import PASSWORD, USER, Registry

pytestmark = pytest.mark.needs_root


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path / "place") as made:
        yield made


@pytest.fixture
def image(busybox_image: Image) -> Image:
    extra = LayerTar().add("etc/extra", b"x" * 100_000).bytes()
    return Image([busybox_layer(), extra, LayerTar().add("etc/third", b"3").bytes()])


@pytest.fixture
def layout(image: Image, tmp_path: Path) -> str:
    return f"oci:{image.oci(tmp_path / 'layout')}:latest"


def test_an_image_arrives_whole_and_is_known_by_its_name_and_digest(
    registry: Registry, layout: str, image: Image, place: Place
) -> None:
    name = registry.push(layout, "team/busybox:1")
    events: list[tuple[str, str, int, int]] = []
    record = place.pull(name, progress=lambda *event: events.append(event))
    assert record.names == [name]
    assert record.repo_digests == [f"{registry.address}/team/busybox@{record.digest}"]
    assert record.diff_ids == [digest(layer) for layer in image.layers]
    assert all(place.store.layers.has(diff_id) for diff_id in record.diff_ids)
    assert all(place.store.blobs.verify(blob) for blob in place.store.blobs.list())
    assert record.config["config"]["Cmd"] == ["/bin/sh"]
    done = {subject: (done, total) for event, subject, done, total in events if event == "blob"}
    assert done == {layer["digest"]: (layer["size"], layer["size"]) for layer in record.layers}
    assert events[0] == ("trying", name, 0, 0)
    assert not os.listdir(place.root / "staging")


def test_the_store_is_a_layout_skopeo_can_read(registry: Registry, layout: str, place: Place, tmp_path: Path) -> None:
    name = registry.push(layout, "busybox:1")
    place.pull(name)
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{place.root}:{name}", f"dir:{tmp_path}/out"]
    subprocess.run(command, check=True, capture_output=True)


def test_a_second_pull_transfers_no_layer(registry: Registry, layout: str, place: Place) -> None:
    name = registry.push(layout, "busybox:1")
    first = place.pull(name)
    before = len([line for line in registry.requests() if "/blobs/" in line])
    second = place.pull(name)
    assert second.id == first.id
    asked = [line for line in registry.requests() if "/blobs/" in line][before:]
    assert all(first.config_digest in line for line in asked)


def test_policies_decide_whether_the_registry_is_asked(registry: Registry, layout: str, place: Place) -> None:
    name = registry.push(layout, "busybox:1")
    with pytest.raises(NotFound, match="policy is never"):
        place.pull(name, policy="never")
    record = place.pull(name, policy="missing")
    registry.stop()
    assert place.pull(name, policy="missing").id == record.id
    assert place.pull(name, policy="never").id == record.id
    assert place.pull(name, policy="newer").id == record.id
    with pytest.raises(Unavailable, match="connection refused"):
        place.pull(name, policy="always")
    with pytest.raises(Invalid, match="pull policy 'often'"):
        place.pull(name, policy="often")


def test_a_moved_tag_brings_the_new_image_and_keeps_shared_layers(
    registry: Registry, layout: str, image: Image, place: Place, tmp_path: Path
) -> None:
    name = registry.push(layout, "busybox:1")
    old = place.pull(name)
    changed = Image([*image.layers[:2], LayerTar().add("etc/new", b"n").bytes()])
    registry.push(f"oci:{changed.oci(tmp_path / 'changed')}:latest", "busybox:1")
    exists: list[str] = []
    new = place.pull(name, progress=lambda event, subject, *_: exists.append(subject) if event == "exists" else None)
    assert new.id != old.id
    assert sorted(exists) == sorted(layer["digest"] for layer in new.layers[:2])
    assert place.images.find(old.id).names == []


def test_a_pull_by_digest_gives_no_tag(registry: Registry, layout: str, place: Place) -> None:
    name = registry.push(layout, "busybox:1")
    wanted = place.pull(name).digest
    by_digest = f"{registry.address}/busybox@{wanted}"
    place.images.remove(place.images.find(name))
    record = place.pull(by_digest)
    assert record.names == []
    assert record.repo_digests == [by_digest]
    assert place.images.find(by_digest).id == record.id


def push_index(registry: Registry, tmp_path: Path, platforms: dict[str, Image]) -> str:
    """An index of images for several platforms, sent as skopeo would send it; returns its name."""
    directory = tmp_path / "index"
    for text, image in platforms.items():
        system, architecture = text.split("/")
        image.document.update(os=system, architecture=architecture)
        image.oci(directory, ref=None)
    index = json.loads((directory / "index.json").read_text())
    for entry, text in zip(index["manifests"], platforms, strict=True):
        entry["platform"] = dict(zip(("os", "architecture"), text.split("/"), strict=True))
    index["mediaType"] = oci.OCI_INDEX
    data = json.dumps(index).encode()
    (directory / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
    entry = {"mediaType": oci.OCI_INDEX, "digest": digest(data), "size": len(data), "annotations": {oci.REF_NAME: "i"}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false"]
    subprocess.run([*copy, f"oci:{directory}:i", f"docker://{registry.address}/many:1"], check=True)
    return f"{registry.address}/many:1"


def test_the_platform_decides_what_an_index_gives(registry: Registry, place: Place, tmp_path: Path) -> None:
    layers = [LayerTar().add("which", text.encode()).bytes() for text in ("amd64", "arm64")]
    name = push_index(registry, tmp_path, {"linux/amd64": Image(layers[:1]), "linux/arm64": Image(layers[1:])})
    arm = place.pull(name, platform="linux/arm64")
    assert arm.architecture == "arm64"
    assert len(arm.repo_digests) == 2
    assert place.images.find(arm.repo_digests[0]).id == place.images.find(arm.repo_digests[1]).id
    assert place.pull(name, platform="amd64", policy="missing").architecture == "amd64"
    with pytest.raises(NotFound, match="not made for platform linux/s390x; there are: linux/amd64, linux/arm64"):
        place.pull(name, platform="linux/s390x")


def test_what_does_not_exist_is_not_found_and_leaves_nothing(registry: Registry, place: Place) -> None:
    with pytest.raises(NotFound, match=f"image {registry.address}/nothing:latest: not found in the registry"):
        place.pull(f"{registry.address}/nothing")
    assert place.files() == []


# Authentication.


def test_basic_authentication_takes_the_users_password(
    make_registry: Callable[..., Registry], layout: str, place: Place
) -> None:
    registry = make_registry(basic_auth=True)
    name = registry.push(layout, "busybox:1")
    with pytest.raises(Denied, match="access denied without credentials"):
        place.pull(name)
    with pytest.raises(Denied, match=f"access denied as user '{USER}'") as caught:
        place.pull(name, creds=f"{USER}:hunter2")
    assert "hunter2" not in str(caught.value)
    assert place.files() == []
    assert place.pull(name, creds=f"{USER}:{PASSWORD}").names == [name]


def test_credentials_come_from_the_file_podman_login_writes(
    make_registry: Callable[..., Registry], layout: str, place: Place
) -> None:
    registry = make_registry(basic_auth=True)
    name = registry.push(layout, "busybox:1")
    file = place.home / "run/containers/auth.json"
    file.parent.mkdir(parents=True)
    login = ["skopeo", "login", "--tls-verify=false", f"--authfile={file}", f"--username={USER}", "--password-stdin"]
    subprocess.run([*login, registry.address], input=PASSWORD.encode(), check=True, capture_output=True)
    assert place.pull(name).names == [name]


class Server(http.server.ThreadingHTTPServer):
    """An HTTP server of the test's own; ``seen`` lists (path, headers) of its requests."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Any], None]) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
                answer(self)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up on a hostile answer is what is wanted."""

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Any], None]], Server]]:
    servers: list[Server] = []

    def make(answer: Callable[[Any], None]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def send(handler: Any, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


class Contents:
    """The blobs and the manifest of a layout, to be served by hand."""

    def __init__(self, layout: str) -> None:
        self.blobs = Path(layout.split(":")[1]) / "blobs/sha256"
        index = json.loads((self.blobs.parent.parent / "index.json").read_text())
        self.manifest = (self.blobs / index["manifests"][0]["digest"][7:]).read_bytes()
        self.layers = json.loads(self.manifest)["layers"]

    def answer(self, handler: Any) -> None:
        kind, _, name = handler.path.partition("?")[0].rpartition("/")
        if handler.path == "/v2/":
            send(handler, 200)
        elif kind.endswith("/manifests"):
            send(handler, 200, self.manifest, Content_Type=oci.OCI_MANIFEST)
        elif (self.blobs / name[7:]).exists():
            send(handler, 200, (self.blobs / name[7:]).read_bytes())
        else:
            send(handler, 404)


def token_registry(serve: Any, contents: Contents, lifetime: int = 300) -> tuple[Server, Server]:
    """A registry that wants a token, and the token server; only user tester gets one for ``private``."""
    valid: set[str] = set()

    def give(handler: Any) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        private = "private" in query["scope"][0]
        if private and handler.headers.get("Authorization") != "Basic dGVzdGVyOnNlY3JldA==":
            return send(handler, 401, b'{"errors":[{"message":"who are\\nyou?"}]}')
        token = f"token-{len(valid)}"
        valid.add(token)
        return send(handler, 200, json.dumps({"token": token, "expires_in": lifetime}).encode())

    tokens = serve(give)

    def registry(handler: Any) -> None:
        header = handler.headers.get("Authorization", "")
        if handler.path != "/v2/" and header.removeprefix("Bearer ") in valid:
            return contents.answer(handler)
        scope = "repository:" + handler.path.split("/")[2] + ":pull"
        challenge = f'Bearer realm="http://{tokens.address}/token",service="test",scope="{scope}"'
        return send(handler, 401, WWW_Authenticate=challenge)

    return serve(registry), tokens


def test_a_public_image_needs_a_token_but_no_credentials(serve: Any, layout: str, place: Place) -> None:
    registry, tokens = token_registry(serve, Contents(layout))
    assert place.pull(f"{registry.address}/public:1").names == [f"{registry.address}/public:1"]
    assert len(tokens.seen) == 1
    assert parse_qs(urlsplit(tokens.seen[0][0]).query) == {"service": ["test"], "scope": ["repository:public:pull"]}


def test_a_private_image_needs_the_users_password_at_the_token_server_only(
    serve: Any, layout: str, place: Place
) -> None:
    registry, tokens = token_registry(serve, Contents(layout))
    with pytest.raises(Denied, match=r"token server of registry .* access denied without credentials: who are you"):
        place.pull(f"{registry.address}/private:1")
    place.pull(f"{registry.address}/private:1", creds=f"{USER}:{PASSWORD}")
    assert all("Basic" not in headers.get("Authorization", "") for _, headers in registry.seen)
    assert tokens.seen[-1][1]["Authorization"].startswith("Basic ")


def test_a_token_that_is_no_longer_taken_is_replaced(serve: Any, layout: str, place: Place) -> None:
    contents = Contents(layout)
    registry, tokens = token_registry(serve, contents)
    answer, forgotten = contents.answer, []

    def forget_first(handler: Any) -> None:
        if "/blobs/" in handler.path and not forgotten:
            forgotten.append(handler.path)
            challenge = f'Bearer realm="http://{tokens.address}/token",service="test"'
            return send(handler, 401, WWW_Authenticate=challenge)
        return answer(handler)

    contents.answer = forget_first  # type: ignore[method-assign]
    place.pull(f"{registry.address}/public:1")
    assert len(tokens.seen) == 2


# Transport security.


def test_an_unknown_certificate_is_refused_and_a_known_authority_accepted(
    make_registry: Callable[..., Registry], layout: str, place: Place
) -> None:
    registry = make_registry(tls=True)
    name = registry.push(layout, "busybox:1")
    with pytest.raises(Unavailable, match=r"certificate is not trusted: .*certs\.d"):
        place.pull(name, tls_verify=True)
    certs = place.home / ".config/containers/certs.d" / registry.address
    certs.mkdir(parents=True)
    assert registry.certificate
    shutil.copy(registry.certificate, certs / "ca.crt")
    assert place.pull(name, tls_verify=True).names == [name]
    assert place.pull(name, tls_verify=None).names == [name]


def test_without_verification_a_certificate_is_not_looked_at(
    make_registry: Callable[..., Registry], layout: str, place: Place
) -> None:
    registry = make_registry(tls=True)
    assert place.pull(registry.push(layout, "busybox:1"), tls_verify=False).names


def test_plain_http_is_spoken_only_where_allowed(registry: Registry, layout: str, place: Place) -> None:
    name = registry.push(layout, "busybox:1")
    with pytest.raises(Unavailable, match="plain HTTP, not HTTPS; use --tls-verify=false"):
        place.pull(name, tls_verify=None)
    conf = place.home / "insecure.conf"
    conf.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    record = place.pull(name, tls_verify=None, environ={"CONTAINERS_REGISTRIES_CONF": str(conf)})
    assert record.names == [name]


def test_a_mirror_is_asked_first_and_the_name_stays(registry: Registry, layout: str, place: Place) -> None:
    registry.push(layout, "mirrored/busybox:1")
    conf = place.home / "mirrors.conf"
    conf.write_text(
        '[[registry]]\nprefix = "far.example"\nlocation = "far.example"\n'
        '[[registry.mirror]]\nlocation = "127.0.0.1:1"\n'
        f'[[registry.mirror]]\nlocation = "{registry.address}/mirrored"\n'
    )
    record = place.pull("far.example/busybox:1", environ={"CONTAINERS_REGISTRIES_CONF": str(conf)})
    assert record.names == ["far.example/busybox:1"]


def test_a_redirect_to_another_host_does_not_take_the_password_along(serve: Any, layout: str, place: Place) -> None:
    contents = Contents(layout)
    storage = serve(contents.answer)

    def redirect(handler: Any) -> None:
        if "Authorization" not in handler.headers:
            return send(handler, 401, WWW_Authenticate='Basic realm="x"')
        if "/blobs/" in handler.path:
            return send(handler, 307, Location=f"http://{storage.address}{handler.path}?signature=hunter2")
        return contents.answer(handler)

    registry = serve(redirect)
    place.pull(f"{registry.address}/x:1", creds="me:pw")
    assert len(storage.seen) == 4
    assert all("Authorization" not in headers for _, headers in storage.seen)


def test_an_address_with_a_signature_is_not_shown(serve: Any, layout: str, place: Place) -> None:
    contents = Contents(layout)

    def redirect(handler: Any) -> None:
        if "/blobs/" in handler.path:
            return send(handler, 307, Location="http://127.0.0.1:1/blob?signature=hunter2")
        return contents.answer(handler)

    with pytest.raises(Unavailable, match="connection refused") as caught:
        place.pull(f"{serve(redirect).address}/x:1")
    assert "hunter2" not in str(caught.value)
    assert place.files() == []


# Damage.


def check_failure(place: Place, spec: str, kind: type[EstivaError], text: str) -> None:
    with pytest.raises(kind, match=text):
        place.pull(spec)
    assert place.files() == []
    assert place.images.list() == []


def test_a_damaged_layer_is_refused_and_nothing_stays(registry: Registry, layout: str, place: Place) -> None:
    name = registry.push(layout, "busybox:1")
    layer = Contents(layout).layers[1]
    path = registry.blob_path(layer["digest"])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    check_failure(place, name, Invalid, "digest|damaged|decompress")


def test_a_layer_that_is_not_what_the_configuration_says_is_refused(
    registry: Registry, image: Image, place: Place, tmp_path: Path
) -> None:
    image.document["rootfs"]["diff_ids"][1] = digest(b"something else")
    layout = image.oci(tmp_path / "lying")
    name = registry.push(f"oci:{layout}:latest", "lying:1")
    check_failure(place, name, Invalid, "diff_id")


def test_a_body_cut_short_is_taken_up_where_it_broke(serve: Any, layout: str, place: Place) -> None:
    contents = Contents(layout)
    big = max(contents.layers, key=lambda layer: layer["size"])
    data = (contents.blobs / big["digest"][7:]).read_bytes()
    ranges: list[str] = []

    def cut(handler: Any) -> None:
        if not handler.path.endswith(big["digest"]):
            return contents.answer(handler)
        ranges.append(handler.headers.get("Range", ""))
        start = int(ranges[-1].removeprefix("bytes=").rstrip("-") or 0)
        rest = data[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        handler.wfile.write(rest[: max(len(data) // 3, 1)])
        handler.close_connection = True
        return None

    place.pull(f"{serve(cut).address}/x:1")
    assert len(ranges) >= 3
    assert ranges[0] == ""
    assert all(text.startswith("bytes=") for text in ranges[1:])


def test_a_body_that_never_gets_further_fails_at_last(serve: Any, layout: str, place: Place, monkeypatch: Any) -> None:
    contents = Contents(layout)

    def cut(handler: Any) -> None:
        if "/blobs/" not in handler.path or handler.path.endswith(json.loads(contents.manifest)["config"]["digest"]):
            return contents.answer(handler)
        handler.send_response(206 if handler.headers.get("Range") else 200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.close_connection = True
        return None

    check_failure(place, f"{serve(cut).address}/x:1", Unavailable, "closed early|ended")


def test_a_body_longer_than_announced_is_refused(serve: Any, layout: str, place: Place) -> None:
    contents = Contents(layout)

    def longer(handler: Any) -> None:
        if "/blobs/" not in handler.path:
            return contents.answer(handler)
        name = handler.path.rpartition("/")[2]
        return send(handler, 200, (contents.blobs / name[7:]).read_bytes() + b"x")

    check_failure(place, f"{serve(longer).address}/x:1", Invalid, "longer than")


@pytest.mark.parametrize("what", ["huge", "endless", "junk", "schema1"])
def test_a_hostile_manifest_is_refused(serve: Any, place: Place, what: str) -> None:
    def answer(handler: Any) -> None:
        if "/manifests/" not in handler.path:
            return send(handler, 200)
        if what == "endless":
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            try:
                for _ in range(10_000):
                    handler.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            except OSError:
                pass
            handler.close_connection = True
            return None
        body = {"huge": b" " * (5 << 20), "junk": b"<html>", "schema1": b'{"schemaVersion": 1}'}[what]
        try:
            return send(handler, 200, body, Content_Type=oci.OCI_MANIFEST)
        except OSError:
            return None

    texts = {"huge": "4 MiB", "endless": "4 MiB", "junk": "not JSON", "schema1": "schema 1"}
    check_failure(place, f"{serve(answer).address}/x:1", EstivaError, texts[what])


def test_what_passes_is_tried_again(serve: Any, layout: str, place: Place) -> None:
    contents, failures = Contents(layout), []

    def flaky(handler: Any) -> None:
        if "/manifests/" in handler.path and len(failures) < 2:
            failures.append(handler.path)
            return send(handler, (503, 429)[len(failures) - 1], b"busy")
        return contents.answer(handler)

    place.pull(f"{serve(flaky).address}/x:1")
    assert len(failures) == 2


def test_an_unreachable_registry_is_reported_at_once(place: Place) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"registry 127\.0\.0\.1:1: connection refused"):
        place.pull("127.0.0.1:1/x")
    assert time.monotonic() - started < 2
    assert place.files() == []


def test_zip_bombs_meet_the_sizes_of_their_descriptors(registry: Registry, place: Place, tmp_path: Path) -> None:
    """A layer that is not the tar its diff_id names is found out, however long it gets."""
    layer = LayerTar().add("zeros", bytes(50 << 20)).bytes()
    image = Image([layer])
    image.document["rootfs"]["diff_ids"] = [digest(b"small")]
    assert len(gzip.compress(layer)) < 100_000
    name = registry.push(f"oci:{image.oci(tmp_path / 'bomb')}:latest", "bomb:1")
    check_failure(place, name, Invalid, "diff_id")
