"""``--change``: Containerfile instructions applied to an image's configuration, as `import` and `commit` take them.

CMD ENTRYPOINT ENV EXPOSE LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR.  podman-import(1)
"""

from __future__ import annotations

import json
import posixpath

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Config = dict[str, Any]


def apply_changes(config: Config, changes: Iterable[str]) -> Config:
    """A copy of *config* (Env, Cmd …) after each of *changes* (``CMD ["sh"]``); raises Invalid, quoting the change."""
    changed = json.loads(json.dumps(config))
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        if "=" in word:  # podman also takes CMD=sh
            word, _, rest = change.strip().partition("=")
        instruction = _INSTRUCTIONS.get(word.upper())
        if instruction is None:
            raise Invalid(f"change {change!r}: no such instruction", f"there are {', '.join(_INSTRUCTIONS)}")
        if not rest.strip():
            raise Invalid(f"change {change!r}: {word.upper()} needs an argument")
        try:
            instruction(changed, rest.strip())
        except ValueError as error:
            raise Invalid(f"change {change!r}: {error}") from None
    return dict(changed)


def _command(key: str) -> Callable[[Config, str], None]:
    def instruction(config: Config, text: str) -> None:
        config[key] = _json_list(text) or ["/bin/sh", "-c", text]
        if key == "Entrypoint":
            config.pop("Cmd", None)

    return instruction


def _json_list(text: str) -> list[str] | None:
    """The strings of the exec form ``["a", "b"]``; None if *text* is no such list."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(each, str) for each in value) else None


def _env(config: Config, text: str) -> None:
    values = dict(each.partition("=")[::2] for each in config.get("Env") or [])
    values.update(_pairs(text))
    config["Env"] = [f"{name}={value}" for name, value in values.items()]


def _label(config: Config, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(text))}


def _pairs(text: str) -> list[tuple[str, str]]:
    """``a=1 b="2 3"``, or the old form ``a the rest``."""
    import shlex

    words = shlex.split(text)
    if "=" not in words[0]:
        name, _, value = text.partition(" ")
        if not value.strip():
            raise ValueError(f"{name!r} has no value")
        return [(name, value.strip())]
    for word in words:
        if not word.partition("=")[0] or "=" not in word:
            raise ValueError(f"{word!r} is not NAME=VALUE")
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def _expose(config: Config, text: str) -> None:
    for word in text.split():
        port, _, protocol = word.partition("/")
        low, _, high = port.partition("-")
        if not (low.isdecimal() and (not high or high.isdecimal())) or protocol not in ("", "tcp", "udp", "sctp"):
            raise ValueError(f"{word!r} is not PORT[-PORT][/tcp|udp|sctp]")
        first, last = int(low), int(high or low)
        if not 0 < first <= last < 65536:
            raise ValueError(f"{word!r} is no range of ports")
        ports = config["ExposedPorts"] = config.get("ExposedPorts") or {}
        ports.update((f"{number}/{protocol or 'tcp'}", {}) for number in range(first, last + 1))


def _volume(config: Config, text: str) -> None:
    volumes = config["Volumes"] = config.get("Volumes") or {}
    volumes.update((path, {}) for path in _json_list(text) or text.split())


def _onbuild(config: Config, text: str) -> None:
    config["OnBuild"] = [*(config.get("OnBuild") or []), text]


def _workdir(config: Config, text: str) -> None:
    config["WorkingDir"] = posixpath.normpath(posixpath.join(config.get("WorkingDir") or "/", text))


def _word(key: str) -> Callable[[Config, str], None]:
    def instruction(config: Config, text: str) -> None:
        if len(text.split()) != 1:
            raise ValueError("takes one word")
        config[key] = text

    return instruction


_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _word("StopSignal"),
    "USER": _word("User"),
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
