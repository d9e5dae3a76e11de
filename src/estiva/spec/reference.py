"""Image references: ``registry/repository:tag@digest``, and the short forms people write.

The grammar is that of github.com/distribution/reference; a name without a registry means Docker Hub, whose official
images live below ``library/``.  Pure: no look-ups, no files.
"""

from __future__ import annotations

from estiva.errors import Invalid
from estiva.spec.digest import is_digest, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern

DEFAULT_REGISTRY = "docker.io"
LOCAL_REGISTRY = "localhost"
DEFAULT_TAG = "latest"
_HUB_ALIASES = ("index.docker.io", "registry-1.docker.io")
_MAX_NAME = 255
_PATTERNS: dict[str, Pattern[str]] = {}


class ImageReference:
    """A name for an image, complete: ``registry`` (``docker.io``, ``localhost``, ``host:port``), ``repository``
    (``library/debian``), and a ``tag``, a ``digest`` (``sha256:…``), both or neither (``None``).

    Immutable; :meth:`parse` and ``str()`` are inverses up to the completion of short names.
    """

    __slots__ = ("digest", "registry", "repository", "tag")

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    def __init__(self, registry: str, repository: str, tag: str | None = None, digest: str | None = None) -> None:
        for name, value in (("registry", registry), ("repository", repository), ("tag", tag), ("digest", digest)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an ImageReference does not change ({name})")

    @classmethod
    def parse(cls, text: str, default_registry: str = DEFAULT_REGISTRY) -> ImageReference:
        """The reference *text* means; one without a registry is taken from *default_registry*.

        Raises Invalid, quoting the text and naming what is wrong with it.
        """
        rest, at, digest = text.partition("@")
        if at:
            _check_digest(text, digest)
        tag = None
        head, slash, tail = rest.rpartition("/")
        tail, colon, found = tail.partition(":")
        if colon:
            tag = _matching(text, "tag", found)
            rest = head + slash + tail
        if not at and is_digest(f"sha256:{rest}"):
            raise Invalid(f"image name {text!r}: 64 hexadecimal digits are an image id, not a name")
        registry, repository = _split_registry(rest, default_registry)
        _check_repository(text, repository)
        _matching(text, "registry", registry)
        if len(registry) + 1 + len(repository) > _MAX_NAME:
            raise Invalid(f"image name {text!r}: longer than {_MAX_NAME} characters")
        return cls(registry, repository, tag, digest or None)

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self.registry}/{self.repository}"

    @property
    def canonical(self) -> str:
        """``registry/repository:tag``, with ``latest`` when there is no tag: what images are recorded under."""
        return f"{self.name}:{self.tag or DEFAULT_TAG}"

    @property
    def familiar(self) -> str:
        """As short as it can be said without a change of meaning: ``debian:12``."""
        name = self.name
        if self.registry == DEFAULT_REGISTRY:
            name = self.repository.removeprefix("library/")
            name = self.repository if "/" in name and self.repository.startswith("library/") else name
        return name + self._suffix()

    @property
    def selector(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    def with_tag(self, tag: str | None = None) -> ImageReference:
        """The same repository with this tag (``latest``) and no digest."""
        return ImageReference(self.registry, self.repository, tag or DEFAULT_TAG)

    def with_digest(self, digest: str) -> ImageReference:
        """The same repository with this digest and no tag."""
        split(digest)
        return ImageReference(self.registry, self.repository, None, digest)

    def __str__(self) -> str:
        return self.name + self._suffix()

    def __repr__(self) -> str:
        return f"ImageReference.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageReference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def is_short(text: str) -> bool:
    """Whether *text* names no registry (``debian``, ``library/debian:12``)."""
    return not _is_registry(text.partition("@")[0].partition("/"))


def _is_registry(parts: tuple[str, str, str]) -> bool:
    first, slash, _ = parts
    return bool(slash) and ("." in first or ":" in first or first == LOCAL_REGISTRY or first.lower() != first)


def _split_registry(name: str, default: str) -> tuple[str, str]:
    parts = name.partition("/")
    registry, repository = (parts[0], parts[2]) if _is_registry(parts) else (default, name)
    if registry in _HUB_ALIASES:
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and repository and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _check_repository(text: str, repository: str) -> None:
    if repository.lower() != repository:
        raise Invalid(f"image name {text!r}: the repository has upper-case letters", f"write {repository.lower()!r}")
    _matching(text, "repository", repository)


def _check_digest(text: str, digest: str) -> None:
    try:
        split(digest)
    except Invalid as error:
        raise Invalid(f"image name {text!r}: {error.message}", error.cure) from None


def _matching(text: str, kind: str, value: str) -> str:
    if _pattern(kind).fullmatch(value) is None:
        raise Invalid(f"image name {text!r}: bad {kind} {value!r}")
    return value


def _pattern(kind: str) -> Pattern[str]:
    """The grammar of one part, compiled when first asked for."""
    if not _PATTERNS:
        import re

        label = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
        component = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
        _PATTERNS["registry"] = re.compile(rf"(?:{label}(?:\.{label})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
        _PATTERNS["repository"] = re.compile(rf"{component}(?:/{component})*")
        _PATTERNS["tag"] = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
    return _PATTERNS[kind]
