"""How a registry says who may come in, and what to answer: pure, bytes in and events out.

A request without (good) credentials is answered 401 with ``WWW-Authenticate``: *Basic* wants user and password at each
request; *Bearer* names a token server (realm, service, scope), which gives a short-lived token for them, or for nothing
where the content is public.  RFC 9110 "WWW-Authenticate"; distribution's docs/spec/auth/{token,oauth}.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from estiva.registry.credentials import Credentials

DEFAULT_LIFETIME_S = 60
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?=[\s,]|$)")
_PARAMETER = re.compile(rf"[\s,]*({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|({_TOKEN}))\s*(?=,|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in: ``scheme`` in lower case, parameters by lower-case name."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What to send to a token server: a GET of ``url`` with ``fields`` as its query, or a POST of them as a form."""

    method: str
    url: str
    fields: tuple[tuple[str, str], ...]
    authorization: str | None

    @property
    def has_secret(self) -> bool:
        """Whether it carries credentials, which must not go over plain HTTP unless the user allowed that."""
        return self.authorization is not None or self.method == "POST"


def parse(header: str) -> list[Challenge]:
    """The challenges of a ``WWW-Authenticate`` value, several of which may be joined by commas; never fails."""
    found: list[Challenge] = []
    position = 0
    while position < len(header):
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            break
        position = scheme.end()
        parameters: dict[str, str] = {}
        while (match := _PARAMETER.match(header, position)) is not None:
            quoted = match[2]
            parameters[match[1].lower()] = match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            position = match.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def select(challenges: Iterable[Challenge]) -> Challenge | None:
    """The challenge to answer: Bearer before Basic; None if there is neither."""
    by_scheme = {each.scheme: each for each in reversed(list(challenges))}
    return by_scheme.get("bearer") or by_scheme.get("basic")


def token_request(challenge: Challenge, scope: str, credentials: Credentials | None) -> TokenRequest:
    """The request for a token good for *scope* (``repository:NAME:pull``)."""
    realm = challenge.parameters.get("realm", "")
    if not realm.startswith(("https://", "http://")):
        raise Invalid(f"registry's token server {realm!r}: not an HTTP address")
    service = challenge.parameters.get("service", "")
    fields = [("service", service)] if service else []
    fields += [("scope", each) for each in dict.fromkeys([scope, challenge.parameters.get("scope", "")]) if each]
    if credentials is None:
        return TokenRequest("GET", realm, tuple(fields), None)
    if credentials.identity_token:
        fields += [("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token)]
        return TokenRequest("POST", realm, (*fields, ("client_id", "estiva")), None)
    return TokenRequest("GET", realm, (*fields, ("account", credentials.username)), credentials.basic())


def token_answer(document: object) -> tuple[str, float]:
    """``(token, seconds it is good for)`` of a token server's JSON answer."""
    if isinstance(document, dict):
        token = document.get("token") or document.get("access_token")
        lifetime = document.get("expires_in")
        if isinstance(token, str) and token.isascii() and token.isprintable():
            if not isinstance(lifetime, (int, float)) or not 0 < lifetime < 1e9:
                lifetime = DEFAULT_LIFETIME_S
            return token, float(lifetime)
    raise Invalid("registry's token server: its answer holds no token")
