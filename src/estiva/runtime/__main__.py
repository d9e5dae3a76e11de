"""``python -m estiva.runtime``, and what the installed command ``estiva-runtime`` runs."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    gc.set_threshold(50_000)  # a command ends before there is anything to collect
    if __package__ in (None, ""):
        # Started by the path of this file (with -I and -S), Python knows nothing of the folder the package is in.
        sys.path.insert(0, __file__.rsplit("/", 3)[0])
    if not sys.flags.no_site:
        from estiva.runtime.cli.main import main as run

        return run(sys.argv[1:])
    from estiva.quickload import install

    bundle = install()
    from estiva.runtime.cli.main import main as run

    code = run(sys.argv[1:])
    bundle.renew()
    return code


if __name__ == "__main__":
    code = main()
    if sys.flags.no_site:
        # Our own short-lived process: everything that matters was closed and flushed.
        import os

        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
