"""Who calls, by the host's own databases."""

from __future__ import annotations

import grp
import os
import pwd

from estiva.engine.spec.entries import HostUser


def calling_user() -> HostUser | None:
    """The calling user; None for one the host has no name for."""
    try:
        entry = pwd.getpwuid(os.getuid())
        group = grp.getgrgid(os.getgid()).gr_name
    except KeyError:
        return None
    return HostUser(entry.pw_name, os.getuid(), os.getgid(), entry.pw_gecos, entry.pw_dir, group)
