"""What debootstrap: references ask for, and what of a tree is not of the packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from estiva.engine import aptsources
from estiva.engine.bootstrap import Request
from estiva.engine.debtools import environment, is_left_out
from estiva.errors import Invalid


@pytest.mark.parametrize(
    ("spec", "shortest"),
    [
        ("debootstrap:bookworm", "debootstrap:bookworm"),
        ("debootstrap:bookworm?variant=minbase&components=main", "debootstrap:bookworm"),
        ("debootstrap:noble?include=b,a,b&components=main,universe&arch=arm64",
         "debootstrap:noble?include=a,b&components=main,universe&arch=arm64"),
        ("debootstrap:sid?mirror=http://deb.debian.org/debian", "debootstrap:sid?mirror=http://deb.debian.org/debian"),
    ],
)  # fmt: skip
def test_a_request_has_one_shortest_form(spec: str, shortest: str) -> None:
    request = Request.parse(spec)
    assert str(request) == shortest
    assert Request.parse(str(request)) == request


def test_the_suite_tells_the_distribution() -> None:
    assert Request.parse("debootstrap:trixie").distribution == "debian"
    assert Request.parse("debootstrap:jammy").distribution == "ubuntu"


@pytest.mark.parametrize(
    "spec",
    [
        "debootstrap:",
        "debootstrap:--help",
        "debootstrap:wheels",
        "debootstrap:sid?x=y",
        "debootstrap:sid?include=--hook",
        "debootstrap:sid?include=a b",
        "debootstrap:sid?variant=huge",
        "debootstrap:sid?arch=pdp11",
        "debootstrap:sid?mirror=copy:/etc",
        "debootstrap:sid?mirror=http://x/ y",
        "debootstrap:sid?mirror=http://x/[trusted=yes]",
        "debootstrap:sid?components=$(x)",
    ],
)
def test_what_could_become_an_option_or_a_command_is_refused(spec: str) -> None:
    with pytest.raises(Invalid):
        Request.parse(spec)


def fake_apt(tmp_path: Path, targets: str, lenient: bool = False) -> dict[str, str]:
    """A PATH with an apt that is configured as a machine elsewhere."""
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\ncat <<'END'\n{targets}END\n")
    answer = "value='false'" if lenient else ""
    (tmp_path / "apt-config").write_text(f'#!/bin/sh\necho "{answer}"\n')
    for name in ("apt-get", "apt-config"):
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}:/bin:/usr/bin"}


DEBIAN = (
    "Debian|http://mirror.example/debian/|bookworm\n"
    "Debian|http://mirror.example/debian/|bookworm-updates\n"
    "Debian|http://sec.example/debian-security/|bookworm-security\n"
    "vendor|https://vendor.example/apt/|stable\n"
)


def lines(suite: str, environ: dict[str, str]) -> list[str]:
    return [line.rpartition("] ")[2].removeprefix("deb ") for line in aptsources.sources(suite, ("main",), environ)]


def test_packages_come_from_the_mirrors_of_this_machine_with_their_updates(tmp_path: Path) -> None:
    assert lines("bookworm", fake_apt(tmp_path, DEBIAN)) == [
        "http://mirror.example/debian bookworm main",
        "http://mirror.example/debian bookworm-updates main",
        "http://sec.example/debian-security bookworm-security main",
    ]


def test_a_mirror_serves_other_suites_of_its_distribution_only(tmp_path: Path) -> None:
    environ = fake_apt(tmp_path, DEBIAN)
    assert lines("sid", environ) == ["http://mirror.example/debian sid main"]
    assert lines("noble", environ) == []


def test_leniency_about_dates_is_taken_over(tmp_path: Path) -> None:
    line = aptsources.sources("sid", ("main",), fake_apt(tmp_path, DEBIAN, lenient=True))[0]
    assert "check-valid-until=no check-date=no] " in line


def test_without_apt_there_are_no_mirrors() -> None:
    assert aptsources.sources("bookworm", ("main",), {"PATH": "/nonexistent"}) == []


def test_only_what_the_tool_needs_is_in_its_environment() -> None:
    env = environment({"SECRET": "x", "https_proxy": "http://p:1", "SOURCE_DATE_EPOCH": "5", "PATH": "/nowhere"}, "/d")
    assert "SECRET" not in env
    assert (env["https_proxy"], env["SOURCE_DATE_EPOCH"], env["TMPDIR"]) == ("http://p:1", "5", "/d")


@pytest.mark.parametrize("path", [b"etc/resolv.conf", b"var/log/dpkg.log", b"dev/null", b"var/lib/dpkg/status-old"])
def test_what_is_of_this_machine_or_hour_is_left_out(path: bytes) -> None:
    assert is_left_out(path)


@pytest.mark.parametrize("path", [b"var/log", b"dev", b"etc/passwd", b"var/lib/dpkg/status", b"usr/share/x-old"])
def test_what_is_of_the_packages_stays(path: bytes) -> None:
    assert not is_left_out(path)
