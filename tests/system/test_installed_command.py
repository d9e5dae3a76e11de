"""The wheel, installed in the ways people install it: the commands find their interpreter and their package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.accounts import Account
from helpers.isolation import WORLD

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PYTHON = "/usr/bin/python3"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not os.access(PYTHON, os.X_OK), reason=f"needs {PYTHON}"),
]


@pytest.fixture(scope="module")
def wheel(public_directory: Path) -> Path:
    """The wheel of this checkout, built as pip builds it."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    sources = public_directory / "checkout"  # setuptools leaves build/ behind
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "build", "dist", "_native", "__pycache__", "*.egg-info", ".*_cache"
    )
    shutil.copytree(CHECKOUT, sources, ignore=ignored)
    target = public_directory / "wheel"
    _pip("wheel", "--no-deps", "--wheel-dir", str(target), str(sources), outside=True)
    target.chmod(0o755)
    (built,) = target.glob("estiva-*.whl")
    return built


def _pip(*words: str, python: str = sys.executable, outside: bool = False) -> None:
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(WORLD.outside(command) if outside else command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _install(wheel: Path, *where: str, python: str = sys.executable) -> None:
    _pip("install", "--no-deps", "--no-index", *where, str(wheel), python=python)


@pytest.fixture(scope="module")
def environment(wheel: Path, public_directory: Path) -> Path:
    """A virtual environment with the wheel in it."""
    place = public_directory / "venv"
    subprocess.run([PYTHON, "-m", "venv", str(place)], check=True)
    _install(wheel, python=str(place / "bin" / "python"))
    return place


@pytest.fixture
def says(tmp_path: Path) -> Callable[..., str]:
    """What a command writes; an environment that tries to get its own code in is given to it."""
    (tmp_path / "sitecustomize.py").write_text("print('intruder')")
    (tmp_path / "estiva.py").write_text("print('intruder')")

    def run(command: Path | str, *words: str, path: str = "/usr/bin:/bin") -> str:
        env = {"PYTHONPATH": str(tmp_path), "PATH": path, "HOME": str(tmp_path)}
        done = subprocess.run(
            [str(command), *words], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    return run


def test_an_editable_installation_runs_the_checkout(wheel: Path, says: Callable[..., str], tmp_path: Path) -> None:
    subprocess.run([PYTHON, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    _pip("install", "--no-deps", "--editable", str(wheel.parent.parent / "checkout"), python=python, outside=True)
    assert says(tmp_path / "venv" / "bin" / "estiva", "--version").startswith("estiva version")


@pytest.mark.parametrize("command", ["estiva", "estiva-runtime"])
def test_a_virtual_environment_uses_its_own_interpreter(
    environment: Path, says: Callable[..., str], command: str
) -> None:
    assert says(environment / "bin" / command, "--version").startswith(command)


def test_a_link_to_the_command_works_as_pipx_makes_it(
    environment: Path, says: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "linked").symlink_to(environment / "bin" / "estiva")
    assert says(tmp_path / "linked", "--version").startswith("estiva version")


def test_no_site_directory_is_read_at_start(environment: Path, says: Callable[..., str]) -> None:
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    calls = says("/usr/bin/strace", "-f", "-e", "trace=open,openat,execve", environment / "bin" / "estiva", "--version")
    assert '"-I", "-S"' in calls
    assert ".pth" not in calls
    assert "sitecustomize" not in calls


def test_a_target_directory_needs_no_environment(wheel: Path, says: Callable[..., str], tmp_path: Path) -> None:
    _install(wheel, "--target", str(tmp_path / "target"))
    assert says(tmp_path / "target" / "bin" / "estiva", "--version").startswith("estiva version")


def test_a_prefix_finds_the_interpreter_of_its_version_on_path(
    wheel: Path, says: Callable[..., str], tmp_path: Path
) -> None:
    _install(wheel, "--prefix", str(tmp_path / "prefix"), python=PYTHON)
    (command,) = (tmp_path / "prefix").rglob("bin/estiva")
    assert says(command, "--version").startswith("estiva version")


def test_a_user_installation_runs_for_that_user(wheel: Path, user: Account) -> None:
    # PEP 668 marks the interpreter as the distribution's; the home directory is the test's own
    command = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--user",
        "--break-system-packages",
        "--no-deps",
        "--no-index",
    ]
    done = user.run([*command, str(wheel)])
    assert done.returncode == 0, done.stderr
    assert user.run([str(user.home / ".local/bin/estiva"), "--version"]).stdout.startswith("estiva version")


def test_another_user_can_run_what_root_installed(environment: Path, user: Account) -> None:
    assert user.run([str(environment / "bin" / "estiva"), "--version"]).stdout.startswith("estiva version")


def test_without_a_package_beside_it_the_module_of_the_interpreter_on_path_is_run(
    environment: Path, says: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(environment / "bin" / "estiva", tmp_path / "bin" / "estiva")
    alone = tmp_path / "bin" / "estiva"
    assert says(alone, "--version", path=f"{environment}/bin:/usr/bin").startswith("estiva version")


def test_no_interpreter_at_all_is_one_clear_line(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(environment / "bin" / "estiva", tmp_path / "bin" / "estiva")
    empty = ["unshare", "--map-root-user", "--user", "chroot", str(tmp_path), "/bin/estiva"]
    done = subprocess.run(empty, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert done.stderr.count("\n") == 1
    assert "no Python interpreter found" in done.stderr


def test_the_programs_in_the_wheel_need_no_library(environment: Path) -> None:
    (helper,) = environment.rglob("estiva-helper")
    for program in (helper, environment / "bin" / "estiva"):
        headers = subprocess.run(["readelf", "-lW", str(program)], capture_output=True, text=True, check=True).stdout
        assert "INTERP" not in headers
        assert "DYNAMIC" not in headers
        assert os.access(program, os.X_OK)


def test_what_is_installed_is_compiled(environment: Path) -> None:
    (package,) = environment.glob("lib/python3*/site-packages/estiva")
    sources = list(package.rglob("*.py"))
    compiled = list(package.rglob("*.pyc"))
    assert len(compiled) >= len(sources) > 50
