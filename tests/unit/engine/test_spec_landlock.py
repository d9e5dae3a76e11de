"""The policy language of ``--security-opt landlock=…``."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.engine.spec.landlock import policy
from estiva.errors import EstivaError, Invalid, NotFound
from estiva.runtime.landlock import arguments

DEV = {"path": "/dev", "access": ["read", "write", "ioctl_dev"]}
PROC = {"path": "/proc", "access": ["read"]}


@pytest.mark.parametrize(
    ("texts", "rules"),
    [
        (
            ["ro:/usr,/etc,rw:/tmp"],
            {
                "paths": [
                    {"path": "/usr", "access": ["read", "execute"]},
                    {"path": "/etc", "access": ["read", "execute"]},
                    {"path": "/tmp", "access": ["read", "write", "ioctl_dev"]},
                    DEV,
                    PROC,
                ],
                "abi": 1,
            },
        ),
        (["r:/", "rwx:/proc,/dev/"], {"paths": [
            {"path": "/", "access": ["read"]}, {"path": "/proc", "access": ["all"]},
            {"path": "/dev/", "access": ["all"]}], "abi": 1}),
        (["net:connect=443,80,bind=8000-8001"], {"ports": [
            {"port": 443, "access": ["connect"]}, {"port": 80, "access": ["connect"]},
            {"port": 8000, "access": ["bind"]}, {"port": 8001, "access": ["bind"]}], "abi": 4}),
        (["net:none"], {"ports": [], "abi": 4}),
        (["scope:signal", "scope:abstract"], {"scopes": ["abstract_unix_socket", "signal"], "abi": 6}),
        (["scope:signal,abi=7,abi=2"], {"scopes": ["signal"], "abi": 7}),
        (["scope:signal", "best-effort"], {"scopes": ["signal"]}),
    ],
)  # fmt: skip
def test_words_become_rules(texts, rules):
    assert policy(texts) == rules
    arguments(rules)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no rule"),
        ("/usr:ro", "no such file"),
        ("usr", "'usr' is no rule"),
        ("ro:usr", "'usr' is not an absolute path"),
        ("ro:", "'' is not an absolute path"),
        ("x:/usr", "'x:/usr' is no rule"),
        ("abi=3", "no rule in it"),
        ("ro:/,abi=99", "versions are 1 to 7"),
        ("ro:/,abi=-1", "is not a version"),
        ("ro:/,abi=3,best-effort", "contradict"),
        ("net:443", "net:443 is not valid"),
        ("net:connect=http", "'http' is not a TCP port"),
        ("net:connect=70000", "'70000' is not a TCP port"),
        ("net:connect=9-8", "'9-8' is not a TCP port"),
        ("net:bind=1-65535", "more than 2048 ports"),
        ("scope:everything", "scope 'everything' is unknown"),
    ],
)
def test_bad_words_are_named(text, words):
    with pytest.raises(EstivaError, match=words):
        policy([text])


def test_a_file_says_all_itself(tmp_path):
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"paths": [{"path": "/usr", "access": ["execute"]}]}))
    assert policy([str(file)]) == {"paths": [{"path": "/usr", "access": ["execute"]}], "abi": 1}
    assert policy([str(file), "net:none"])["abi"] == 4
    with pytest.raises(NotFound):
        policy([f"{file}.no"])
    for text, words in (("{", "reading"), ("[]", "not an object"), ('{"paths": [{}]}', r"paths\[0\].path: None")):
        file.write_text(text)
        with pytest.raises(Invalid, match=words):
            policy([str(file)])


@given(st.lists(st.text(alphabet="rowx:/,=-0123456789netbindcosp.\0é", max_size=40), min_size=1, max_size=3))
def test_whatever_is_written_is_a_policy_or_one_clear_failure(texts):
    try:
        rules = policy(texts)
    except EstivaError:
        return
    arguments(rules)
