"""Which images a ``--filter`` lets through, by the rules of podman-images(1)."""

from __future__ import annotations

from estiva.engine.imagenames import repository
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from estiva.engine.images import ImageRecord, Images

    Test = Callable[[ImageRecord], bool]

KEYS = ("after", "before", "containers", "dangling", "digest", "id", "intermediate", "label", "readonly", "reference",
        "since", "until")  # fmt: skip


def choose(images: Images, filters: Iterable[str], *, moment: Callable[[str], int]) -> list[ImageRecord]:
    """The images that pass: of several values for one key any will do (labels: all), and each key must hold.

    :param filters: ``KEY=VALUE``
    :param moment: Unix nanoseconds of a time as people type it, for ``until``
    :raises Invalid: an unknown key, or a value that makes no sense for it
    """
    tests: dict[str, list[Test]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        negated, key = key.endswith("!"), key.removesuffix("!")
        if not equals:
            raise Invalid(f'invalid image filter "{text}": must be in the format "filter=value"')
        if key not in KEYS:
            raise Invalid(f'unsupported image filter "{key}"', f"there are {', '.join(KEYS)}")
        test = _test(images, key, value, moment)
        tests.setdefault(f"{key}{value}" if key == "label" or negated else key, []).append(
            _not(test) if negated else test
        )
    return [image for image in images.list() if all(any(test(image) for test in each) for each in tests.values())]


def _not(test: Test) -> Test:
    return lambda image: not test(image)


def _test(images: Images, key: str, value: str, moment: Callable[[str], int]) -> Test:
    if key in ("after", "since", "before"):
        limit = images.find(value).created
        return (lambda image: image.created < limit) if key == "before" else (lambda image: image.created > limit)
    if key == "until":
        latest = moment(value)
        return lambda image: image.created < latest
    if key == "label":
        name, equals, wanted = value.partition("=")
        return lambda image: name in image.labels and (not equals or image.labels[name] == wanted)
    if key == "reference":
        return lambda image: matches(image, value)
    if key == "id":
        return lambda image: image.id.startswith(value.removeprefix("sha256:"))
    if key == "digest":
        return lambda image: image.digest.startswith(value)
    return _switch(images, key, _boolean(key, value))


def _switch(images: Images, key: str, wanted: bool) -> Test:
    if key == "dangling":
        return lambda image: (not image.names) == wanted
    if key == "containers":
        return lambda image: bool(images.containers(image)) == wanted
    return lambda image: not wanted  # no image is an intermediate one of a build, or in a read-only store


def _boolean(key: str, value: str) -> bool:
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise Invalid(f'image filter {key}="{value}": not true or false')


def matches(image: ImageRecord, pattern: str) -> bool:
    """Whether a name of the image, with or without its registry, path and tag, matches the shell pattern."""
    from fnmatch import fnmatchcase  # only when names are searched

    if "@" in pattern:
        return any(each.endswith(pattern) for each in image.repo_digests)
    for name in image.names:
        parts = name.split("/")
        tails = ["/".join(parts[at:]) for at in range(len(parts))]
        if any(fnmatchcase(tail, pattern) or fnmatchcase(repository(tail), pattern) for tail in tails):
            return True
    return False
