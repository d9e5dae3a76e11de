"""The command line's syntax, and the help made from its table."""

from __future__ import annotations

import pytest

from estiva.errors import Invalid
from estiva.runtime.cli import commands, help, main, options

ROWS = (
    ("bundle", "b", options.VALUE, "DIR", ""),
    ("env", "e", options.VALUES, "NAME", ""),
    ("detach", "d", options.SWITCH, "", ""),
    ("tty", "t", options.SWITCH, "", ""),
    ("count", "", options.NUMBER, "N", ""),
)


def test_options_are_read_as_runc_and_crun_read_them():
    words = ["-b", "x", "--env=A=1", "-e", "B", "-dt", "-count", "-3", "id", "-x", "--y"]
    read = options.parse(words, ROWS)
    assert (read.text("bundle"), read.many("env"), read.switch("detach")) == ("x", ["A=1", "B"], True)
    assert read.switch("tty")
    assert read.number("count") == -3
    assert read.operands == ["id", "-x", "--y"]


def test_a_value_may_be_part_of_its_letters_word():
    read = options.parse(["-dbdir", "-e=A"], ROWS)
    assert (read.switch("detach"), read.text("bundle"), read.many("env")) == (True, "dir", ["A"])


def test_options_follow_operands_only_where_no_other_command_line_does():
    assert options.parse(["id", "--detach"], ROWS).operands == ["id", "--detach"]
    read = options.parse(["id", "--detach", "--", "--tty"], ROWS, interspersed=True)
    assert (read.operands, read.switch("detach"), read.switch("tty")) == (["id", "--tty"], True, False)


def test_switches_take_a_word_only_with_an_equals_sign():
    assert not options.parse(["--detach=false"], ROWS).switch("detach")
    assert options.parse(["--detach=false"], ROWS).given("detach")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], 'unknown option "--nope"'),
        (["-dx"], 'unknown option "-dx"'),
        (["-b"], 'option "-b" needs a value'),
        (["--count", "x"], '"x" is not a number'),
        (["--detach=maybe"], '"maybe" is neither true nor false'),
    ],
)
def test_mistakes_are_named(words, message):
    with pytest.raises(Invalid, match=message):
        options.parse(words, ROWS)


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_has_help_that_tells_all_its_options(name, capsys):
    assert main.main([name, "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Usage: estiva-runtime {name}")
    for row in commands.COMMANDS[name].rows:
        assert f"--{row[0]}" in told
        assert row[4]


def test_the_overview_names_every_command_and_global_option(capsys):
    assert main.main([]) == 0
    told = capsys.readouterr().out
    assert told == help.overview()
    for name in commands.COMMANDS:
        assert f"\n  {name} " in told
    for row in commands.GLOBAL:
        assert f"--{row[0]}" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], 'unknown command "nope"'),
        (["state"], '"state" takes other arguments than the 0 given: ID'),
        (["state", "a", "b"], "than the 2 given"),
        (["list", "a"], "none"),
        (["--log-format", "xml", "list"], '"xml" is neither text nor json'),
        (["--rootless", "perhaps", "list"], '"perhaps" is neither'),
        (["--cgroup-manager", "x", "list"], '"x" is none'),
        (["list", "--format", "xml"], "invalid format option"),
        (["state", "../x"], "invalid container ID format"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(words, message, capsys, tmp_path):
    assert main.main(["--root", str(tmp_path), *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
