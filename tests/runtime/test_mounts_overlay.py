"""The root made of layers, as new and old kernels have it: a helper is compiled to believe it runs on an old one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from estiva.runtime import helper
from helpers import kernel

pytestmark = pytest.mark.needs_root
NATIVE = Path(__file__).parents[2] / "scripts/native.py"


@pytest.fixture(scope="module")
def old_helper(tmp_path_factory):
    program = tmp_path_factory.mktemp("helper") / "estiva-helper"
    environ = {**os.environ, "ESTIVA_CFLAGS": "-DOVERLAY_CLASSIC=1"}
    done = subprocess.run([sys.executable, NATIVE, "helper", program], env=environ, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no C compiler")
    return program


@pytest.fixture(params=["layer by layer", "in one text"])
def any_kernel(request, monkeypatch):
    if request.param == "in one text":
        program = request.getfixturevalue("old_helper")
        monkeypatch.setattr(helper, "HELPER", str(program))
        monkeypatch.setattr(helper._sealed_copy, "__defaults__", (str(program),))
    return request.param


def layers(box, count, name="layer"):
    """More layers above the box's lower one, each with a file of its own and one that all have."""
    made = []
    for index in range(count):
        layer = box.base / f"{name}{index}"
        layer.mkdir()
        (layer / f"file{index}").write_text(f"{index}\n")
        (layer / "common").write_text(f"{index}\n")
        made.append(str(layer))
    box.around.rootfs.lowerdirs = [*made, *box.around.rootfs.lowerdirs]


@pytest.mark.parametrize("count", [1, 3, 60, 130, 400])
def test_layers_lie_in_their_order(any_kernel, box, count):
    layers(box, count)
    out = box.shell(
        f"cat /common /file0 /file{count - 1}; ls / | grep -c file; echo new > /common; cat /common; "
        "grep -c 'lowerdir=[0-9]*:' /proc/self/mountinfo || true"
    )
    in_one = any_kernel == "in one text" or kernel.RELEASE < (6, 8)
    assert out.split() == ["0", "0", str(count - 1), str(count), "new", str(int(in_one))]
    assert (box.base / "upper/common").read_text() == "new\n"
    assert (box.base / "layer0/common").read_text() == "0\n"


def test_names_with_colons_backslashes_commas_and_of_great_length(any_kernel, box):
    long = box.base / ("x" * 200) / ("y" * 200)
    long.mkdir(parents=True)
    layers(box, 1, r"a:b\c,d=")
    layers(box, 1, f"{'x' * 200}/{'y' * 200}/")
    for name in ("upper", "work"):
        (long / name).mkdir()
    box.around.rootfs.upperdir, box.around.rootfs.workdir = f"{long}/upper", f"{long}/work"
    assert box.shell("ls / | grep -c file; touch /made").strip() == "1"
    assert (long / "upper/made").exists()


def test_a_root_without_an_upper_layer_cannot_be_written(any_kernel, box):
    layers(box, 2)
    box.around.rootfs.upperdir = box.around.rootfs.workdir = None
    box.around.rootfs.options = []
    assert box.run("touch", "/x") == 1
    assert b"Read-only" in box.err


def test_mapped_layers(any_kernel, box):
    layers(box, 3)
    box.in_user_namespace()
    out = box.shell("stat -c '%u %g' /bin/busybox /file1; echo x > /file1; touch /made")
    assert out.split() == ["0", "0", "0", "0"]
    assert os.stat(box.base / "upper/file1").st_uid == 300000
    before = Path("/proc/self/mountinfo").read_text()
    assert "layer1" not in before


def test_a_layer_that_is_missing_is_named(any_kernel, box):
    from estiva.errors import EstivaError

    box.around.rootfs.lowerdirs.insert(0, "/no/such/layer")
    with pytest.raises(EstivaError, match="/no/such/layer"):
        box.run("true")
