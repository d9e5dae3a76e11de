"""Start-up is the product: which modules the quick commands load, exactly for ours, by a deny-list for the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import estiva

PACKAGE = Path(estiva.__file__).parent
HEAVY = {
    "argparse", "asyncio", "calendar", "concurrent", "dataclasses", "datetime", "difflib", "email", "fnmatch",
    "getpass", "glob", "hashlib", "html", "http", "importlib.metadata", "importlib.util", "inspect", "locale",
    "logging", "multiprocessing", "pathlib", "pickle", "platform", "pwd", "random", "shlex", "shutil", "site",
    "socket", "ssl", "subprocess", "sysconfig", "tarfile", "tempfile", "threading", "tomllib", "traceback", "typing",
    "unittest", "urllib", "urllib3", "uuid", "warnings", "zipfile", "zstandard",
}  # fmt: skip
ALWAYS = {"estiva", "estiva.cli", "estiva.cli.globals", "estiva.cli.main", "estiva.cli.parser", "estiva.errors"}
SCRIPT = """
import sys
sys.path.insert(0, {parent!r})
sys.argv = ["estiva", *{argv!r}]
import estiva.cli.main as main
code = main.main()
sys.stdout.flush()
sys.stderr.write("".join(f"{{name}}\\n" for name in sorted(sys.modules)))
sys.stderr.write(f"code {{code}}\\n")
"""


def loaded(tmp_path: Path, *argv: str) -> tuple[int, set[str]]:
    """The exit code, and the modules that are loaded when the command has ended."""
    script = SCRIPT.format(parent=str(PACKAGE.parent), argv=list(argv))
    environ = {"ESTIVA_ROOT": f"{tmp_path}/root", "ESTIVA_RUNROOT": f"{tmp_path}/run", "PATH": "/usr/bin:/bin"}
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, env=environ, check=False, timeout=60
    )
    lines = answer.stderr.splitlines()
    assert lines[-1].startswith("code "), answer.stderr
    return int(lines[-1].split()[1]), set(lines)


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "estiva"}


def heavy(modules: set[str]) -> set[str]:
    return {name for name in HEAVY if name in modules}


def test_help_loads_the_parser_and_nothing_else(tmp_path: Path) -> None:
    code, modules = loaded(tmp_path, "--help")
    assert code == 0
    assert ours(modules) == ALWAYS | {"estiva.cli.help"}
    assert not heavy(modules | set())
    assert "json" not in modules
    assert "re" not in modules


def test_the_version_loads_nothing_more(tmp_path: Path) -> None:
    assert ours(loaded(tmp_path, "--version")[1]) == ALWAYS


def test_ps_loads_what_listing_needs(tmp_path: Path) -> None:
    code, modules = loaded(tmp_path, "ps")
    assert code == 0
    assert not heavy(modules)
    above = {name for name in ours(modules) if name.startswith("estiva.cli")}
    assert above == ALWAYS - {"estiva", "estiva.errors"} | {
        "estiva.cli.commands",
        "estiva.cli.commands.ps",
        "estiva.cli.container_rows",
        "estiva.cli.human",
        "estiva.cli.report",
        "estiva.cli.table",
    }
    assert not {name for name in ours(modules) if name.startswith(("estiva.registry", "estiva.runtime.seccomp"))}


@pytest.mark.parametrize(
    ("argv", "code"),
    [(("run", "--rm", "nosuch", "true"), 125), (("exec", "nosuch", "true"), 125), (("start", "nosuch"), 125)],
)
def test_the_ways_to_a_container_load_nothing_heavy(tmp_path: Path, argv: tuple[str, ...], code: int) -> None:
    argv = (*argv[:1], "--pull=never", *argv[1:]) if argv[0] == "run" else argv
    answer, modules = loaded(tmp_path, *argv)
    assert answer == code
    assert not heavy(modules)
    assert "estiva.cli.template" not in modules
    assert "estiva.cli.help" not in modules
