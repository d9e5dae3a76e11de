"""The environment of a container's first process.  podman-run(1) "--env": which source wins over which."""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


def environment(options: ContainerOptions, context: Context) -> list[str]:
    """``NAME=value`` for each variable: defaults, the host's if asked for, the image's, then the options'."""
    env = {"PATH": DEFAULT_PATH, "container": "estiva"}
    if options.tty:
        env["TERM"] = "xterm"
    env.update(pairs(context.conf.get("env") or ()))
    env.update(options.http_proxy)
    env.update(options.env_host)
    env.update(pairs(context.image.get("Env") or ()))
    for name in list(env) if options.unsetenv_all else options.unsetenv:
        env.pop(name, None)
    for name, value in pairs(options.env_merge).items():
        env[name] = expand(value, env)
    env.update(pairs(options.env))
    env.setdefault("HOME", context.user.home)
    env.setdefault("HOSTNAME", hostname(options, context))
    return [f"{name}={value}" for name, value in env.items()]


def hostname(options: ContainerOptions, context: Context) -> str:
    """The host name processes in the container see."""
    if options.hostname:
        return str(options.hostname)
    return context.host.hostname if options.uts == "host" else context.id[:12]


def pairs(lines: Iterable[str]) -> dict[str, str]:
    """The variables that ``NAME=value`` lines set; the last one of a name wins."""
    env: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        env[name] = value
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """*text* with ``$NAME`` and ``${NAME}`` replaced; an unknown name is empty."""
    pieces = text.split("$")
    out = [pieces[0]]
    for piece in pieces[1:]:
        if piece.startswith("{") and "}" in piece:
            name, _, rest = piece[1:].partition("}")
        else:
            end = next((i for i, c in enumerate(piece) if not (c.isalnum() or c == "_")), len(piece))
            name, rest = piece[:end], piece[end:]
        out.append((env.get(name, "") if name else "$") + rest)
    return "".join(out)


def from_host(words: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """The values of ``-e``: ``NAME=value`` as it is, ``NAME`` with the host's value if it has one, ``PRE*`` for all."""
    lines: list[str] = []
    for word in words:
        name, equals, _ = word.partition("=")
        if not name:
            raise Invalid(f"environment variable {word!r}: no name")
        if equals:
            lines.append(word)
        elif name.endswith("*"):
            lines += [f"{n}={v}" for n, v in environ.items() if n.startswith(name[:-1])]
        elif name in environ:
            lines.append(f"{name}={environ[name]}")
    return lines


def read_env_file(path: str, environ: Mapping[str, str]) -> list[str]:
    """The variables of a file with a ``NAME=value``, ``NAME`` or ``# comment`` on each line."""
    words: list[str] = []
    for line in read_lines(path, "environment file"):
        line = line.lstrip()
        if line and not line.startswith("#"):
            words.append(line)
    return from_host(words, environ)


def read_lines(path: str, what: str) -> list[str]:
    """The lines of a user's text file, without line ends; raises Invalid naming it when it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError as error:
        raise Invalid(f"reading {what} {path!r}: {(error.strerror or 'unreadable').lower()}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"reading {what} {path!r}: not UTF-8 text") from error


def host_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables that are set on the host, in either case of letters."""
    names = [n for name in PROXIES for n in (name, name.upper())]
    return {name: environ[name] for name in names if environ.get(name)}
