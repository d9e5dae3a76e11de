"""Landlock policies as users write them: ``--security-opt landlock=…``.  landlock(7)

A policy is a list of rules, or the name of a JSON file (it begins with ``/`` or ``.``) as
:mod:`estiva.runtime.landlock` describes it::

    ro:/usr,/etc            read and execute what is below these paths
    r:/srv                  read only, nothing is executed
    rw:/tmp,/data           read, write, make, remove; nothing is executed
    rwx:/work               everything
    net:connect=443,8080    TCP ports to connect to; net:bind=8000-8010 to listen on; net:none forbids all TCP
    scope:signal,abstract   whom the container's processes reach: none outside of it
    abi=6                   the oldest version of Landlock to be content with
    best-effort             do without what the kernel does not know

A word without a kind is of the kind before it.  Once there is a rule about paths, all others are forbidden, but for
``/dev`` (``rw``) and ``/proc`` (``r``), which nearly every program needs, unless they are named; a file says all.
Once there is one about ports, all other TCP ports are forbidden.
"""

from __future__ import annotations

from estiva.errors import EstivaError, Invalid, NotFound
from estiva.runtime.compile_process import ANNOTATION
from estiva.runtime.landlock import LATEST_ABI, PORT_RIGHTS, arguments
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ACCESS = {
    "r": ["read"],
    "ro": ["read", "execute"],
    "rx": ["read", "execute"],
    "rw": ["read", "write", "ioctl_dev"],
    "rwx": ["all"],
}
SCOPES = {"signal": ["signal"], "abstract": ["abstract_unix_socket"], "all": ["signal", "abstract_unix_socket"]}
NEEDED = {"/dev": "rw", "/proc": "r"}
# The version each kind of rule came with.
VERSIONS = {"paths": 1, "ports": 4, "scopes": 6}
MOST_PORTS = 2048
KNOWN = "kinds are r:, ro:, rw:, rwx:, net:, scope:; or give a JSON file"


def policy(texts: list[str]) -> dict[str, Any]:
    """The rules that all *texts* together mean, as the annotation has them.  Raises Invalid naming the word."""
    rules: dict[str, Any] = {}
    best_effort = False
    for text in texts:
        if not text.startswith(("/", ".")):
            best_effort |= _words(rules, text)
    if rules.get("paths"):
        named = {rule["path"].rstrip("/") for rule in rules["paths"]}
        rules["paths"] += [{"path": path, "access": ACCESS[kind]} for path, kind in NEEDED.items() if path not in named]
    for text in texts:
        if text.startswith(("/", ".")):
            _add(rules, _file(text))
    if not rules.keys() & VERSIONS.keys():
        raise Invalid(f"security option landlock={','.join(texts)}: no rule in it", KNOWN)
    if best_effort:
        if rules.get("abi"):
            raise Invalid(f"security option landlock={','.join(texts)}: abi= and best-effort contradict each other")
    elif "abi" not in rules:
        rules["abi"] = max(version for kind, version in VERSIONS.items() if rules.get(kind) is not None)
    return rules


def _add(rules: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, list):
            rules[key] = [*rules.get(key, ()), *value]
        else:
            rules[key] = max(value, rules.get(key, 0))


def _file(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            rules = json.loads(file.read())
    except FileNotFoundError:
        raise NotFound(f'opening Landlock policy "{path}": no such file') from None
    except (OSError, ValueError) as error:
        raise Invalid(f'reading Landlock policy "{path}": {error}') from error
    if not isinstance(rules, dict):
        raise Invalid(f'reading Landlock policy "{path}": not an object')
    try:
        arguments(rules)
    except EstivaError as error:
        words = str(error).removeprefix(ANNOTATION).lstrip(".: ")
        raise Invalid(f'reading Landlock policy "{path}": {words}') from error
    return rules


def _words(rules: dict[str, Any], text: str) -> bool:
    """Add the rules of one option; whether it says best-effort."""
    kind = right = ""
    best_effort = False
    for word in text.split(","):
        head, colon, rest = word.partition(":")
        if colon and (head in ACCESS or head in ("net", "scope")):
            kind, right, word = head, "", rest
        elif word == "best-effort":
            best_effort = True
            continue
        elif word.startswith("abi="):
            rules["abi"] = max(_version(word), rules.get("abi", 0))
            continue
        if kind in ACCESS:
            rules.setdefault("paths", []).append({"path": _path(word), "access": ACCESS[kind]})
        elif kind == "net":
            right = _ports(rules.setdefault("ports", []), word, right)
        elif kind == "scope" and word in SCOPES:
            rules["scopes"] = sorted({*rules.get("scopes", ()), *SCOPES[word]})
        elif kind == "scope":
            raise Invalid(f"security option landlock: scope {word!r} is unknown", f"scopes are {', '.join(SCOPES)}")
        else:
            raise Invalid(f"security option landlock: {word!r} is no rule", KNOWN)
    return best_effort


def _version(word: str) -> int:
    version = _number(word[4:], word, "a version of Landlock")
    if not 1 <= version <= LATEST_ABI:
        raise Invalid(f"security option landlock: {word!r}: versions are 1 to {LATEST_ABI}")
    return version


def _path(word: str) -> str:
    if not word.startswith("/") or "\0" in word:
        raise Invalid(f"security option landlock: {word!r} is not an absolute path of the container")
    return word


def _ports(rules: list[dict[str, Any]], word: str, right: str) -> str:
    """Add ``connect=443``, ``443`` after it, ``bind=8000-8010`` or ``none``; the right that goes on."""
    head, equals, rest = word.partition("=")
    if word == "none":
        return ""
    if equals:
        right, word = head, rest
    if right not in PORT_RIGHTS:
        raise Invalid(f"security option landlock: net:{head} is not valid", "use net:connect=…, net:bind=… or net:none")
    first, _, last = word.partition("-")
    low = _number(first, word, "a TCP port")
    high = _number(last, word, "a TCP port") if last else low
    if not 0 <= low <= high <= 65535:
        raise Invalid(f"security option landlock: {word!r} is not a TCP port")
    if len(rules) + high - low >= MOST_PORTS:
        raise Invalid(f"security option landlock: {word!r}: more than {MOST_PORTS} ports")
    rules += [{"port": port, "access": [right]} for port in range(low, high + 1)]
    return right


def _number(text: str, word: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise Invalid(f"security option landlock: {word!r} is not {what}")
    return int(text)
