"""Where other installed packages are, for a process that was started without ``site``.

Their directories join the path only when some import fails without them: pulling needs urllib3, running does not.
"""

from __future__ import annotations

import os
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
        sys.path.extend(entry for entry in directories() if entry not in sys.path)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


def find_when_missing() -> None:
    """Let imports that fail look among other packages, too, if this process was started without ``site``."""
    if sys.flags.no_site:
        sys.meta_path.append(_OtherPackages)  # a class serves as well as an instance


def directories() -> list[str]:
    """The directories ``site`` would have added: of the virtual environment, else of the installation.

    ``.pth`` files are not run: a process of ours executes nobody's start-up hooks.
    """
    import site  # without -S this is loaded anyway; with it, importing has no effect

    environment = _virtual_environment()
    if environment is None:
        found = site.getsitepackages()
        if not sys.flags.no_user_site:
            found.append(site.getusersitepackages())
    else:
        # not getsitepackages([environment]): Debian's answers dist-packages as long as sys.prefix is not set
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        found = [os.path.join(environment, lib, python, "site-packages") for lib in ("lib", "lib64")]
        if _includes_system(environment):
            found += site.getsitepackages()
    return [entry for entry in found if os.path.isdir(entry)]


def _virtual_environment() -> str | None:
    """The directory of the virtual environment that the interpreter was started from.  PEP 405"""
    if not sys.executable:
        return None
    here = os.path.dirname(os.path.abspath(sys.executable))
    for directory in (here, os.path.dirname(here)):
        if os.path.isfile(os.path.join(directory, "pyvenv.cfg")):
            return directory
    return None


def _includes_system(environment: str) -> bool:
    with open(os.path.join(environment, "pyvenv.cfg"), encoding="utf-8") as config:
        for line in config:
            key, _, value = line.partition("=")
            if key.strip() == "include-system-site-packages":
                return value.strip().lower() == "true"
    return False
