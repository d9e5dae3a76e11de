"""AppArmor profiles of containers, on hosts that have AppArmor; nothing of this is loaded elsewhere.  apparmor(7)

Without a word from the user, a container of root's gets a profile of our own, which is made and loaded when it is not
there: it leaves containers what they need and keeps them from the kernel's settings and from other processes.
podman-run(1) "--security-opt apparmor"
"""

from __future__ import annotations

import os

from estiva.engine.hostfacts import read_or_empty
from estiva.errors import Invalid, Unavailable, Unsupported

PREFIX = "containers-default-"
OURS = f"{PREFIX}estiva"
UNCONFINED = "unconfined"
PROFILES = "/sys/kernel/security/apparmor/profiles"
_PARSERS = ("/sbin/apparmor_parser", "/usr/sbin/apparmor_parser", "/usr/bin/apparmor_parser")

_PROFILE = """\
#include <tunables/global>

profile {name} flags=(attach_disconnected,mediate_deleted) {{
  #include <abstractions/base>

  file,
  network,
  capability,
  umount,
  signal (send,receive) peer={name},
  signal (receive) peer=unconfined,
  ptrace peer={name},

  # A container's mounts are made before its program runs.
  deny mount,
  deny pivot_root,

  # The kernel's settings, whatever has been mounted over them.
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{acpi,asound,bus,driver,fs,irq,scsi,tty}}/** w,
  deny @{{PROC}}/sys/{{abi,crypto,debug,dev,fs,kernel,sunrpc,user,vm,xen}}/** w,
  deny @{{PROC}}/{{kcore,sysrq-trigger}} rwklx,
  deny /sys/{{block,bus,class,dev,devices,hypervisor,kernel,module,power}}/** wklx,
  deny /sys/fs/{{bpf,btrfs,ext4,f2fs,fuse,pstore,selinux,smackfs,xfs}}/** wklx,
  deny /sys/{{firmware,kernel/security}}/** rwklx,
}}
"""


def choose_profile(asked: str, *, rootless: bool, privileged: bool) -> str:
    """The profile for a container: the one *asked* for, else our own; ``""`` to leave it to the kernel.

    Raises Unsupported for one an ordinary user cannot have, Invalid for one that is not loaded.
    """
    if asked == UNCONFINED or (privileged and not asked):
        return UNCONFINED
    if rootless:
        if asked:
            raise Unsupported(f'cannot load AppArmor profile "{asked}": AppArmor is not supported in rootless mode')
        return ""
    name = asked or OURS
    if name in loaded_profiles():
        return name
    if not name.startswith(PREFIX):
        raise Invalid(f'AppArmor profile "{name}" specified but not loaded', "load it with apparmor_parser")
    parser = next((path for path in _PARSERS if os.access(path, os.X_OK)), None)
    if parser is None:
        return ""  # as Podman: AppArmor without its programs is not supported
    _load(parser, name)
    return name


def loaded_profiles() -> set[str]:
    """The names of the profiles the kernel has."""
    return {line.rpartition(" (")[0] for line in read_or_empty(PROFILES).splitlines()}


def profile_text(name: str) -> str:
    """The default profile under this name.  apparmor.d(5)"""
    return _PROFILE.format(name=name)


def _load(parser: str, name: str) -> None:
    """Have the kernel take the default profile as *name*.  apparmor_parser(8)"""
    from estiva.runtime.helper import wait

    fd = os.memfd_create("profile", os.MFD_CLOEXEC)
    try:
        os.write(fd, profile_text(name).encode())
        os.lseek(fd, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, fd, 0)]
        code = wait(os.posix_spawn(parser, [parser, "-Kr"], os.environ, file_actions=actions))
    finally:
        os.close(fd)
    if code:
        raise Unavailable(f'loading AppArmor profile "{name}": {parser} failed with code {code}', "see its message")
