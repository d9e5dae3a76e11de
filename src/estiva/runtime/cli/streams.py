"""What a program gets besides its configuration: a terminal's socket, descriptors, and those of socket activation."""

from __future__ import annotations

import os

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.runtime.cli.options import Options

FIRST = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START


def check_console(terminal: bool, detached: bool, console: str) -> None:
    """Raise Invalid unless there is a console socket exactly where a terminal is for somebody else."""
    if terminal and detached and not console:
        raise Invalid("cannot allocate tty if estiva-runtime will detach without setting console socket")
    if console and not (terminal and detached):
        raise Invalid("cannot use console socket if estiva-runtime will not detach or allocate tty")


def passed_descriptors(options: Options, process: dict[str, Any], *, activated: bool = True) -> int:
    """How many descriptors from 3 on the program gets: those of socket activation, then ``--preserve-fds`` more.

    With *activated*, sockets given to this command by systemd are announced in the environment of *process*.  Raises
    Invalid for a descriptor that is not there.
    """
    sockets = _activated() if activated else 0
    if sockets:
        names = os.environ.get("LISTEN_FDNAMES")
        told = [f"LISTEN_FDS={sockets}", "LISTEN_PID=1", *([f"LISTEN_FDNAMES={names}"] if names else [])]
        process["env"] = [*(process.get("env") or ()), *told]
    more = options.number("preserve-fds") or 0
    if more < 0:
        raise Invalid(f"option --preserve-fds: {more} is negative")
    for fd in range(FIRST, FIRST + sockets + more):
        try:
            given = os.get_inheritable(fd)  # what we have opened ourselves is not
        except OSError:
            given = False
        if not given:
            raise Invalid(
                f"passing on {sockets + more} descriptors: number {fd} is not open", "see --preserve-fds, $LISTEN_FDS"
            )
    return sockets + more


def _activated() -> int:
    """How many sockets systemd gave to this very process.  sd_listen_fds(3)"""
    count, pid = os.environ.get("LISTEN_FDS", ""), os.environ.get("LISTEN_PID", "")
    if not count.isdecimal() or pid != str(os.getpid()):
        return 0
    return int(count)
