"""Which containers a command is about: names, ``--all``, ``--latest``, ``--cidfile``, ``--filter``, ``--ignore``."""

from __future__ import annotations

from estiva.cli.errors import complain, describe, exit_code
from estiva.cli.parser import Option
from estiva.errors import EstivaError, Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from estiva.cli.parser import Parsed
    from estiva.engine.container import Container
    from estiva.engine.engine import Engine

    Target = tuple[str, Container]

ALL = Option("all", help="Act on all containers")
LATEST = Option("latest", "l", help="Act on the container that was created last")
CIDFILE = Option("cidfile", "", "array", "file", "Read the container ID from the file", complete="file")
FILTER = Option("filter", "f", "array", "filter", "Only containers that match all conditions", complete="filter")
IGNORE = Option("ignore", "i", help="No error when a container does not exist")


class Selection:
    """What was asked for: the containers found, each with the words that named it, and the failures to find others."""

    __slots__ = ("failures", "targets")

    def __init__(self) -> None:
        self.targets: list[Target] = []
        self.failures: list[EstivaError] = []


def check(parsed: Parsed, *, required: bool = True) -> None:
    """:raises Invalid: in Podman's words, when names and the options that stand for names contradict each other"""
    ways = {name: _given(parsed, name) for name in ("all", "latest", "cidfile", "filter")}
    if ways["all"] and ways["latest"]:
        raise Invalid("--all and --latest cannot be used together")
    if ways["all"] and ways["cidfile"]:
        raise Invalid("--all and --cidfile cannot be used together")
    if ways["latest"] and ways["cidfile"]:
        raise Invalid("--latest and --cidfile cannot be used together")
    for name in ("all", "latest"):
        if parsed.args and ways[name]:
            raise Invalid(f"no arguments are needed with --{name}")
    if parsed.args and ways["filter"]:
        raise Invalid("--filter takes no arguments")
    if required and not parsed.args and not any(ways.values()):
        raise Invalid("you must provide at least one name or id")


def _given(parsed: Parsed, name: str) -> bool:
    try:
        return bool(parsed.get(name))
    except KeyError:
        return False


def select(engine: Engine, parsed: Parsed, *, running: bool = False, ignore: bool = False) -> Selection:
    """The containers a command line means.

    :param running: with ``--all``, only those that run
    :param ignore: what does not exist is no failure
    """
    check(parsed)
    found = Selection()
    filters = parsed.texts("filter") if _given(parsed, "filter") else []
    if _given(parsed, "all") or filters:
        listed = engine.containers.list(all=not running, filters=filters)
        found.targets = [(container.id, container) for container in listed]
    elif _given(parsed, "latest"):
        container = latest(engine)
        found.targets = [(container.id, container)]
    files = parsed.texts("cidfile") if _given(parsed, "cidfile") else []
    for name, is_file in [*((name, False) for name in parsed.args), *((path, True) for path in files)]:
        try:
            label = _from_file(name) if is_file else name
            found.targets.append((label, engine.containers.get(label)))
        except NotFound as error:
            if not ignore:
                found.failures.append(error)
        except EstivaError as error:
            found.failures.append(error)
    return found


def one(engine: Engine, parsed: Parsed, what: str) -> Container:
    """The one container of commands that take a name or ``--latest``; other operands stay in ``parsed.args``."""
    if _given(parsed, "latest"):
        return latest(engine)
    if not parsed.args:
        raise Invalid(f'`estiva {what}` requires a name, id, or the "--latest" flag')
    return engine.containers.get(parsed.args.pop(0))


def latest(engine: Engine) -> Container:
    """The container created last.

    :raises NotFound: there is none
    """
    listed = engine.containers.list(all=True)
    if not listed:
        raise NotFound("no containers exist")
    return max(listed, key=lambda container: container.created_ns)


def _from_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except FileNotFoundError:
        raise NotFound(f"reading container ID file {path}: no such file or directory") from None


def act(selection: Selection, action: Callable[[Container], object]) -> list[BaseException]:
    """Do *action* to every target and print the words that named it; a failure stops nothing.

    Failures, those to find containers too, are told to stderr in the end and returned.
    """
    failures: list[BaseException] = list(selection.failures)
    for label, container in selection.targets:
        try:
            action(container)
        except (EstivaError, OSError) as error:
            failures.append(error)
        else:
            print(label, flush=True)
    for failure in failures:
        complain(describe(failure))
    return failures


def act_at_once(selection: Selection, action: Callable[[Container], object]) -> list[BaseException]:
    """As :func:`act`, with the waits side by side: ten that ignore SIGTERM take ten seconds, not a hundred."""
    if len(selection.targets) < 2:
        return act(selection, action)
    from concurrent.futures import ThreadPoolExecutor  # only for several

    with ThreadPoolExecutor(min(32, len(selection.targets))) as pool:
        waits = {id(container): pool.submit(action, container) for _, container in selection.targets}
        return act(selection, lambda container: waits[id(container)].result())


def code_of(failures: list[BaseException]) -> int:
    """The exit code of a command over several objects: 0, or that of the first failure."""
    return exit_code(failures[0]) if failures else 0
