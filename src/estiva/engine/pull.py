"""Pulling: an image from a registry or an archive becomes a record, blobs and layers of the store."""

from __future__ import annotations

from estiva.engine.transfer import copy, parse_platform, resolve
from estiva.errors import Invalid, NotFound, Unavailable
from estiva.registry.transport import open_source, split_transport
from estiva.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.images import ImageRecord, Images
    from estiva.engine.transfer import Progress
    from estiva.registry.settings import RegistrySettings
    from estiva.registry.source import Source
    from estiva.storage.store import Store

POLICIES = ("always", "missing", "newer", "never")
_POLICY_ALIASES = {"true": "always", "false": "missing", "ifnotpresent": "missing", "ifnewer": "newer"}


def parse_policy(text: str) -> str:
    """One of :data:`POLICIES`; raises Invalid."""
    policy = _POLICY_ALIASES.get(text.lower(), text.lower())
    if policy not in POLICIES:
        raise Invalid(f"pull policy {text!r}: unknown", f"choose one of {', '.join(POLICIES)}")
    return policy


def pull(
    store: Store,
    images: Images,
    spec: str,
    *,
    settings: RegistrySettings,
    platform: Platform | str | None = None,
    policy: str = "always",
    progress: Progress | None = None,
) -> ImageRecord:
    """The image *spec* means (a reference, or ``transport:…``), got as *policy* says.

    ``always`` asks the source, and transfers only what is not here; ``newer`` does too, but is content with the local
    image when the source cannot be reached; ``missing`` asks only if there is no local one; ``never`` does not ask.
    *platform* None means this machine's.  *progress* is called with ``("trying", reference, 0, 0)``,
    ``("blob", digest, done, total)``, ``("exists" | "config" | "manifest", digest, size, size)``.

    Raises NotFound, Denied, Unavailable, Invalid, Unsupported; then nothing has changed.
    """
    if spec.startswith("debootstrap:"):
        from estiva.engine.bootstrap import bootstrap

        return bootstrap(store, images, spec, settings=settings, platform=platform, policy=policy, progress=progress)
    wanted = parse_platform(platform)
    local = _local(images, spec, wanted)
    policy = parse_policy(policy)
    if policy == "never" and local is None:
        raise NotFound(f"image {spec!r}: not known, and not to be pulled", "pull policy is never")
    if local is not None and policy in ("missing", "never"):
        return local
    source = open_source(spec, settings=settings)
    try:
        return _fetch(store, images, source, wanted, progress)
    except Unavailable:
        if local is None or policy != "newer":
            raise
        return local
    finally:
        source.close()


def _fetch(
    store: Store, images: Images, source: Source, platform: Platform | None, progress: Progress | None
) -> ImageRecord:
    if progress:
        progress("trying", str(source.names[0]) if source.names else source.what, 0, 0)
    resolved = resolve(source, platform)
    names = [name.canonical for name in source.names if not name.digest]
    found = (resolved.digest, *resolved.indexes)
    repo_digests = [f"{name.name}@{digest}" for name in source.names for digest in found]
    return copy(
        store,
        images,
        source,
        resolved,
        names=names,
        repo_digests=repo_digests,
        platform=platform,
        progress=progress,
    )


def _local(images: Images, spec: str, platform: Platform | None) -> ImageRecord | None:
    """The image we have for *spec*, if any and if it is for *platform*."""
    transport, name = split_transport(spec)
    if transport != "docker":
        return None
    try:
        record = images.find(name)
    except NotFound:
        return None
    if platform is not None and platform.rank(Platform.of(record.config)) < 0:
        return None
    return record
