"""The command line is read as pflag reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.cli.parser import HelpWanted, Option, parse, split_commas
from estiva.errors import Invalid

OPTIONS = (
    Option("all", "a"),
    Option("interactive", "i"),
    Option("tty", "t"),
    Option("name", "n", "string"),
    Option("last", "", "int", default=-1),
    Option("count", "c", "uint"),
    Option("env", "e", "array"),
    Option("cap-add", "", "list"),
    Option("sort", "", "choice", choices=("id", "name")),
    Option("condition", "", "choices", choices=("running", "stopped")),
    Option("time", "", "int", default=10, aliases=("timeout",)),
    Option("restart", "", "string", implied="always"),
    Option("cpus", "", "float"),
)


def values(*argv: str) -> dict[str, object]:
    return parse(OPTIONS, argv).values


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--name", "x"], {"name": "x"}),
        (["--name=x"], {"name": "x"}),
        (["--name="], {"name": ""}),
        (["--name=a=b"], {"name": "a=b"}),
        (["-n", "x"], {"name": "x"}),
        (["-nx"], {"name": "x"}),
        (["-n=x"], {"name": "x"}),
        (["-n="], {"name": "="}),
        (["-n", "--all"], {"name": "--all"}),
        (["-it"], {"interactive": True, "tty": True}),
        (["-itn", "x"], {"interactive": True, "tty": True, "name": "x"}),
        (["-itnx"], {"interactive": True, "tty": True, "name": "x"}),
        (["-a=false"], {"all": False}),
        (["--all=false"], {"all": False}),
        (["--all", "--all=0"], {"all": False}),
        (["--all=T"], {"all": True}),
        (["-eA=1", "-e", "B=2,3", "--env=C"], {"env": ["A=1", "B=2,3", "C"]}),
        (["--cap-add", "a,b", "--cap-add=c"], {"cap-add": ["a", "b", "c"]}),
        (["--last", "0x10"], {"last": 16}),
        (["--last=-3"], {"last": -3}),
        (["--last", "010"], {"last": 8}),
        (["--sort", "id"], {"sort": "id"}),
        (["--condition", "running,stopped"], {"condition": ["running", "stopped"]}),
        (["--timeout", "3"], {"time": 3}),
        (["--restart"], {"restart": "always"}),
        (["--restart=no"], {"restart": "no"}),
        (["--cpus", "1.5"], {"cpus": 1.5}),
    ],
)
def test_options_are_read_as_pflag_reads_them(argv: list[str], expected: dict[str, object]) -> None:
    assert values(*argv) == expected


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["-ax"], "unknown shorthand flag: 'x' in -ax"),
        (["--name"], "flag needs an argument: --name"),
        (["-an"], "flag needs an argument: 'n' in -an"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (["--last", "x"], 'invalid argument "x" for "--last" flag: not a whole number'),
        (["-c", "-1"], 'invalid argument "-1" for "-c, --count" flag: not a whole number that is zero or more'),
        (["--last", "99999999999999999999"], 'invalid argument "99999999999999999999" for "--last" flag: out of range'),
        (["-a=maybe"], 'invalid argument "maybe" for "-a, --all" flag: not true or false'),
        (["--sort", "x"], 'invalid argument "x" for "--sort" flag: "x" is not a valid value; choose from: id, name'),
        (["--cpus", "x"], 'invalid argument "x" for "--cpus" flag: could not convert string to float: \'x\''),
        (["--cap-add", '"a'], 'invalid argument ""a" for "--cap-add" flag: extraneous or missing " in quoted field'),
    ],
)
def test_mistakes_are_named_in_pflags_words(argv: list[str], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        values(*argv)
    assert caught.value.message == message


def test_a_near_miss_is_pointed_out() -> None:
    with pytest.raises(Invalid) as caught:
        values("--interactiv")
    assert caught.value.cure == "did you mean --interactive?"


def test_operands_and_options_mix_unless_told_otherwise() -> None:
    assert parse(OPTIONS, ["x", "-a", "y", "--", "-i", "--"]).args == ["x", "y", "-i", "--"]
    stopped = parse(OPTIONS, ["-a", "image", "-i", "--name", "x"], interspersed=False)
    assert stopped.args == ["image", "-i", "--name", "x"]
    assert stopped.values == {"all": True}


def test_options_end_at_two_dashes_and_a_single_dash_is_an_operand() -> None:
    assert parse(OPTIONS, ["-", "--", "-a"]).args == ["-", "-a"]
    assert parse(OPTIONS, ["--", "x", "--"], interspersed=False).args == ["x", "--"]


def test_help_is_asked_for_by_name_or_by_h_where_that_is_free() -> None:
    for argv in (["--help"], ["-h"], ["-ah"], ["x", "--help"]):
        with pytest.raises(HelpWanted):
            parse(OPTIONS, argv)
    assert parse((Option("hostname", "h", "string"),), ["-h", "x"]).values == {"hostname": "x"}


def test_what_was_not_given_has_its_default_or_the_zero_of_its_kind() -> None:
    parsed = parse(OPTIONS, [])
    assert [parsed[name] for name in ("all", "name", "last", "env", "count", "cpus")] == [False, "", -1, [], 0, 0.0]
    assert not parsed.given("last")
    with pytest.raises(KeyError):
        parsed.get("nonsense")


def test_the_first_of_two_options_with_one_name_counts() -> None:
    mine, other = Option("root", "", "int"), Option("root", "r", "string")
    assert parse((mine, other), ["--root", "1"]).values == {"root": 1}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,,b", ["a", "", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a""b"', ['a"b']),
        ('"",', ["", ""]),
    ],
)
def test_lists_are_split_as_csv(text: str, fields: list[str]) -> None:
    assert split_commas(text) == fields


@given(st.lists(st.text(st.characters(exclude_characters='\n\r"')), min_size=1))
def test_quoted_fields_come_back(fields: list[str]) -> None:
    assert split_commas(",".join(f'"{field}"' for field in fields)) == fields


@given(st.lists(st.text(alphabet='-aitnxe=," 0l')))
def test_any_words_are_read_or_refused_as_invalid(argv: list[str]) -> None:
    try:
        parse(OPTIONS, argv)
    except (Invalid, HelpWanted):
        pass
