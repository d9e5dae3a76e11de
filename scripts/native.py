"""Compile the two kinds of native program: the helper and the launcher of the installed commands.

Used by setup.py while a wheel is built, and by hand (`make native`) for a source tree that is run in place::

    python scripts/native.py helper src/estiva/_native/estiva-helper
    python scripts/native.py launcher /some/bin/estiva

Both are freestanding: any C compiler for x86-64 or arm64 Linux will do (gcc, clang, musl-gcc, a cross compiler), with
the kernel's own headers and no C library.  ``CC`` names the compiler, ``ESTIVA_CFLAGS`` adds options.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

NATIVE = Path(__file__).resolve().parent.parent / "native"


class CompilerMissing(Exception):
    """There is no C compiler, or it makes programs for a machine that is not supported."""


def compiler() -> list[str]:
    """The C compiler's command: ``CC``, else the first of the usual ones on PATH."""
    if named := os.environ.get("CC"):
        return shlex.split(named)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise CompilerMissing(
        "building estiva needs a C compiler and none was found: install gcc and the kernel's headers "
        "(Debian: apt-get install gcc libc6-dev), or set CC"
    )


def machine() -> str:
    """The machine type the compiler makes programs for, as in wheel tags: ``x86_64`` or ``aarch64``."""
    command = [*compiler(), "-dumpmachine"]
    triple = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(triple.split("-")[0], triple.split("-")[0])
    if name not in ("x86_64", "aarch64"):
        raise CompilerMissing(f"estiva's helper is written for x86-64 and arm64; {command[0]} makes {triple} programs")
    return name


def sources(kind: str) -> list[Path]:
    """The C files of ``helper`` or ``launcher``, sorted, so that the same input gives the same program."""
    launcher = NATIVE / "launcher.c"
    if kind == "launcher":
        return [launcher]
    return sorted(file for file in NATIVE.glob("*.c") if file != launcher)


def inputs() -> list[Path]:
    """Everything the programs are made from, headers and options included."""
    return sorted([*NATIVE.glob("*.c"), *NATIVE.glob("*.h"), NATIVE / "flags"])


def flags() -> list[str]:
    """The compiler's options: those of ``native/flags``, then the user's own."""
    wanted = [*(NATIVE / "flags").read_text().split(), *shlex.split(os.environ.get("ESTIVA_CFLAGS", ""))]
    return [*wanted, "-fcf-protection=none"] if machine() == "x86_64" else wanted


def compile_program(kind: str, target: Path) -> None:
    """Write the program *kind* to *target*, mode 0755; an older one is replaced whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    command = [*compiler(), *flags(), "-o", str(fresh), *map(str, sources(kind))]
    print(shlex.join(command), flush=True)
    try:
        subprocess.run(command, check=True)
        fresh.chmod(0o755)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("helper", "launcher"):
        sys.exit("usage: native.py helper|launcher TARGET")
    compile_program(sys.argv[1], Path(sys.argv[2]))
