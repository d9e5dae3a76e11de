"""Authentication as pure functions: challenges in, requests out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.errors import Invalid
from estiva.registry.challenge import Challenge, TokenRequest, parse, select, token_answer, token_request
from estiva.registry.credentials import Credentials

BEARER = 'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"'


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", []),
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("Basic", [("basic", {})]),
        (
            BEARER,
            [
                (
                    "bearer",
                    {"realm": "https://auth.example/token", "service": "reg", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        ('Basic realm="a, b", Bearer realm="c"', [("basic", {"realm": "a, b"}), ("bearer", {"realm": "c"})]),
        (r'BASIC Realm="a\"b"', [("basic", {"realm": 'a"b'})]),
        ('bearer realm = "x" , service=y', [("bearer", {"realm": "x", "service": "y"})]),
    ],
)
def test_a_header_is_taken_apart(header: str, found: list) -> None:
    assert [(each.scheme, dict(each.parameters)) for each in parse(header)] == found


@given(st.text(alphabet='Basic bearer=",\\/x\n', max_size=60))
def test_no_header_breaks_the_parser(header: str) -> None:
    parse(header)


def test_bearer_is_preferred_and_unknown_schemes_are_passed_over() -> None:
    assert select(parse('Basic realm="x", ' + BEARER)).scheme == "bearer"
    assert select(parse('Negotiate, Basic realm="x"')).scheme == "basic"
    assert select(parse("Negotiate")) is None


def test_a_token_is_asked_for_without_credentials_where_there_are_none() -> None:
    request = token_request(parse('Bearer realm="https://a/t",service="s"')[0], "repository:x:pull", None)
    assert request == TokenRequest("GET", "https://a/t", (("service", "s"), ("scope", "repository:x:pull")), None)
    assert not request.has_secret


def test_a_password_goes_by_basic_and_an_identity_token_by_post() -> None:
    challenge = parse('Bearer realm="https://a/t"')[0]
    by_password = token_request(challenge, "s", Credentials("me", "pw"))
    assert (by_password.method, by_password.authorization) == ("GET", "Basic bWU6cHc=")
    assert ("account", "me") in by_password.fields
    by_token = token_request(challenge, "s", Credentials("", "", "id-token"))
    assert (by_token.method, by_token.authorization) == ("POST", None)
    assert ("refresh_token", "id-token") in by_token.fields
    assert by_token.has_secret


def test_a_scope_the_registry_names_is_asked_for_too() -> None:
    fields = token_request(parse(BEARER)[0], "repository:a/b:pull", None).fields
    assert [value for name, value in fields if name == "scope"] == ["repository:a/b:pull", "repository:a/b:pull,push"]


@pytest.mark.parametrize("realm", ["", "file:///etc/passwd", "ftp://x"])
def test_a_token_server_that_is_not_http_is_refused(realm: str) -> None:
    with pytest.raises(Invalid, match="token server"):
        token_request(Challenge("bearer", {"realm": realm}), "s", None)


def test_the_answer_holds_a_token_and_its_lifetime() -> None:
    assert token_answer({"token": "a", "expires_in": 300}) == ("a", 300)
    assert token_answer({"access_token": "b"}) == ("b", 60)
    assert token_answer({"token": "a", "expires_in": -1}) == ("a", 60)


@pytest.mark.parametrize("answer", [None, [], {}, {"token": 1}, {"token": "a\r\nX: y"}, {"token": ""}])
def test_an_answer_without_a_usable_token_is_refused(answer: object) -> None:
    with pytest.raises(Invalid, match="no token"):
        token_answer(answer)


def test_secrets_do_not_show() -> None:
    assert "hunter2" not in repr(Credentials("me", "hunter2", "hunter2"))
