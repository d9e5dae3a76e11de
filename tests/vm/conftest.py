"""Cases for the virtual machine of scripts/test-vm: they count on its kernel, its systemd and its users."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def in_the_machine() -> None:
    """Skip everywhere else, before anything is touched."""
    if not os.path.exists("/usr/local/lib/estiva-vm"):
        pytest.skip("needs the virtual machine: scripts/test-vm")
