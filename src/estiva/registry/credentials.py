"""Credentials for registries, from where users of Podman, Docker and skopeo keep them.  containers-auth.json(5)

Nothing here ever puts a secret into a message or a ``repr``.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

from estiva.errors import Invalid, NotFound, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.registry.settings import RegistrySettings

_HELPER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Credentials:
    """``username`` and ``password``, or an ``identity_token`` to be exchanged for access tokens."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an ``Authorization`` header.  RFC 7617"""
        import base64

        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def find(settings: RegistrySettings, registry: str, repository: str) -> Credentials | None:
    """What the user has for *registry* (and, more specific, *repository* there); None means anonymous."""
    if settings.creds is not None:
        username, _, password = settings.creds.partition(":")
        return Credentials(username, password)
    for path in files(settings):
        found = _in_file(path, settings, registry, repository)
        if found is not None:
            return found
    return None


def files(settings: RegistrySettings) -> list[str]:
    """The files to look in, the first that has an entry wins.  Raises NotFound if a named one does not exist."""
    if settings.authfile:
        if not os.path.exists(settings.authfile):
            raise NotFound(f"reading credentials {settings.authfile}: no such file", "check --authfile")
        return [settings.authfile]
    env = settings.environ
    runtime_dir = env.get("XDG_RUNTIME_DIR")
    first = env.get("REGISTRY_AUTH_FILE") or (
        f"{runtime_dir}/containers/auth.json" if runtime_dir else f"/run/containers/{settings.uid}/auth.json"
    )
    docker = (env.get("DOCKER_CONFIG") or f"{settings.home}/.docker") + "/config.json"
    return [first, f"{settings.config_home}/auth.json", docker]


def _in_file(path: str, settings: RegistrySettings, registry: str, repository: str) -> Credentials | None:
    document = _read(path)
    helper = _text(document.get("credHelpers"), registry)
    if helper:
        return _ask_helper(helper, settings, registry)
    auths = document.get("auths")
    entries = {_key(key): value for key, value in auths.items()} if isinstance(auths, dict) else {}
    for key in _keys(registry, repository):
        if isinstance(entries.get(key), dict):
            found = _decode(path, key, entries[key])
            if found is not None:
                return found
    store = document.get("credsStore")
    return _ask_helper(store, settings, registry) if isinstance(store, str) and store else None


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    try:
        document = json.loads(data or b"{}")
    except ValueError:  # its text would quote the file, which holds secrets
        raise Invalid(f"reading credentials {path}: not JSON") from None
    if not isinstance(document, dict):
        raise Invalid(f"reading credentials {path}: not a JSON object")
    return document


def _keys(registry: str, repository: str) -> list[str]:
    """``registry/a/b``, ``registry/a``, ``registry``."""
    parts = [registry, *repository.split("/")]
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _key(key: str) -> str:
    """An entry's name as ``host[/path]``: Docker writes ``https://index.docker.io/v1/``."""
    for scheme in ("https://", "http://"):
        if key.startswith(scheme):
            key = key.removeprefix(scheme).partition("/")[0]
    return "docker.io" if key in ("index.docker.io", "registry-1.docker.io") else key.rstrip("/")


def _decode(path: str, key: str, entry: dict[str, Any]) -> Credentials | None:
    import base64
    import binascii

    token = _text(entry, "identitytoken")
    encoded = _text(entry, "auth")
    if not encoded:
        username, password = _text(entry, "username"), _text(entry, "password")
        return Credentials(username, password, token) if username or token else None
    try:
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise Invalid(f"reading credentials {path}: entry {key!r}: auth is not base64 of user:password")
    return Credentials(username, password.rstrip("\0"), token)


def _text(table: object, key: str) -> str:
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""


def _ask_helper(name: str, settings: RegistrySettings, registry: str) -> Credentials | None:
    """What the program ``docker-credential-NAME`` has.  docker-credential-helpers' protocol: server in, JSON out"""
    import shutil
    import subprocess

    server = "https://index.docker.io/v1/" if registry == "docker.io" else registry
    program = shutil.which(f"docker-credential-{os.path.basename(name)}", path=settings.environ.get("PATH"))
    if program is None:
        raise Unavailable(f"credentials for {registry}: docker-credential-{name} is not on PATH", "install it")
    try:
        run = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            env=dict(settings.environ),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"credentials for {registry}: {program}: {type(error).__name__}") from error
    if run.returncode != 0:
        return None
    try:
        answer = json.loads(run.stdout)
    except ValueError:
        raise Invalid(f"credentials for {registry}: {program} did not answer JSON") from None
    username, secret = _text(answer, "Username"), _text(answer, "Secret")
    return Credentials("", "", secret) if username == "<token>" else Credentials(username, secret)
