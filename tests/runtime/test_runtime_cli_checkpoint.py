"""``checkpoint`` and ``restore``: what CRIU is asked for, and how its failures are told.

Whether CRIU itself works depends on the kernel; a stand-in that notes its arguments shows what it is asked.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_root


@pytest.fixture
def criu(tmp_path):
    """A stand-in for criu: it writes its arguments down, and fails if there is a file ``fail`` with what to log."""
    path = tmp_path / "criu"
    path.write_text(
        f"""#!/bin/sh
printf '%s\\n' "$@" > {tmp_path}/asked
while [ $# -gt 0 ]; do
    case $1 in --work-dir) work=$2 ;; --log-file) log=$2 ;; --root) ls $2 > {tmp_path}/root ;;
    --status-fd) printf x >&$2 ;; esac
    shift
done
[ -e {tmp_path}/fail ] || exit 0
cat {tmp_path}/fail > $work/$log
exit 1
"""
    )
    path.chmod(0o755)

    class Standin:
        program = str(path)

        def asked(self):
            return (tmp_path / "asked").read_text().splitlines()

        def fails_with(self, text):
            (tmp_path / "fail").write_text(text)

        def saw_root(self):
            return (tmp_path / "root").read_text().split()

    return Standin()


def follows(words, first):
    """All values that come after *first*."""
    return [words[at + 1] for at, word in enumerate(words[:-1]) if word == first]


def test_a_checkpoint_asks_for_all_that_was_wanted_and_ends_the_container(runtime, criu, tmp_path):
    runtime.spec["mounts"].append({"destination": "/m", "type": "bind", "source": "/tmp", "options": ["rbind"]})
    pid = runtime.start("a")
    images = tmp_path / "images"
    (images / "before").mkdir(parents=True)
    words = ["--image-path", str(images), "--work-path", str(tmp_path / "work"), "--parent-path", "before"]
    words += ["--tcp-established", "--ext-unix-sk", "--shell-job", "--file-locks", "--auto-dedup"]
    words += ["--manage-cgroups-mode", "full", "--empty-ns", "network", "--page-server", "[::1]:77"]
    runtime("--criu", criu.program, "checkpoint", *words, "a")
    asked = criu.asked()
    assert asked[:3] == ["dump", "--tree", str(pid)]
    assert follows(asked, "--images-dir") == [str(images)]
    assert follows(asked, "--work-dir") == [str(tmp_path / "work")]
    assert follows(asked, "--prev-images-dir") == ["before"]
    assert (follows(asked, "--address"), follows(asked, "--port")) == (["[::1]"], ["77"])
    assert follows(asked, "--external") == ["mnt[/m]:/m"]
    assert follows(asked, "--empty-ns") == ["net"]
    assert {"--tcp-established", "--ext-unix-sk", "--shell-job", "--file-locks", "--auto-dedup"} <= set(asked)
    assert {"--manage-cgroups=full", "--track-mem", "--page-server"} <= set(asked)
    assert all(place.endswith("/estiva/a") for place in follows(asked, "--cgroup-root"))
    assert len(json.loads((images / "descriptors.json").read_text())) == 3
    assert runtime("list", "-q") == ""


def test_a_container_runs_on_where_it_is_to(runtime, criu, tmp_path):
    runtime.start("a")
    for option, command in (("--leave-running", "dump"), ("--pre-dump", "pre-dump")):
        runtime("--criu", criu.program, "checkpoint", "--image-path", str(tmp_path / "images"), option, "a")
        assert criu.asked()[0] == command
        assert runtime.status("a") == "running"
    assert "--leave-running" not in criu.asked()


def test_lazy_pages_say_when_they_are_ready(runtime, criu, tmp_path):
    runtime.start("a")
    read_fd, write_fd = os.pipe()
    os.set_inheritable(write_fd, True)
    try:
        words = ["checkpoint", "--image-path", str(tmp_path / "images"), "--leave-running", "--lazy-pages"]
        words += ["--page-server", "localhost:1", "--status-fd", str(write_fd), "a"]
        runtime("--criu", criu.program, *words, pass_fds=[write_fd])
        assert "--lazy-pages" in criu.asked()
        assert os.read(read_fd, 10) == b"x"
    finally:
        os.close(read_fd)
        os.close(write_fd)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--manage-cgroups-mode", "x"], 'invalid manage-cgroups-mode value: "x"'),
        (["--empty-ns", "pid"], 'namespace "pid" is not supported'),
        (["--page-server", "nowhere"], '"nowhere" is not ADDRESS:PORT'),
        (["--parent-path", "/x"], "must be relative"),
        (["--parent-path", "x"], '"x" is not a directory'),
        (["--status-fd", "x"], '"x" is not a number'),
    ],
)
def test_what_criu_could_not_be_asked_is_refused(runtime, criu, tmp_path, words, message):
    runtime.start("a")
    said = runtime("--criu", criu.program, "checkpoint", "--image-path", str(tmp_path / "i"), *words, "a", code=1)
    assert message in said
    assert runtime.status("a") == "running"


def test_only_what_runs_is_saved(runtime, criu):
    runtime.process("sleep", "100")
    runtime.create("a")
    assert "cannot be checkpointed in created state" in runtime("--criu", criu.program, "checkpoint", "a", code=1)


def test_failures_are_told_with_their_cause_and_the_log(runtime, criu, tmp_path):
    runtime.start("a")
    images = str(tmp_path / "images")
    criu.fails_with("(0.1) hello\n(0.2) Error (criu/x.c:5): no such luck\n(0.3) Error (criu/y.c:9): so it ends\n")
    said = runtime("--criu", criu.program, "checkpoint", "--image-path", images, "a", code=1)
    assert said == f"estiva-runtime: criu dump failed: no such luck; log file: {images}/dump.log\n"
    assert runtime.status("a") == "running"
    said = runtime("--criu", criu.program, "restore", "--image-path", images, "b", code=1)
    assert said == f"estiva-runtime: criu restore failed: no such luck; log file: {images}/restore.log\n"
    said = runtime("--criu", f"{tmp_path}/none", "checkpoint", "--image-path", images, "a", code=1)
    assert "criu is not there" in said
    assert runtime("list", "-q") == "a\n"


def test_a_restore_shows_criu_the_root_and_leaves_nothing_when_it_fails(runtime, criu, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    runtime.process("true")
    assert "descriptors.json is missing" in runtime("restore", "--image-path", str(images), "b", code=1)
    (images / "descriptors.json").write_text('["/dev/null", "pipe:[12]", "pipe:[13]"]')
    mounts = Path("/proc/self/mountinfo").read_text()
    criu.fails_with("(0.2) Error (criu/x.c:5): no\n")
    words = ["--image-path", str(images), "--tcp-established", "--lsm-profile", "selinux:x", "--bundle", "."]
    assert "criu restore failed: no;" in runtime("--criu", criu.program, "restore", *words, "b", code=1)
    asked = criu.asked()
    assert {"--restore-detached", "--restore-sibling", "--tcp-established"} <= set(asked)
    assert follows(asked, "--inherit-fd") == ["fd[1]:pipe:[12]", "fd[2]:pipe:[13]"]
    assert follows(asked, "--lsm-profile") == ["selinux:x"]
    assert "bin" in criu.saw_root()
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert runtime("list", "-q") == ""


@pytest.mark.skipif(not shutil.which("criu"), reason="criu is not installed")
def test_criu_itself_saves_a_container_or_says_why_not(runtime, tmp_path):
    runtime.start("a")
    images = tmp_path / "images"
    said = runtime("checkpoint", "--image-path", str(images), "a", code=None)
    if said:
        assert f"log file: {images}/dump.log" in said
        assert len(said.splitlines()) == 1
        assert runtime.status("a") == "running"
        pytest.skip(f"criu does not work on this kernel: {said.strip()}")
    runtime("restore", "--image-path", str(images), "--detach", "a")
    assert runtime.status("a") == "running"
