"""Pulling by the command line, as root and as an ordinary user: what a user sees, and what nobody else does."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.images import Image, LayerTar
from helpers.registry import PASSWORD, USER, Registry

pytestmark = pytest.mark.needs_root


@pytest.fixture
def source(busybox_oci: Path) -> str:
    return f"oci:{busybox_oci}:latest"


def test_a_password_given_to_pull_is_on_no_other_command_line(
    estiva: Any, make_registry: Callable[..., Registry], source: str
) -> None:
    registry = make_registry(basic_auth=True)
    name = registry.push(source, "busybox:1")
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                if PASSWORD in line and "--creds" not in line and "skopeo" not in line:
                    seen.append(line)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        estiva.run("pull", "--quiet", "--tls-verify=false", f"--creds={USER}:{PASSWORD}", name)
    finally:
        done.set()
        watcher.join()
    assert seen == []


def test_failures_are_one_line_each_and_leave_nothing(estiva: Any, registry: Registry) -> None:
    for name, text in (
        (f"{registry.address}/none:1", "not found in the registry"),
        ("127.0.0.1:1/x", "registry 127.0.0.1:1: connection refused"),
        ("oci-archive:/nonexistent", "no such file"),
        ("UPPER", "upper-case"),
    ):
        run = estiva.run("pull", "--tls-verify=false", name, check=False)
        assert run.returncode == 125
        errors = [line for line in run.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, run.stderr
        assert text in errors[0]
        assert "Traceback" not in run.stderr


@pytest.fixture
def stalled(busybox_oci: Path) -> Iterator[str]:
    """A registry that stops in the middle of each layer; ``HOST:PORT``."""
    blobs = busybox_oci / "blobs/sha256"
    index = json.loads((busybox_oci / "index.json").read_text())
    manifest = (blobs / index["manifests"][0]["digest"][7:]).read_bytes()
    layers = [layer["digest"] for layer in json.loads(manifest)["layers"]]
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            body = manifest if "/manifests/" in self.path else b""
            if name.startswith("sha256:") and not body:
                body = (blobs / name[7:]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if name in layers else body)
            if name in layers:
                over.wait(60)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        over.set()
        server.shutdown()


def content(root: Path) -> list[str]:
    """The files of the store that are content, half-made ones included."""
    found = []
    for part in ("blobs", "layers", "staging"):
        for directory, _, names in os.walk(root / part):
            found += [f"{directory}/{name}" for name in names]
    return found


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begin(estiva: Any, stalled: str) -> tuple[Any, list[str]]:
    """A pull that has begun to write, and what the store held before."""
    estiva.load(Image([LayerTar().add("first", b"1").bytes()]), "localhost/first:1")
    before = content(estiva.root)
    pull = estiva.popen("pull", "--tls-verify=false", f"{stalled}/x:1", start_new_session=True)
    wait_for(lambda: os.listdir(estiva.root / "staging"))
    time.sleep(0.5)
    return pull, before


def test_an_interrupted_pull_leaves_nothing(estiva: Any, stalled: str) -> None:
    pull, before = begin(estiva, stalled)
    os.killpg(pull.pid, signal.SIGINT)
    pull.communicate(timeout=20)
    assert pull.returncode not in (0, None)
    wait_for(lambda: content(estiva.root) == before)


def test_what_a_killed_pull_left_is_swept_by_the_next(
    estiva: Any, stalled: str, registry: Registry, source: str
) -> None:
    pull, _ = begin(estiva, stalled)
    os.killpg(pull.pid, signal.SIGKILL)
    pull.communicate(timeout=20)
    assert os.listdir(estiva.root / "staging") != []
    wait_for(
        lambda: (
            estiva.run("pull", "-q", "--tls-verify=false", registry.push(source, "busybox:1"))
            and os.listdir(estiva.root / "staging") == []
        )
    )
