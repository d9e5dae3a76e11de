"""Labels of the process where the kernel has the security modules: scripts/test-vm --apparmor, --selinux."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from helpers.bundle import Runtime

pytestmark = pytest.mark.needs_root
PROFILE = """
profile estiva-test flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal, ptrace, mount, unix,
  deny /etc/os-release r,
}
"""


@pytest.fixture
def profile():
    if not os.path.exists("/sys/kernel/security/apparmor/profiles"):
        pytest.skip("needs AppArmor: scripts/test-vm --apparmor")
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache"], input=PROFILE, text=True, check=True)
    yield "estiva-test"
    subprocess.run(["apparmor_parser", "--remove"], input=PROFILE, text=True, check=True)


@pytest.fixture
def runtime(public_directory):
    # not /tmp: there set-user-id bits mean nothing, and SELinux takes a change of label for one
    made = Runtime(Path(tempfile.mkdtemp(dir=public_directory)))
    yield made
    for name in made("list", "-q").split():
        made("delete", "--force", name)


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("filtered", [True, False])
def test_apparmor_confines_the_first_program_and_those_of_exec(runtime, profile, no_new_privileges, filtered):
    if filtered:
        runtime.spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    runtime.spec["process"].update(apparmorProfile=profile, noNewPrivileges=no_new_privileges)
    script = "cat /proc/self/attr/current; cat /etc/os-release 2>&1; cat /etc/passwd | head -n1"
    runtime.process("sh", "-c", script)
    for said in (runtime("run", "a"), _executed(runtime, script)):
        current, refused, read = said.splitlines()
        assert current == f"{profile} (enforce)"
        assert "Permission denied" in refused
        assert read.startswith("root:")


def _executed(runtime, script):
    runtime.start("a")
    return runtime("exec", "a", "sh", "-c", script)


def test_an_apparmor_profile_that_is_not_loaded_is_named(runtime, profile):
    runtime.process("true", apparmorProfile="nobody-loaded-this")
    said = runtime("run", "a", code=1)
    assert "process.apparmorProfile nobody-loaded-this: no such file or directory" in said
    assert runtime("list", "-q") == ""


def test_exec_may_have_a_profile_of_its_own(runtime, profile):
    runtime.start("a")
    assert runtime("exec", "a", "cat", "/proc/self/attr/current") == "unconfined\n"
    assert runtime("exec", "--apparmor", profile, "a", "cat", "/proc/self/attr/current") == f"{profile} (enforce)\n"


@pytest.fixture
def label(runtime):
    """One that everybody may become, with categories; the policy of the virtual machine has it."""
    if not os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("needs SELinux: scripts/test-vm --selinux")
    # programs may become it from files that are programs, which what a test makes is not by itself
    subprocess.run(["chcon", "-R", "system_u:object_r:bin_t:s0", f"{runtime.bundle}/rootfs/bin"], check=True)
    return "system_u:system_r:unconfined_t:s0:c7,c77"


def test_selinux_labels_the_first_program_and_those_of_exec(runtime, label):
    # With noNewPrivileges the policy has to allow the transition by a right of its own, which Debian's does to nobody.
    runtime.spec["process"].update(selinuxLabel=label, noNewPrivileges=False)
    runtime.process("cat", "/proc/self/attr/current")
    assert runtime("run", "a").strip("\0\n") == label
    runtime.start("a")
    assert runtime("exec", "a", "cat", "/proc/self/attr/current").strip("\0\n") == label
    assert runtime("exec", "a", "cat", "/proc/self/attr/keycreate", "/proc/self/attr/exec").strip("\0\n") == ""
    other = label.replace("c77", "c78")
    seen = runtime("exec", "--process-label", other, "a", "cat", "/proc/self/attr/current")
    assert seen.strip("\0\n") == other


def test_a_selinux_label_that_the_policy_does_not_know_is_named(runtime, label):
    wrong = "system_u:system_r:nobody_knows_t:s0"
    runtime.process("true", selinuxLabel=wrong)
    assert f"process.selinuxLabel {wrong}: invalid argument" in runtime("run", "a", code=1)


def test_the_other_modules_label_is_refused(runtime):
    kinds = {"apparmorProfile": "/sys/kernel/security/apparmor", "selinuxLabel": "/sys/fs/selinux/enforce"}
    missing = [field for field, path in kinds.items() if not os.path.exists(path)]
    assert missing
    for field in missing:
        runtime.process("true", **{field: "some_label"})
        assert f"process.{field}: this kernel has no" in runtime("run", "a", code=1)
        del runtime.spec["process"][field]
