"""One container.  The class is small and quick to load; what its methods do is in modules of their own."""

from __future__ import annotations

import os

from estiva.engine.options import ContainerOptions
from estiva.engine.state import derive_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from estiva.engine.engine import Engine
    from estiva.engine.execution import ExecSession
    from estiva.engine.options import MountOption
    from estiva.engine.state import ContainerState
    from estiva.monitor.client import Attachment

COLUMNS = (
    "id, name, phase, created, started, image, image_name, command, labels, auto_remove, restart, mounts,"
    " options, details"
)


class Container:
    """A container that exists, as it was when it was looked up; :meth:`state` is always fresh.

    ``created_ns``, ``started_ns``: Unix nanoseconds · ``image_id``, ``image_name`` (``""`` for a root file system that
    is no image) · ``command``: entrypoint and arguments · ``mount_targets``: paths of its volumes · ``auto_remove``:
    made with ``--rm`` · ``restart_policy`` · ``phase`` configured, created or removing.
    """

    def __init__(self, engine: Engine, row: tuple[Any, ...]) -> None:
        self._engine = engine
        (self.id, self.name, self.phase, self.created_ns, self.started_ns, self.image_id, self.image_name) = row[:7]
        self._command, self._labels, auto_remove, self.restart_policy, mounts, self._options, self._details = row[7:]
        self.auto_remove = bool(auto_remove)
        self.mount_targets: list[str] = mounts.split("\0") if mounts else []
        self.spec_in_memory: dict[str, Any] | None = None  # from create() on to start(), to spare reading it again

    @property
    def bundle(self) -> str:
        """Its directory in the store: the OCI bundle, log and exit status."""
        return f"{self._engine.settings.root}/containers/{self.id}"

    @property
    def run_dir(self) -> str:
        """Its directory for sockets, locks and status, which a reboot empties."""
        return f"{self._engine.settings.run_root}/containers/{self.id}"

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def command(self) -> list[str]:
        return self._command.split("\0") if self._command else []

    @property
    def labels(self) -> dict[str, str]:
        if isinstance(self._labels, str):
            self._labels = _loads(self._labels)
        labels: dict[str, str] = self._labels
        return labels

    @property
    def options(self) -> ContainerOptions:
        """What it was asked to be."""
        if isinstance(self._options, str):
            self._options = ContainerOptions.from_json(_loads(self._options))
        options: ContainerOptions = self._options
        return options

    @property
    def details(self) -> dict[str, Any]:
        """What followed from the options when it was made: ``diff_ids``, ``mounts``, ``user``, ``stop_signal`` …"""
        if isinstance(self._details, str):
            self._details = _loads(self._details)
        details: dict[str, Any] = self._details
        return details

    @property
    def mounts(self) -> list[MountOption]:
        """Its volumes, bind mounts and tmpfs, those of the image among them."""
        from estiva.engine.options import MountOption

        return [MountOption.from_json(each) for each in self.details.get("mounts", [])]

    @property
    def log_driver(self) -> str:
        """k8s-file, json-file or none."""
        return str(self.details.get("log_driver", "k8s-file"))

    @property
    def log_path(self) -> str:
        return str(self.options.log_opt.get("path") or f"{self.bundle}/ctr.log")

    def state(self) -> ContainerState:
        """Whether it runs, how it ended …, read from its monitor's files now."""
        return derive_state(self.phase, self.started_ns, self.run_dir, self.bundle)

    def spec(self) -> dict[str, Any]:
        """Its OCI configuration."""
        if self.spec_in_memory is None:
            with open(f"{self.bundle}/config.json", "rb") as file:
                self.spec_in_memory = _loads(file.read())
        spec: dict[str, Any] = self.spec_in_memory
        return spec

    def start(self, attach: bool = False, *, terminal_size: os.terminal_size | None = None) -> Attachment | None:
        """Start it; with *attach*, the line on which its output comes from the first byte on.

        Starting one that runs does nothing.  Raises CommandNotFound, CommandNotExecutable …
        """
        from estiva.engine.launching import start

        return start(self, attach, terminal_size)

    def stop(self, timeout: int | None = None) -> None:
        """Send its stop signal, and SIGKILL when it has not ended after *timeout* seconds (-1: wait for ever)."""
        from estiva.engine.stopping import stop

        stop(self, timeout)

    def kill(self, signal: int | str = 9) -> None:
        """Send a signal to its first process.  Raises Conflict if it does not run."""
        from estiva.engine.stopping import kill

        kill(self, signal)

    def restart(self, timeout: int | None = None) -> None:
        """Stop it if it runs, and start it."""
        self.stop(timeout)
        self._engine.containers.get(self.id).start()

    def wait(self, condition: str = "stopped") -> int:
        """Its exit code, once it has stopped (*condition* ``removed``: is gone)."""
        from estiva.engine.stopping import wait

        return wait(self, condition)

    def remove(self, force: bool = False, timeout: int | None = None, volumes: bool = False) -> None:
        """Remove it, stopping it first with *force*; with *volumes* its anonymous volumes, too."""
        from estiva.engine.removal import remove

        remove(self, force, timeout, volumes)

    def cleanup(self) -> None:
        """Undo what a start did, after its end: release layers, cgroup and overlays; remove it if it is ``--rm``."""
        from estiva.engine.removal import cleanup

        cleanup(self)

    def attach(self, output: bool = True) -> Attachment:
        """A line to its monitor.  Raises Conflict if it does not run."""
        from estiva.monitor.client import Attachment

        return Attachment.open(f"{self.run_dir}/attach", output=output)

    def exec(
        self,
        argv: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        env: Sequence[str] = (),
        user: str = "",
        workdir: str = "",
        privileged: bool = False,
        detach: bool = False,
        preserve_fds: int = 0,
        terminal_size: os.terminal_size | None = None,
    ) -> ExecSession:
        """Run another program in it; see :class:`~estiva.engine.execution.ExecSession`."""
        from estiva.engine.execution import Program, execute

        program = Program(list(argv), tty, stdin, list(env), user, workdir, privileged, preserve_fds, terminal_size)
        return execute(self, program, detach)

    def inspect(self) -> dict[str, Any]:
        """All there is to know, as Podman's JSON has it."""
        from estiva.engine.inspection import inspect_container

        return inspect_container(self)

    def top(self, descriptors: Sequence[str] = ()) -> list[list[str]]:
        """Rows about its processes, the first with headings."""
        from estiva.engine.top import top

        return top(self, descriptors)

    def rename(self, name: str) -> None:
        """Give it another name.  Raises Conflict if it is in use."""
        from estiva.engine.creation import rename

        rename(self, name)

    def size(self) -> int:
        """Bytes of its writable layer."""
        return self._engine.store.snapshots.usage(self.id)


def _loads(text: str | bytes) -> Any:
    from estiva.spec import quickjson as json

    return json.loads(text)
