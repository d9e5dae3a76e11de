"""``checkpoint`` and ``restore``: by CRIU, called as a program.

Mounts that come from outside the container are told to CRIU by their destination, so that a restore may take them from
elsewhere; the standard streams are kept as ``descriptors.json`` among the images, as runc does, so that pipes can be
given anew.  The network namespace's content is never saved: who made it makes it again.  criu(8)
"""

from __future__ import annotations

import os

from estiva.errors import Conflict, EstivaError, Invalid, NotFound, Unavailable, Unsupported
from estiva.runtime.cli import bundle, records
from estiva.runtime.cli.control import end_and_remove
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from estiva.runtime.cgroup.handle import CgroupHandle
    from estiva.runtime.cli.main import Context
    from estiva.runtime.cli.options import Options
    from estiva.runtime.cli.records import Record

DESCRIPTORS = "descriptors.json"
_MODES = ("soft", "full", "strict", "ignore")
_SWITCHES = ("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "lazy-pages")
# Namespaces given by a path stay outside: CRIU gets them by a descriptor of this name.
_GIVEN = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}


class Places:
    """Where CRIU reads and writes: ``images``, and ``work`` for its log; directories that exist."""

    __slots__ = ("images", "work")

    def __init__(self, options: Options, make: bool) -> None:
        self.images = os.path.abspath(options.text("image-path") or "checkpoint")
        self.work = os.path.abspath(options.text("work-path") or self.images)
        if make:
            os.makedirs(self.images, 0o700, exist_ok=True)
        elif not os.path.isdir(self.images):
            raise NotFound(f'option --image-path: "{self.images}" is not a directory')
        os.makedirs(self.work, 0o700, exist_ok=True)

    def words(self, log: str) -> list[str]:
        return ["--images-dir", self.images, "--work-dir", self.work, "--log-file", log, "-v4"]


def command_checkpoint(context: Context, options: Options) -> int:
    record = records.find(context.root, options.operands[0])
    status = record.status()
    if status not in ("running", "paused"):
        raise Conflict(f'container "{record.container_id}" cannot be checkpointed in {status} state')
    places = Places(options, make=True)
    spec, handle = record.config(), record.cgroup()
    pre_dump = options.switch("pre-dump")
    words = [context.criu, "pre-dump" if pre_dump else "dump", "--tree", str(record.pid), *places.words("dump.log")]
    words += _common(options, spec, handle)
    words += _dump_words(options, places, spec)
    for kind, path in _joined(spec):
        name, label = _GIVEN[kind]
        words += ["--external", f"{name}[{os.stat(path).st_ino}]:{label}"]
    if not pre_dump:
        streams = [os.readlink(f"/proc/{record.pid}/fd/{number}") for number in range(3)]
        records.write_whole(f"{places.images}/{DESCRIPTORS}", json.dumps(streams))
    status_fd = options.number("status-fd", -1)
    if status_fd is not None and status_fd >= 0:
        words += ["--status-fd", "3"]
        _run(context, words, f"{places.work}/dump.log", keep=(status_fd,))
    else:
        _run(context, words, f"{places.work}/dump.log")
    if not (pre_dump or options.switch("leave-running")) and record.lock():
        end_and_remove(record, handle, spec)
    return 0


def _common(options: Options, spec: dict[str, Any], handle: CgroupHandle) -> list[str]:
    """What both directions need to be told."""
    mode = options.text("manage-cgroups-mode", "soft")
    if mode not in _MODES:
        raise Invalid(f'invalid manage-cgroups-mode value: "{mode}"', f"use {', '.join(_MODES)}")
    for kind in options.many("empty-ns"):
        if kind != "network":
            raise Invalid(f'option --empty-ns: namespace "{kind}" is not supported', "only network is")
    words = [f"--manage-cgroups={mode}"]
    if handle.path and mode != "ignore":
        words += [word for name in _controllers(handle) for word in ("--cgroup-root", f"{name}{handle.path}")]
    words += [f"--{name}" for name in _SWITCHES if options.switch(name)]
    if ("network", "") in _namespaces(spec):
        words += ["--empty-ns", "net"]
    return words


def _controllers(handle: CgroupHandle) -> list[str]:
    """The prefixes by which CRIU names the hierarchies of the container's cgroup."""
    if handle.v2_dir and len(handle.dirs) == 1:
        return [""]
    found = {}
    for name in ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "perf_event", "hugetlb"):
        directory = handle.v1_dir(name)
        if directory:
            found[directory] = f"{name}:"
    return list(found.values())


def _namespaces(spec: dict[str, Any]) -> list[tuple[str, str]]:
    entries = (spec.get("linux") or {}).get("namespaces") or ()
    return [(entry["type"], entry.get("path") or "") for entry in entries]


def _joined(spec: dict[str, Any]) -> list[tuple[str, str]]:
    return [(kind, path) for kind, path in _namespaces(spec) if path and kind in _GIVEN]


def _binds(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [mount for mount in spec.get("mounts") or () if bundle.is_bind(mount)]


def _dump_words(options: Options, places: Places, spec: dict[str, Any]) -> list[str]:
    words = ["--root", spec["root"]["path"]]
    for mount in _binds(spec):
        words += ["--external", f"mnt[{mount['destination']}]:{mount['destination']}"]
    if options.switch("leave-running"):
        words.append("--leave-running")
    parent = options.text("parent-path")
    if parent:
        if os.path.isabs(parent):
            raise Invalid("option --parent-path: must be relative to --image-path")
        if not os.path.isdir(os.path.join(places.images, parent)):
            raise NotFound(f'option --parent-path: "{parent}" is not a directory in {places.images}')
        words += ["--prev-images-dir", parent]
    if parent or options.switch("pre-dump"):
        words.append("--track-mem")
    server = options.text("page-server")
    if server:
        address, colon, port = server.rpartition(":")
        if not colon or not address or not port.isdecimal():
            raise Invalid(f'option --page-server: "{server}" is not ADDRESS:PORT')
        # With lazy pages CRIU is the server itself; else it sends to one.
        words += [*([] if options.switch("lazy-pages") else ["--page-server"]), "--address", address, "--port", port]
    return words


def command_restore(context: Context, options: Options) -> int:
    from estiva.runtime.cli.create import Making, make

    directory = os.path.abspath(options.text("bundle") or ".")
    spec = bundle.load(directory)
    places = Places(options, make=False)
    making = Making(options, wait=False)
    if spec["process"].get("terminal") and not options.switch("shell-job"):
        raise Unsupported(
            "restoring a container with a terminal of its own: criu hands a terminal over to library callers only",
            "with --shell-job it gets the terminal of this command",
        )
    if making.console:
        raise Unsupported("option --console-socket: criu hands a terminal over to library callers only")
    detached = options.switch("detach")
    from estiva.runtime.cli.foreground import Streams, wait

    streams = Streams()
    try:
        made = make(
            context,
            options.operands[0],
            directory,
            spec,
            making,
            lambda record, handle: _restore(context, options, places, spec, record, handle),
        )
        if detached:
            return 0
        code = wait(made.record.pid, streams)
        end_and_remove(made.record, made.handle, spec)
        return code
    finally:
        streams.close()


def _restore(
    context: Context, options: Options, places: Places, spec: dict[str, Any], record: Record, handle: CgroupHandle
) -> int:
    """Have CRIU make the process; its number.  It is a child of this process."""
    pid_file, root = f"{record.directory}/restored", f"{record.directory}/root"
    os.mkdir(root, 0o700)
    words = [context.criu, "restore", "--restore-detached", "--restore-sibling", "--pidfile", pid_file]
    words += [*places.words("restore.log"), "--root", root, *_common(options, spec, handle)]
    for mount in _binds(spec):
        words += ["--external", f"mnt[{mount['destination']}]:{mount['source']}"]
    for option in ("lsm-profile", "lsm-mount-context"):
        if options.text(option):
            words += [f"--{option}", options.text(option)]
    kept: list[int] = []
    try:
        for number, target in enumerate(_streams(places)):
            if target.startswith("pipe:"):
                words += ["--inherit-fd", f"fd[{number}]:{target}"]
        for kind, path in _joined(spec):
            kept.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            words += ["--inherit-fd", f"fd[{2 + len(kept)}]:{_GIVEN[kind][1]}"]
        _run(context, words, f"{places.work}/restore.log", keep=kept, root=(spec["root"]["path"], root))
    finally:
        for fd in kept:
            os.close(fd)
    with open(pid_file) as file:
        return int(file.read())


def _streams(places: Places) -> list[str]:
    try:
        with open(f"{places.images}/{DESCRIPTORS}", "rb") as file:
            targets = json.loads(file.read())
    except FileNotFoundError:
        raise NotFound(f"{places.images}: no checkpoint is there: {DESCRIPTORS} is missing") from None
    except ValueError as error:
        raise Invalid(f"reading {places.images}/{DESCRIPTORS}: {error}") from error
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise Invalid(f"{places.images}/{DESCRIPTORS}: not a list of strings")
    return targets[:3]


def _run(
    context: Context, words: list[str], log: str, keep: Sequence[int] = (), root: tuple[str, str] | None = None
) -> None:
    """Run CRIU to its end, with the descriptors *keep* as its 3, 4 …; with *root* a directory is first bound to
    another, in a mount namespace that ends with CRIU.  Raises Unavailable with the error of its log."""
    from estiva.errors import CommandNotExecutable, CommandNotFound
    from estiva.runtime import helper, plan
    from estiva.runtime.compile_namespaces import NAMESPACES
    from estiva.runtime.launch import execute_inside
    from estiva.runtime.mount_options import MS_PRIVATE, MS_REC

    context.log.debug(f"running {' '.join(words)}")
    work = plan.Plan()
    if root:
        # CRIU wants the root to be a mount point whose mount is private; nobody else needs to see it.
        work.add(plan.UNSHARE, NAMESPACES["mount"]).add(plan.PROPAGATION, "/", MS_REC | MS_PRIVATE)
        work.add(plan.ROOT_BIND, root[0], 1).add(plan.ROOT_ATTACH, root[1])
    if keep:
        work.add(plan.KEEP_FDS, len(keep), helper.KEEP_FROM)
    work.add(plan.EXEC, words, [f"{name}={value}" for name, value in os.environ.items()])
    try:
        pid = execute_inside(work, {}, keep=keep)
    except CommandNotFound:
        raise Unavailable(f'criu is not there: "{words[0]}"', "install it, or name another by --criu") from None
    except CommandNotExecutable as error:
        raise Unavailable(f'criu cannot be run: "{words[0]}": {error.message}') from error
    code = helper.wait(pid)
    if code:
        raise _failure(words[1], code, log)


def _failure(doing: str, code: int, log: str) -> EstivaError:
    """What CRIU's log says last of an error, in one line."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            errors = [line.strip() for line in file if "Error (" in line]
    except OSError:
        return Unavailable(f"criu {doing} failed with exit code {code}, without a log {log}")
    # The first names the cause; what follows are its consequences.
    cause = errors[0].partition("Error (")[2] if errors else ""
    said = cause.partition("): ")[2] or f"exit code {code}"
    return Unavailable(f"criu {doing} failed: {said}", f"log file: {log}")
