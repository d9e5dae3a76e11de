"""A real registry: Debian's docker-registry on loopback, in the session's own network namespace."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

#: bcrypt of "secret", for the one account "tester"
HTPASSWD = "tester:$2b$05$AWUTf1wKvx5TdA0k2G8W8eQkQ1RCQOiTlyX3GP2CJKx3914sRNgEq\n"
USER, PASSWORD = "tester", "secret"


def available() -> bool:
    """Whether docker-registry and skopeo are installed."""
    return all(shutil.which(program) for program in ("docker-registry", "skopeo"))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Registry:
    """A running registry; :meth:`stop` ends it.

    ``address`` is ``127.0.0.1:PORT``; ``log`` its log file; ``certificate`` what a client must trust when *tls* is on.
    """

    def __init__(self, directory: Path, *, basic_auth: bool = False, tls: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log = directory / "log"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.basic_auth = basic_auth
        self.certificate = self._make_certificate() if tls else None
        config = directory / "config.json"  # YAML takes JSON
        config.write_text(json.dumps(self._config()))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_until_it_listens()

    def _config(self) -> dict[str, object]:
        http: dict[str, object] = {"addr": self.address, "secret": "of-a-test"}
        if self.certificate:
            http["tls"] = {"certificate": str(self.certificate), "key": str(self.directory / "key.pem")}
        storage = {"filesystem": {"rootdirectory": str(self.directory / "data")}, "delete": {"enabled": True}}
        config: dict[str, object] = {"version": 0.1, "log": {"level": "info"}, "storage": storage, "http": http}
        if self.basic_auth:
            (self.directory / "htpasswd").write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(self.directory / "htpasswd")}}
        return config

    def _make_certificate(self) -> Path:
        certificate = self.directory / "certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        command += ["-keyout", str(self.directory / "key.pem"), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)
        return certificate

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"docker-registry did not start: {self.log.read_text()[-2000:]}")

    def push(self, source: str, name: str) -> str:
        """Copy *source* (skopeo's syntax, as ``oci:DIR:ref``) in as *name* (``repo:tag``); returns ADDRESS/NAME."""
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        command += [f"--dest-creds={USER}:{PASSWORD}"] if self.basic_auth else []
        environment = {**os.environ, "TMPDIR": str(self.directory)}
        subprocess.run(
            [*command, source, f"docker://{self.address}/{name}"], check=True, env=environment, capture_output=True
        )
        return f"{self.address}/{name}"

    def blob_path(self, digest: str) -> Path:
        """The file a blob is kept in, for tests that damage it."""
        algorithm, _, value = digest.partition(":")
        return self.directory / "data/docker/registry/v2/blobs" / algorithm / value[:2] / value / "data"

    def requests(self) -> list[str]:
        """``METHOD PATH`` of the requests served so far."""
        found = []
        for line in self.log.read_text().splitlines():
            _, quote, request = line.partition('] "')
            if quote:
                found.append(" ".join(request.split(" ")[:2]))
        return found

    def stop(self) -> None:
        """End it and wait for its end."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
