"""Time starts from a warm Python: from a call to the program that runs.

    python inprocess.py < request

The request is JSON: ``bundle``, ``root`` (state directory), ``rounds``.  The answer is a list of seconds, each from the
configuration in memory to the process that has executed its program: record, control groups, plan, helper, namespaces,
mounts.  Ending and removing it is not timed.
"""

from __future__ import annotations

import copy
import json
import sys
import time

from estiva.runtime.cli import bundle, control, create
from estiva.runtime.cli.log import Log
from estiva.runtime.cli.main import Context
from estiva.runtime.cli.options import Options


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    context = Context(Options({"root": request["root"]}, []), Log())
    spec = bundle.load(request["bundle"])
    seconds = []
    for turn in range(request["rounds"] + 1):
        own = copy.deepcopy(spec)
        began = time.perf_counter()
        made = create.make(context, "warm", request["bundle"], own, create.Making(Options({}, []), wait=False))
        took = time.perf_counter() - began
        control.end_and_remove(made.record, made.handle, own)
        if turn:
            seconds.append(took)
    json.dump(seconds, sys.stdout)


main()
