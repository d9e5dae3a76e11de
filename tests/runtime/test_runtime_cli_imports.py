"""Start-up is the product: what the runtime's quick commands load on their whole way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import estiva

pytestmark = pytest.mark.needs_root
HEAVY = {
    "argparse", "collections", "ctypes", "enum", "functools", "json", "logging", "pathlib", "re", "shutil", "signal",
    "socket", "subprocess", "tempfile", "textwrap", "traceback", "typing", "uuid",
}  # fmt: skip
NEVER = {
    "estiva.runtime.cli.checkpoint", "estiva.runtime.cli.console", "estiva.runtime.cli.help",
    "estiva.runtime.cli.notify", "estiva.runtime.hooks", "estiva.runtime.intel_rdt", "estiva.runtime.seccomp_compiler",
}  # fmt: skip
SCRIPT = """
import os, sys
sys.path.insert(0, {source!r})
from estiva.runtime.cli.main import main
code = main({argv!r})
with open({report!r}, "w") as report:
    report.write("\\n".join(sys.modules))
sys.stdout.flush()
os._exit(code)
"""


@pytest.mark.parametrize("words", [("run", "b"), ("run", "-d", "b"), ("create", "b"), ("exec", "a", "true"),
                                   ("state", "a"), ("list",), ("delete", "--force", "a")],
                         ids=lambda words: "".join(words[:2]))  # fmt: skip
def test_quick_commands_load_nothing_heavy(runtime, tmp_path, words):
    runtime.start("a")
    runtime.process("true")
    report = tmp_path / "modules"
    argv = ["--root", str(runtime.root), *words]
    script = SCRIPT.format(source=str(Path(estiva.__file__).parent.parent), argv=argv, report=str(report))
    nowhere = subprocess.DEVNULL
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], cwd=runtime.bundle, stdin=nowhere, stdout=nowhere, stderr=nowhere,
        check=True, timeout=60,
    )  # fmt: skip
    loaded = set(report.read_text().split())
    assert not loaded & HEAVY
    assert not loaded & NEVER
