"""Which Landlock the kernel has.  The rules themselves are set by the helper.  landlock(7)"""

from __future__ import annotations

from estiva.linux.libc import syscall

_NR_landlock_create_ruleset = 444
_LANDLOCK_CREATE_RULESET_VERSION = 1


def abi() -> int:
    """The version of the interface; 0 where the kernel has none, or it is not switched on."""
    try:
        return syscall(
            "landlock_create_ruleset", _NR_landlock_create_ruleset, None, 0, _LANDLOCK_CREATE_RULESET_VERSION
        )
    except OSError:
        return 0
