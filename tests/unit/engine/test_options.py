"""The options of a container, from the command line to JSON and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from estiva.cli.options_container import OPTIONS, RUN_OPTIONS, container_options
from estiva.cli.parser import parse
from estiva.engine.options import FIELDS, ContainerOptions, MountOption
from estiva.engine.signals import parse_signal, signal_name
from estiva.errors import Invalid


def options(*words: str, environ: dict[str, str] | None = None) -> ContainerOptions:
    return container_options(parse((*OPTIONS, *RUN_OPTIONS), [*words, "image"], interspersed=False), environ or {})


def test_a_command_line_becomes_values() -> None:
    words = (
        "-it --rm -e A=1 -e B -m 64m --memory-swap -1 -v /a:/b:ro --tmpfs /t --cpus 1.5 --label x=y --net host "
        '--entrypoint ["a","b"] --restart no --ulimit nofile=5 --cap-add a,b image cmd --rm'
    )
    made = container_options(parse(OPTIONS, words.split(), interspersed=False), {"B": "2"})
    assert made.to_json() == {
        "image": "image",
        "command": ["cmd", "--rm"],
        "cap_add": ["a", "b"],
        "cpus": 1.5,
        "entrypoint": ["a", "b"],
        "env": ["A=1", "B=2"],
        "interactive": True,
        "label": {"x": "y"},
        "memory": 64 << 20,
        "memory_swap": -1,
        "mount": [["bind", "/a", "/b", ["ro"]], ["tmpfs", "", "/t", []]],
        "network": "host",
        "restart": "no",
        "rm": True,
        "tty": True,
        "ulimit": ["nofile=5"],
    }


def test_json_brings_the_same_options_back() -> None:
    made = ContainerOptions("i", ["c"], memory=5, env=["A=1"])
    made.mount = [MountOption("bind", "/a", "/b", ["ro"])]
    again = ContainerOptions.from_json({**made.to_json(), "from_the_future": 1})
    assert [getattr(again, name) for name in FIELDS] == [getattr(made, name) for name in FIELDS]
    with pytest.raises(Invalid):
        ContainerOptions("i", nonsense=1)


def test_options_do_not_share_their_lists() -> None:
    first, second = ContainerOptions("i"), ContainerOptions("i")
    first.env.append("A=1")
    assert second.env == []


@pytest.mark.parametrize(
    "words",
    [
        ["--memory", "lots"], ["--restart", "sometimes"], ["--network", "bridge"], ["--pid", "odd"], ["-v", "/a:b"],
        ["--ulimit", "odd=1"], ["--stop-signal", "SIGODD"], ["--device", "dev"], ["--add-host", "a"], ["--sysctl", "a"],
        ["--rm", "--restart", "always"], ["-v", "/a:/x", "--tmpfs", "/x"], ["--env-file", "/nonexistent"],
        ["--device-cgroup-rule", "x"], ["--platform", "linux/arm64", "--arch", "amd64"], ["--os", "linux"],
    ],
)  # fmt: skip
def test_bad_values_are_refused_before_anything_is_made(words: list[str]) -> None:
    with pytest.raises(Invalid):
        options(*words)


def test_proxies_go_along_unless_told_otherwise() -> None:
    environ = {"http_proxy": "p", "NO_PROXY": "n", "X": "y"}
    assert options(environ=environ).http_proxy == {"http_proxy": "p", "NO_PROXY": "n"}
    assert options("--http-proxy=false", environ=environ).http_proxy == {}
    assert options("--env-host", environ=environ).env_host == environ


def test_labels_come_from_files_and_options(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text("a=1\n# no\nb=2\n")
    assert options("--label-file", str(path), "--label", "b=3").label == {"a": "1", "b": "3"}


def test_platforms_in_parts() -> None:
    assert options("--arch", "arm64", "--variant", "v8").platform == "linux/arm64/v8"
    assert options("--platform", "linux/amd64").platform == "linux/amd64"


def test_an_entrypoint_is_a_word_or_a_list() -> None:
    assert options("--entrypoint", "").entrypoint == []
    assert options("--entrypoint", "a b").entrypoint == ["a b"]
    assert options("--entrypoint", '["a", "b"]').entrypoint == ["a", "b"]
    assert options().entrypoint is None


def test_signals_by_name_and_number() -> None:
    assert [parse_signal(text) for text in ("TERM", "sigkill", "9", "RTMIN+1")] == [
        15,
        9,
        9,
        parse_signal("RTMIN+0") + 1,
    ]
    assert signal_name(15) == "SIGTERM"
    for text in ("", "0", "99", "NOPE", "SIG_DFL"):
        with pytest.raises(Invalid):
            parse_signal(text)
