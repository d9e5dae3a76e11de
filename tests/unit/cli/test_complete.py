"""Words for the shell: from the option tables, and scripts that the shells themselves accept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from estiva.cli.commands.completion import SCRIPTS
from estiva.cli.main import COMMANDS, load, main


def words(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(["__complete", *argv]) == 0
    return [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTIVA_ROOT", f"{tmp_path}/root")
    monkeypatch.setenv("ESTIVA_RUNROOT", f"{tmp_path}/run")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["im"], ["image", "images", "import"]),
        (["image", "l"], ["list", "load"]),
        (["--root", "/x", "ps", "--no"], ["--no-trunc", "--noheading"]),
        (["ps", "--sort", ""], ["command", "created", "id", "image", "names", "runningfor", "size", "status"]),
        (["ps", "--sort=na"], ["--sort=names"]),
        (["ps", "-a", "--format", "j"], ["json"]),
        (["ps", "--filter", "stat"], ["status="]),
        (["images", "--filter", "re"], ["reference="]),
        (["kill", "-s", "TE"], ["TERM"]),
        (["stop", "--cidfile", ""], [":file"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["completion", "bash", ""], [":none"]),
        (["nosuch", ""], [":none"]),
        (["ps", "--", "-"], [":none"]),
        (["stop", ""], [":none"]),
        (["__com"], [":none"]),
    ],
)
def test_candidates(argv: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert words(capsys, *argv) == expected


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_scripts_are_accepted_by_their_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=30)


def test_bash_completes_a_command(tmp_path: Path) -> None:
    program = tmp_path / "estiva"
    program.write_text("#!/bin/sh\nprintf 'images\\tList images\\nimage\\tManage images\\n'\n")
    program.chmod(0o755)
    script = SCRIPTS["bash"] + (
        f'COMP_WORDS=({program} im); COMP_CWORD=1; __estiva_complete; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert answer.stdout.splitlines() == ["images", "image"]


@pytest.mark.parametrize("name", sorted(name for name, (module, _) in COMMANDS.items() if module))
def test_every_command_loads_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = load(name)
    assert command.summary
    assert len({option.name for option in command.options}) == len(command.options)
    shorts = [option.short for option in command.options if option.short]
    assert len(set(shorts)) == len(shorts)
    assert all(option.hidden or option.help for option in command.options)
    assert main([*name.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(command.summary)
    assert "Options:" in page
    assert max(map(len, page.splitlines())) <= 120
