"""What an engine knows before it is asked anything: where its state lives, who it runs as, what the host's
``containers.conf`` says.

Environment and configuration files are read here, once, when an engine is made; everything below gets arguments.
"""

from __future__ import annotations

import os

from estiva.errors import Denied, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DRIVERS = ("auto", "erofs", "overlay", "copy")
CONF_SYSTEM = ("/usr/share/containers/containers.conf", "/etc/containers/containers.conf")


class Settings:
    """The place, the identity and the defaults of one engine.

    ``root`` is the store that survives a reboot, ``run_root`` what lives until one (a tmpfs).  ``rootless`` says that
    this process is not user 0; ``in_userns`` that the store's owner is root of a user namespace only (always so when
    rootless).  ``driver`` is one of :data:`DRIVERS`, ``runtime`` a name or path of an OCI runtime, ``""`` our own.
    ``cgroup_manager``: as asked for, or None.
    """

    __slots__ = (
        "_conf", "cgroup_manager", "driver", "environ", "in_userns", "root", "rootless", "run_root", "runtime", "uid",
    )  # fmt: skip

    def __init__(
        self,
        root: str | None = None,
        run_root: str | None = None,
        *,
        storage_driver: str | None = None,
        runtime: str | None = None,
        environ: Mapping[str, str] | None = None,
        uid: int | None = None,
    ) -> None:
        env = os.environ if environ is None else environ
        self.environ = env
        self.uid = os.geteuid() if uid is None else uid
        self.rootless = self.uid != 0
        self.in_userns = self.rootless or _uid_map_is_partial()
        self.root = _absolute(root or env.get("ESTIVA_ROOT") or default_root(self.uid, env))
        self.run_root = _absolute(run_root or env.get("ESTIVA_RUNROOT") or default_run_root(self.uid, env))
        self.driver = storage_driver or env.get("ESTIVA_STORAGE_DRIVER") or "auto"
        if self.driver not in DRIVERS:
            raise Invalid(f"storage driver {self.driver!r}: unknown", f"choose one of {', '.join(DRIVERS)}")
        self.runtime = runtime or env.get("ESTIVA_RUNTIME") or ""
        self.cgroup_manager: str | None = None
        self._conf: dict[str, dict[str, Any]] | None = None

    @property
    def conf(self) -> dict[str, dict[str, Any]]:
        """The tables of ``containers.conf`` (containers, engine, network …), merged; read when first asked for."""
        if self._conf is None:
            self._conf = cached_conf(conf_files(self.uid, self.environ), f"{self.run_root}/containers.conf.json")
        return self._conf

    def default(self, key: str, otherwise: Any = None, table: str = "containers") -> Any:
        """The value of *key* in a table of ``containers.conf``, or *otherwise*."""
        value = self.conf.get(table, {}).get(key)
        return otherwise if value is None or value == "" else value

    @property
    def userns(self) -> str:
        """The mode of user namespaces where none was asked for.  podman-run(1) "--userns" """
        return self.environ.get("PODMAN_USERNS") or str(self.default("userns", ""))

    def make_dirs(self) -> None:
        """Make the two roots and what every command needs in them; they are nobody else's business (mode 0700)."""
        for path in (self.root, self.run_root):
            if not os.path.isdir(path):
                os.makedirs(path, 0o700, exist_ok=True)
        for path in (f"{self.root}/containers", f"{self.run_root}/containers"):
            if not os.path.isdir(path):
                os.makedirs(path, 0o700, exist_ok=True)
        _check_owner(self.run_root, self.uid)


def default_root(uid: int, env: Mapping[str, str]) -> str:
    """The store when none was named."""
    if uid == 0:
        return "/var/lib/estiva"
    return (env.get("XDG_DATA_HOME") or f"{home(uid, env)}/.local/share") + "/estiva"


def default_run_root(uid: int, env: Mapping[str, str]) -> str:
    """The directory for what a reboot may take, when none was named."""
    if uid == 0:
        return "/run/estiva"
    runtime_dir = env.get("XDG_RUNTIME_DIR")
    if runtime_dir and os.path.isdir(runtime_dir) and os.stat(runtime_dir).st_uid == uid:
        return f"{runtime_dir}/estiva"
    return f"/tmp/estiva-run-{uid}"


def home(uid: int, env: Mapping[str, str]) -> str:
    """The home directory of *uid* on the host: ``$HOME``, else what the user database says."""
    if env.get("HOME"):
        return env["HOME"]
    import pwd  # only without $HOME

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        raise Invalid(f"home directory of user {uid}: unknown", "set HOME or XDG_DATA_HOME") from None


def conf_files(uid: int, env: Mapping[str, str]) -> list[str]:
    """The files that make up ``containers.conf``, in the order in which later ones win.  containers.conf(5)"""
    if env.get("CONTAINERS_CONF"):
        files = [env["CONTAINERS_CONF"]]
    else:
        files = [*CONF_SYSTEM, *_fragments("/etc/containers/containers.conf.d")]
        if uid != 0:
            user = (env.get("XDG_CONFIG_HOME") or f"{home(uid, env)}/.config") + "/containers/containers.conf"
            files += [user, *_fragments(f"{user}.d")]
    if env.get("CONTAINERS_CONF_OVERRIDE"):
        files.append(env["CONTAINERS_CONF_OVERRIDE"])
    return files


def cached_conf(files: list[str], cache: str) -> dict[str, dict[str, Any]]:
    """:func:`load_conf`, remembered in the file *cache* until one of the files changes: TOML takes 15 ms to import."""
    stamps = [[path, *stamp] for path in files if (stamp := _stamp(path))]
    if not stamps:
        return {}
    from estiva.spec import quickjson as json

    try:
        with open(cache, "rb") as file:
            known, tables = json.loads(file.read())
        if known == stamps:
            return dict(tables)
    except (OSError, ValueError):
        pass
    conf = load_conf(files)
    _remember(cache, json.dumps([stamps, conf]).encode())
    return conf


def _stamp(path: str) -> list[int]:
    """What changes when a file does; empty if there is none."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _remember(cache: str, data: bytes) -> None:
    """Write the cache, whole, where its directory is there; that it cannot be written is no failure."""
    from _thread import get_native_id

    temporary = f"{cache}.{os.getpid()}-{get_native_id()}"  # threads of one process write at the same time
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        os.write(fd, data)
        os.rename(temporary, cache)
    except OSError:
        os.unlink(temporary)
    finally:
        os.close(fd)


def load_conf(files: list[str]) -> dict[str, dict[str, Any]]:
    """The merged tables of the TOML *files* that exist; raises Invalid for one that does not parse."""
    merged: dict[str, dict[str, Any]] = {}
    for path in files:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        with open(fd, encoding="utf-8") as file:
            text = file.read()
        if _says_nothing(text):
            continue
        for table, values in _parse_toml(path, text).items():
            if isinstance(values, dict):
                merged.setdefault(table, {}).update(values)
    return merged


def _parse_toml(path: str, text: str) -> dict[str, Any]:
    import tomllib  # 10 ms: only for a file with something in it

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"reading {path}: {error}") from error


def _says_nothing(text: str) -> bool:
    """Whether a TOML text sets no value: distributions ship files that are all comments."""
    return all(not line or line[0] in "#[" for line in map(str.strip, text.splitlines()))


def _fragments(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [f"{directory}/{name}" for name in names if name.endswith(".conf")]


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _check_owner(path: str, uid: int) -> None:
    """Refuse a run directory somebody else made: in ``/tmp`` anyone can be first."""
    status = os.lstat(path)
    if status.st_uid != uid or status.st_mode & 0o022 or status.st_mode & 0o170000 != 0o040000:
        raise Denied(f"using {path}: not a directory that only user {uid} may write", "name another one with --runroot")


def _uid_map_is_partial() -> bool:
    """Whether this process's user namespace lacks some ids of the first one.  user_namespaces(7)"""
    try:
        fd = os.open("/proc/self/uid_map", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return os.read(fd, 200).split() != [b"0", b"0", b"4294967295"]
    finally:
        os.close(fd)
