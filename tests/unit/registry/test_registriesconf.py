"""registries.conf: prefixes, locations, mirrors, blocks, short names."""

from __future__ import annotations

from pathlib import Path

import pytest

from estiva.errors import Denied, Invalid, Unsupported
from estiva.registry.registriesconf import RegistriesConf, files, load
from estiva.registry.settings import RegistrySettings
from estiva.spec.reference import ImageReference

SHA = "sha256:" + "a" * 64
CONF = """
unqualified-search-registries = ["docker.io", "quay.io"]
[aliases]
"tool" = "quay.io/someone/tool"
[[registry]]
location = "plain.io:5000"
insecure = true
[[registry]]
prefix = "old.io/team"
location = "new.io/moved"
[[registry.mirror]]
location = "mirror.io/m"
insecure = true
[[registry.mirror]]
location = "digests.io/m"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "old.io"
blocked = true
[[registry]]
prefix = "*.corp.io"
insecure = true
"""


@pytest.fixture
def conf(tmp_path: Path) -> RegistriesConf:
    return read(tmp_path, CONF)


def read(tmp_path: Path, text: str) -> RegistriesConf:
    (tmp_path / "conf").write_text(text)
    return load(RegistrySettings({"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "conf")}, 1000))


def endpoints(conf: RegistriesConf, text: str) -> list[tuple[str, bool]]:
    return [(str(each), each.insecure) for each in conf.endpoints(ImageReference.parse(text))]


def test_a_name_without_a_table_is_asked_for_where_it_says(conf: RegistriesConf) -> None:
    assert endpoints(conf, "debian") == [("docker.io/library/debian", False)]
    assert endpoints(conf, "plain.io/x") == [("plain.io/x", False)]


def test_a_table_makes_insecure_and_moves_and_adds_mirrors_first(conf: RegistriesConf) -> None:
    assert endpoints(conf, "plain.io:5000/x") == [("plain.io:5000/x", True)]
    assert endpoints(conf, "old.io/team/x:1") == [("mirror.io/m/x", True), ("new.io/moved/x", False)]
    assert endpoints(conf, f"old.io/team/x@{SHA}")[1] == ("digests.io/m/x", False)
    assert endpoints(conf, "a.corp.io:8443/x") == [("a.corp.io:8443/x", True)]


def test_the_longest_prefix_wins_and_ends_at_a_boundary(conf: RegistriesConf) -> None:
    with pytest.raises(Denied, match=r"old\.io.* is blocked"):
        endpoints(conf, "old.io/teammate")


def test_short_names_mean_an_alias_or_every_search_registry(conf: RegistriesConf) -> None:
    def expand(text: str) -> list[str]:
        return [str(each) for each in conf.expand(text)]

    assert expand("tool:2") == ["quay.io/someone/tool:2"]
    assert expand("debian") == ["docker.io/library/debian", "quay.io/debian"]
    assert expand("x.io/debian") == ["x.io/debian"]
    assert [str(each) for each in RegistriesConf().expand("debian")] == ["docker.io/library/debian"]


def test_later_files_win_and_users_files_come_last(tmp_path: Path) -> None:
    folder = tmp_path / "containers/registries.conf.d"
    folder.mkdir(parents=True)
    (folder / "a.conf").write_text('[aliases]\nx = "a.io/x"\n')
    (folder / "b.conf").write_text('[aliases]\nx = "b.io/x"\n')
    settings = RegistrySettings({"XDG_CONFIG_HOME": str(tmp_path)}, 1000)
    assert files(settings)[-2:] == [f"{folder}/a.conf", f"{folder}/b.conf"]
    assert load(settings).aliases["x"] == "b.io/x"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x = ", Invalid),
        ("[registries.search]\nregistries = []", Unsupported),
        ("unqualified-search-registries = 1", Invalid),
        ("[[registry]]\ninsecure = true", Invalid),
        ("aliases = 1", Invalid),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"reading .*/conf: "):
        read(tmp_path, text)
