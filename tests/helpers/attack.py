"""The hostile program of attack.c, compiled once."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent / "attack.c"


@functools.cache
def program() -> bytes:
    """A static executable."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/attack"
        command = ["cc", "-static", "-O1", "-w", "-o", path, str(SOURCE)]
        subprocess.run(command, check=True, timeout=60)
        return Path(path).read_bytes()


def install(rootfs: Path) -> str:
    """Put it into a root file system; its path there."""
    path = rootfs / "bin/attack"
    path.write_bytes(program())
    path.chmod(0o755)
    return "/bin/attack"
