"""HTTP as a registry client needs it: one request, its failures in our words, certificates, proxies, retries.

Over urllib3, imported when the first request is made.  A response's body is read by the caller in large pieces; it must
be released or closed.
"""

from __future__ import annotations

import os
import time

from estiva.errors import Denied, Invalid, NotFound, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from typing import Any

    import urllib3
    from urllib3.response import BaseHTTPResponse

    from estiva.registry.settings import RegistrySettings

CONNECT_SECONDS = 15
READ_SECONDS = 60
ATTEMPTS = 4
MAX_WAIT_SECONDS = 30
MAX_REDIRECTS = 10
_RETRIED = (408, 429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)


class Http:
    """Connections to servers, kept open between requests and shared by threads.

    ``insecure`` accepts any certificate.  ``sleep`` waits between attempts.
    """

    def __init__(
        self, settings: RegistrySettings, server: str, *, insecure: bool, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._settings = settings
        self._server = server
        self._insecure = insecure
        self._sleep = sleep
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._context: ssl.SSLContext | None = None

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, attempts: int = ATTEMPTS
    ) -> BaseHTTPResponse:
        """The answer to one request, its body unread; redirects are answers.

        What may pass (a lost connection, 429, 5xx) is tried again with growing pauses.  Raises Unavailable.
        """
        import urllib3.exceptions as http

        pause = 0.5
        for left in range(attempts - 1, -1, -1):
            try:
                response = self._once(method, url, headers, body)
            except (http.HTTPError, OSError) as error:
                failed, passing = explain(self._server, url, error)
                if left == 0 or not passing:
                    raise failed from error
            else:
                if response.status not in _RETRIED or left == 0:
                    return response
                pause = max(pause, _retry_after(response))
                response.drain_conn()
                response.release_conn()
            self._sleep(min(pause, MAX_WAIT_SECONDS))
            pause *= 2
        raise AssertionError("unreachable")

    def follow(self, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """The answer to a GET after following redirects; ``Authorization`` stays behind when the host changes."""
        from urllib.parse import urljoin

        sent = dict(headers)
        for _ in range(MAX_REDIRECTS):
            response = self.request("GET", url, sent)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.drain_conn()
            response.release_conn()
            target = urljoin(url, location)
            self.check_target(url, target)
            if origin(target) != origin(url):
                sent.pop("Authorization", None)
            url = target
        raise Unavailable(f"registry {self._server}: more than {MAX_REDIRECTS} redirects")

    def check_target(self, url: str, target: str) -> None:
        """Refuse to be led from HTTPS to plain HTTP, or away from HTTP altogether."""
        if not target.startswith(("https://", "http://")):
            raise Invalid(f"registry {self._server}: redirects to something that is not HTTP")
        if url.startswith("https://") and target.startswith("http://") and not self._insecure:
            host = origin(target).removeprefix("http://")
            raise Denied(f"registry {self._server}: redirects to plain HTTP at {host}", "--tls-verify=false allows it")

    def close(self) -> None:
        """Close the connections."""
        for pool in self._pools.values():
            pool.clear()
        self._pools.clear()

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> BaseHTTPResponse:
        return self._pool(url).request(
            method,
            url,
            headers=headers,
            body=body,
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
            timeout=self._timeout(),
        )

    def _timeout(self) -> urllib3.Timeout:
        import urllib3

        return urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)

    def _pool(self, url: str) -> urllib3.PoolManager:
        import urllib3

        proxy = proxy_for(url, self._settings.environ)
        if proxy not in self._pools:
            options: dict[str, Any] = {"num_pools": 8, "maxsize": 8, "ssl_context": self._tls()}
            pools = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
            if self._insecure:
                pools.pool_classes_by_scheme = {**pools.pool_classes_by_scheme, "https": _unverified_pool()}
            self._pools[proxy] = pools
        return self._pools[proxy]

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self._settings, self._server, self._insecure)
        return self._context


def _unverified_pool() -> type[urllib3.HTTPSConnectionPool]:
    """A pool that does not warn at each request: the user has said that certificates shall not be looked at."""
    import urllib3

    class UnverifiedPool(urllib3.HTTPSConnectionPool):
        def _validate_conn(self, conn: Any) -> None:
            if conn.is_closed:
                conn.connect()

    return UnverifiedPool


def origin(url: str) -> str:
    """``scheme://host:port`` of *url*: without user, path and query, so it can be shown and compared."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def failure(server: str, url: str, error: Exception) -> Unavailable:
    """A transport error in our words."""
    return explain(server, url, error)[0]


def explain(server: str, url: str, error: Exception) -> tuple[Unavailable, bool]:
    """A transport error in our words, and whether trying again makes sense.

    The text is made here, from what is known to be harmless: urllib3's own quotes addresses, which may carry secrets.
    """
    import ssl
    from http.client import BadStatusLine, RemoteDisconnected

    import urllib3.exceptions as http

    cause: BaseException | None = error
    text, cure, passing = type(error).__name__, "", True
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            cure = "add its authority to /etc/containers/certs.d/HOST:PORT/ca.crt, or use --tls-verify=false"
            text, passing = f"its certificate is not trusted: {cause.verify_message}", False
        elif isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
            text, passing = "it speaks plain HTTP, not HTTPS", False
            cure = "use --tls-verify=false, or mark it insecure in registries.conf"
        elif isinstance(cause, http.NameResolutionError):
            text, passing = "its name cannot be resolved", False
        elif isinstance(cause, http.NewConnectionError) and _under(cause) is not None:
            cause = _under(cause)  # before its base, which is a timeout
            continue
        elif isinstance(cause, (http.ConnectTimeoutError, http.ReadTimeoutError, TimeoutError)):
            text = "no answer in time"
        elif isinstance(cause, (RemoteDisconnected, BadStatusLine, http.IncompleteRead, http.InvalidChunkLength)):
            text = "the connection was closed early"
        elif isinstance(cause, OSError) and cause.errno and cause.strerror:
            text, passing = cause.strerror.lower(), isinstance(cause, (ConnectionResetError, BrokenPipeError))
        else:
            cause = _under(cause)
            continue
        break
    where = server if origin(url).partition("://")[2].startswith(server) else f"{server} at {origin(url)}"
    return Unavailable(f"registry {where}: {text}", cure), passing


def _under(error: BaseException) -> BaseException | None:
    """What an exception was made from: urllib3 keeps it in ``reason`` or among the arguments."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return reason
    inner = [each for each in error.args if isinstance(each, BaseException)]
    return inner[0] if inner else error.__cause__ or error.__context__


def _retry_after(response: BaseHTTPResponse) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The proxy for *url* by the usual variables, ``""`` for none."""
    from urllib.parse import urlsplit
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    parts = urlsplit(url)

    def variable(name: str) -> str:
        return environ.get(f"{name}_proxy") or environ.get(f"{name.upper()}_PROXY") or ""

    proxy = variable(parts.scheme) or variable("all")
    if not proxy or proxy_bypass_environment(parts.netloc, {"no": variable("no")}):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def tls_context(settings: RegistrySettings, server: str, insecure: bool) -> ssl.SSLContext:
    """Whom to trust when speaking to *server*: the system's authorities and those of its ``certs.d`` folder.

    containers-certs.d(5)
    """
    import ssl

    context = ssl.create_default_context(
        cafile=_existing(settings.environ.get("SSL_CERT_FILE")), capath=_existing(settings.environ.get("SSL_CERT_DIR"))
    )
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for folder in cert_folders(settings, server):
        _add_folder(context, folder)
    return context


def cert_folders(settings: RegistrySettings, server: str) -> list[str]:
    """The folders with certificates for *server* that exist, or the one the user named."""
    if settings.cert_dir:
        if not os.path.isdir(settings.cert_dir):
            raise NotFound(f"reading certificates {settings.cert_dir}: no such directory", "check --cert-dir")
        return [settings.cert_dir]
    bases = (f"{settings.config_home}/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")
    return [folder for folder in (f"{base}/{server}" for base in bases) if os.path.isdir(folder)]


def _add_folder(context: ssl.SSLContext, folder: str) -> None:
    names = sorted(os.listdir(folder))
    for name in names:
        path = f"{folder}/{name}"
        try:
            if name.endswith(".crt"):
                context.load_verify_locations(cafile=path)
            elif name.endswith(".cert"):
                context.load_cert_chain(path, path.removesuffix(".cert") + ".key")
        except OSError as error:  # ssl.SSLError is one, too
            raise Invalid(f"reading certificate {path}: {error.strerror or error}") from error


def _existing(path: str | None) -> str | None:
    return path if path and os.path.exists(path) else None
