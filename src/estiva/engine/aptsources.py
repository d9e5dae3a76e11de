"""Where this machine's apt gets a distribution's packages from.  sources.list(5), apt-get(8) "indextargets" """

from __future__ import annotations

import os

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_MIRRORS = {"debian": "http://deb.debian.org/debian", "ubuntu": "http://archive.ubuntu.com/ubuntu"}
KEYRINGS = {
    "debian": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "ubuntu": "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
}
_SUITES = {
    "debian": "oldoldstable oldstable stable testing unstable sid experimental rc-buggy "
    "stretch buster bullseye bookworm trixie forky duke",
    "ubuntu": "trusty xenial bionic focal jammy lunar mantic noble oracular plucky questing resolute devel",
}
_ROLLING = ("unstable", "sid", "experimental", "rc-buggy", "stretch", "buster", "trusty")
"""Suites without a matching ``-security`` in today's form."""
_FORMAT = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)"


def distribution_of(suite: str) -> str:
    """``debian`` or ``ubuntu``; raises Invalid for a suite of neither."""
    base = suite.partition("-")[0].partition("/")[0]
    for distribution, suites in _SUITES.items():
        if base in suites.split() or base in _known(distribution):
            return distribution
    raise Invalid(f"suite {suite!r}: of no distribution known here", "for example bookworm, trixie, noble")


def _known(distribution: str) -> list[str]:
    """The code names in the distribution's own table (package distro-info-data), where it is installed."""
    try:
        with open(f"/usr/share/distro-info/{distribution}.csv", encoding="utf-8") as file:
            return [fields[2] for line in file if len(fields := line.split(",")) > 3][1:]
    except FileNotFoundError:
        return []


def sources(suite: str, components: tuple[str, ...], environ: Mapping[str, str]) -> list[str]:
    """``deb …`` lines for *suite* with its updates, from the mirrors configured here; empty if there are none.

    A mirror of the distribution serves all its suites.
    """
    distribution = distribution_of(suite)
    mirrors = _mirrors(distribution, environ)
    main = mirrors.get("") or next(iter(mirrors.values()), None)
    if main is None:
        return []
    lines = [(main, suite)]
    if suite.partition("-")[0] not in _ROLLING and "-" not in suite:
        lines += [(mirrors.get(kind, main), f"{suite}-{kind}") for kind in ("updates", "security") if kind in mirrors]
    options = _options(distribution, environ)
    return [f"deb {options}{uri} {release} {' '.join(components)}" for uri, release in lines]


def _mirrors(distribution: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Addresses by what they hold: ``""`` the releases, ``"updates"``, ``"security"``."""
    text = _run(["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"], environ)
    found: dict[str, str] = {}
    for line in text.splitlines():
        origin, _, rest = line.partition("|")
        uri, _, release = rest.rpartition("|")
        uri = uri.rstrip("/")
        ours = origin.lower() == distribution or uri.endswith((f"/{distribution}", f"/{distribution}-security"))
        if ours and uri.startswith(("http://", "https://", "file:///")) and not set(uri) & set(' "[]'):
            kind = release.replace("/", "-").partition("-")[2]
            found.setdefault(kind, uri)
    return found


def _options(distribution: str, environ: Mapping[str, str]) -> str:
    """Source options: the distribution's keyring, and leniency about dates where this machine's apt has it."""
    options = []
    if os.path.exists(KEYRINGS[distribution]):
        options.append(f"signed-by={KEYRINGS[distribution]}")
    for setting, option in (("Check-Valid-Until", "check-valid-until"), ("Check-Date", "check-date")):
        if setting_of(f"Acquire::{setting}", environ).lower() in ("false", "no", "0"):
            options.append(f"{option}=no")
    return f"[{' '.join(options)}] " if options else ""


def setting_of(name: str, environ: Mapping[str, str]) -> str:
    """The value of a setting of this machine's apt, ``""`` without one.  apt-config(8)"""
    return _run(["apt-config", "shell", "value", name], environ).partition("='")[2].rstrip("\n'")


def _run(command: list[str], environ: Mapping[str, str]) -> str:
    """What *command* prints; ``""`` where there is no apt."""
    import subprocess

    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(environ), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout if run.returncode == 0 else ""
