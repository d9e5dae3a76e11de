"""Options and image → the process of a bundle: program, environment, user, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from estiva.engine.options import ContainerOptions
from estiva.engine.spec import environment
from estiva.engine.spec.context import Context, Host, User
from estiva.engine.spec.process import arguments, process
from estiva.errors import Invalid


def context(**image: Any) -> Context:
    return Context("ab" * 32, "web", "/bundle", image=image)


@pytest.mark.parametrize(
    ("fields", "image", "expected"),
    [
        ({"command": ["ls"]}, {"Cmd": ["sh"]}, ["ls"]),
        ({}, {"Cmd": ["sh"]}, ["sh"]),
        ({"command": ["x"]}, {"Entrypoint": ["e"], "Cmd": ["sh"]}, ["e", "x"]),
        ({}, {"Entrypoint": ["e"], "Cmd": ["sh"]}, ["e", "sh"]),
        ({"entrypoint": ["o"]}, {"Entrypoint": ["e"], "Cmd": ["sh"]}, ["o"]),
        ({"entrypoint": []}, {"Entrypoint": ["e"], "Cmd": ["sh"]}, ["sh"]),
        ({"entrypoint": [], "command": ["c"]}, {"Entrypoint": ["e"]}, ["c"]),
    ],
)
def test_entrypoint_and_command_of_image_and_user_combine_as_in_podman(
    fields: dict[str, Any], image: dict[str, Any], expected: list[str]
) -> None:
    assert arguments(ContainerOptions("i", **fields), context(**image)) == expected


def test_an_image_without_a_program_needs_one_named() -> None:
    with pytest.raises(Invalid, match="no program"):
        arguments(ContainerOptions("i"), context())


def test_the_environment_is_layered() -> None:
    options = ContainerOptions("i", env=["A=user", "PATH=/mine"], unsetenv=["GONE"], env_merge=["M=$A-${B}:x"])
    made = environment.pairs(environment.environment(options, context(Env=["A=image", "B=b", "GONE=1"])))
    assert made == {
        "PATH": "/mine",
        "container": "estiva",
        "A": "user",
        "B": "b",
        "M": "image-b:x",
        "HOME": "/root",
        "HOSTNAME": "abababababab",
    }


def test_only_a_terminal_has_a_type() -> None:
    assert "TERM=xterm" in environment.environment(ContainerOptions("i", tty=True), context())
    assert "TERM=xterm" not in environment.environment(ContainerOptions("i"), context())


def test_names_alone_take_the_value_of_the_host() -> None:
    host = {"HOME": "/h", "LC_ALL": "C", "LC_TIME": "de"}
    assert environment.from_host(["HOME", "NONE", "X=1", "LC_*"], host) == ["HOME=/h", "X=1", "LC_ALL=C", "LC_TIME=de"]
    with pytest.raises(Invalid, match="no name"):
        environment.from_host(["=x"], host)


def test_environment_files_have_comments(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("# comment\nA=1 2\n\n  B=x#y\nHOME\n")
    assert environment.read_env_file(str(path), {"HOME": "/h"}) == ["A=1 2", "B=x#y", "HOME=/h"]
    with pytest.raises(Invalid, match="no such file"):
        environment.read_env_file(str(tmp_path / "none"), {})


def test_the_user_and_umask_are_numbers() -> None:
    made = Context("ab" * 32, "web", "/bundle", image={"Cmd": ["sh"]}, user=User(7, 8, [9], "/home"))
    document = process(ContainerOptions("i", umask="077"), made)
    assert document["user"] == {"uid": 7, "gid": 8, "umask": 0o77, "additionalGids": [8, 9]}
    with pytest.raises(Invalid, match="umask"):
        process(ContainerOptions("i", umask="99"), made)


def test_a_user_other_than_root_holds_only_what_was_added_by_name() -> None:
    made = Context("ab" * 32, "web", "/bundle", image={"Cmd": ["sh"]}, user=User(7, 8))
    sets = process(ContainerOptions("i", cap_add=["net_raw"]), made)["capabilities"]
    assert sets["effective"] == sets["permitted"] == sets["ambient"] == sets["inheritable"] == ["CAP_NET_RAW"]
    assert "CAP_CHOWN" in sets["bounding"]


def test_default_limits_are_cut_to_what_this_process_may_set() -> None:
    made = Context("ab" * 32, "web", "/b", image={"Cmd": ["sh"]}, host=Host(rlimits={"RLIMIT_NOFILE": 1000}))
    limits = {entry["type"]: entry for entry in process(ContainerOptions("i"), made)["rlimits"]}
    assert limits["RLIMIT_NOFILE"]["hard"] == 1000
    asked = process(ContainerOptions("i", ulimit=["nofile=5:6"]), made)["rlimits"]
    assert {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6} in asked
    assert process(ContainerOptions("i", ulimit=["host"]), made)["rlimits"] == []


def test_the_working_directory_must_be_absolute() -> None:
    with pytest.raises(Invalid, match="absolute"):
        process(ContainerOptions("i", workdir="x"), context(Cmd=["sh"]))
    assert process(ContainerOptions("i"), context(Cmd=["sh"], WorkingDir="/w"))["cwd"] == "/w"
