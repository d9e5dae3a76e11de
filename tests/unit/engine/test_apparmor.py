"""Which AppArmor profile a container gets, on hosts told of by files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from estiva.engine import apparmor
from estiva.errors import Invalid, Unavailable, Unsupported


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel with two profiles, and a parser that writes down what it is given."""
    (tmp_path / "profiles").write_text("mine (enforce)\n/usr/sbin/tcpdump (complain)\n")
    parser = tmp_path / "parser"
    parser.write_text(f"#!/bin/sh\necho $* > {tmp_path}/arguments\ncat > {tmp_path}/loaded\n")
    parser.chmod(0o755)
    monkeypatch.setattr(apparmor, "PROFILES", str(tmp_path / "profiles"))
    monkeypatch.setattr(apparmor, "_PARSERS", (str(parser),))
    return tmp_path


def choose(asked: str = "", rootless: bool = False, privileged: bool = False) -> str:
    return apparmor.choose_profile(asked, rootless=rootless, privileged=privileged)


def test_a_loaded_profile_is_taken_and_another_refused(host: Path) -> None:
    assert choose("mine") == "mine"
    assert choose("mine", privileged=True) == "mine"
    with pytest.raises(Invalid, match="specified but not loaded"):
        choose("other")


def test_ours_is_made_and_loaded_when_it_is_not_there(host: Path) -> None:
    assert choose() == "containers-default-estiva"
    assert (host / "arguments").read_text() == "-Kr\n"
    assert "profile containers-default-estiva flags=" in (host / "loaded").read_text()
    (host / "loaded").unlink()
    (host / "profiles").write_text("containers-default-estiva (enforce)\n")
    assert choose() == "containers-default-estiva"
    assert not (host / "loaded").exists()


def test_where_the_parser_is_missing_or_fails(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "parser").write_text("#!/bin/sh\nexit 3\n")
    os.chmod(host / "parser", stat.S_IRWXU)
    with pytest.raises(Unavailable, match="code 3"):
        choose()
    monkeypatch.setattr(apparmor, "_PARSERS", ("/none",))
    assert choose() == ""


def test_users_and_the_privileged_have_none(host: Path) -> None:
    assert choose(rootless=True) == ""
    assert choose(privileged=True) == choose("unconfined") == "unconfined"
    with pytest.raises(Unsupported, match="rootless mode"):
        choose("mine", rootless=True)


def test_the_profile_has_balanced_braces() -> None:
    text = apparmor.profile_text("x")
    assert text.count("{") == text.count("}")
    assert "{name}" not in text
