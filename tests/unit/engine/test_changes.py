"""--change: Containerfile instructions on a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from estiva.engine.changes import apply_changes
from estiva.errors import Invalid


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('CMD ["a", "b c"]', {"Cmd": ["a", "b c"]}),
        ("cmd echo hi", {"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        ("CMD=/bin/bash", {"Cmd": ["/bin/sh", "-c", "/bin/bash"]}),
        ('ENTRYPOINT ["x"]', {"Entrypoint": ["x"]}),
        ("ENV a=1 b='2 3'", {"Env": ["OLD=1", "a=1", "b=2 3"]}),
        ("ENV OLD two words", {"Env": ["OLD=two words"]}),
        ("LABEL k=v", {"Labels": {"k": "v"}}),
        ("EXPOSE 80 53/udp 90-91", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "90/tcp": {}, "91/tcp": {}}}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ('VOLUME ["/a b"]', {"Volumes": {"/a b": {}}}),
        ("USER 1000:1000", {"User": "1000:1000"}),
        ("WORKDIR sub", {"WorkingDir": "/w/sub"}),
        ("WORKDIR /abs/../x", {"WorkingDir": "/x"}),
        ("STOPSIGNAL SIGINT", {"StopSignal": "SIGINT"}),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
    ],
)
def test_an_instruction_changes_its_part(change: str, expected: dict[str, Any]) -> None:
    before = {"Env": ["OLD=1"], "WorkingDir": "/w"}
    assert apply_changes(before, [change]) == {**before, **expected}
    assert before == {"Env": ["OLD=1"], "WorkingDir": "/w"}


def test_a_new_entrypoint_drops_the_old_command() -> None:
    assert apply_changes({"Cmd": ["x"]}, ['ENTRYPOINT ["e"]']) == {"Entrypoint": ["e"]}


@pytest.mark.parametrize(
    "change",
    ["", "RUN x", "CMD", "ENV a", "LABEL a=1 b", "EXPOSE x", "EXPOSE 0", "EXPOSE 1/icmp", "USER a b", "ENV 'a"],
)
def test_a_bad_change_is_quoted(change: str) -> None:
    with pytest.raises(Invalid, match="change "):
        apply_changes({}, [change])
