"""The options before the command: where the store is and which runtime is used."""

from __future__ import annotations

from estiva.cli.parser import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.cli.parser import Parsed
    from estiva.engine.engine import Engine

LOG_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")

#: accepted before the command and, as Podman does, among a command's own options
GLOBAL_OPTIONS = (
    Option("cgroup-manager", "", "choice", "string", "Cgroup manager to use", choices=("cgroupfs", "systemd")),
    Option(
        "log-level", "", "choice", "string", "Log messages above specified level", "warn",
        choices=LOG_LEVELS,
    ),
    Option("root", "", "string", "string", "Path of the directory where images and containers are kept",
           complete="directory"),
    Option("runroot", "", "string", "string", "Path of the directory where state of the running system is kept",
           complete="directory"),
    Option("runtime", "", "string", "string", "Path of the OCI runtime that runs containers", complete="file"),
    Option("storage-driver", "", "choice", "string", "How layers are stored and united",
           choices=("auto", "erofs", "overlay", "copy")),
)  # fmt: skip


class Globals:
    """What the global options said; ``None`` where they said nothing."""

    __slots__ = ("cgroup_manager", "log_level", "root", "run_root", "runtime", "storage_driver")

    def __init__(self, *given: Parsed) -> None:
        """:param given: the readings to look in, the last one wins"""
        values: dict[str, str] = {}
        for parsed in given:
            values.update(parsed.values)
        self.root = values.get("root")
        self.run_root = values.get("runroot")
        self.storage_driver = values.get("storage-driver")
        self.runtime = values.get("runtime")
        self.cgroup_manager = values.get("cgroup-manager")
        self.log_level = values.get("log-level", "warn")

    def engine(self) -> Engine:
        """A new engine on this store; the caller closes it, best by ``with``."""
        from estiva.engine.engine import Engine  # --help and completion need none

        return Engine(
            self.root,
            self.run_root,
            storage_driver=self.storage_driver,
            runtime=self.runtime,
            cgroup_manager=self.cgroup_manager,
        )
