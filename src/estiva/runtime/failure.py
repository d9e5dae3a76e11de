"""The helper's report of a failed operation, as the kind of failure it is to a user."""

from __future__ import annotations

import errno
import os
import struct

from estiva.errors import CommandNotExecutable, CommandNotFound, Denied, EstivaError, Invalid, Unavailable, Unsupported
from estiva.runtime import plan

_LAYOUT = struct.Struct("=iii500s")  # struct failure in native/plan.h
_KINDS: dict[int, type[EstivaError]] = {
    errno.EPERM: Denied,
    errno.EACCES: Denied,
    errno.EINVAL: Invalid,
    errno.ENOENT: Invalid,
    errno.ENOTDIR: Invalid,
    errno.ELOOP: Invalid,
    errno.ENOSYS: Unsupported,
    errno.ENODEV: Unsupported,
    errno.EOPNOTSUPP: Unsupported,
}


def decode(message: bytes) -> EstivaError:
    """The exception for a ``struct failure``: CommandNotFound or CommandNotExecutable where the program itself could
    not be executed, otherwise a kind by its errno, with the operation and the object in its words."""
    number, operation, _index, raw = _LAYOUT.unpack(message[: _LAYOUT.size])
    # Names in it may be the image's: nothing of them is for the terminal to act upon.
    text = "".join(
        letter if letter.isprintable() or letter == "\n" else "?"
        for letter in raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    )
    reason = os.strerror(number).lower()
    if operation in (plan.EXEC, plan.PROGRAM):
        return _exec_failure(number, text.removeprefix("exec "), reason)
    if operation == plan.EXTERNAL:
        return _external_failure(text.strip() or reason)
    if operation == plan.HOOK:
        told = number == errno.EREMOTEIO  # it ran, and how it ended is in the text
        return Unavailable(f"running {text.removeprefix('run ')}" + ("" if told else f": {reason}"))
    if operation == plan.CHDIR:
        text = text.removeprefix("chdir to ")
        return CommandNotExecutable(f"working directory {text!r}: {reason}", "name one with --workdir")
    return _KINDS.get(number, Unavailable)(f"setting up the container: {text}: {reason}")


def _exec_failure(number: int, program: str, reason: str) -> EstivaError:
    if number == errno.ENOENT:
        where = "" if "/" in program else " in $PATH"
        return CommandNotFound(f"executable file '{program}' not found{where}: {reason}")
    return CommandNotExecutable(f"executing '{program}': {reason}")


def _external_failure(log: str) -> EstivaError:
    """Sort what another runtime wrote to its JSON or text log by the words runc and crun use."""
    line = log.splitlines()[-1]
    if line.startswith("{"):
        import json

        try:
            line = str(json.loads(line).get("msg", line))
        except ValueError:  # too long for the report, and so cut
            line = (line.partition('"msg":"')[2] or line).replace('\\"', '"')
    lowered = line.lower()
    if "exec" in lowered and ("not found in $path" in lowered or "no such file or directory" in lowered):
        return CommandNotFound(line)
    # "open executable: Operation not permitted" is what crun says of a directory
    if ("exec" in lowered and "permission denied" in lowered) or "open executable: " in lowered:
        return CommandNotExecutable(line)
    return Unavailable(line)
