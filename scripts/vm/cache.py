"""Files that take long to make, kept between runs beside what the tests keep."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

KEPT = 4  # of each kind: a few kernels, and what another branch needs


def directory() -> Path:
    """``$ESTIVA_TEST_CACHE``, else below /var/tmp, one for each user; as the tests have it."""
    path = Path(os.environ.get("ESTIVA_TEST_CACHE") or f"/var/tmp/estiva-test-cache-{os.getuid()}")
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def made_once(kind: str, ingredients: list[str | bytes], make: Callable[[Path], None]) -> Path:
    """The directory of that *kind* made of these *ingredients*; where there is none, *make* fills it.

    One process makes it while others wait.  The oldest of a kind go when there are more than KEPT.
    """
    digest = hashlib.sha256()
    for ingredient in ingredients:
        data = ingredient.encode() if isinstance(ingredient, str) else ingredient
        digest.update(len(data).to_bytes(8, "big") + data)
    final = directory() / f"{kind}-{digest.hexdigest()[:16]}"
    if final.is_dir():
        os.utime(final)
        return final
    with open(directory() / f".{kind}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            return final
        fresh = directory() / f".{kind}.fresh"  # one that a killed run left is in nobody's use: we hold the lock
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        try:
            make(fresh)
            fresh.rename(final)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        made = sorted(directory().glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime)
        for old in made[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    return final


def run(*command: str | os.PathLike[str], **options: object) -> None:
    """Run a tool of the host; its last words are shown only if it fails, by SystemExit."""
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SystemExit(f"Error: {command[0]} ended with {done.returncode}:\n{words}")
