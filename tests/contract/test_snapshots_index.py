"""An index of a tar shows exactly what unpacking the tar makes: compared over tars nobody would write by hand."""

from __future__ import annotations

import os
import random
import stat
import tarfile
from pathlib import Path

import pytest

from estiva.errors import Invalid
from estiva.storage.store import Store
from helpers.accounts import root_account
from helpers.images import LayerTar
from helpers.storage import Bench, Place

pytestmark = pytest.mark.needs_root


def strange_tar(seed: int) -> bytes:
    """A tar in which few names come often, as everything, before and after what they depend on."""
    chance = random.Random(seed)
    tar = LayerTar()
    names = ["a", "b", "c", ".wh.a", ".wh.b", ".wh..wh..opq", "..", ".", "dir/"]
    weights = [9, 9, 5, 1, 1, 1, 1, 1, 1]

    def path() -> str:
        return "/".join(chance.choices(names, weights, k=chance.choice((1, 2, 2, 3, 3, 4))))

    for number in range(chance.randrange(1, 12)):
        fields = {"mode": chance.choice((0o644, 0o755, 0o4711)), "uid": number, "mtime": chance.randrange(1 << 31)}
        kind = chance.choice("ffffddddllhocb")
        if kind == "f":
            tar.add(path(), b"content %d" % number * chance.choice((0, 1, 200)), **fields)
        elif kind == "d":
            tar.add(path() + "/", **fields)
        elif kind == "l":
            tar.link(path(), chance.choice(("", "/", "../")) + path())
        elif kind == "h":
            tar.add(path(), type=tarfile.LNKTYPE, linkname=path(), **fields)
        elif kind == "b":
            tar.add(path(), type=tarfile.CHRTYPE, devmajor=1, devminor=chance.choice((3, 700)), **fields)
        elif kind == "o":
            tar.add(path(), type=tarfile.FIFOTYPE, **fields)
        else:
            xattrs = {"SCHILY.xattr.user.note": "n" * chance.choice((1, 700)), "SCHILY.xattr.trusted.x": str(number)}
            tar.add(path(), b"x", pax_headers=xattrs, **fields)
    return tar.bytes()


def everything(top: str) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a tree; hard links as the first name of the file they are."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for directory, names, files in sorted(os.walk(top)):
        for name in (".", *sorted((*names, *files))):
            path = f"{directory}/{name}"
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISCHR(status.st_mode):
                content = status.st_rdev
            xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in listed(path)}
            links = 0 if stat.S_ISDIR(status.st_mode) else status.st_nlink
            first = inodes.setdefault(status.st_ino, os.path.relpath(path, top))
            whiteout = stat.S_ISCHR(status.st_mode)
            times = None if whiteout or (directory == top and name == ".") else status.st_mtime_ns
            owner = (status.st_uid, status.st_gid)
            mode = stat.S_IFMT(status.st_mode) if whiteout else status.st_mode
            found[os.path.relpath(path, top)] = (mode, owner, times, links, first, content, xattrs)
    return found


def listed(path: str) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


@pytest.mark.parametrize("part", range(4))
def test_an_index_shows_what_unpacking_makes(public_directory: Path, part: int) -> None:
    def check(bench: Bench) -> None:
        unpacked = Bench(bench.base, "overlay", in_userns=False)
        unpacked.store = Store(f"{bench.base}/other", f"{bench.base}/run2", driver="overlay", in_userns=False)
        good = 0
        for seed in range(part * 100, part * 100 + 100):
            tar = strange_tar(seed)
            results = [outcome(which, tar) for which in (bench, unpacked)]
            assert results[0] == results[1], f"seed {seed}"
            good += isinstance(results[0], dict)
        assert good > 20

    Place("erofs", root_account(public_directory), public_directory)(check)


def outcome(bench: Bench, tar: bytes) -> object:
    """What is seen of the layer, or that it is refused."""
    try:
        diff_id = bench.layer(tar)
    except Invalid:
        return "refused"
    with bench.store.layers.acquire([diff_id]) as lease:
        seen = everything(lease.lowerdirs[0])
    bench.store.layers.delete(diff_id)
    return seen
