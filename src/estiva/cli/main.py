"""``estiva COMMAND``: find the command, load only its module, run it, turn failures into a line and an exit code."""

from __future__ import annotations

import os
import sys

from estiva.cli.globals import GLOBAL_OPTIONS, Globals
from estiva.cli.parser import HelpWanted, Option, parse
from estiva.errors import EstivaError, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from estiva.cli.parser import Command, Parsed

#: command -> (module in estiva.cli.commands [: constant in it], one line of help).  A name that is only a group has
#: no module; its members are listed as "group member".
COMMANDS: dict[str, tuple[str, str]] = {
    "attach": ("attach", "Attach to a running container"),
    "completion": ("completion", "Print the completion script of a shell"),
    "container": ("", "Manage containers"),
    "create": ("create", "Create but do not start a container"),
    "exec": ("exec", "Run a process in a running container"),
    "image": ("", "Manage images"),
    "images": ("images", "List images in local storage"),
    "import": ("import_", "Import a tarball to create a filesystem image"),
    "info": ("info", "Display estiva system information"),
    "inspect": ("inspect", "Display the configuration of object denoted by ID"),
    "kill": ("kill", "Kill one or more running containers with a specific signal"),
    "load": ("load", "Load image(s) from a tar archive"),
    "logs": ("logs", "Fetch the logs of one or more containers"),
    "ps": ("ps", "List containers"),
    "pull": ("pull", "Pull an image from a registry"),
    "rename": ("rename", "Rename an existing container"),
    "restart": ("restart", "Restart one or more containers"),
    "rm": ("rm", "Remove one or more containers"),
    "rmi": ("rmi", "Remove one or more images from local storage"),
    "run": ("run", "Run a command in a new container"),
    "save": ("save", "Save image(s) to an archive"),
    "start": ("start", "Start one or more containers"),
    "stop": ("stop", "Stop one or more containers"),
    "tag": ("tag", "Add an additional name to a local image"),
    "top": ("top", "Display the running processes of a container"),
    "untag": ("untag", "Remove a name from a local image"),
    "version": ("version", "Display the estiva version information"),
    "wait": ("wait", "Block on one or more containers"),
    "container cleanup": ("cleanup", "Clean up after containers that have ended"),
    "container exists": ("exists:CONTAINER", "Check if a container exists in local storage"),
    "container inspect": ("inspect:CONTAINER", "Display the configuration of a container"),
    "container list": ("ps", "List containers"),
    "image exists": ("exists:IMAGE", "Check if an image exists in local storage"),
    "image inspect": ("inspect:IMAGE", "Display the configuration of an image"),
    "image list": ("images", "List images in local storage"),
    "image rm": ("rmi", "Remove one or more images from local storage"),
}
_IN_CONTAINER = "attach create exec kill logs ps rename restart rm run start stop top wait"
_IN_IMAGE = "import load pull save tag untag"
COMMANDS.update({f"container {name}": COMMANDS[name] for name in _IN_CONTAINER.split()})
COMMANDS.update({f"image {name}": COMMANDS[name] for name in _IN_IMAGE.split()})

#: names that work and are not listed
ALIASES = {
    "container ls": "container list",
    "image ls": "image list",
    "image remove": "image rm",
    "image rmi": "image rm",
    "__complete": "__complete",
}
_VERSION = Option("version", "v", help="Print version and exit")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit code.  No exception escapes."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        code = dispatch(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _reader_gone()
    except (EstivaError, OSError) as error:
        from estiva.cli.errors import report  # only after a failure

        return report(error)
    except Exception as error:
        from estiva.cli.errors import report_bug  # only after a failure

        return report_bug(error, "debug" in argv or "--log-level=debug" in argv)
    return code


def dispatch(argv: Sequence[str]) -> int:
    """Read the global options, find the command, load it and run it."""
    try:
        before = parse((*GLOBAL_OPTIONS, _VERSION), argv, interspersed=False)
    except HelpWanted:
        return _show_help("")
    except Invalid as error:
        raise _with_hint(error, "") from None
    if before.flag("version"):
        from estiva import __version__

        sys.stdout.write(f"estiva version {__version__}\n")
        return 0
    if not before.args:
        _show_help("")
        return 125
    name, words = resolve(before.args)
    if not COMMANDS.get(name, ("hidden",))[0]:
        return _group(name, words)
    return _run(name, before, words)


def resolve(words: list[str]) -> tuple[str, list[str]]:
    """The listed name of the command that *words* begin with, and the words after it.

    :raises Invalid: there is no such command
    """
    name, rest = words[0], words[1:]
    name = ALIASES.get(name, name)
    if name in COMMANDS and not COMMANDS[name][0] and rest and not rest[0].startswith("-"):
        name, rest = f"{name} {rest[0]}", rest[1:]
        name = ALIASES.get(name, name)
    if name not in COMMANDS and name not in ALIASES:
        raise _unknown(name)
    return name, rest


def load(name: str) -> Command:
    """The command of that listed name; imports its module."""
    module, _, constant = COMMANDS[name][0].partition(":") if name in COMMANDS else ("complete", "", "")
    loaded = __import__(f"estiva.cli.commands.{module}", fromlist=("COMMAND",))
    command: Command = getattr(loaded, constant or "COMMAND")
    return command


def _run(name: str, before: Parsed, words: list[str]) -> int:
    command = load(name)
    if name == "__complete":
        parsed = parse((), ["--", *words])
        return command.run(parsed, Globals(before))
    try:
        parsed = parse((*command.options, *GLOBAL_OPTIONS), words, interspersed=command.interspersed)
    except HelpWanted:
        return _show_help(name)
    except Invalid as error:
        raise _with_hint(error, name) from None
    check_operands(name, command, len(parsed.args))
    return command.run(parsed, Globals(before, parsed))


def members(group: str) -> dict[str, str]:
    """The names of the commands in *group* (``""``: the program itself) with a line of help each, in order."""
    prefix = f"{group} " if group else ""
    found = {}
    for name in sorted(COMMANDS):
        last = name[len(prefix) :]
        if name.startswith(prefix) and " " not in last:
            found[last] = COMMANDS[name][1]
    return found


def check_operands(name: str, command: Command, count: int) -> None:
    """:raises Invalid: with cobra's words, when the number of operands is not what the command accepts"""
    low, high = command.minimum, command.maximum
    if low <= count and (high is None or count <= high):
        return
    if high == 0:
        raise Invalid(f"`estiva {name}` takes no arguments")
    if low == high:
        raise Invalid(f"accepts {low} arg(s), received {count}", f"usage: estiva {name} {command.usage}")
    if count < low:
        raise Invalid(f"requires at least {low} arg(s), only received {count}", f"usage: estiva {name} {command.usage}")
    raise Invalid(f"accepts at most {high} arg(s), received {count}", f"usage: estiva {name} {command.usage}")


def _group(name: str, words: list[str]) -> int:
    """A group alone shows its help; anything but ``--help`` after it is a mistake."""
    try:
        parse((), words)
    except HelpWanted:
        return _show_help(name)
    except Invalid as error:
        raise _with_hint(error, name) from None
    _show_help(name)
    return 125


def _show_help(name: str) -> int:
    from estiva.cli.help import show  # only when it is asked for

    show(name)
    return 0


def _with_hint(error: Invalid, name: str) -> Invalid:
    """A misread command line, with where to look."""
    see = f"see '{' '.join(filter(None, ('estiva', name)))} --help'"
    return Invalid(error.message, f"{error.cure} {see}" if error.cure else see)


def _unknown(name: str) -> Invalid:
    from difflib import get_close_matches  # only after a mistake

    group, _, last = name.rpartition(" ")
    prefix = f"{group} " if group else ""
    close = get_close_matches(last, members(group), 2, 0.6)
    cure = f"did you mean {' or '.join(close)}?" if close else f"see 'estiva {prefix}--help'"
    return Invalid(f"unrecognized command `estiva {name}`", cure)


def _reader_gone() -> int:
    """Whoever read our output left: end as SIGPIPE would have, without a word, also from the last flush."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    return 141
