"""``estiva-runtime --learn-seccomp FILE``."""

from __future__ import annotations

import subprocess

from helpers.learning import allowed, no_agent_left


def test_the_runtime_alone_learns(runtime, tmp_path):
    file = tmp_path / "learned.json"
    runtime.process("mkdir", "/tmp/x")
    runtime("--learn-seccomp", str(file), "run", "a")
    assert "mkdir" in allowed(file)
    runtime.process("sleep", "100")
    command = runtime.command("--learn-seccomp", str(file), "run", "--detach", "b")
    null = subprocess.DEVNULL
    subprocess.run(command, stdin=null, stdout=null, stderr=null, timeout=60, check=True, cwd=runtime.bundle)
    runtime("exec", "b", "rmdir", "/tmp/x")
    assert {"mkdir", "rmdir"} <= allowed(file)
    runtime("delete", "--force", "b")
    runtime.process("true")
    assert "no such directory" in runtime("--learn-seccomp", "/no/such/file", "run", "a", code=1)
    assert runtime("list", "-q") == ""
    assert no_agent_left()
