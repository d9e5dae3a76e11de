"""``docker://``: images in registries, by way of the mirrors and short names that ``registries.conf`` states."""

from __future__ import annotations

from estiva.errors import Denied, EstivaError, Invalid, NotFound, Unavailable
from estiva.registry import credentials
from estiva.registry.client import RegistryClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from estiva.registry.registriesconf import RegistriesConf
    from estiva.registry.settings import RegistrySettings
    from estiva.spec.oci import Descriptor
    from estiva.spec.reference import ImageReference


class RemoteSource:
    """The first of several *candidates* (of a short name) that a registry has."""

    def __init__(self, candidates: Sequence[ImageReference], conf: RegistriesConf, settings: RegistrySettings) -> None:
        self.names: Sequence[ImageReference] = candidates[:1]
        self.what = f"image {candidates[0].familiar}"
        self._candidates = candidates
        self._conf = conf
        self._settings = settings
        self._client: RegistryClient | None = None

    def manifest(self, digest: str | None = None) -> tuple[bytes, str]:
        """See :class:`~estiva.registry.source.Source`; without *digest*, also finds the registry that has the image."""
        if digest is not None:
            return self._connected().manifest(digest)
        failures: list[EstivaError] = []
        for candidate in self._candidates:
            try:
                answer = self._find(candidate)
            except (NotFound, Denied, Unavailable) as error:
                failures.append(error)
                continue
            self.names, self.what = [candidate], f"image {candidate.familiar}"
            return answer
        raise _combined(failures)

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """See :class:`~estiva.registry.source.Source`."""
        return self._connected().blob(descriptor)

    def interrupt(self) -> None:
        """See :class:`~estiva.registry.source.Source`."""
        if self._client is not None:
            self._client.interrupt()

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> RegistryClient:
        if self._client is None:
            self.manifest()
        assert self._client is not None
        return self._client

    def _find(self, reference: ImageReference) -> tuple[bytes, str]:
        """The manifest from the first endpoint that has it; the failure of the last, which is no mirror, counts."""
        last: EstivaError | None = None
        for endpoint in self._conf.endpoints(reference):
            found = credentials.find(self._settings, endpoint.registry, endpoint.repository)
            client = RegistryClient(endpoint, found, self._settings)
            try:
                answer = client.manifest(reference.selector)
            except (NotFound, Denied, Unavailable, Invalid) as error:
                client.close()
                last = error
                continue
            self.close()
            self._client = client
            return answer
        assert last is not None
        raise last


def _combined(failures: list[EstivaError]) -> EstivaError:
    """One failure for all candidates: not found only if none was found."""
    if len(failures) == 1:
        return failures[0]
    kind = next((type(each) for each in failures if not isinstance(each, NotFound)), NotFound)
    kind = next(known for known in (Denied, Unavailable, NotFound) if issubclass(kind, known))
    return kind("; ".join(each.message for each in failures), "name the registry, too")
