"""Images made from what distributions ship: busybox-static, and Debian root file systems by mmdebstrap.

The same input gives the same bytes, so digests can be compared and results kept between runs.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.isolation import WORLD

EPOCH = 1_700_000_000
CREATED = "2023-11-14T22:13:20Z"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

#: the part of busybox that tests use
APPLETS = """
[ ash awk base64 basename cat chgrp chmod chown chroot cmp cp cut date dd df diff dirname dmesg du echo env expr false
find fold free grep groups gunzip gzip head hostid hostname httpd id ifconfig install ip kill killall ln logname ls
md5sum mkdir mkfifo mknod mktemp more mount mv nc netstat nice nproc od paste pgrep pidof ping pkill printenv printf ps
pwd readlink realpath renice reset rm rmdir route sed seq setsid sh sha256sum sleep sort stat stty su sync sysctl tail
tar tee telnet test timeout touch tr traceroute true truncate tty ulimit umount uname uniq unshare uptime usleep vi
watch wc wget which whoami xargs yes
"""
DIRECTORIES = "bin dev etc home home/tester proc root run sys usr usr/bin var"


class LayerTar:
    """A layer being written: files in the order given, with fixed times and numeric owners."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, content: bytes | None = None, **fields: Any) -> LayerTar:
        """Add a member: a file if *content* is given, else a directory; *fields* are TarInfo's (mode, type, uid …)."""
        member = tarfile.TarInfo(name)
        member.mtime = EPOCH
        member.type = tarfile.REGTYPE if content is not None else tarfile.DIRTYPE
        member.mode = 0o644 if content is not None else 0o755
        for field, value in fields.items():
            setattr(member, field, value)
        if content is not None:
            member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content) if content is not None else None)
        return self

    def link(self, name: str, target: str, **fields: Any) -> LayerTar:
        """Add a symbolic link."""
        return self.add(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777, **fields)

    def bytes(self) -> bytes:
        """The finished tar."""
        self._tar.close()
        return self._buffer.getvalue()


def busybox_layer() -> bytes:
    """A root file system of one static program, its names, and the accounts and directories programs expect."""
    layer = LayerTar()
    for directory in (
        "bin",
        "dev",
        "etc",
        "home",
        "home/tester",
        "proc",
        "root",
        "run",
        "sys",
        "usr",
        "usr/bin",
        "var",
    ):
        owner = 1000 if directory == "home/tester" else 0
        layer.add(directory, mode=0o700 if directory == "root" else 0o755, uid=owner, gid=owner)
    layer.add("tmp", mode=0o1777)
    layer.add("bin/busybox", Path(busybox_path()).read_bytes(), mode=0o755)
    for applet in APPLETS.split():
        layer.link(f"bin/{applet}", "busybox")
    layer.link("usr/bin/env", "../../bin/busybox")
    passwd = "root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000::/home/tester:/bin/sh\n"
    layer.add("etc/passwd", (passwd + "nobody:x:65534:65534::/nonexistent:/bin/false\n").encode())
    layer.add("etc/group", b"root:x:0:\ntester:x:1000:\nextra:x:2000:tester\nnogroup:x:65534:\n")
    layer.add("etc/os-release", b"ID=estiva-test\nNAME=busybox\n")
    layer.add("etc/not-executable", b"#!/bin/sh\necho never\n", mode=0o644)
    return layer.bytes()


def busybox_path() -> str:
    """Where Debian's busybox-static is; raises FileNotFoundError."""
    found = shutil.which("busybox", path="/usr/bin:/bin")
    if found is None:
        raise FileNotFoundError("busybox (apt-get install busybox-static)")
    return found


class Image:
    """An image as plain data: uncompressed layers and a config; written out in any of the formats."""

    def __init__(self, layers: Iterable[bytes], config: dict[str, Any] | None = None, **document: Any) -> None:
        """:param config: the ``config`` part (Env, Cmd …); *document* overrides top-level keys (architecture, os …)"""
        self.layers = list(layers)
        self.document: dict[str, Any] = {
            "created": CREATED,
            "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine),
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["/bin/sh"]} if config is None else config,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in self.layers]},
            "history": [{"created": CREATED, "created_by": f"layer {n}"} for n in range(len(self.layers))],
            **document,
        }

    def oci(self, directory: Path, ref: str | None = "latest", compression: str = "gzip") -> Path:
        """Add the image to the OCI layout *directory* (made if need be) under *ref*; returns the directory."""
        blobs = directory / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        packed = [compress(layer, compression) for layer in self.layers]
        suffix = {"none": "", "gzip": "+gzip", "zstd": "+zstd"}[compression]
        config = json.dumps(self.document, sort_keys=True).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER + suffix, "digest": digest(p), "size": len(p)} for p in packed],
        }
        document = json.dumps(manifest, sort_keys=True).encode()
        for blob in (*packed, config, document):
            (blobs / digest(blob).removeprefix("sha256:")).write_bytes(blob)
        descriptor: dict[str, Any] = {"mediaType": MANIFEST, "digest": digest(document), "size": len(document)}
        if ref is not None:
            descriptor["annotations"] = {"org.opencontainers.image.ref.name": ref}
        index_file = directory / "index.json"
        index = json.loads(index_file.read_text()) if index_file.exists() else {"schemaVersion": 2, "manifests": []}
        index["manifests"].append(descriptor)
        index_file.write_text(json.dumps(index))
        return directory

    def oci_archive(self, file: Path, ref: str | None = "latest") -> Path:
        """Write the image as one tar of an OCI layout."""
        directory = self.oci(file.with_name(file.name + ".d"), ref)
        with tarfile.open(file, "w") as archive:
            archive.add(directory, ".")
        shutil.rmtree(directory)
        return file

    def docker_archive(self, file: Path, *tags: str) -> Path:
        """Write the image as ``docker save`` does."""
        config = json.dumps(self.document, sort_keys=True).encode()
        names = [f"{digest(layer).removeprefix('sha256:')}/layer.tar" for layer in self.layers]
        config_name = digest(config).removeprefix("sha256:") + ".json"
        manifest = [{"Config": config_name, "RepoTags": list(tags) or None, "Layers": names}]
        archive = LayerTar().add(config_name, config)
        for name, layer in zip(names, self.layers, strict=True):
            archive.add(name, layer)
        file.write_bytes(archive.add("manifest.json", json.dumps(manifest).encode()).bytes())
        return file


def busybox_image(*extra_layers: bytes, config: dict[str, Any] | None = None) -> Image:
    """Busybox, with more layers on top if wanted."""
    return Image([busybox_layer(), *extra_layers], config)


def digest(data: bytes) -> str:
    """``sha256:…`` of *data*."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compress(data: bytes, how: str) -> bytes:
    """*data* packed as ``none``, ``gzip`` or ``zstd``."""
    if how == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if how == "zstd":
        import zstandard  # a dependency of the package, not of the tests

        return zstandard.ZstdCompressor(level=3).compress(data)
    return data


# Kept between runs.


def cache_directory() -> Path:
    """Where what takes long to make is kept: ``$ESTIVA_TEST_CACHE``, else below /var/tmp, one for each user."""
    path = Path(os.environ.get("ESTIVA_TEST_CACHE") or f"/var/tmp/estiva-test-cache-{os.getuid()}")
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


@contextmanager
def _made_once(name: str) -> Iterator[tuple[Path, Path | None]]:
    """(final path, temporary path to fill or None if it is there already), one process at a time."""
    final = cache_directory() / name
    with open(cache_directory() / f".{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.exists():
            yield final, None
            return
        fresh = cache_directory() / f".{name}.{os.getpid()}"
        try:
            yield final, fresh
            fresh.rename(final)
        finally:
            shutil.rmtree(fresh, ignore_errors=True) if fresh.is_dir() else fresh.unlink(missing_ok=True)


def debian_tar(suite: str = "bookworm", include: str = "") -> Path:
    """The root file system of a minimal Debian with the packages *include* (comma-separated), as a tar; cached.

    Packages come from the machine's configured mirror, over its own network.
    """
    name = f"debian-{suite}-{include.replace(',', '-') or 'minbase'}.tar"
    with _made_once(name) as (final, fresh):
        if fresh is not None:
            partial = fresh.with_suffix(".tar")
            command = ["mmdebstrap", "--quiet", "--mode=auto", "--variant=minbase", "--format=tar"]
            command += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"]
            command += [f"--include={include}"] if include else []
            environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
            try:
                subprocess.run(WORLD.outside([*command, suite, str(partial)]), check=True, env=environment)
                partial.rename(fresh)
            finally:
                partial.unlink(missing_ok=True)
    return final


def debian_oci(suite: str = "bookworm", include: str = "") -> Path:
    """The same as an OCI layout of one gzip layer under the reference ``latest``; cached."""
    tar = debian_tar(suite, include)
    with _made_once(tar.name.removesuffix(".tar") + ".oci") as (final, fresh):
        if fresh is not None:
            Image([tar.read_bytes()], {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["bash"]}).oci(fresh)
    return final
