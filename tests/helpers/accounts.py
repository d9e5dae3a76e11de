"""A real ordinary user with subordinate ids, in the session's own /etc."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers import kernel
from helpers.isolation import WORLD, kill_all

SOURCES = Path(__file__).resolve().parent.parent.parent / "src"
SUBORDINATE_IDS = 65536


class NoAccount(Exception):
    """No ordinary user can be had here; the text says why."""


class Account:
    """Somebody to run commands as: a user made for the session, or whoever runs the tests.

    ``python`` is an interpreter this user may execute; ``sources`` the directory of the package, readable to it;
    ``site`` the directory its dependencies are in.
    """

    def __init__(self, uid: int, gid: int, name: str, home: Path, runtime_dir: Path) -> None:
        self.uid, self.gid, self.name = uid, gid, name
        self.home = home
        self.runtime_dir = runtime_dir
        self.python = sys.executable
        self.sources = SOURCES

    @property
    def is_self(self) -> bool:
        """Whether this is the user who runs the tests."""
        return self.uid == os.geteuid()

    def identity(self) -> dict[str, Any]:
        """Arguments of subprocess that make a process this user's."""
        return {} if self.is_self else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """subprocess.run as this user, in its home directory and environment."""
        options = {"text": True, "capture_output": True, "cwd": self.home, "env": self.environment(), **options}
        return subprocess.run(command, check=False, **self.identity(), **options)

    def environment(self) -> dict[str, str]:
        """What a fresh login would have in its environment."""
        return {
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "XDG_RUNTIME_DIR": str(self.runtime_dir),
        }

    def processes(self) -> set[int]:
        """The session's processes that are this user's or those of its subordinate ids."""
        found = set()
        for pid in WORLD.processes():
            try:
                owner = os.stat(f"/proc/{pid}").st_uid
            except FileNotFoundError:
                continue
            if owner == self.uid:
                found.add(pid)
        return found


def root_account(directory: Path) -> Account:
    """Root, with a home directory of the session."""
    home, runtime_dir = directory / "root-home", directory / "root-run"
    for path in (home, runtime_dir):
        path.mkdir(mode=0o700, exist_ok=True)
    return Account(0, 0, "root", home, runtime_dir)


def make_user(directory: Path, *, subordinate_ids: bool = True) -> Account:
    """A new user with its home below *directory*; raises :class:`NoAccount`."""
    if os.geteuid() != 0:
        return _this_user(directory, subordinate_ids)
    if not WORLD.etc_is_own:
        raise NoAccount("/etc cannot be covered by an overlay to make a user in")
    uid = 20000 + os.getpid() % 20000 + (0 if subordinate_ids else 20000)
    name = f"tester{uid}"
    home, runtime_dir = directory / name, directory / f"run-{uid}"
    _append("/etc/passwd", f"{name}:x:{uid}:{uid}:test user:{home}:/bin/sh")
    _append("/etc/group", f"{name}:x:{uid}:")
    if subordinate_ids:
        start = 1_000_000_000 + (uid - 20000) * SUBORDINATE_IDS
        for file in ("/etc/subuid", "/etc/subgid"):
            _append(file, f"{name}:{start}:{SUBORDINATE_IDS}")
    for path in (home, runtime_dir):
        path.mkdir(mode=0o700)
        os.chown(path, uid, uid)
    account = Account(uid, uid, name, home, runtime_dir)
    _make_reachable(account)
    return account


def remove_user(account: Account) -> None:
    """End what the user left running; the account goes away with the session's /etc."""
    if not account.is_self:
        kill_all(account.processes)
        kernel.remove_tree(account.home)
        kernel.remove_tree(account.runtime_dir)


def _this_user(directory: Path, subordinate_ids: bool) -> Account:
    if not subordinate_ids:
        raise NoAccount("only root can make a user without subordinate ids")
    me = pwd.getpwuid(os.getuid())
    home, runtime_dir = directory / "home", directory / "run"
    for path in (home, runtime_dir):
        path.mkdir(mode=0o700, exist_ok=True)
    return Account(os.getuid(), os.getgid(), me.pw_name, home, runtime_dir)


def _append(file: str, line: str) -> None:
    path = Path(file)
    text = path.read_text() if path.exists() else ""
    path.write_text(text + ("" if not text or text.endswith("\n") else "\n") + line + "\n")


def _make_reachable(account: Account) -> None:
    """See that the user can run the package: a checkout or environment below a private home is shown elsewhere."""
    reads = f"open({str(SOURCES / 'estiva' / '__init__.py')!r})"
    if account.run([_true_python(), "-I", "-S", "-c", reads]).returncode != 0:
        account.sources = Path(WORLD.shown(str(SOURCES), "src"))
    for candidate in (lambda: sys.executable, _shown_environment, lambda: "/usr/bin/python3"):
        python = candidate()
        if python and _runs(account, python):
            account.python = python
            return
    raise NoAccount("no Python 3.11+ with the package's dependencies is readable to other users")


def _true_python() -> str:
    return "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def _shown_environment() -> str | None:
    """The virtual environment of this process at a path everybody can reach, if there is one."""
    if sys.prefix == sys.base_prefix:
        return None
    return f"{WORLD.shown(sys.prefix, 'environment')}/{Path(sys.executable).relative_to(sys.prefix)}"


def _runs(account: Account, python: str) -> bool:
    code = "import sys, urllib3; sys.exit(sys.version_info < (3, 11))"
    try:
        return account.run([python, "-c", code]).returncode == 0
    except OSError:
        return False
