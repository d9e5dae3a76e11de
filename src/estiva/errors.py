"""The kinds of failure.

Everything above ``linux`` raises one of these; ``linux`` itself raises :class:`OSError`.  A message is one line,
``doing what, to which object: cause``; the cure, where one is known, is a field of its own.  Nobody below ``cli`` and
``api`` prints or exits: they map the kind to an exit code or an HTTP status, each with one table.
"""

from __future__ import annotations


class EstivaError(Exception):
    """Base of all failures a user may see.

    :param message: one line, lower case, no full stop, naming the object in the user's own words
    :param cure: what the user can do about it, or ``""``
    """

    kind = "error"

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message}; {self.cure}" if self.cure else self.message


class NotFound(EstivaError):
    """The named object does not exist."""

    kind = "not found"


class Conflict(EstivaError):
    """The request contradicts the present state: a name in use, a container that is running."""

    kind = "conflict"


class Invalid(EstivaError):
    """What was asked for is malformed: a bad option value, reference, document or archive."""

    kind = "invalid"


class Denied(EstivaError):
    """Not permitted: by the kernel, a registry or a policy."""

    kind = "denied"


class Unsupported(EstivaError):
    """This kernel, file system, platform or configuration cannot do it."""

    kind = "unsupported"


class Unavailable(EstivaError):
    """Something needed is missing or does not answer: a server, a program, space on a disk."""

    kind = "unavailable"


class CommandNotFound(EstivaError):
    """The container's program does not exist (exit code 127)."""

    kind = "command not found"


class CommandNotExecutable(EstivaError):
    """The container's program exists but cannot be executed (exit code 126)."""

    kind = "command not executable"
