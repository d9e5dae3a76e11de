"""What a transfer needs to know of its caller: whose credentials and configuration files, how strict about TLS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ENVIRONMENT = (
    "CONTAINERS_REGISTRIES_CONF",
    "DOCKER_CONFIG",
    "HOME",
    "PATH",
    "REGISTRY_AUTH_FILE",
    "SOURCE_DATE_EPOCH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    *(f"{name}_{word}" for name in ("HTTP", "HTTPS", "ALL", "NO") for word in ("PROXY",)),
    *(f"{name}_proxy" for name in ("http", "https", "all", "no")),
)
"""The variables that matter to a transfer: those that go along when it is done by another process."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How to reach registries.

    ``creds`` is ``user:password`` and wins over every file; ``authfile`` is the only credentials file looked at if it
    is set.  ``tls_verify`` None means: as ``registries.conf`` says, which without an entry is True.  ``cert_dir`` holds
    ``*.crt`` authorities and ``*.cert``/``*.key`` client certificates.  ``uid`` is the user's id on the host, also
    where the transfer runs inside a user namespace.
    """

    environ: Mapping[str, str]
    uid: int
    creds: str | None = field(default=None, repr=False)
    authfile: str | None = None
    tls_verify: bool | None = None
    cert_dir: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], uid: int | None = None, **options: Any) -> RegistrySettings:
        """The settings of a user with these variables; *options* are the other fields."""
        kept = {name: environ[name] for name in ENVIRONMENT if environ.get(name)}
        return cls(kept, os.getuid() if uid is None else uid, **options)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> RegistrySettings:
        """The inverse of :meth:`to_json`."""
        return cls(**document)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON can carry them.  It holds the credentials: only for a pipe, never for a command line."""
        names = ("uid", "creds", "authfile", "tls_verify", "cert_dir")
        return {"environ": dict(self.environ), **{name: getattr(self, name) for name in names}}

    @property
    def home(self) -> str:
        """The user's home directory, ``/`` if nothing says."""
        return self.environ.get("HOME") or "/"

    @property
    def config_home(self) -> str:
        """The user's ``containers`` configuration directory."""
        return (self.environ.get("XDG_CONFIG_HOME") or f"{self.home}/.config") + "/containers"

    def with_tls_verify(self, tls_verify: bool | None) -> RegistrySettings:
        """The same with another strictness."""
        return RegistrySettings(self.environ, self.uid, self.creds, self.authfile, tls_verify, self.cert_dir)
