"""What the engine's containers may under AppArmor: scripts/test-vm --apparmor tests/vm/test_apparmor_engine.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

PROFILES = Path("/sys/kernel/security/apparmor/profiles")
OURS = "containers-default-estiva"

pytestmark = pytest.mark.skipif(not PROFILES.exists(), reason="needs AppArmor: scripts/test-vm --apparmor")


@pytest.fixture
def root(estiva_root: Any) -> Any:
    estiva_root.load()
    return estiva_root


def sh(estiva: Any, script: str, *options: str) -> str:
    return str(estiva.out("run", "--rm", "--network", "none", *options, "busybox", "sh", "-c", script))


def test_a_container_of_roots_gets_our_profile_which_is_loaded_unasked(root):
    assert sh(root, "cat /proc/self/attr/current") == f"{OURS} (enforce)"
    assert f"{OURS} (enforce)" in PROFILES.read_text().splitlines()
    root.run("run", "-d", "--name", "c", "--network", "none", "busybox", "sleep", "1000")
    assert root.out("exec", "c", "cat", "/proc/self/attr/current") == f"{OURS} (enforce)"
    assert root.json("inspect", "c")[0]["AppArmorProfile"] == OURS


def test_the_profile_holds_what_capabilities_and_masks_would_not(root):
    """With every capability and nothing masked, neither mounts nor the kernel's settings can be changed."""
    bare = ("--cap-add", "all", "--security-opt", "unmask=ALL", "--security-opt", "seccomp=unconfined")
    script = "mount -t tmpfs none /tmp || echo no mount; (echo 1 > /proc/sys/vm/drop_caches) || echo no write"
    assert sh(root, f"exec 2>/dev/null; {script}", *bare) == "no mount\nno write"
    free = sh(root, f"exec 2>/dev/null; {script}; echo end", *bare, "--security-opt", "apparmor=unconfined")
    assert free == "end"


def test_common_work_is_not_held_back(root):
    script = """
        echo a > /f && cat /f && mkdir /d && ln -s /f /d/l && chmod 700 /d && chown 1:1 /f && rm -r /d
        sleep 100 & kill $! && wait $!; ls /proc/self/fd > /dev/null && cat /proc/mounts > /dev/null && echo done
    """
    assert sh(root, script) == "a\ndone"
    assert sh(root, "id -u; touch /tmp/x && echo yes", "--user", "1000") == "1000\nyes"
    root.run("run", "-d", "--name", "c", "--network", "none", "busybox", "sleep", "1000")
    root.run("stop", "-t", "5", "c")  # signals from outside arrive


def test_profiles_by_name(root):
    assert sh(root, "cat /proc/self/attr/current", "--security-opt", "apparmor=unconfined") == "unconfined"
    assert sh(root, "cat /proc/self/attr/current", "--privileged") == "unconfined"
    said = root.fails(125, "run", "--rm", "--security-opt", "apparmor=nobodys", "busybox", "true")
    assert 'AppArmor profile "nobodys" specified but not loaded' in said


def test_an_ordinary_user_has_none_and_is_told_so(estiva_user):
    estiva_user.load()
    assert sh(estiva_user, "cat /proc/self/attr/current") == "unconfined"
    said = estiva_user.fails(125, "run", "--rm", "--security-opt", "apparmor=x", "busybox", "true")
    assert "not supported in rootless mode" in said
