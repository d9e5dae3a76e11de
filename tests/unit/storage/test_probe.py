"""Which driver is chosen where several work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from estiva.storage import probe, staging


@pytest.mark.parametrize(
    ("kernel", "in_userns", "selinux", "driver"),
    [
        ((6, 12), False, False, "erofs"),
        ((6, 11), False, False, "overlay"),
        ((6, 12), True, False, "overlay"),
        ((6, 12), False, True, "overlay"),
    ],
)
def test_an_index_is_used_where_kernel_and_policy_can(monkeypatch, tmp_path, kernel, in_userns, selinux, driver):
    monkeypatch.setattr(probe, "_works", lambda store, indexed: True)
    monkeypatch.setattr(probe, "kernel_version", lambda: kernel)
    monkeypatch.setattr(staging, "SELINUX", str(tmp_path if selinux else tmp_path / "absent"))
    assert probe.best_driver(SimpleNamespace(in_userns=in_userns)) == driver
