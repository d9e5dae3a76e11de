"""``python -m estiva``, and the file that the installed ``estiva`` command starts as ``python -I -S __main__.py``.

Started by path in isolated mode, neither this package nor what it depends on can be imported: the interpreter skipped
``site``, which costs more than the whole of ``estiva ps``.  So the package's own directory is added here, and the
directories of other packages only when some import fails without them (pulling needs urllib3; running does not).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _OtherPackages:
    """The last finder asked: it adds the directories of other packages once, then asks the others again."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None:  # a submodule: its package was found, so the directories are known
            return None
        sys.meta_path.remove(_OtherPackages)
        from estiva.cli.packages import directories

        sys.path.extend(entry for entry in directories() if entry not in sys.path)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


def main() -> int:
    """Run the command line of this process and return its exit code."""
    if __package__ in (None, ""):
        sys.path.insert(0, __file__.rsplit("/", 2)[0])
    if sys.flags.no_site:
        sys.meta_path.append(_OtherPackages)  # a class serves as well as an instance
    from estiva.cli.main import main as run

    return run()


if __name__ == "__main__":
    code = main()
    if sys.flags.no_site:
        # Our own short-lived process: everything that matters was closed and flushed; tearing down the interpreter
        # would only cost milliseconds.
        import os

        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
