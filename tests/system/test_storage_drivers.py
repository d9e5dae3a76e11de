"""The whole way, image to running container, on each storage driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.cli import Estiva


@pytest.mark.parametrize("driver", ["erofs", "overlay", "copy"])
def test_containers_run_and_keep_what_they_write(estiva: Estiva, busybox_archive: Path, driver: str) -> None:
    if driver == "erofs" and estiva.rootless:
        pytest.skip("only root may mount EROFS")
    estiva.env["ESTIVA_STORAGE_DRIVER"] = driver
    estiva.run("load", "-q", "-i", busybox_archive)
    image = "localhost/busybox:latest"
    estiva.run("run", "--name", "c", "--network", "none", image, "sh", "-c", "echo written > /etc/note; rm /bin/vi")
    again = estiva.run("start", "--attach", "c", check=False)
    assert again.returncode == 1  # what was removed is gone
    seen = estiva.run("run", "--rm", "--network", "none", image, "ls", "/bin/vi", "/etc")
    assert "/bin/vi" in seen.stdout
    assert "note" not in seen.stdout
    estiva.run("rm", "c")
    estiva.run("rmi", image)
    assert not any((estiva.root / "layers").iterdir())
    assert not any((estiva.root / "staging").iterdir())


def test_a_rootless_store_refuses_what_only_root_has(estiva_user: Estiva) -> None:
    failed = estiva_user.run("--storage-driver", "erofs", "images", check=False)
    assert failed.returncode == 125
    assert "erofs" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
