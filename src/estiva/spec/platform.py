"""Platforms: ``os/architecture[/variant]`` in Go's words, and the choice of an image from an index for one.

Pure but for :func:`host`.  image-spec image-index.md; the preferences are those of containerd's ``platforms``.
"""

from __future__ import annotations

from estiva.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from estiva.spec.oci import Descriptor

_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv7": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "ppc64el": ("ppc64le", ""),
    "mips64el": ("mips64le", ""),
}
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_SYSTEMS = ("linux", "windows", "darwin", "freebsd")


class Platform:
    """What an image runs on: ``os``, ``architecture`` and ``variant`` (``""`` where none is meant)."""

    __slots__ = ("architecture", "os", "variant")

    def __init__(self, os: str, architecture: str, variant: str = "") -> None:
        self.os = os
        self.architecture, implied = _ALIASES.get(architecture, (architecture, ""))
        self.variant = variant or implied

    @classmethod
    def parse(cls, text: str) -> Platform:
        """``linux/arm/v7``, ``linux/amd64``, ``arm64`` (Linux's) or ``linux`` (this machine's); else Invalid."""
        parts = text.strip().lower().split("/")
        if len(parts) > 3 or not all(part and part.replace("-", "").replace("_", "").isalnum() for part in parts):
            raise Invalid(f"platform {text!r}: not of the form OS/ARCH[/VARIANT]", "for example linux/arm64")
        if len(parts) == 1:
            return cls(parts[0], host().architecture) if parts[0] in _SYSTEMS else cls("linux", parts[0])
        return cls(*parts)

    @classmethod
    def of(cls, document: object) -> Platform:
        """The platform a descriptor's ``platform`` or an image configuration states (missing keys become ``""``)."""
        if not isinstance(document, dict):
            return cls("", "")
        text = [document.get(key) for key in ("os", "architecture", "variant")]
        return cls(*(value.lower() if isinstance(value, str) else "" for value in text))

    def rank(self, other: Platform) -> int:
        """How well an image for *other* serves this platform: 0 exactly, higher is worse, -1 not at all."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return -1
        default = _DEFAULT_VARIANT.get(self.architecture, "")
        mine, its = self.variant or default, other.variant or default
        if mine == its:
            return 0
        older = _generation(mine) - _generation(its)
        return older if older > 0 and self.architecture in _DEFAULT_VARIANT else -1

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def __repr__(self) -> str:
        return f"Platform({self.os!r}, {self.architecture!r}, {self.variant!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Platform) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def host() -> Platform:
    """The platform this machine runs."""
    from os import uname

    return Platform("linux", uname().machine)


def choose(manifests: Iterable[Descriptor], wanted: Platform, what: str) -> Descriptor:
    """The descriptor of an index that serves *wanted* best, the first among equals; *what* names the index.

    Raises NotFound, saying which platforms there are.
    """
    best: tuple[int, Descriptor] | None = None
    seen = []
    for descriptor in manifests:
        platform = Platform.of(descriptor.get("platform"))
        if platform.os in ("", "unknown"):
            continue
        seen.append(str(platform))
        rank = wanted.rank(platform)
        if rank >= 0 and (best is None or rank < best[0]):
            best = rank, descriptor
    if best is None:
        there = ", ".join(sorted(set(seen))) or "none"
        raise NotFound(f"image {what}: not made for platform {wanted}", f"there are: {there}")
    return best[1]


def _generation(variant: str) -> int:
    number = variant.removeprefix("v")
    return int(number) if number.isascii() and number.isdigit() else -1
