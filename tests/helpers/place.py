"""A store with its database and nothing around it, for tests of what fills it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from estiva.engine.database import Database
from estiva.engine.images import Images
from estiva.engine.pull import pull
from estiva.registry.settings import RegistrySettings
from estiva.storage.store import Store


class Place:
    """A store of its own with what is needed to pull into it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.root = directory / "root"
        self.store = Store(str(self.root), str(directory / "run"), driver="overlay", in_userns=False)
        self.database = Database(str(self.root / "db.sqlite"))
        self.images = Images(self.database, str(self.root), self.store.layers.size)
        self.home = directory

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *exception: object) -> None:
        self.database.close()

    def settings(self, **options: Any) -> RegistrySettings:
        environ = {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home / "run"), **options.pop("environ", {})}
        (self.home / "registries.conf").touch()
        environ.setdefault("CONTAINERS_REGISTRIES_CONF", str(self.home / "registries.conf"))
        return RegistrySettings.from_environ(environ, 1000, **{"tls_verify": False, **options})

    def pull(self, spec: str, **how: Any) -> Any:
        options = {key: how.pop(key) for key in ("creds", "tls_verify", "cert_dir", "environ") if key in how}
        return pull(self.store, self.images, spec, settings=self.settings(**options), **how)

    def files(self) -> list[str]:
        """Everything in the store that is content."""
        found = []
        for part in ("blobs", "layers", "staging"):
            for directory, _, names in os.walk(self.root / part):
                found += [f"{directory}/{name}" for name in names]
        return found
