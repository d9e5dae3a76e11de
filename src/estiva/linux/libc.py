"""The C library as ctypes sees it, and the one way its failures become :class:`OSError`.

Only the modules of ``estiva.linux`` import this.  Each declares the signatures of the calls it wraps once, beside
them, at module level.
"""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def check(result: int, call: str, *objects: object) -> int:
    """Return *result*, or raise OSError with errno, the call's name and the objects it was about, if it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        about = ", ".join(str(o) for o in objects)
        raise OSError(number, f"{call}({about}): {os.strerror(number)}")
    return result


def syscall(name: str, number: int, *args: object, about: tuple[object, ...] = ()) -> int:
    """The result of the system call *number*; its failure is reported as *name* about the objects *about*.  syscall(2)

    Integers are passed as C longs; everything else must be a ctypes value or ``None`` (a null pointer).
    """
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return check(libc.syscall(ctypes.c_long(number), *converted), name, *about)
