"""debootstrap: images really made of packages.  Slow, and it needs the machine's mirror."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.accounts import Account
from helpers.images import EPOCH
from helpers.isolation import WORLD

pytestmark = [pytest.mark.needs_root, pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = """
import json, os, sys
from estiva.engine.database import Database
from estiva.engine.images import Images
from estiva.engine.pull import pull
from estiva.registry.settings import RegistrySettings
from estiva.storage.store import Store

root, spec, policy, in_userns, path = sys.argv[1:]
store = Store(root, root + "-run", driver="overlay" if in_userns else "auto", in_userns=bool(in_userns))
if path:
    import estiva.engine.debtools as tools
    tools.SYSTEM_PATH = path
images = Images(Database(root + "/db.sqlite"), root, store.layers.size)
settings = RegistrySettings.from_environ(os.environ)
record = pull(store, images, spec, settings=settings, policy=policy)
print(json.dumps([record.names, record.diff_ids, record.layers[0]["digest"], record.config, record.id]))
"""


def make(directory: Path, spec: str, *, policy: str = "always", path: str = "", prefix: tuple[str, ...] = ()) -> Any:
    """What a process on the machine's own network makes of *spec*, in a store at *directory*."""
    python = [sys.executable, "-c", PROGRAM, str(directory), spec, policy, "yes" if prefix else "", path]
    command = WORLD.outside([*prefix, *python])
    source = str(Path(__file__).parents[2] / "src")
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONPATH": source}
    run = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """An image made by mmdebstrap as root, and its store."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("needs mmdebstrap")
    directory = tmp_path_factory.mktemp("bootstrap") / "root"
    return directory, make(directory, "debootstrap:bookworm")


def test_an_image_is_made_with_a_name_a_command_and_no_rest(first: tuple[Path, Any]) -> None:
    directory, (names, diff_ids, digest, config, _) = first
    assert names == ["localhost/debian:bookworm"]
    assert config["config"]["Cmd"] == ["bash"]
    assert config["config"]["Env"][0].startswith("PATH=/usr/local/sbin:")
    assert config["created"] == "2023-11-14T22:13:20Z"
    assert digest == diff_ids[0]
    assert os.listdir(directory / "staging") == []


def test_the_same_packages_give_the_same_image(first: tuple[Path, Any], tmp_path: Path) -> None:
    assert make(tmp_path / "root", "debootstrap:bookworm") == first[1]


def test_an_ordinary_users_namespace_gives_the_same_layer(first: tuple[Path, Any], user: Account) -> None:
    directory = Path(user.home) / "bootstrap"
    prefix = ("setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--")
    prefix += ("unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--")
    try:
        made = make(directory, "debootstrap:bookworm", prefix=prefix)
    finally:
        for place in (directory, Path(f"{directory}-run")):
            subprocess.run(["rm", "-rf", str(place)], check=True)
    assert made == first[1]


def test_what_was_made_is_not_made_again_unless_asked(first: tuple[Path, Any]) -> None:
    directory, image = first
    assert make(directory, "debootstrap:bookworm?variant=minbase", policy="missing") == image
    assert make(directory, "debootstrap:bookworm", policy="never") == image


def test_debootstrap_gives_the_same_image_twice(tmp_path: Path) -> None:
    found = shutil.which("debootstrap", path="/usr/sbin:/usr/bin")
    if not found:
        pytest.skip("needs debootstrap")
    programs = tmp_path / "programs"  # all of the system's programs but mmdebstrap
    programs.mkdir()
    for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin"):
        for name in os.listdir(folder):
            if name != "mmdebstrap" and not (programs / name).exists():
                (programs / name).symlink_to(f"{folder}/{name}")
    made = [make(tmp_path / name, "debootstrap:bookworm", path=str(programs)) for name in ("one", "two")]
    assert made[0] == made[1]
    assert made[0][0] == ["localhost/debian:bookworm"]
