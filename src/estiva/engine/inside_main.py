"""The program :mod:`estiva.engine.inside` starts in the user's namespace; run by path, so it finds its own package."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from estiva.quickload import install

    install()
    from estiva.packages import find_when_missing

    find_when_missing()
    from estiva.engine.inside import main

    raise SystemExit(main())
