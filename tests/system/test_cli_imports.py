"""Which modules the quick commands load on their whole way, down to the running container."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import estiva

HEAVY = {
    "argparse", "asyncio", "calendar", "concurrent", "dataclasses", "datetime", "difflib", "email", "getpass", "glob",
    "http", "importlib.metadata", "inspect", "locale", "logging", "multiprocessing", "pathlib", "pickle", "platform",
    "random", "shlex", "shutil", "site", "socket", "ssl", "subprocess", "sysconfig", "tarfile", "tempfile", "tomllib",
    "traceback", "typing", "urllib", "urllib3", "uuid", "warnings", "zipfile", "zstandard",
}  # fmt: skip
NEVER = (
    "estiva.cli.help",
    "estiva.cli.template",
    "estiva.cli.when",
    "estiva.engine.about",
    "estiva.engine.ensure",
    "estiva.engine.pull",
    "estiva.registry",
    "estiva.runtime.seccomp_compiler",
    "estiva.storage.extract",
)
SCRIPT = """
import os, sys
sys.path.insert(0, {source!r})
sys.argv = ["estiva", *{argv!r}]
import estiva.cli.main as main
code = main.main()
with open({report!r}, "w") as report:
    report.write("\\n".join(sys.modules))
os._exit(code)
"""


def loaded(estiva_root: Any, *argv: str) -> set[str]:
    report = estiva_root.work / "modules"
    argv = ("--root", str(estiva_root.root), "--runroot", str(estiva_root.run_root), *argv)
    script = SCRIPT.format(source=str(Path(estiva.__file__).parent.parent), argv=list(argv), report=str(report))
    command = [estiva_root.account.python, "-I", "-S", "-c", script]
    done = subprocess.run(command, env=estiva_root.env, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(report.read_text().split())


@pytest.fixture
def box(estiva_root: Any) -> Any:
    """A store with an image, a container that runs and one that does not; everything that is made once is made."""
    estiva_root.load()
    estiva_root.run("run", "-d", "--name", "up", "--network", "none", "busybox", "sleep", "100")
    estiva_root.run("create", "--name", "down", "--network", "none", "busybox", "true")
    return estiva_root


@pytest.mark.embedded("another takes further modules")
@pytest.mark.parametrize(
    "argv",
    [
        ("run", "--rm", "--network", "none", "busybox", "true"),
        ("run", "-d", "--network", "none", "busybox", "true"),
        ("exec", "up", "true"),
        ("start", "down"),
        ("ps", "-a"),
    ],
    ids=lambda argv: argv[0] + argv[1],
)
def test_quick_commands_load_nothing_heavy(box: Any, argv: tuple[str, ...]) -> None:
    modules = loaded(box, *argv)
    assert not modules & HEAVY
    assert not {name for name in modules for never in NEVER if name == never or name.startswith(f"{never}.")}
