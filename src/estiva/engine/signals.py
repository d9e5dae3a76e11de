"""Signals by name and number.  signal(7)"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the names alone: signal would turn each into an enum member

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_constants: dict[str, Any] = vars(_signal)
RTMIN: int = _constants["SIGRTMIN"]
RTMAX: int = _constants["SIGRTMAX"]


def parse_signal(text: str) -> int:
    """The number of ``TERM``, ``SIGTERM``, ``15``, ``RTMIN+3`` …; raises Invalid."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdigit():
        number = int(name)
    elif name.startswith(("RTMIN+", "RTMAX-")):
        offset = int(name[6:]) if name[6:].isdigit() else RTMAX
        number = RTMIN + offset if name[5] == "+" else RTMAX - offset
    else:
        number = int(_constants.get(f"SIG{name}", 0)) if name.isalnum() else 0
    if not 1 <= number <= RTMAX:
        raise Invalid(f"signal {text!r}: no such signal")
    return number


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; the number as text for one without a name."""
    for name, value in _constants.items():
        if value == number and name.startswith("SIG") and "_" not in name:
            return name
    return str(number)


def send_signal(pidfd: int, number: int) -> None:
    """Send a signal to the process behind *pidfd*.  pidfd_send_signal(2); raises OSError."""
    _signal.pidfd_send_signal(pidfd, number)
