"""The commands of ``estiva-runtime``: one table for the parser, the help and the dispatch."""

from __future__ import annotations

from estiva.runtime.cli.options import NUMBER, SWITCH, VALUE, VALUES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from estiva.runtime.cli.options import Row


class Command:
    """``operands``: how help writes them, and ``least`` and ``most`` how many there are (-1: any number) · ``where``:
    module and function that carry it out · ``foreign``: what follows the first operand is another command line."""

    __slots__ = ("foreign", "least", "most", "name", "operands", "rows", "summary", "text", "where")

    def __init__(
        self,
        name: str,
        operands: str,
        least: int,
        most: int,
        where: tuple[str, str],
        summary: str,
        text: str = "",
        rows: Sequence[Row] = (),
        foreign: bool = False,
    ) -> None:
        self.name = name
        self.operands = operands
        self.least = least
        self.most = most
        self.where = where
        self.summary = summary
        self.text = text
        self.rows = rows
        self.foreign = foreign


GLOBAL: tuple[Row, ...] = (
    ("root", "", VALUE, "DIR", "state of containers (default: /run/estiva-runtime, or below $XDG_RUNTIME_DIR)"),
    ("log", "", VALUE, "FILE", "append messages to this file"),
    ("log-format", "", VALUE, "FORMAT", "format of these: text (default) or json"),
    ("debug", "", SWITCH, "", "say more: what is read, planned and started"),
    ("systemd-cgroup", "", SWITCH, "", "let systemd make the cgroups; linux.cgroupsPath is then slice:prefix:name"),
    ("cgroup-manager", "", VALUE, "NAME", "cgroupfs (default), systemd (as --systemd-cgroup) or disabled"),
    ("rootless", "", VALUE, "WHETHER", "pass over limits that may not be set: true, false or auto (default)"),
    ("learn-seccomp", "", VALUE, "FILE", "write a seccomp profile of what new containers do to this file"),
    ("criu", "", VALUE, "PROGRAM", "the criu to use (default: criu)"),
    ("help", "h", SWITCH, "", "show this help"),
    ("version", "v", SWITCH, "", "show the version"),
)  # fmt: skip
_BUNDLE: Row = ("bundle", "b", VALUE, "DIR", "the bundle's directory (default: the current one)")
_CONSOLE: Row = ("console-socket", "", VALUE, "PATH", "send the terminal's master descriptor to this unix socket")
_PID_FILE: Row = ("pid-file", "", VALUE, "FILE", "write the number of the process here")
_FDS: Row = ("preserve-fds", "", NUMBER, "N", "pass on N descriptors after those of $LISTEN_FDS")
_DETACH: Row = ("detach", "d", SWITCH, "", "do not wait for the program")
_NO_PIVOT: Row = ("no-pivot", "", SWITCH, "", "change the root without pivot_root(2), for a root on an initial ramdisk")
_SUBREAPER: Row = ("no-subreaper", "", SWITCH, "", "do not adopt the container's orphaned processes")
_FORMAT: Row = ("format", "f", VALUE, "FORMAT", "table (default) or json")
_CREATE: tuple[Row, ...] = (
    _BUNDLE, _CONSOLE, _PID_FILE, _FDS, _NO_PIVOT,
    ("no-new-keyring", "", SWITCH, "", "keep the session keyring of the caller"),
)  # fmt: skip
_CRIU: tuple[Row, ...] = (
    ("image-path", "", VALUE, "DIR", "the images' directory (default: ./checkpoint)"),
    ("work-path", "", VALUE, "DIR", "directory for criu's log and work files (default: that of the images)"),
    ("tcp-established", "", SWITCH, "", "allow open TCP connections"),
    ("ext-unix-sk", "", SWITCH, "", "allow unix sockets connected to the outside"),
    ("shell-job", "", SWITCH, "", "allow a terminal that is shared with the outside"),
    ("file-locks", "", SWITCH, "", "allow file locks"),
    ("manage-cgroups-mode", "", VALUE, "MODE", "soft (default), full, strict or ignore"),
    ("empty-ns", "", VALUES, "KIND", "make this namespace anew, without what was in it: network"),
    ("auto-dedup", "", SWITCH, "", "drop pages of parent images that were overwritten"),
    ("lazy-pages", "", SWITCH, "", "bring memory in when it is touched"),
)
_UPDATE: tuple[Row, ...] = (
    ("resources", "r", VALUE, "FILE", "all of them as JSON from a file, or from standard input (-)"),
    ("blkio-weight", "", NUMBER, "N", "weight of block IO, 10 to 1000"),
    ("cpu-period", "", NUMBER, "US", "period of the CPU quota"),
    ("cpu-quota", "", NUMBER, "US", "CPU time in each period"),
    ("cpu-burst", "", NUMBER, "US", "quota that may be saved up"),
    ("cpu-share", "", NUMBER, "N", "weight of CPU time"),
    ("cpu-rt-period", "", NUMBER, "US", "period of the realtime quota"),
    ("cpu-rt-runtime", "", NUMBER, "US", "realtime CPU time in each period"),
    ("cpu-idle", "", NUMBER, "0|1", "run only when nobody else does"),
    ("cpuset-cpus", "", VALUE, "LIST", "processors to run on"),
    ("cpuset-mems", "", VALUE, "LIST", "memory nodes to use"),
    ("kernel-memory", "", VALUE, "BYTES", "accepted and without effect, as with runc: the kernel has removed it"),
    ("kernel-memory-tcp", "", VALUE, "BYTES", "accepted and without effect, as with runc: the kernel has removed it"),
    ("memory", "", VALUE, "BYTES", "memory limit"),
    ("memory-reservation", "", VALUE, "BYTES", "soft memory limit"),
    ("memory-swap", "", VALUE, "BYTES", "limit of memory and swap together; -1: none"),
    ("pids-limit", "", NUMBER, "N", "most processes and threads; -1: none"),
    ("l3-cache-schema", "", VALUE, "SCHEMA", "Intel RDT: which parts of the L3 cache, as L3:0=f;1=f"),
    ("mem-bw-schema", "", VALUE, "SCHEMA", "Intel RDT: memory bandwidth, as MB:0=20;1=70"),
)  # fmt: skip

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command(
            "create", "ID", 1, 1, ("create", "command_create"), "create a container",
            "Makes everything a bundle's config.json describes, up to the program, which waits for \"start\".",
            _CREATE,
        ),
        Command("start", "ID", 1, 1, ("create", "command_start"), "run the program of a created container"),
        Command(
            "run", "ID", 1, 1, ("run", "command_run"), "create and start a container, wait for it and delete it",
            "The exit code is the program's own, 128 and the signal's number if one killed it.",
            (*_CREATE, _DETACH, ("keep", "", SWITCH, "", "do not delete the container when it has ended"), _SUBREAPER),
        ),
        Command(
            "exec", "ID COMMAND [ARG...]", 1, -1, ("execute", "command_exec"), "run one more program in a container",
            "The exit code is the program's own, or 255 if it could not be started.",
            (
                _CONSOLE, _PID_FILE, _FDS, _DETACH, _SUBREAPER,
                ("process", "p", VALUE, "FILE", "take everything from this JSON file: a \"process\" of config.json"),
                ("tty", "t", SWITCH, "", "give it a terminal"),
                ("user", "u", VALUE, "UID[:GID]", "run as this user"),
                ("additional-gids", "g", VALUES, "GID", "with these groups too"),
                ("cwd", "", VALUE, "DIR", "working directory in the container"),
                ("env", "e", VALUES, "NAME=VALUE", "one more environment variable"),
                ("cap", "c", VALUES, "CAPABILITY", "one more capability"),
                ("no-new-privs", "", SWITCH, "", "never gain privileges by executing a file"),
                ("process-label", "", VALUE, "LABEL", "SELinux label"),
                ("apparmor", "", VALUE, "PROFILE", "AppArmor profile"),
                ("cgroup", "", VALUES, "[CONTROLLER:]PATH", "run in this existing cgroup below the container's"),
                ("ignore-paused", "", SWITCH, "", "do so in a paused container, too"),
            ),
            foreign=True,
        ),
        Command("state", "ID", 1, 1, ("show", "command_state"), "show the state of a container as JSON"),
        Command(
            "list", "", 0, 0, ("show", "command_list"), "list containers", "",
            (_FORMAT, ("quiet", "q", SWITCH, "", "ids only")),
        ),
        Command(
            "ps", "ID [PS-OPTION...]", 1, -1, ("show", "command_ps"), "show the processes of a container",
            "The table is that of ps(1) with the options given, -ef without; JSON is a list of process numbers.",
            (_FORMAT,), foreign=True,
        ),
        Command(
            "kill", "ID [SIGNAL]", 1, 2, ("control", "command_kill"), "send a signal to a container (default: SIGTERM)",
            "The signal is a number or a name: 9, KILL, SIGKILL, SIGRTMIN+3.",
            (("all", "a", SWITCH, "", "to all its processes, not only the first"),),
        ),
        Command(
            "delete", "ID", 1, 1, ("control", "command_delete"), "remove a container that has ended", "",
            (("force", "f", SWITCH, "", "end it first if it runs; that there is none is then no failure"),),
        ),
        Command("pause", "ID", 1, 1, ("control", "command_pause"), "stop all processes where they are"),
        Command("resume", "ID", 1, 1, ("control", "command_resume"), "let them go on"),
        Command("update", "ID", 1, 1, ("update", "command_update"), "change a container's limits", "", _UPDATE),
        Command(
            "events", "ID", 1, 1, ("events", "command_events"), "show what a container uses, and when memory runs out",
            "One JSON object a line, until the container ends.",
            (
                ("stats", "", SWITCH, "", "show once what it uses, then leave"),
                ("interval", "", VALUE, "DURATION", "time between two reports (default: 5s)"),
            ),
        ),
        Command(
            "checkpoint", "ID", 1, 1, ("checkpoint", "command_checkpoint"), "save a running container", "By CRIU.",
            (
                *_CRIU,
                ("parent-path", "", VALUE, "DIR", "earlier images, relative to --image-path"),
                ("leave-running", "", SWITCH, "", "let it run on"),
                ("pre-dump", "", SWITCH, "", "save memory only, and let it run on"),
                ("page-server", "", VALUE, "ADDRESS:PORT", "send memory to this page server"),
                ("status-fd", "", NUMBER, "FD", "write a zero byte there when lazy pages are ready"),
            ),
        ),
        Command(
            "restore", "ID", 1, 1, ("checkpoint", "command_restore"), "make a container from a saved one", "By CRIU.",
            (
                _BUNDLE, _CONSOLE, _PID_FILE, _DETACH, *_CRIU,
                ("no-pivot", "", SWITCH, "", "accepted: criu knows how it changes the root"),
                ("no-subreaper", "", SWITCH, "", "accepted: a restored process is a child of this command anyway"),
                ("lsm-profile", "", VALUE, "TYPE:NAME", "another security profile: selinux or apparmor"),
                ("lsm-mount-context", "", VALUE, "CONTEXT", "another SELinux context of mounts"),
            ),
        ),
        Command(
            "spec", "", 0, 0, ("information", "command_spec"), "write a config.json to begin with", "",
            (_BUNDLE, ("rootless", "", SWITCH, "", "for a container without root")),
        ),
        Command("features", "", 0, 0, ("information", "command_features"), "show what this runtime can do, as JSON"),
    )
}  # fmt: skip
