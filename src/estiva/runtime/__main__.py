"""``python -m estiva.runtime``, and what the installed command ``estiva-runtime`` runs."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Started by the path of this file (with -I and -S), Python knows nothing of the folder the package is in.
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if sys.flags.no_site:
        from estiva.quickload import install

        install()
    from estiva.runtime.cli.main import main

    sys.exit(main(sys.argv[1:]))
