"""``python -m estiva``, and the file that the installed ``estiva`` command starts as ``python -I -S __main__.py``.

Started by path in isolated mode, neither this package nor what it depends on can be imported: the interpreter skipped
``site``, which costs more than the whole of ``estiva ps``.  So the package's own directory is added here, and the
directories of other packages only when some import fails without them (pulling needs urllib3; running does not).
"""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    # Most commands end before there is anything to collect; looking for it while modules load costs milliseconds.
    gc.set_threshold(50_000)
    if __package__ in (None, ""):
        sys.path.insert(0, __file__.rsplit("/", 2)[0])
    if not sys.flags.no_site:
        from estiva.cli.main import main as run

        return run()
    from estiva.quickload import install

    bundle = install()
    from estiva.packages import find_when_missing

    find_when_missing()
    from estiva.cli.main import main as run

    code = run()
    bundle.renew()
    return code


if __name__ == "__main__":
    code = main()
    if sys.flags.no_site:
        # Our own short-lived process: everything that matters was closed and flushed; tearing down the interpreter
        # would only cost milliseconds.
        import os

        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
