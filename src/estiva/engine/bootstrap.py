"""``debootstrap:SUITE``: an image made of a distribution's own packages by its own tool, where there is no registry.

mmdebstrap is used where it is found, else debootstrap (for root only).  Packages come from the mirrors this machine's
apt is configured with for the suite's distribution, else from the distribution's public ones, and are verified with its
keys, as apt always does.  With SOURCE_DATE_EPOCH set, the same packages give the same layer, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from estiva.engine import debtools
from estiva.engine.aptsources import distribution_of
from estiva.engine.importing import CHUNK, PATH, local_name, record_layer, timestamp
from estiva.engine.pull import parse_policy
from estiva.engine.transfer import parse_platform
from estiva.errors import Invalid, NotFound, Unavailable
from estiva.spec import oci
from estiva.spec.platform import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from estiva.engine.images import ImageRecord, Images
    from estiva.engine.transfer import Progress
    from estiva.registry.settings import RegistrySettings
    from estiva.spec.platform import Platform
    from estiva.storage.store import Store

TRANSPORT = "debootstrap:"
LABEL = "org.estiva.bootstrap"
"""The image label that says what the image was made from."""
VARIANTS = ("minbase", "required", "essential", "apt", "buildd", "important", "standard")
ARCHITECTURES = {
    "amd64": "amd64",
    "arm64": "arm64",
    "armhf": "arm/v7",
    "armel": "arm/v6",
    "i386": "386",
    "ppc64el": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
"""Debian's names of architectures, and those of images."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to make: ``debootstrap:SUITE?variant=…&include=…&components=…&arch=…&mirror=…``; ``arch`` is Debian's name,
    ``mirror`` ``""`` for the configured ones."""

    suite: str
    variant: str = "minbase"
    include: tuple[str, ...] = ()
    components: tuple[str, ...] = ("main",)
    arch: str = ""
    mirror: str = ""
    distribution: str = field(default="debian", compare=False)

    @classmethod
    def parse(cls, spec: str) -> Request:
        """The request *spec* makes; raises Invalid, naming the part that is wrong."""
        suite, _, query = spec.removeprefix(TRANSPORT).partition("?")
        given = dict(each.partition("=")[::2] for each in query.split("&") if each)
        unknown = set(given) - {"variant", "include", "components", "arch", "mirror"}
        if unknown:
            raise Invalid(f"image {spec!r}: no option {min(unknown)!r}", "see: variant include components arch mirror")
        if not _is_word(suite):
            raise Invalid(f"image {spec!r}: bad suite {suite!r}", "for example debootstrap:bookworm")
        lists = {key: tuple(filter(None, given.get(key, "").split(","))) for key in ("include", "components")}
        bad = next((each for each in (*lists["include"], *lists["components"]) if not _is_word(each)), None)
        if bad is not None:
            raise Invalid(f"image {spec!r}: {bad!r} is no name of a package or component")
        variant, arch = given.get("variant") or "minbase", given.get("arch", "")
        if variant not in VARIANTS:
            raise Invalid(f"image {spec!r}: unknown variant {variant!r}", f"choose one of {', '.join(VARIANTS)}")
        if arch and arch not in ARCHITECTURES:
            raise Invalid(f"image {spec!r}: unknown architecture {arch!r}", f"choose one of {', '.join(ARCHITECTURES)}")
        mirror = given.get("mirror", "")
        if mirror and not (mirror.startswith(("http://", "https://", "file:///")) and mirror.isprintable()):
            raise Invalid(f"image {spec!r}: mirror {mirror!r} is not an address")
        if set(mirror) & set(' "[]'):
            raise Invalid(f"image {spec!r}: mirror {mirror!r} is not an address")
        distribution = distribution_of(suite)
        components = lists["components"] or ("main",)
        return cls(suite, variant, tuple(sorted(set(lists["include"]))), components, arch, mirror, distribution)

    def __str__(self) -> str:
        """The request in its shortest form: what the image is labelled with."""
        options = [("variant", "" if self.variant == "minbase" else self.variant), ("include", ",".join(self.include))]
        options += [("components", "" if self.components == ("main",) else ",".join(self.components))]
        options += [("arch", self.arch), ("mirror", self.mirror)]
        query = "&".join(f"{key}={value}" for key, value in options if value)
        return f"{TRANSPORT}{self.suite}" + (f"?{query}" if query else "")


def bootstrap(
    store: Store,
    images: Images,
    spec: str,
    *,
    settings: RegistrySettings,
    platform: Platform | str | None = None,
    policy: str = "always",
    progress: Progress | None = None,
) -> ImageRecord:
    """The image *spec* describes, named ``localhost/DISTRIBUTION:SUITE``; it is made, unless *policy* is content with
    one that was made by the same words.

    *progress* gets ``("bootstrap", what is being done, 0, 0)``.  Must run as user 0 of a namespace.  Raises Invalid,
    Unavailable (no tool, no mirror, packages that do not exist), Unsupported.
    """
    request = _with_architecture(Request.parse(spec), parse_platform(platform))
    policy = parse_policy(policy)
    if policy in ("missing", "never"):
        for record in images.list():
            if record.labels.get(LABEL) == str(request):
                return record
        if policy == "never":
            raise NotFound(f"image {spec!r}: not made yet, and not to be made", "pull policy is never")
    created = timestamp(settings.environ)
    staged = store.blobs.staging.directory()
    try:
        tar = debtools.make(request, staged.path, store.in_userns, settings.environ, progress)
        return record_layer(
            store,
            images,
            lambda: _chunks(tar),
            oci.OCI_LAYER,
            _document(request, created),
            [local_name(f"{request.distribution}:{request.suite}")],
            progress,
        )
    except OSError as error:
        raise Unavailable(f"making image {spec!r}: {error.strerror or error}") from error
    finally:
        staged.discard()


def _with_architecture(request: Request, platform: Platform | None) -> Request:
    """The request, for *platform* if that is not this machine's."""
    if platform is None or request.arch or platform.rank(host()) == 0:
        return request
    wanted = "/".join(filter(None, (platform.architecture, platform.variant if platform.architecture == "arm" else "")))
    for ours, theirs in ARCHITECTURES.items():
        if theirs == wanted and platform.os == "linux":
            return Request.parse(f"{request}{'&' if '?' in str(request) else '?'}arch={ours}")
    raise NotFound(f"image {str(request)!r}: not made for platform {platform}")


def _document(request: Request, created: str) -> dict[str, object]:
    """The image configuration, without the layers."""
    names = ARCHITECTURES[request.arch].split("/") if request.arch else [host().architecture]
    return {
        "created": created,
        "architecture": names[0],
        **({"variant": names[1]} if len(names) > 1 else {}),
        "os": "linux",
        "config": {"Env": [PATH], "Cmd": ["bash"], "Labels": {LABEL: str(request)}},
        "history": [{"created": created, "created_by": str(request)}],
    }


def _chunks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _is_word(text: str) -> bool:
    """Whether *text* can be the name of a suite, package or component, and so no option of a program."""
    return (
        text[:1].isalnum()
        and text.isascii()
        and not text.strip("abcdefghijklmnopqrstuvwxyz0123456789+-.:/_~ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    )
