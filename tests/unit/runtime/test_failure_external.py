"""What another runtime's log says, as a failure of ours."""

from __future__ import annotations

import errno
import struct

import pytest

from estiva.errors import CommandNotExecutable, CommandNotFound, EstivaError, Unavailable
from estiva.runtime import plan
from estiva.runtime.failure import decode


def told(log: str) -> EstivaError:
    """The failure for the log of another runtime, as far as the helper's report has room for it."""
    return decode(struct.pack("=iii500s", errno.EIO, plan.EXTERNAL, 0, log.encode()[:499]))


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (r"exec: \"nosuch\": executable file not found in $PATH", CommandNotFound),
        (r"exec: \"/x\": stat /x: no such file or directory", CommandNotFound),
        (r"exec: \"/etc\": permission denied", CommandNotExecutable),
        ("mount failed", Unavailable),
    ],
)
def test_the_last_line_says_which_kind(message: str, kind: type[EstivaError]) -> None:
    failure = told('{"level":"warning","msg":"odd"}\n{"level":"error","msg":"' + message + '","time":"now"}\n')
    assert type(failure) is kind
    assert str(failure).startswith(message.replace(r"\"", '"'))


def test_one_that_was_cut_is_still_a_message() -> None:
    assert str(told('{"level":"error","msg":"said \\"' + "x" * 600)).startswith('said "xxx')
