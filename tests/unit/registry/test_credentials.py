"""Credentials: which file, which entry, and never a secret in a message."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from estiva.errors import EstivaError, Invalid, NotFound, Unavailable
from estiva.registry.credentials import find
from estiva.registry.settings import RegistrySettings


def entry(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def settings(home: Path, **options: Any) -> RegistrySettings:
    environ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "PATH": str(home / "bin")}
    return RegistrySettings.from_environ(environ, 1000, **options)


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def test_without_files_it_is_anonymous(tmp_path: Path) -> None:
    assert find(settings(tmp_path), "quay.io", "a/b") is None


def test_the_most_specific_entry_wins(tmp_path: Path) -> None:
    auths = {"quay.io": entry("host:1"), "quay.io/a": entry("a:2"), "quay.io/a/b": entry("ab:3")}
    write(tmp_path / "run/containers/auth.json", {"auths": auths})
    for repository, user in (("a/b", "ab"), ("a/b/c", "ab"), ("a/x", "a"), ("ab", "host")):
        assert find(settings(tmp_path), "quay.io", repository).username == user
    assert find(settings(tmp_path), "other.io", "a/b") is None


def test_the_first_file_with_an_entry_wins(tmp_path: Path) -> None:
    write(tmp_path / "run/containers/auth.json", {"auths": {"x.io": entry("first:1")}})
    write(tmp_path / ".docker/config.json", {"auths": {"x.io": entry("last:1"), "y.io": entry("docker:p:q")}})
    assert find(settings(tmp_path), "x.io", "a").username == "first"
    found = find(settings(tmp_path), "y.io", "a")
    assert (found.username, found.password) == ("docker", "p:q")


def test_a_named_file_is_the_only_one_and_must_exist(tmp_path: Path) -> None:
    write(tmp_path / "run/containers/auth.json", {"auths": {"x.io": entry("a:b")}})
    write(tmp_path / "other", {})
    assert find(settings(tmp_path, authfile=str(tmp_path / "other")), "x.io", "a") is None
    with pytest.raises(NotFound, match="no such file; check --authfile"):
        find(settings(tmp_path, authfile=str(tmp_path / "none")), "x.io", "a")


def test_given_credentials_win(tmp_path: Path) -> None:
    found = find(settings(tmp_path, creds="me:p:w"), "x.io", "a")
    assert (found.username, found.password) == ("me", "p:w")
    assert "p:w" not in repr(settings(tmp_path, creds="me:p:w"))


def test_dockers_key_for_its_hub_is_understood(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"https://index.docker.io/v1/": entry("hub:1")}})
    assert find(settings(tmp_path), "docker.io", "library/debian").username == "hub"


def test_an_identity_token_is_kept(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"x.io": {**entry("me:"), "identitytoken": "tok"}}})
    assert find(settings(tmp_path), "x.io", "a").identity_token == "tok"


def test_a_helper_is_asked_for_its_registry_only(tmp_path: Path) -> None:
    helper = tmp_path / "bin/docker-credential-test"
    write(helper, '#!/bin/sh\nread server\nprintf \'{"Username":"%s","Secret":"s"}\' "$server"\n')
    helper.chmod(0o755)
    write(tmp_path / ".docker/config.json", {"credHelpers": {"x.io": "test", "y.io": "missing"}})
    assert find(settings(tmp_path), "x.io", "a").username == "x.io"
    assert find(settings(tmp_path), "z.io", "a") is None
    with pytest.raises(Unavailable, match="docker-credential-missing is not on PATH"):
        find(settings(tmp_path), "y.io", "a")


@pytest.mark.parametrize("content", ["hunter2", "[1]", {"auths": {"x.io": {"auth": "hunter2!"}}}])
def test_a_damaged_file_is_named_but_never_quoted(tmp_path: Path, content: object) -> None:
    write(tmp_path / "run/containers/auth.json", content)
    with pytest.raises(Invalid, match="reading credentials") as caught:
        find(settings(tmp_path), "x.io", "a")
    error: EstivaError = caught.value
    assert "hunter2" not in str(error)
    assert error.__suppress_context__ or error.__context__ is None


def test_settings_survive_the_way_to_another_process(tmp_path: Path) -> None:
    before = settings(tmp_path, creds="a:b", tls_verify=False)
    assert RegistrySettings.from_json(json.loads(json.dumps(before.to_json()))) == before
