"""``--security-opt landlock=…``: a fence inside the container, as its own processes meet it."""

from __future__ import annotations

import json

import pytest

from estiva.linux import landlock
from estiva.runtime.landlock import ANNOTATION
from helpers.cli import BUSYBOX

pytestmark = pytest.mark.embedded("no other runtime knows Landlock")
DENIED = "ermission denied"


@pytest.fixture(autouse=True)
def needs_landlock():
    if landlock.abi() < 6:
        pytest.skip("needs version 6 of Landlock in the kernel")


def opt(*rules: str) -> list[str]:
    return [word for rule in rules for word in ("--security-opt", f"landlock={rule}")]


def test_files_ports_and_programs_are_fenced(estiva):
    estiva.load()
    script = (
        "cat /etc/os-release; touch /etc/x; touch /tmp/x && echo made; cp /bin/busybox /tmp/b && /tmp/b true;"
        "nc 127.0.0.1 80 </dev/null; echo > /dev/null && echo null; cat /proc/self/comm"
    )
    done = estiva.run("run", "--rm", *opt("ro:/bin,rw:/tmp", "net:connect=81"), BUSYBOX, "sh", "-c", script)
    assert done.stdout.split() == ["made", "null", "cat"]
    assert done.stderr.count(DENIED) == 4, done.stderr
    # without the fence all of it works, but for the port that nobody listens at
    done = estiva.run("run", "--rm", BUSYBOX, "sh", "-c", script)
    assert DENIED not in done.stderr


def test_executed_programs_stand_behind_it_too_and_inspect_shows_it(estiva):
    estiva.load()
    estiva.out("run", "-d", "--name", "a", *opt("ro:/bin", "scope:all"), BUSYBOX, "sleep", "100")
    assert DENIED in estiva.run("exec", "a", "cat", "/etc/passwd", check=False).stderr
    assert DENIED in estiva.run("exec", "--privileged", "a", "cat", "/etc/passwd", check=False).stderr
    (shown,) = estiva.json("inspect", "a")
    assert shown["HostConfig"]["SecurityOpt"] == ["landlock=ro:/bin", "landlock=scope:all"]
    assert json.loads(shown["Config"]["Annotations"][ANNOTATION])["abi"] == 6
    estiva.out("rm", "-f", "-t0", "a")


def test_a_policy_in_a_file(estiva):
    estiva.load()
    file = estiva.work / "policy.json"
    file.write_text('{"paths": [{"path": "/bin", "access": ["read", "execute"]}]}')
    file.chmod(0o644)
    done = estiva.run("run", "--rm", *opt(str(file)), BUSYBOX, "sh", "-c", "echo > /dev/null", check=False)
    assert DENIED in done.stderr  # a file says all itself, /dev too


def test_what_is_wrong_is_said(estiva_root):
    estiva_root.load()
    assert "'usr' is not an absolute path" in estiva_root.fails(125, "create", *opt("ro:usr"), BUSYBOX)
    assert "no such file" in estiva_root.fails(125, "create", *opt("./none.json"), BUSYBOX)
    twice = ["--annotation", f"{ANNOTATION}={{}}"]
    assert "use one" in estiva_root.fails(125, "create", *twice, *opt("ro:/"), BUSYBOX)
    line = estiva_root.fails(126, "run", *opt("ro:/etc"), BUSYBOX, "true")
    assert "permission denied" in line
    line = estiva_root.fails(125, "run", "--runtime", "runc", *opt("ro:/"), BUSYBOX, "true")
    assert "runtime 'runc' does not know them" in line
    assert estiva_root.out("ps", "-aq", "--filter", "status=running") == ""
