"""Finding commands, exit codes, and failures as one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import estiva
from estiva.cli import main as cli
from estiva.cli.errors import describe, exit_code
from estiva.cli.parser import Command, Parsed
from estiva.errors import CommandNotExecutable, CommandNotFound, Conflict, Invalid, NotFound

PROGRAM = Path(estiva.__file__).parent / "__main__.py"


def command(run: object, **kwargs: object) -> Command:
    return Command("version", summary="x", run=run, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    def use(run: object, **kwargs: object) -> None:
        monkeypatch.setattr(cli, "load", lambda name: command(run, **kwargs))

    return use


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"estiva version {estiva.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["foo"], "Error: unrecognized command `estiva foo`; see 'estiva --help'\n"),
        (["imagse"], "Error: unrecognized command `estiva imagse`; did you mean image or images?\n"),
        (
            ["container", "xyzzy"],
            "Error: unrecognized command `estiva container xyzzy`; see 'estiva container --help'\n",
        ),
        (["--foo", "ps"], "Error: unknown flag: --foo; see 'estiva --help'\n"),
        (["image", "--foo"], "Error: unknown flag: --foo; see 'estiva image --help'\n"),
    ],
)
def test_what_is_not_a_command_gets_one_line(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 125
    assert capsys.readouterr().err == line


def test_a_group_alone_shows_its_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["image"]) == 125
    assert "Available Commands:" in capsys.readouterr().out
    assert cli.main(["image", "--help"]) == 0


def test_aliases_lead_to_the_listed_command() -> None:
    assert cli.resolve(["container", "ls", "-a"]) == ("container list", ["-a"])
    assert cli.resolve(["image", "rmi", "x"]) == ("image rm", ["x"])
    assert cli.resolve(["ps", "image"]) == ("ps", ["image"])


@pytest.mark.parametrize(
    ("low", "high", "argv", "cause"),
    [
        (0, 0, ["x"], "`estiva version` takes no arguments"),
        (2, 2, ["x"], "accepts 2 arg(s), received 1"),
        (1, None, [], "requires at least 1 arg(s), only received 0"),
        (0, 1, ["x", "y"], "accepts at most 1 arg(s), received 2"),
    ],
)
def test_operands_are_counted(
    low: int, high: int | None, argv: list[str], cause: str, only, capsys: pytest.CaptureFixture[str]
) -> None:
    only(lambda parsed, settings: 0, minimum=low, maximum=high)
    assert cli.main(["version", *argv]) == 125
    assert capsys.readouterr().err.startswith(f"Error: {cause}")


def test_global_options_are_heard_before_and_after_the_command(only) -> None:
    seen = []

    def run(parsed: Parsed, settings: cli.Globals) -> int:
        seen.append((settings.root, settings.run_root, settings.storage_driver))
        return 7

    only(run)
    assert cli.main(["--root", "/a", "--runroot=/b", "version", "--root=/c", "--storage-driver", "copy"]) == 7
    assert seen == [("/c", "/b", "copy")]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NotFound("no such thing", "make one"), 125, "Error: no such thing; make one\n"),
        (Conflict("two\nlines"), 125, "Error: two lines\n"),
        (CommandNotFound("nosuch"), 127, "Error: nosuch\n"),
        (CommandNotExecutable("/etc"), 126, "Error: /etc\n"),
        (FileNotFoundError(2, "No such file or directory", "/x"), 125, "Error: /x: no such file or directory\n"),
        (OSError("odd"), 125, "Error: odd\n"),
    ],
)
def test_failures_become_one_line_and_a_code(
    error: Exception, code: int, line: str, only, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(parsed: Parsed, settings: cli.Globals) -> int:
        raise error

    only(run)
    assert cli.main(["version"]) == code
    assert capsys.readouterr().err == line


def test_an_interrupt_is_130_without_a_word(only, capsys: pytest.CaptureFixture[str]) -> None:
    def run(parsed: Parsed, settings: cli.Globals) -> int:
        raise KeyboardInterrupt

    only(run)
    assert cli.main(["version"]) == 130
    assert capsys.readouterr().err == ""


def test_a_bug_is_one_line_too_and_a_trace_only_when_asked_for(only, capsys: pytest.CaptureFixture[str]) -> None:
    def run(parsed: Parsed, settings: cli.Globals) -> int:
        raise KeyError("x")

    only(run)
    assert cli.main(["version"]) == 125
    told = capsys.readouterr().err
    assert told.startswith("Error: internal error: KeyError: 'x' (at ")
    assert told.count("\n") == 1
    assert cli.main(["--log-level", "debug", "version"]) == 125
    assert "Traceback" in capsys.readouterr().err


def test_a_kind_of_a_kind_keeps_its_code() -> None:
    class Special(CommandNotFound):
        pass

    assert exit_code(Special("x")) == 127
    assert describe(Invalid("x")) == "x"


def isolated(*argv: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(PROGRAM), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **kwargs)  # type: ignore[call-overload]


def test_the_file_runs_by_path_in_an_isolated_interpreter(tmp_path: Path) -> None:
    answer = isolated("--version", cwd=tmp_path)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"estiva version {estiva.__version__}\n", "")
    assert isolated("nosuch").returncode == 125


def test_other_packages_are_found_when_they_are_needed() -> None:
    script = (
        "import sys, runpy\nsys.argv = ['estiva', '--version']\n"
        f"sys.path.insert(0, {str(PROGRAM.parent.parent)!r})\n"
        "import estiva.__main__ as m\nm.main()\nimport pytest\nprint(pytest.__name__)\n"
        "try:\n    import no_such_module_at_all\nexcept ImportError:\n    print('absent')\n"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.stdout.splitlines()[1:] == ["pytest", "absent"], answer.stderr


def test_a_reader_that_leaves_is_no_failure_worth_a_word() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with os.fdopen(write_fd, "wb") as gone:
        answer = subprocess.run(
            [sys.executable, str(PROGRAM), "--help"], stdout=gone, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (answer.returncode, answer.stderr) == (141, b"")


def test_a_full_output_is_reported() -> None:
    with Path("/dev/full").open("wb") as full:
        answer = subprocess.run(
            [sys.executable, str(PROGRAM), "--help"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (answer.returncode, answer.stderr) == (125, b"Error: no space left on device\n")
