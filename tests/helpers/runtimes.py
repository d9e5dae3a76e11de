"""OCI runtimes as programs: our own, and those that the engine can use instead."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from helpers.accounts import Account
from helpers.cli import Estiva


def own_runtime(account: Account, directory: Path) -> Path:
    """A program in *directory* that is ``estiva-runtime`` from the sources, for *account* to run."""
    program = directory / "estiva-runtime"
    main = account.sources / "estiva" / "runtime" / "__main__.py"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(account.python)} -I -S {shlex.quote(str(main))} "$@"\n')
    program.chmod(0o755)
    return program


def use_runtime(estiva: Estiva, name: str) -> Estiva:
    """*estiva*, which starts containers by the runtime *name* from now on; skips the test where that cannot work."""
    if name == "estiva-runtime":
        estiva.env["ESTIVA_RUNTIME"] = str(own_runtime(estiva.account, estiva.base))
        return estiva
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"needs {name}")
    if name == "crun" and _is_hybrid():
        pytest.skip("crun refuses cgroups in hybrid mode")
    estiva.env["ESTIVA_RUNTIME"] = name
    return estiva


def _is_hybrid() -> bool:
    """Whether cgroup v2 has controllers beside those of v1, which is what crun objects to."""
    try:
        return bool(Path("/sys/fs/cgroup/unified/cgroup.controllers").read_text().strip())
    except FileNotFoundError:
        return False
