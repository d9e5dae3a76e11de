"""Names and the options that stand for names, and what listing commands say about mistakes, on an empty store."""

from __future__ import annotations

from pathlib import Path

import pytest

from estiva.cli.main import main


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTIVA_ROOT", f"{tmp_path}/root")
    monkeypatch.setenv("ESTIVA_RUNROOT", f"{tmp_path}/run")


@pytest.mark.parametrize(
    ("line", "code", "cause"),
    [
        ("stop", 125, "you must provide at least one name or id"),
        ("stop -a x", 125, "no arguments are needed with --all"),
        ("stop -l x", 125, "no arguments are needed with --latest"),
        ("stop -a -l", 125, "--all and --latest cannot be used together"),
        ("rm --latest --cidfile x", 125, "--latest and --cidfile cannot be used together"),
        ("stop --filter name=x y", 125, "--filter takes no arguments"),
        ("stop nosuch", 125, "no such container"),
        ("stop --ignore nosuch", 0, ""),
        ("stop -a", 0, ""),
        ("stop -l", 125, "no containers exist"),
        ("kill --signal FOO nosuch", 125, "no such signal"),
        ("kill nosuch", 125, "no such container"),
        ("rm nosuch", 1, "no such container"),
        ("rm -f nosuch", 0, ""),
        ("rm --cidfile /nonexistent/file", 1, "/nonexistent/file: no such file or directory"),
        ("rmi nosuch", 1, "'nosuch': not known"),
        ("rmi -f nosuch", 0, ""),
        ("rmi", 125, "image name or ID must be specified"),
        ("rmi -a x", 125, "when using the --all switch"),
        ("rename a b", 125, "no such container"),
        ("tag nosuch x", 125, "not known"),
        ("tag nosuch X:::", 125, "X:::"),
        ("untag nosuch", 125, "not known"),
        ("top", 125, '`estiva top` requires a name, id, or the "--latest" flag'),
        ("attach nosuch", 125, "no such container"),
        ("attach --detach-keys ctrl-xx nosuch", 125, "is no key"),
        ("wait nosuch", 125, "no such container"),
        ("wait --interval soon nosuch", 125, 'invalid duration "soon"'),
        ("wait --condition odd nosuch", 125, "is not a valid value"),
        ("inspect", 125, "no names or ids specified"),
        ("inspect nosuch", 125, 'no such object: "nosuch"'),
        ("inspect --type odd x", 125, 'invalid type "odd"'),
        ("inspect --type pod x", 125, "inspecting a pod"),
        ("inspect -l x", 125, "--latest and arguments cannot be used together"),
        ("image exists nosuch", 1, ""),
        ("container exists nosuch", 1, ""),
        ("container cleanup nosuch", 0, ""),
        ("ps -l -n 3", 125, "last and latest are mutually exclusive"),
        ("ps -q -s", 125, "quiet and size are mutually exclusive"),
        ("ps --ns -s", 125, "size and namespace options conflict"),
        ("ps --watch 0", 125, "--watch takes"),
        ("ps --format {{", 125, "template: ps:1: unclosed action"),
        ("images --filter odd=1", 125, 'unsupported image filter "odd"'),
        ("pull -a x", 125, "pulling all tags"),
        ("pull --os linux --platform linux/arm64 x", 125, "--platform option can not be specified with"),
        ("completion tcsh", 125, "there are bash, fish, zsh"),
    ],
)
def test_one_line_and_a_code(line: str, code: int, cause: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == code
    told = capsys.readouterr().err
    assert cause in told
    assert told.count("\n") == (1 if cause else 0)


def test_empty_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for line, shown in (
        ("ps", "CONTAINER ID  IMAGE       COMMAND     CREATED     STATUS      PORTS       NAMES\n"),
        ("ps -q", ""),
        ("ps --format json", "[]\n"),
        ("ps --noheading", ""),
        ("images", "REPOSITORY  TAG         IMAGE ID    CREATED     SIZE\n"),
        ("images nosuch", "REPOSITORY  TAG         IMAGE ID    CREATED     SIZE\n"),
        ("images --digests -n", ""),
        ("inspect nosuch", "[]\n"),
    ):
        main(line.split())
        assert capsys.readouterr().out == shown


def test_the_version_is_shown_by_templates_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    import estiva

    assert main(["version", "--format", "{{.Client.Version}}"]) == 0
    assert capsys.readouterr().out == f"{estiva.__version__}\n"
    assert main(["version"]) == 0
    assert "OS/Arch:" in capsys.readouterr().out
    assert main(["version", "-f", "json"]) == 0
    assert '"Client"' in capsys.readouterr().out


def test_times_are_shown_as_go_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from estiva.cli.commands.inspect import show

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    document = {"Created": "2026-11-24T01:05:35.5Z", "State": {"StartedAt": "0001-01-01T00:00:00Z", "Pid": 3}}
    assert show([document], "{{.Created}} {{.State.StartedAt}}") == (
        "2026-11-24 01:05:35.5 +0000 UTC 0001-01-01 00:00:00 +0000 UTC\n"
    )
    assert show([document], "{{.Created.Unix}} {{json .Created}} {{json .State}}") == (
        '1795482335 "2026-11-24T01:05:35.5Z" {"StartedAt":"0001-01-01T00:00:00Z","Pid":3}\n'
    )
    assert '"Created": "2026-11-24T01:05:35.5Z"' in show([document], "")


def test_a_document_is_shown_as_yaml() -> None:
    from estiva.cli.commands.info import outline

    document = {"host": {"b": [1, "x: y", {"k": True, "l": None}], "a": "no", "e": [], "n": "1.0"}, "t": "plain text"}
    assert list(outline(document)) == [
        "host:", '  a: "no"', "  b:", "  - 1", '  - "x: y"', "  - k: true", "    l: null", "  e: []", '  n: "1.0"',
        "t: plain text",
    ]  # fmt: skip
