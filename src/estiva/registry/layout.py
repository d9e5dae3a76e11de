"""``oci:`` and ``oci-archive:``: images in an OCI image layout, a directory or a tar of one.  image-layout.md"""

from __future__ import annotations

from estiva.errors import Invalid, NotFound
from estiva.registry.files import ArchiveFiles, DirectoryFiles, read
from estiva.spec import oci
from estiva.spec.digest import is_digest, split, verify
from estiva.spec.reference import LOCAL_REGISTRY, ImageReference, is_short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from estiva.registry.files import Files
    from estiva.spec.oci import Descriptor, Index

CONTAINERD_NAME = "io.containerd.image.name"


class LayoutSource:
    """One entry of a layout's ``index.json``.  *files* is closed with the source."""

    def __init__(self, files: Files, entry: Descriptor, names: Sequence[ImageReference]) -> None:
        self.what = files.what
        self.names = names
        self._files = files
        self._entry = entry

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """See :class:`~estiva.registry.source.Source`."""
        wanted = digest or self._entry["digest"]
        data = read(self._files, blob_path(wanted), oci.MAX_MANIFEST)
        told = self._entry["mediaType"] if wanted == self._entry["digest"] else ""
        return verify(data, wanted, f"{self.what}: manifest"), told

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """See :class:`~estiva.registry.source.Source`."""
        return self._files.pieces(blob_path(descriptor["digest"]))

    def interrupt(self) -> None:
        """Reading a file does not wait."""

    def close(self) -> None:
        """Close the archive."""
        self._files.close()


def open_directory(path: str, selector: str, what: str) -> LayoutSource:
    """The image *selector* (see :func:`choose`) of the layout in a directory."""
    return _open(DirectoryFiles(path, what), selector)


def open_archive(path: str, selector: str, what: str, tmp_dir: str | None = None) -> LayoutSource:
    """The image *selector* (see :func:`choose`) of the layout in a tar archive."""
    return _open(ArchiveFiles(path, what, tmp_dir), selector)


def _open(files: Files, selector: str) -> LayoutSource:
    try:
        entry = choose(read_index(files), selector, files.what)
        return LayoutSource(files, entry, names_of(entry, selector))
    except BaseException:
        files.close()
        raise


def all_images(files: Files) -> list[LayoutSource]:
    """A source for each image in the layout; entries with one digest are one image with several names."""
    entries: dict[str, Descriptor] = {}
    names: dict[str, list[ImageReference]] = {}
    for entry in read_index(files)["manifests"]:
        entries.setdefault(entry["digest"], entry)
        names.setdefault(entry["digest"], []).extend(names_of(entry))
    return [LayoutSource(files, entry, names[digest]) for digest, entry in entries.items()]


def read_index(files: Files) -> Index:
    """The checked ``index.json``; raises Invalid where there is no layout of version 1."""
    if not files.has("oci-layout"):
        raise Invalid(f"{files.what}: not an OCI image layout", "it has no file oci-layout")
    layout = oci.load_json(read(files, "oci-layout", 1 << 20), f"{files.what}: oci-layout")
    version = layout.get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise Invalid(f"{files.what}: OCI image layout of version {version!r}: not known")
    index = oci.load_json(read(files, "index.json", oci.MAX_MANIFEST), f"{files.what}: index.json")
    return oci.check_index(index, f"{files.what}: index.json")


def choose(index: Index, selector: str, what: str) -> Descriptor:
    """The entry with the reference name or digest *selector*, ``@N`` for the Nth, or, for ``""``, the only one."""
    entries = index["manifests"]
    if selector.startswith("@") and selector[1:].isdigit():
        found = entries[int(selector[1:]) :][:1]
    elif selector:
        found = [each for each in entries if selector in (_ref_name(each), _annotation(each, CONTAINERD_NAME))]
        found = found or [each for each in entries if each["digest"] == selector.removeprefix("@")]
    elif len({each["digest"] for each in entries}) > 1:
        known = ", ".join(sorted(filter(None, map(_ref_name, entries)))) or f"@0 to @{len(entries) - 1}"
        raise Invalid(f"{what}: holds several images", f"name one: {known}")
    else:
        found = entries[:1]
    if not found:
        known = ", ".join(sorted(filter(None, map(_ref_name, entries)))) or "none with a name"
        raise NotFound(f"{what}: no image {selector!r} in it", f"there are: {known}")
    return found[0]


def names_of(entry: Descriptor, selector: str = "") -> list[ImageReference]:
    """The name an entry has: containerd's, else its reference name; a bare ``name`` or ``tag`` is a local image."""
    for text in (_annotation(entry, CONTAINERD_NAME), _ref_name(entry), "" if selector[:1] == "@" else selector):
        if text and not is_digest(text):
            try:
                return [ImageReference.parse(text if not is_short(text) else f"{LOCAL_REGISTRY}/{text}")]
            except Invalid:
                continue
    return []


def blob_path(digest: str) -> str:
    """Where a layout has the blob; raises Invalid for what is not a digest."""
    algorithm, value = split(digest)
    return f"blobs/{algorithm}/{value}"


def _ref_name(entry: Descriptor) -> str:
    return _annotation(entry, oci.REF_NAME)


def _annotation(entry: Descriptor, key: str) -> str:
    return (entry.get("annotations") or {}).get(key, "")
