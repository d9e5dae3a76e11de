"""The monitor: streams, log, exit status, restarts, terminals."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from estiva.monitor.client import Attachment

pytestmark = pytest.mark.needs_root


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_exit_code_is_told_and_kept(box):
    assert box.run("sh", "-c", "exit 42") == 42
    state = box.state()
    assert (state.running, state.exit_code, state.oom) == (False, 42, False)
    assert state.started_ns <= state.finished_ns <= time.time_ns()


def test_death_by_signal_is_128_and_its_number(box):
    box.around.init = True
    assert box.run("sh", "-c", "kill -9 $$") == 137


def test_streams_are_kept_apart_and_logged_in_order(box):
    box.run("sh", "-c", "echo one; sleep 0.05; echo two >&2; sleep 0.05; printf three")
    assert (box.out, box.err) == (b"one\nthree", b"two\n")
    lines = (box.base / "log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["stdout F one", "stderr F two", "stdout P three"]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+00:00 ", line) for line in lines)


def test_json_log_escapes_what_json_must_and_survives_bytes_that_are_not_text(box):
    box.monitor.log_format = "json-file"
    box.run("sh", "-c", r"""printf 'a"b\\c\td\377\303\251\n'""")
    entry = json.loads((box.base / "log").read_text())
    assert entry["log"] == 'a"b\\c\td\ufffdé\n'
    assert entry["stream"] == "stdout"
    assert entry["time"].endswith("Z")


def test_log_is_rotated_by_size(box):
    box.monitor.log_bytes, box.monitor.log_files = 2000, 3
    box.run("sh", "-c", "for i in $(seq 200); do echo line $i; done")
    assert sorted(p.name for p in box.base.glob("log*")) == ["log", "log.1", "log.2"]
    assert all(p.stat().st_size < 2200 for p in box.base.glob("log*"))


def test_all_output_arrives_however_much_and_however_slowly_it_is_taken(box):
    _, attachment = box.start("sh", "-c", "seq 1 200000; echo done >&2")
    time.sleep(0.3)
    assert box.collect(attachment) == 0
    assert box.out == b"".join(b"%d\n" % n for n in range(1, 200001))
    assert box.err == b"done\n"


def test_standard_input_reaches_the_program_whole_and_ends(box):
    box.monitor.stdin = True
    _, attachment = box.start("sha256sum")
    import hashlib

    data = os.urandom(1 << 20)
    for at in range(0, len(data), 16000):
        attachment.send_stdin(data[at : at + 16000])
    attachment.close_stdin()
    assert box.collect(attachment) == 0
    assert box.out.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_container_lives_on_without_the_command_and_can_be_attached_to(box):
    box.monitor.stdin = True
    _, attachment = box.start("sh", "-c", "read x; echo got $x")
    attachment.close()
    box._lines.clear()
    assert box.state().running
    with Attachment.open(f"{box.base}/attach") as other:
        other.send_stdin(b"word\n")
        assert box.collect(other) == 0
    assert box.out == b"got word\n"


def test_a_waiting_client_hears_of_the_end_but_no_output(box):
    _, owner = box.start("sh", "-c", "sleep 0.2; echo noise; exit 5")
    with Attachment.open(f"{box.base}/attach", output=False) as waiter:
        assert list(waiter.events()) == [("exit", b"")]
        assert waiter.exit_code == 5
    box.collect(owner)


def test_terminal_has_a_size_that_follows_and_is_the_controlling_one(box):
    box.spec["process"]["terminal"] = True
    box.spec["process"]["consoleSize"] = {"height": 30, "width": 90}
    _, attachment = box.start("sh", "-c", "stty size; tty; read x; stty size; ls -l /dev/console | cut -c1")
    attachment.resize(11, 22)
    attachment.send_stdin(b"\n")
    assert box.collect(attachment) == 0
    lines = box.out.replace(b"\r", b"").split(b"\n")
    assert {b"30 90", b"11 22"} & set(lines)  # the first, unless the new size came sooner
    assert b"/dev/pts/0" in lines
    assert b"11 22" in lines
    assert b"c" in lines


def test_interrupt_typed_at_the_terminal_reaches_the_program(box):
    box.spec["process"]["terminal"] = True
    _, attachment = box.start("sh", "-c", "trap 'exit 33' INT; echo ready; while :; do sleep 0.05; done")
    assert attachment.receive() is not None
    attachment.send_stdin(b"\x03")
    assert box.collect(attachment) == 33


def test_restart_on_failure_stops_after_the_retries(box):
    box.around.rootfs.options = []  # a volatile overlay is for one life
    box.monitor.restart = ("on-failure", 2)
    assert box.run("sh", "-c", "echo again; exit 1") == 1
    assert box.out == b"again\n" * 3


def test_restart_always_until_told_not_to(box):
    box.around.rootfs.options = []  # a volatile overlay is for one life
    box.monitor.restart = ("always", 0)
    _, attachment = box.start("sh", "-c", "echo up; sleep 0.05")
    ups = 0
    while ups < 2:
        event = attachment.receive()
        assert event
        ups += event == ("stdout", b"up\n")
    assert box.state().restarts >= 1
    attachment.forbid_restart()
    assert box.collect(attachment) == 0


def test_timeout_kills(box):
    box.monitor.timeout = 1
    began = time.monotonic()
    assert box.run("sleep", "60") == 137
    assert time.monotonic() - began < 10


def test_clean_up_command_runs_only_when_the_owner_did_not(box, make_box, tmp_path):
    marker = tmp_path / "cleaned"
    box.monitor.cleanup = ["/bin/sh", "-c", f"echo x >> {marker}"]
    _, attachment = box.start("true")
    box.collect(attachment)
    attachment.release()
    attachment.close()
    box._lines.clear()
    orphan = make_box()
    orphan.monitor.cleanup = box.monitor.cleanup
    _, attachment = orphan.start("true")
    attachment.close()
    orphan._lines.clear()
    wait_until(marker.exists)
    time.sleep(0.1)
    assert marker.read_text() == "x\n"


def test_tree_named_for_removal_is_gone_also_when_it_is_hostile(box, tmp_path):
    doomed = tmp_path / "doomed"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    doomed.mkdir()
    (doomed / "link").symlink_to(outside)
    here = os.open(doomed, os.O_RDONLY)
    for _ in range(600):  # far deeper than PATH_MAX and the helper's recursion
        os.mkdir("a-rather-long-name", dir_fd=here)
        deeper = os.open("a-rather-long-name", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    box.monitor.remove = str(doomed)
    box.run("true")
    assert not doomed.exists()
    assert (outside / "keep").exists()


def test_nothing_of_the_container_remains(box):
    mounts = Path("/proc/self/mountinfo").read_text()
    launched, attachment = box.start("sh", "-c", "sleep 100 & sleep 100 & wait")
    os.kill(launched.pid, signal.SIGKILL)
    assert box.collect(attachment) == 137
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert not (box.base / "status").exists()
    assert not (box.base / "attach").exists()
    wait_until(lambda: not monitors())


def monitors():
    """The process ids of monitors of these tests."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and b"estiva-monitor\0test" in _read(entry / "cmdline")
    ]


def test_an_idle_monitor_takes_less_than_200_kib(box):
    _, attachment = box.start("sleep", "30")
    (monitor,) = monitors()
    pss = int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{monitor}/smaps_rollup").read_text(), re.M)[1])
    assert pss < 200
    os.kill(box.state().pid, signal.SIGKILL)
    box.collect(attachment)


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""
