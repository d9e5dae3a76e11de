"""The distribution protocol's pull side: manifests and blobs of one repository.  distribution-spec "Pull"

Thread-safe: several layers are fetched at once over the same client.
"""

from __future__ import annotations

import json
import threading
import time

from estiva.errors import Denied, EstivaError, Invalid, NotFound, Unavailable
from estiva.registry import challenge as auth
from estiva.registry.http import Http, failure, origin
from estiva.spec import oci
from estiva.spec.digest import is_digest, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from urllib3.response import BaseHTTPResponse

    from estiva.registry.credentials import Credentials
    from estiva.registry.registriesconf import Endpoint
    from estiva.registry.settings import RegistrySettings
    from estiva.spec.oci import Descriptor

CHUNK = 512 << 10
"""Bytes read from a connection at once."""
USER_AGENT = "estiva/0.1"
ACCEPT = ", ".join((*oci.MANIFEST_TYPES, *oci.INDEX_TYPES))
_HUB = ("docker.io", "registry-1.docker.io")
_MAX_TOKEN_ANSWER = 1 << 20
_RESUMES = 5
_EARLY_S = 10
"""Seconds before its end at which a token is no longer used."""


class RegistryClient:
    """One repository at one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials | None,
        settings: RegistrySettings,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint
        self._credentials = credentials
        self._insecure = endpoint.insecure if settings.tls_verify is None else not settings.tls_verify
        self._http = Http(settings, endpoint.registry, insecure=self._insecure, sleep=sleep)
        self._sleep = sleep
        self._lock = threading.Lock()
        self._base: str | None = None
        self._challenge: auth.Challenge | None = None
        self._token: tuple[str, float] | None = None
        self._open: set[BaseHTTPResponse] = set()
        self._interrupted = False

    def manifest(self, selector: str) -> tuple[bytes, str]:
        """``(bytes, media type)`` of the manifest or index with this tag or digest; a digest is verified."""
        what = f"image {self.endpoint}{'@' if is_digest(selector) else ':'}{selector}"
        response = self._get(f"manifests/{selector}", what, {"Accept": ACCEPT})
        try:
            data = _read_limited(response, oci.MAX_MANIFEST, what)
        except (EstivaError, OSError):
            response.close()
            raise
        if is_digest(selector):
            verify(data, selector, what)
        return data, response.headers.get("Content-Type", "").partition(";")[0].strip()

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob in large pieces (not verified here: who writes them does).

        A connection lost on the way is taken up where it broke, by a range request.
        """
        what = f"blob {descriptor['digest']} of {self.endpoint}"
        position, resumes = 0, _RESUMES
        while True:
            started = position
            try:
                for piece in self._from(descriptor, position, what):
                    position += len(piece)
                    yield piece
                return
            except _Broken as broken:
                resumes = _RESUMES if position > started else resumes - 1
                if resumes <= 0 or self._interrupted:
                    raise broken.error from broken
                self._sleep(0.2 * (_RESUMES - resumes))

    def interrupt(self) -> None:
        """Make the calls of :meth:`blob` that wait in other threads fail, now."""
        self._interrupted = True
        for response in tuple(self._open):
            try:
                response.shutdown()
            except (RuntimeError, OSError, ValueError, AttributeError):  # it has just ended, or urllib3 is before 2.3
                continue

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _from(self, descriptor: Descriptor, position: int, what: str) -> Iterator[bytes]:
        """The pieces of a blob from *position* on; :class:`_Broken` if they end too early."""
        import urllib3.exceptions as http

        headers = {"Range": f"bytes={position}-"} if position else {}
        response = self._get(f"blobs/{descriptor['digest']}", what, headers)
        skip = position if response.status == 200 else 0
        left = descriptor["size"] - position + skip
        self._open.add(response)
        try:
            while left > 0:
                piece = response.read(min(CHUNK, left), decode_content=False)
                if not piece:
                    raise _Broken(Unavailable(f"{what}: ended {left} bytes early"))
                left -= len(piece)
                if skip:
                    dropped = min(skip, len(piece))
                    skip, piece = skip - dropped, piece[dropped:]
                if piece:
                    yield piece
            if response.read(1, decode_content=False):
                raise Invalid(f"{what}: longer than the {descriptor['size']} bytes its descriptor says")
        except (http.HTTPError, OSError) as error:
            raise _Broken(failure(self.endpoint.registry, self._url(""), error)) from error
        finally:
            self._open.discard(response)
            response.close() if left else response.release_conn()

    def _get(self, path: str, what: str, headers: dict[str, str]) -> BaseHTTPResponse:
        """The successful answer to a GET below the repository, authorized as the registry wants it."""
        self._connect()
        sent = {"User-Agent": USER_AGENT, **headers}
        for last in (False, True):
            authorization = self._authorization()
            request = {**sent, "Authorization": authorization} if authorization else sent
            response = self._http.follow(self._url(path), request)
            if response.status != 401 or last:
                break
            if not self._learn(response, stale=authorization):
                break
        if response.status in (200, 206):
            return response
        raise self._refusal(response, what)

    def _url(self, path: str) -> str:
        return f"{self._base}/v2/{self.endpoint.repository}/{path}"

    def _connect(self) -> None:
        """Find out the scheme: HTTPS, or where that fails and is allowed to, HTTP."""
        with self._lock:
            if self._base is not None:
                return
            registry = self.endpoint.registry
            host = "registry-1.docker.io" if registry in _HUB else registry
            if self._insecure and not self._answers(f"https://{host}"):
                self._base = f"http://{host}"
            else:
                self._base = f"https://{host}"

    def _answers(self, base: str) -> bool:
        try:
            response = self._http.request("GET", f"{base}/v2/", {"User-Agent": USER_AGENT}, attempts=1)
        except Unavailable:
            return False
        response.drain_conn()
        response.release_conn()
        return True

    def _authorization(self) -> str | None:
        with self._lock:
            if self._challenge is None:
                return None
            if self._challenge.scheme == "basic":
                return self._credentials.basic() if self._credentials else None
            if self._token is None or self._token[1] <= time.monotonic():
                self._token = self._fetch_token(self._challenge)
            return f"Bearer {self._token[0]}"

    def _learn(self, response: BaseHTTPResponse, stale: str | None) -> bool:
        """Take in the challenge of a 401; False when there is nothing (new) to answer it with."""
        response.drain_conn()
        response.release_conn()
        found = auth.select(auth.parse(response.headers.get("WWW-Authenticate", "")))
        with self._lock:
            if found is None or (found.scheme == "basic" and (self._credentials is None or stale)):
                return False
            self._challenge = found
            if stale and self._token and stale == f"Bearer {self._token[0]}":
                self._token = None
        return True

    def _fetch_token(self, challenge: auth.Challenge) -> tuple[str, float]:
        """``(token, monotonic second until which it may be used)``."""
        scope = f"repository:{self.endpoint.repository}:pull"
        request = auth.token_request(challenge, scope, self._credentials)
        if request.has_secret and request.url.startswith("http://") and not self._insecure:
            raise Denied(
                f"registry {self.endpoint.registry}: its token server {origin(request.url)} is not HTTPS",
                "credentials are sent there only with --tls-verify=false",
            )
        response = self._send_token_request(request)
        what = f"token server of registry {self.endpoint.registry}"
        if response.status != 200:
            raise self._refusal(response, what)
        document = oci.load_json(_read_limited(response, _MAX_TOKEN_ANSWER, what), f"{what}: its answer")
        token, lifetime = auth.token_answer(document)
        return token, time.monotonic() + max(lifetime - _EARLY_S, lifetime / 2)

    def _send_token_request(self, request: auth.TokenRequest) -> BaseHTTPResponse:
        from urllib.parse import urlencode

        headers = {"User-Agent": USER_AGENT}
        if request.authorization:
            headers["Authorization"] = request.authorization
        if request.method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return self._http.request("POST", request.url, headers, urlencode(request.fields).encode())
        joint = "&" if "?" in request.url else "?"
        return self._http.follow(f"{request.url}{joint}{urlencode(request.fields)}", headers)

    def _refusal(self, response: BaseHTTPResponse, what: str) -> EstivaError:
        """The failure an HTTP status means, with what the registry says about it."""
        said = _error_text(response)
        response.close()
        status = response.status
        if status in (401, 403):
            who = f"as user {self._credentials.username!r}" if self._credentials else "without credentials"
            return Denied(f"{what}: access denied {who}{said}", "log in, or give --creds USER:PASSWORD")
        if status == 404:
            return NotFound(f"{what}: not found in the registry{said}")
        if status == 429:
            return Unavailable(f"{what}: too many requests{said}", "try again later, or log in")
        return Unavailable(f"{what}: the server answers HTTP status {status}{said}")


class _Broken(Exception):
    """A body that ended too early; ``error`` is what to say if there is no going on."""

    def __init__(self, error: Unavailable) -> None:
        super().__init__(str(error))
        self.error = error


def _read_limited(response: BaseHTTPResponse, limit: int, what: str) -> bytes:
    """The whole body, of at most *limit* bytes."""
    import urllib3.exceptions as http

    pieces, size = [], 0
    try:
        while piece := response.read(64 << 10, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise Invalid(f"{what}: more than {limit >> 20} MiB")
    except (http.HTTPError, OSError) as error:
        raise Unavailable(f"{what}: the connection broke") from error
    response.release_conn()
    return b"".join(pieces)


def _error_text(response: BaseHTTPResponse) -> str:
    """What a registry's JSON error says, as ``": text"``; ``""`` if it says nothing readable."""
    import urllib3.exceptions as http

    try:
        document = json.loads(response.read(8 << 10, decode_content=False))
        message = document["errors"][0]["message"]
    except (ValueError, LookupError, TypeError, http.HTTPError, OSError):
        return ""
    if not isinstance(message, str):
        return ""
    return ": " + " ".join("".join(c if c.isprintable() else " " for c in message).split())[:200]
