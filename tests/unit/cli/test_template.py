"""Go's text/template, as --format takes it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.cli.template import Template
from estiva.errors import Invalid

DATA = {
    "ID": "abc",
    "Name": "web",
    "Size": 10,
    "Ratio": 0.5,
    "Up": True,
    "Down": False,
    "Nothing": None,
    "Names": ["a", "b", "c"],
    "Labels": {"x": "1", "a.b/c": "2"},
    "State": {"Pid": 42, "Status": "running", "Empty": []},
    "Mounts": [{"Source": "/a", "RW": True}, {"Source": "/b", "RW": False}],
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("{{.ID}}-{{ .Name }}", "abc-web"),
        ("{{.Id}} {{.id}}", "abc abc"),
        ("{{.State.Pid}}", "42"),
        ("{{(.State).Pid}}", "42"),
        ("{{$.State.Status}}", "running"),
        ("{{.Up}} {{.Ratio}} {{.Nothing}} {{.Labels.nosuch}}", "true 0.5 <nil> <no value>"),
        ("{{.Names}} {{.Labels}} {{.State.Empty}}", "[a b c] map[a.b/c:2 x:1] []"),
        ("{{/* note */}}x{{- /* trimmed */ -}}  y", "xy"),
        ("a  {{- .ID -}}  b", "aabcb"),
        ("{{-3}}", "-3"),
        ("a {{- 3 -}} b", "a3b"),
        ("{{`raw\\n`}}{{\"tab\\t\\u00e9\\x41\\101\"}}", "raw\\ntab\té" + "AA"),
        ("{{'a'}} {{0x10}} {{010}} {{1_000}} {{1e3}} {{-1.5}}", "97 16 8 1000 1000 -1.5"),
        ("{{true}} {{false}}", "true false"),
        ("{{if .Up}}yes{{else}}no{{end}}", "yes"),
        ("{{if .Down}}yes{{else if eq .Size 10}}ten{{else}}no{{end}}", "ten"),
        ("{{if .State.Empty}}yes{{end}}", ""),
        ("{{with .State}}{{.Pid}} {{$.ID}}{{end}}", "42 abc"),
        ("{{with .Nothing}}x{{else}}{{.ID}}{{end}}", "abc"),
        ("{{with $x := .State}}{{$x.Pid}}{{end}}", "42"),
        ("{{range .Names}}<{{.}}>{{end}}", "<a><b><c>"),
        ("{{range $i, $e := .Names}}{{$i}}={{$e}} {{end}}", "0=a 1=b 2=c "),
        ("{{range $e := .Names}}{{$e}}{{end}}", "abc"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a.b/c=2;x=1;"),
        ("{{range .State.Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Names}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
        ("{{range .Names}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
        ("{{range .Mounts}}{{.Source}}{{if .RW}}:rw{{end}} {{end}}", "/a:rw /b "),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{index .Names 1}} {{index .Labels \"a.b/c\"}} [{{index .Labels \"none\"}}]", "b 2 []"),
        ("{{index .Mounts 1 \"Source\"}}", "/b"),
        ("{{(index .Mounts 0).Source}}", "/a"),
        ("{{slice .ID 1}} {{slice .ID 0 2}} {{slice .Names 1}}", "bc ab [b c]"),
        ("{{len .Names}} {{len .ID}} {{len .Labels}}", "3 3 2"),
        ("{{json .Labels}} {{json .Names}} {{.State | json}}", '{"x":"1","a.b/c":"2"} ["a","b","c"] '
         '{"Pid":42,"Status":"running","Empty":[]}'),
        ("{{json .Nothing}} {{json \"<é>\"}}", 'null "<é>"'),
        ("{{json .}}", '{"ID":"abc"'),
        ("{{join .Names \",\"}} {{.Names | join \"-\" }}", "a,b,c a-b-c"),
        ("{{split \"a,b\" \",\"}}", "[a b]"),
        ("{{upper .ID}} {{.ID | upper | lower | title}}", "ABC Abc"),
        ("{{truncate .ID 2}}[{{pad .ID 1 2}}]", "ab[ abc  ]"),
        ("{{eq .ID \"x\" \"abc\"}} {{ne .Size 10}} {{lt 1 2}} {{ge 2 2}} {{gt \"b\" \"a\"}} {{le 3 2}}",
         "true false true true true false"),
        ("{{and .Up .ID}} {{or .Down .Name}} {{not .Up}} {{and .Down .Nosuch}}", "abc web false false"),
        ("{{print 1 2 \"x\" 3}} {{println \"a\" 1}}", "1 2x3 a 1\n"),
        ("{{printf \"%s|%5s|%-5s|%q|%d|%05d|%x|%v|%t|%.2f|%%\" .ID .ID .ID .ID .Size .Size 255 .Names .Up .Ratio}}",
         'abc|  abc|abc  |"abc"|10|00010|ff|[a b c]|true|0.50|%'),
        ("{{printf \"%d %s\" \"x\"}}", "%!d(string=x) %!s(MISSING)"),
        ("{{printf \"x\" 1}}", "x%!(EXTRA int=1)"),
        ("{{printf \"%*d\" 4 7}}", "   7"),
        ("{{.ID | printf \"%s-%s\" \"x\"}}", "x-abc"),
        ("{{define \"T\"}}<{{.}}>{{end}}{{template \"T\" .ID}}{{template \"T\" .Name}}", "<abc><web>"),
        ("{{block \"B\" .ID}}[{{.}}]{{end}}", "[abc]"),
        ("{{html \"<a>\"}} {{urlquery \"a b\"}}", "&lt;a&gt; a+b"),
        ("{{if and (eq .ID \"abc\") (not .Down)}}ok{{end}}", "ok"),
        ("{{range $i, $m := .Mounts}}{{if $i}},{{end}}{{$m.Source}}{{end}}", "/a,/b"),
        ("{{if\n.Up}}x{{end}}", "x"),
        ("}} stays", "}} stays"),
    ],
)  # fmt: skip
def test_templates_show_what_go_shows(text: str, shown: str) -> None:
    result = Template(text).render(DATA)
    assert result.startswith(shown) if text == "{{json .}}" else result == shown


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{{", "1: unclosed action"),
        ("{{.ID", "1: unclosed action"),
        ("{{.ID}", '1: unexpected "}" in command'),
        ("{{}}", "1: missing value for command"),
        ("{{{.ID}}}", '1: unexpected "{" in command'),
        ("\n\n{{nosuch 1}}", '3: function "nosuch" not defined'),
        ("{{if .Up}}", "1: unexpected EOF"),
        ("{{if}}{{end}}", "1: missing value for if"),
        ("{{end}}", "1: unexpected {{end}}"),
        ("{{else}}", "1: unexpected {{else}}"),
        ("{{if .Up}}{{else}}{{else}}{{end}}", "1: expected end; found {{else}}"),
        ('{{"x}}', "1: unterminated quoted string"),
        ("{{`x}}", "1: unterminated raw quoted string"),
        ("{{'ab'}}", "1: malformed character constant: 'ab'"),
        ('{{"\\z"}}', '1: invalid escape in "\\z"'),
        ("{{$x}}", "1: undefined variable: $x"),
        ("{{range .Names}}{{$i := 1}}{{end}}{{$i}}", "1: undefined variable: $i"),
        ("{{(.ID}}", "1: unclosed left paren"),
        ("{{.ID)}}", '1: unexpected ")" in command'),
        ("{{.ID .Name}}", "1: can't give argument to non-function ID"),
        ("{{break}}", "1: {{break}} outside {{range}}"),
        ("{{/* x", "1: unclosed comment"),
        ("{{/* x */ y}}", "1: comment ends before closing delimiter"),
        ("{{end x}}", "1: unexpected {{end}}"),
        ("{{if .Up}}{{end x}}", '1: unexpected "x" in end'),
        ("{{template .ID}}", '1: unexpected "ID" in template clause'),
        ("{{if a := .ID}}{{end}}", '1: function "a" not defined'),
        ("{{if $a, $b := .ID}}{{end}}", "1: undefined variable: $a"),
        ("{{and}}", "1: wrong number of args for and: want at least 1 got 0"),
        ("{{" + "(" * 500 + "1" + ")" * 500 + "}}", "1: nested too deeply"),
        ("{{if true}}" * 500, "1: nested too deeply"),
    ],
)
def test_what_is_no_template_is_named_in_one_line(text: str, cause: str) -> None:
    with pytest.raises(Invalid) as caught:
        Template(text, "ps")
    assert caught.value.message == f"template: ps:{cause}"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{{.Nosuch}}", "can't evaluate field Nosuch: there are Down, ID, Labels"),
        ("{{.State.Nosuch}}", "can't evaluate field Nosuch: there are Empty, Pid, Status"),
        ("{{.ID.X}}", "can't evaluate field X in type string"),
        ("{{.Nothing.X}}", "nil data; no entry for key X"),
        ("{{index .Names 9}}", "error calling index: index out of range: 9"),
        ("{{index .Names \"a\"}}", "error calling index: cannot index slice/array with type string"),
        ("{{index .Size 1}}", "error calling index: can't index item of type int"),
        ("{{slice .ID 3 1}}", "error calling slice: invalid slice index: 3 > 1"),
        ("{{len 3}}", "error calling len: len of type int"),
        ("{{lt 1 \"a\"}}", "error calling lt: incompatible types for comparison"),
        ("{{eq 1}}", "error calling eq: missing argument for comparison"),
        ("{{upper 3}}", "error calling upper: expected string; found int"),
        ("{{upper}}", "wrong number or kind of arguments for upper: got 0"),
        ("{{range .ID}}{{end}}", "range can't iterate over abc"),
        ("{{template \"none\"}}", 'template "none" not defined'),
        ("{{define \"T\"}}{{template \"T\"}}{{end}}{{template \"T\"}}", "exceeded maximum template depth"),
        ("{{.ID" + "|print" * 3000 + "}}", "nested too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_named_in_one_line(text: str, cause: str) -> None:
    with pytest.raises(Invalid) as caught:
        Template(text, "ps").render(DATA)
    assert caught.value.message.startswith(f"template: ps: {cause}")


class Row:
    FIELDS = ("ID",)

    def go_field(self, name: str) -> str:
        return {"ID": "1234"}[name]

    def to_json(self) -> dict[str, str]:
        return {"Id": "1234"}


def test_objects_answer_for_their_fields() -> None:
    assert Template("{{.ID}} {{json .}}").render(Row()) == '1234 {"Id":"1234"}'
    with pytest.raises(Invalid, match="can't evaluate field Foo: there are ID"):
        Template("{{.Foo}}").render(Row())


WORDS = """{{ }} {{- -}} . .ID .Names .State $ $x := = | ( ) , if else end range with define template block break
continue and or not index slice len json join printf print eq lt "%d"
"T" `raw` 1 -2 0x 1e9 'c' "\\u12" /* */ nil true"""
PIECES = st.sampled_from(WORDS.split())


@given(st.lists(st.one_of(PIECES, st.text(max_size=3), st.just(" "))))
def test_any_text_is_shown_or_refused_in_one_line(parts: list[str]) -> None:
    with contextlib.suppress(Invalid):
        Template("".join(parts)).render(DATA)


@given(st.text())
def test_text_without_braces_is_itself(text: str) -> None:
    if "{{" not in text:
        assert Template(text).render(DATA) == text
