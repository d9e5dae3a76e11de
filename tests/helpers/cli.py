"""The command line as people use it, with a store of its own that is gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from helpers import kernel
from helpers.accounts import Account
from helpers.images import Image, busybox_image
from helpers.isolation import WORLD
from helpers.leaks import Snapshot, leaked
from helpers.terminal import Terminal

BUSYBOX = "localhost/busybox:latest"
COVERED = Path(__file__).with_name("covered.py")


class Estiva:
    """Runs ``estiva`` as one user, on private ``--root`` and ``--runroot``.

    ``root``, ``run_root``: the two directories; ``work``: a directory of the user's for a test's own files (and the
    working directory); ``env``: the environment of the commands, to be added to; ``account``: who runs them.
    """

    def __init__(self, account: Account, directory: Path) -> None:
        self.account = account
        self.base = Path(tempfile.mkdtemp(prefix="store-", dir=directory))
        self.root, self.run_root = self.base / "root", self.base / "run"
        self.work, self.tmp = self.base / "work", self.base / "tmp"
        for path in (self.work, self.tmp):
            path.mkdir()
        (self.base / "containers.conf").touch()  # the machine's own configuration is not asked
        for path in (self.base, *self.base.iterdir()):
            os.chown(path, account.uid, account.gid)
        self.env = account.environment()
        self.env |= {"TMPDIR": str(self.tmp), "CONTAINERS_CONF": str(self.base / "containers.conf")}
        if runtime := os.environ.get("ESTIVA_TEST_RUNTIME"):
            self.env["ESTIVA_RUNTIME"] = runtime
        if directory_of_data := os.environ.get("ESTIVA_TEST_COVERAGE"):
            self.env |= {
                "ESTIVA_TEST_COVERAGE": directory_of_data,
                "ESTIVA_TEST_SITE": os.environ["ESTIVA_TEST_SITE"],
            }
        self._terminals: list[Terminal] = []
        self._started: list[subprocess.Popen[Any]] = []
        self.before = Snapshot()

    @property
    def rootless(self) -> bool:
        """Whether the commands run as an ordinary user."""
        return self.account.uid != 0

    def argv(self, *arguments: str | os.PathLike[str], outside: bool = False) -> list[str]:
        """The command line as given to the kernel; *outside*: in the machine's own network, to fetch packages."""
        main = str(self.account.sources / "estiva" / "__main__.py")
        command = [self.account.python, "-I", "-S", main]
        if os.environ.get("ESTIVA_TEST_COVERAGE"):
            command[3:] = [str(COVERED), main]
        command += ["--root", str(self.root), "--runroot", str(self.run_root), *map(os.fspath, arguments)]
        if not outside:
            return command
        if self.account.is_self:
            return WORLD.outside(command)
        drop = ["setpriv", f"--reuid={self.account.uid}", f"--regid={self.account.gid}", "--clear-groups", "--"]
        return WORLD.outside([*drop, *command])

    def run(
        self,
        *arguments: str | os.PathLike[str],
        check: bool = True,
        timeout: float = 60,
        outside: bool = False,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; with *check*, a failure fails the test and shows what was written.

        *options* are subprocess.run's: ``input`` (text), ``cwd``, ``text=False`` for bytes …
        """
        identity = {} if outside else self.account.identity()
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        options = {"text": True, "cwd": self.work, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        options |= {"timeout": timeout, "env": {**self.env, **(env or {})}, **identity}
        done = subprocess.run(self.argv(*arguments, outside=outside), check=False, **options)
        if check and done.returncode != 0:
            words = " ".join(map(os.fspath, arguments))
            raise AssertionError(f"estiva {words}: exit code {done.returncode}\n{done.stdout!s}{done.stderr!s}")
        return done

    def out(self, *arguments: str | os.PathLike[str], **options: Any) -> str:
        """What a command that succeeds writes to its standard output, without the last newline."""
        return str(self.run(*arguments, **options).stdout).removesuffix("\n")

    def json(self, *arguments: str | os.PathLike[str], **options: Any) -> Any:
        """The JSON document a command writes."""
        return json.loads(self.out(*arguments, **options))

    def fails(self, code: int, *arguments: str | os.PathLike[str], **options: Any) -> str:
        """The one line a command writes that must fail with exit code *code*."""
        done = self.run(*arguments, check=False, **options)
        assert done.returncode == code, f"exit code {done.returncode}, not {code}: {done.stdout}{done.stderr}"
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("Error: "), done.stderr
        return str(lines[0])

    def popen(self, *arguments: str | os.PathLike[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command and go on; it is ended with the test."""
        options = {"text": True, "cwd": self.work, "env": self.env, "stdin": subprocess.DEVNULL, **options}
        process = subprocess.Popen(self.argv(*arguments), **self.account.identity(), **options)
        self._started.append(process)
        return process

    def terminal(self, *arguments: str | os.PathLike[str], **options: Any) -> Terminal:
        """A command on a terminal of its own; it is ended with the test."""
        options = {"cwd": self.work, "env": self.env, **options}
        terminal = Terminal(self.argv(*arguments), **self.account.identity(), **options)
        self._terminals.append(terminal)
        return terminal

    def load(self, image: Image | None = None, name: str = BUSYBOX) -> str:
        """Put *image* (busybox if none is given) into the store under *name*; returns the name."""
        archive = self.base / "image.tar"
        (busybox_image() if image is None else image).docker_archive(archive, name)
        os.chown(archive, self.account.uid, self.account.gid)
        self.run("pull", "--quiet", f"docker-archive:{archive}")
        archive.unlink()
        return name

    # What a test leaves behind.

    def close(self) -> list[str]:
        """Remove all containers and the store; returns what was then still there and should not be."""
        for terminal in self._terminals:
            terminal.close()
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        problems: list[str] = []
        if (self.root / "db.sqlite").exists():
            done = self.run("rm", "--all", "--force", "--time", "0", check=False)
            if done.returncode:
                problems.append(f"rm --all --force: {done.stderr.strip()}")
        self._stop_keeper()
        problems += leaked(self.before) + self._left_files()
        self._remove_directories()
        return problems

    def _stop_keeper(self) -> None:
        """The process that keeps the user's namespace stays until logout, by design."""
        with suppress(FileNotFoundError, ValueError, IndexError, ProcessLookupError):
            os.kill(int((self.run_root / "pause").read_text().split()[0]), signal.SIGKILL)

    def _left_files(self) -> list[str]:
        places = (self.root / "containers", self.run_root / "containers", self.tmp)
        return [f"file: {path}" for place in places if place.is_dir() for path in place.iterdir()]

    def _remove_directories(self) -> None:
        if os.geteuid() != 0:  # files of subordinate ids can be removed only in a namespace that has them
            inside = ["unshare", "--map-root-user", "--map-auto", "rm", "-rf", "--one-file-system", str(self.base)]
            subprocess.run(inside, check=False, capture_output=True)
        kernel.remove_tree(self.base)
