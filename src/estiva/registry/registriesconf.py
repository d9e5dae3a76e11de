"""``registries.conf``, version 2: where a name's content really is, which registries are insecure or blocked, and what
short names mean.  containers-registries.conf(5), containers-registries.conf.d(5)
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from estiva.errors import Denied, Invalid, Unsupported
from estiva.spec.reference import ImageReference, is_short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.registry.settings import RegistrySettings

SYSTEM = ("/etc/containers/registries.conf", "/usr/share/containers/registries.conf")
_MIRROR_USES = ("all", "digest-only", "tag-only")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask: ``registry`` is ``host[:port]``; ``insecure`` allows plain HTTP and unknown certificates."""

    registry: str
    repository: str
    insecure: bool = False

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}"


@dataclass(slots=True)
class RegistriesConf:
    """The merged files: ``search`` registries for short names, ``aliases`` of short names, tables by ``prefix``."""

    search: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    registries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def endpoints(self, reference: ImageReference) -> list[Endpoint]:
        """Where *reference* may be had, mirrors first, in the order to try.  Raises Denied for a blocked name."""
        table = self._table(reference)
        if table is None:
            return [Endpoint(reference.registry, reference.repository)]
        prefix = str(table.get("prefix") or table.get("location") or "")
        if table.get("blocked"):
            raise Denied(f"image {reference.familiar}: registry {prefix!r} is blocked in registries.conf")
        mirrors = [mirror for mirror in table.get("mirror", []) if _serves(mirror, table, reference)]
        return [self._endpoint(reference, prefix, place) for place in (*mirrors, table)]

    def expand(self, text: str) -> list[ImageReference]:
        """The references a user's *text* may mean, in the order to try: several only for a short name."""
        if not is_short(text):
            return [ImageReference.parse(text)]
        base = text.partition("@")[0]
        head, slash, tail = base.rpartition("/")
        untagged = head + slash + tail.partition(":")[0]
        if untagged in self.aliases:
            return [ImageReference.parse(self.aliases[untagged] + text[len(untagged) :])]
        return [ImageReference.parse(text, registry) for registry in self.search or ["docker.io"]]

    def _table(self, reference: ImageReference) -> dict[str, Any] | None:
        """The table with the longest prefix of the name."""
        name = str(reference)
        found = [prefix for prefix in self.registries if _has_prefix(name, prefix)]
        return self.registries[max(found, key=len)] if found else None

    def _endpoint(self, reference: ImageReference, prefix: str, place: dict[str, Any]) -> Endpoint:
        location = str(place.get("location") or "")
        name = reference.name
        if location and not prefix.startswith("*."):
            name = location + name[len(prefix) :]
        registry, _, repository = name.partition("/")
        return Endpoint(registry, repository, bool(place.get("insecure")))


def load(settings: RegistrySettings) -> RegistriesConf:
    """What the files that apply to this user say; they need not exist."""
    merged = RegistriesConf()
    for path in files(settings):
        _merge(merged, path, _parse(path))
    return merged


def files(settings: RegistrySettings) -> list[str]:
    """The files that exist, in the order in which later ones win."""
    named = settings.environ.get("CONTAINERS_REGISTRIES_CONF")
    if named:
        return [named]
    user = f"{settings.config_home}/registries.conf"
    main = [path for path in ((user, *SYSTEM) if settings.uid else SYSTEM) if os.path.isfile(path)][:1]
    folders = ["/etc/containers/registries.conf.d", *([f"{user}.d"] if settings.uid else [])]
    return main + [path for folder in folders for path in _fragments(folder)]


def _fragments(folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names if name.endswith(".conf")]


def _parse(path: str) -> dict[str, Any]:
    import tomllib  # 10 ms, and only transfers read it

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise Invalid(f"reading {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"reading {path}: {error}") from error


def _merge(merged: RegistriesConf, path: str, document: dict[str, Any]) -> None:
    if isinstance(document.get("registries"), dict):
        raise Unsupported(f"reading {path}: version 1 of the format", "use [[registry]] tables")
    search = document.get("unqualified-search-registries")
    if search is not None:
        if not isinstance(search, list) or not all(isinstance(each, str) for each in search):
            raise Invalid(f"reading {path}: unqualified-search-registries: not a list of strings")
        merged.search = search
    aliases = document.get("aliases", {})
    if not isinstance(aliases, dict):
        raise Invalid(f"reading {path}: aliases: not a table")
    merged.aliases.update((name, value) for name, value in aliases.items() if isinstance(value, str))
    tables = document.get("registry", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise Invalid(f"reading {path}: registry: not an array of tables")
    for table in tables:
        prefix = table.get("prefix") or table.get("location")
        if not isinstance(prefix, str):
            raise Invalid(f"reading {path}: a [[registry]] with neither prefix nor location")
        merged.registries[prefix] = table


def _has_prefix(name: str, prefix: str) -> bool:
    if prefix.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(prefix[1:])
    return name.startswith(prefix) and (len(name) == len(prefix) or name[len(prefix)] in ":/@")


def _serves(mirror: dict[str, Any], table: dict[str, Any], reference: ImageReference) -> bool:
    """Whether a mirror may be asked for this reference (``pull-from-mirror``, ``mirror-by-digest-only``)."""
    use = mirror.get("pull-from-mirror") or ("digest-only" if table.get("mirror-by-digest-only") else "all")
    if use not in _MIRROR_USES:
        raise Invalid(f"registries.conf: pull-from-mirror {use!r}: not one of {', '.join(_MIRROR_USES)}")
    return use == "all" or (use == "digest-only") == bool(reference.digest)
