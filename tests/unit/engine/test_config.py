"""Where an engine keeps its state, and what containers.conf says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from estiva.engine.config import Settings, cached_conf, conf_files, default_root, default_run_root, load_conf
from estiva.errors import Denied, Invalid


def test_places_of_root_and_of_users(tmp_path: Path) -> None:
    assert default_root(0, {}) == "/var/lib/estiva"
    assert default_root(1000, {"HOME": "/h"}) == "/h/.local/share/estiva"
    assert default_root(1000, {"XDG_DATA_HOME": "/d"}) == "/d/estiva"
    assert default_run_root(0, {}) == "/run/estiva"
    assert default_run_root(os.getuid(), {"XDG_RUNTIME_DIR": str(tmp_path)}).startswith(
        "/run/" if os.getuid() == 0 else str(tmp_path)
    )
    assert default_run_root(1000, {"XDG_RUNTIME_DIR": "/nonexistent"}) == "/tmp/estiva-run-1000"


def test_arguments_come_before_the_environment(tmp_path: Path) -> None:
    environ = {"ESTIVA_ROOT": "/env", "ESTIVA_RUNROOT": "/envrun", "HOME": "/h"}
    assert Settings(environ=environ).root == "/env"
    assert Settings(str(tmp_path), environ=environ).root == str(tmp_path)
    with pytest.raises(Invalid, match="odd"):
        Settings(storage_driver="odd", environ=environ)


def test_a_run_directory_others_can_write_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    run.chmod(0o777)
    with pytest.raises(Denied):
        Settings(str(tmp_path / "root"), str(run), environ={}).make_dirs()


def test_configuration_files_are_merged_in_order(tmp_path: Path) -> None:
    first, second, empty = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    first.write_text('[containers]\npids_limit = 1\numask = "0022"\n[engine]\nx = 1\n')
    second.write_text("[containers]\npids_limit = 2\n")
    empty.write_text("# nothing\n[containers]\n")
    conf = load_conf([str(first), str(tmp_path / "none"), str(empty), str(second)])
    assert conf == {"containers": {"pids_limit": 2, "umask": "0022"}, "engine": {"x": 1}}
    second.write_text("nonsense")
    with pytest.raises(Invalid, match=str(second)):
        load_conf([str(second)])


def test_the_merged_configuration_is_remembered_until_a_file_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_text("[containers]\npids_limit = 1\n")
    assert cached_conf([str(path)], str(cache))["containers"] == {"pids_limit": 1}
    assert cache.exists()
    assert cached_conf([str(path)], str(cache))["containers"] == {"pids_limit": 1}
    path.write_text("[containers]\npids_limit = 22\n")
    assert cached_conf([str(path)], str(cache))["containers"] == {"pids_limit": 22}
    cache.write_text("damaged")
    assert cached_conf([str(path)], str(cache))["containers"] == {"pids_limit": 22}


def test_an_override_comes_last() -> None:
    files = conf_files(1000, {"HOME": "/h", "CONTAINERS_CONF_OVERRIDE": "/o"})
    assert files[0] == "/usr/share/containers/containers.conf"
    assert "/h/.config/containers/containers.conf" in files
    assert files[-1] == "/o"
    assert conf_files(0, {"CONTAINERS_CONF": "/c"}) == ["/c"]
