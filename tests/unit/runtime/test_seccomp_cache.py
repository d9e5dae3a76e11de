"""The cache of compiled filters takes nothing that somebody else could have put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from estiva.runtime.seccomp import cache_key, compile_cached

SECTION = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, bytes]:
    program = compile_cached(SECTION, str(tmp_path), "x86_64")
    return tmp_path / f"{cache_key(SECTION, 'x86_64')}.bpf", program


def test_a_program_is_compiled_once_wherever_its_agent_is(kept, tmp_path):
    file, program = kept
    before = file.stat().st_ino
    again = {**SECTION, "listenerPath": "/elsewhere", "flags": []}
    assert compile_cached(again, str(tmp_path), "x86_64") == program
    assert file.stat().st_ino == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 7, b"\0" * (4096 * 8 + 8)])
def test_what_is_no_program_is_made_anew(kept, tmp_path, content):
    file, program = kept
    file.write_bytes(content)
    assert compile_cached(SECTION, str(tmp_path), "x86_64") == program
    assert file.read_bytes() == program


@pytest.mark.parametrize("how", ["writable", "link", "fifo", "other"])
def test_what_another_could_have_written_is_not_used(kept, tmp_path, how):
    file, program = kept
    allow_all = bytes.fromhex("060000000000ff7f")
    file.write_bytes(allow_all)
    if how == "writable":
        file.chmod(0o666)
    elif how == "other":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        os.chown(file, 12345, 12345)
    else:
        file.rename(tmp_path / "elsewhere")
        if how == "link":
            file.symlink_to(tmp_path / "elsewhere")
        else:
            os.mkfifo(file)
    assert compile_cached(SECTION, str(tmp_path), "x86_64") == program
