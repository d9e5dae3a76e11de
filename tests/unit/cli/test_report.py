"""Tables, templates over rows, and words for sizes and times."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.cli import human
from estiva.cli.report import Report, heading, is_json, over_rows
from estiva.cli.table import align, elastic
from estiva.errors import Invalid

REPORT = Report("ps", ("ID", "Names", "CreatedAt"), {"ID": "CONTAINER ID"})


class Row:
    FIELDS = ("ID", "Names", "CreatedAt", "Size", "List")

    def __init__(self, *values: object) -> None:
        self.values = dict(zip(self.FIELDS, values, strict=False))

    def go_field(self, name: str) -> object:
        return self.values[name]

    def to_json(self) -> dict[str, object]:
        return self.values


ROWS = (Row("1", "web", "now", 3, ["x"]), Row("22", "a-rather-long-name", "then", 4, []))


def test_columns_are_twelve_wide_or_two_wider_than_their_widest_cell() -> None:
    assert align([["a", "b", "c"], ["a" * 20, "b", ""]]) == (
        "a                     b           c\n" + "a" * 20 + "  b           \n"
    )


def test_a_line_without_a_column_ends_the_block() -> None:
    assert elastic("a\tb\n" + "x" * 20 + "\n" + "c" * 15 + "\td\n") == (
        "a           b\n" + "x" * 20 + "\n" + "c" * 15 + "  d\n"
    )


@given(st.lists(st.lists(st.text("ab \t"), max_size=4), max_size=5))
def test_aligning_loses_nothing(lines: list[list[str]]) -> None:
    shown = align(lines).split("\n")
    assert len(shown) == len(lines) + 1
    for cells, line in zip(lines, shown, strict=False):
        assert line.replace(" ", "") == "".join(cells).replace(" ", "")


def test_the_commands_own_table() -> None:
    assert REPORT.text(ROWS) == (
        "CONTAINER ID  NAMES               CREATED AT\n"
        "1             web                 now\n"
        "22            a-rather-long-name  then\n"
    )
    assert REPORT.text(ROWS[:1], "table", noheading=True) == "1           web         now\n"
    assert REPORT.text(()) == "CONTAINER ID  NAMES       CREATED AT\n"


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("{{.ID}}", "1\n22\n"),
        ("{{.ID}}\\t{{.Names}}", "1\tweb\n22\ta-rather-long-name\n"),
        ("{{range .}}{{.ID}},{{end}}", "1,22,\n"),
        ("{{range $i, $r := .}}{{$i}}{{$r.ID}} {{end}}", "01 122 \n"),
        ("table {{.ID}}\\t{{.Size}}", "CONTAINER ID  SIZE\n1             3\n22            4\n"),
        ("table {{.ID}} {{.Names}}", "CONTAINER ID  NAMES\n1             web\n22            a-rather-long-name\n"),
        ("table {{upper .Names}}\\t{{join .List \", \"}}",
         "NAMES               LIST\nWEB                 x\nA-RATHER-LONG-NAME  \n"),
        ("table {{if gt .Size 3}}big{{else}}small{{end}}", "small\nbig\n"),
        ("plain", "plain\nplain\n"),
    ],
)  # fmt: skip
def test_templates_over_rows(form: str, shown: str) -> None:
    assert REPORT.text(ROWS, form) == shown


def test_json_is_of_all_rows() -> None:
    for form in ("json", " json ", "{{json .}}", "{{ json }}"):
        assert is_json(form)
        assert [row["ID"] for row in json.loads(REPORT.text(ROWS, form))] == ["1", "22"]
    assert not is_json("{{json .ID}}")
    assert REPORT.text((), "json") == "[]\n"


@pytest.mark.parametrize("form", ["{{.Foo}}", "table {{.Foo}}", "{{", "table {{.ID"])
def test_a_wrong_template_is_refused_before_anything_is_printed(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Invalid, match="template: ps:"):
        REPORT.show(ROWS, form)
    assert capsys.readouterr().out == ""


@given(st.text())
def test_any_format_is_shown_or_refused(form: str) -> None:
    try:
        REPORT.text(ROWS, form)
    except Invalid as error:
        text = str(error)
    else:
        text = ""
    assert text == "" or text.startswith("template: ps:")


def test_headings_are_the_words_of_the_name() -> None:
    names = ("CreatedAt", "ID", "ImageID", "RunningFor", "IsInfra", "IPC")
    assert [heading(name, {"ID": "X"}) for name in names] == [
        "CREATED AT", "X", "IMAGE ID", "RUNNING FOR", "IS INFRA", "IPC",
    ]  # fmt: skip
    assert over_rows("{{- range . }}") == "{{- range . }}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "Less than a second"), (1, "1 second"), (59.9, "59 seconds"), (60, "About a minute"), (150, "2 minutes"),
        (3599, "59 minutes"), (3600, "About an hour"), (2 * 3600, "2 hours"), (47.6 * 3600, "2 days"),
        (13 * 86400, "13 days"), (20 * 86400, "2 weeks"), (90 * 86400, "3 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert human.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_987_691, "1.99MB"), (999_999, "1000kB"), (12_345_678_901, "12.3GB")],
)
def test_sizes(count: int, words: str) -> None:
    assert human.size(count) == words


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    human.time.tzset()
    moment = 1_795_482_335_408_603_542
    assert human.go_time(moment) == "2026-11-24 01:05:35.408603542 +0000 UTC"
    assert human.rfc3339(moment) == "2026-11-24T01:05:35.408603542Z"
    assert human.rfc3339(1_795_482_335_000_000_000) == "2026-11-24T01:05:35Z"
    assert human.go_time(0) == "0001-01-01 00:00:00 +0000 UTC"
    assert human.ago(moment, moment / 1e9 + 120) == "2 minutes ago"
