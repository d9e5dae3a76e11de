"""Running mmdebstrap or debootstrap, and making the tar depend on nothing but the packages."""

from __future__ import annotations

import os
import shutil
from collections import deque

from estiva.engine import aptsources
from estiva.errors import Unavailable, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from subprocess import Popen

    from estiva.engine.bootstrap import Request
    from estiva.engine.transfer import Progress

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAST_WORDS = 30
_HOSTS_OWN = (b"etc/resolv.conf", b"etc/hostname")  # both tools copy them from this machine
_EMPTIED = (b"var/log", b"var/cache/apt", b"var/lib/apt/lists", b"tmp", b"var/tmp", b"run", b"dev", b"proc", b"sys")
_LEFT_OUT = (b"var/cache/ldconfig/aux-cache", b"var/lib/dbus/machine-id", b"var/lib/systemd/catalog/database")


def make(
    request: Request, directory: str, in_userns: bool, environ: Mapping[str, str], progress: Progress | None
) -> str:
    """The path of a tar of the root file system, made below *directory*, which nobody else uses.

    Raises Unavailable without a tool or when it fails, Unsupported where it cannot work.
    """
    _check_ids(in_userns)
    env = environment(environ, directory)
    if shutil.which("mmdebstrap", path=env["PATH"]):
        return _mmdebstrap(request, directory, env, progress)
    if not shutil.which("debootstrap", path=env["PATH"]):
        raise Unavailable(
            f"making image {str(request)!r}: neither mmdebstrap nor debootstrap is on PATH",
            "install one, e.g. apt-get install mmdebstrap",
        )
    if in_userns:
        raise Unsupported(f"making image {str(request)!r}: debootstrap needs root", "install mmdebstrap, or be root")
    return _debootstrap(request, directory, env, progress)


def environment(environ: Mapping[str, str], directory: str) -> dict[str, str]:
    """The variables for the tool and for what packages run: proxies (the user's, else apt's) and little else."""
    kept = {name: value for name, value in environ.items() if name.lower().endswith("_proxy")}
    env = {**kept, "PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", "TMPDIR": directory}
    env["DEBIAN_FRONTEND"] = "noninteractive"
    if environ.get("SOURCE_DATE_EPOCH"):
        env["SOURCE_DATE_EPOCH"] = environ["SOURCE_DATE_EPOCH"]
    for scheme in ("http", "https"):
        proxy = aptsources.setting_of(f"Acquire::{scheme}::Proxy", env)
        if proxy and proxy != "DIRECT" and f"{scheme}_proxy" not in env:
            env[f"{scheme}_proxy"] = proxy
    return env


def _mmdebstrap(request: Request, directory: str, env: dict[str, str], progress: Progress | None) -> str:
    """By mmdebstrap, whose tars are reproducible by design."""
    tar = f"{directory}/root.tar"
    variant = {"required": "minbase"}.get(request.variant, request.variant)
    command = ["mmdebstrap", "--mode=root", f"--variant={variant}", "--format=tar", "--skip=output/dev"]
    command += [f"--components={','.join(request.components)}"]
    command += [f"--include={','.join(request.include)}"] if request.include else []
    command += [f"--architectures={request.arch}"] if request.arch else []
    command += ['--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"']
    command += ['--customize-hook=rm -f "$1/var/lib/systemd/catalog/database"']
    mirrors = [request.mirror] if request.mirror else aptsources.sources(request.suite, request.components, env)
    _run([*command, request.suite, tar, *mirrors], request, env, progress)
    return tar


def _debootstrap(request: Request, directory: str, env: dict[str, str], progress: Progress | None) -> str:
    """By debootstrap, and our own tar of what it made."""
    from estiva.storage.tarwrite import write_tree

    tree, tar = f"{directory}/root", f"{directory}/root.tar"
    variant = {"required": "minbase", "important": "-"}.get(request.variant, request.variant)
    if variant not in ("minbase", "buildd", "-"):
        raise Unsupported(f"making image {str(request)!r}: debootstrap has no variant {variant}", "install mmdebstrap")
    command = ["debootstrap", f"--variant={variant}", f"--components={','.join(request.components)}"]
    command += [f"--include={','.join(request.include)}"] if request.include else []
    command += [f"--arch={request.arch}"] if request.arch else []
    keyring = aptsources.KEYRINGS[request.distribution]
    command += [f"--keyring={keyring}"] if os.path.exists(keyring) else []
    mirror = request.mirror or _main_mirror(request, env)
    _run([*command, request.suite, tree, mirror], request, env, progress)
    epoch = env.get("SOURCE_DATE_EPOCH")
    with open(tar, "wb") as file:
        write_tree(tree, file.write, latest=int(epoch) if epoch else None, leave_out=is_left_out)
    return tar


def _main_mirror(request: Request, env: dict[str, str]) -> str:
    for line in aptsources.sources(request.suite, request.components, env):
        return line.rpartition("] ")[2].removeprefix("deb ").split()[0]
    return aptsources.DEFAULT_MIRRORS[request.distribution]


def is_left_out(path: bytes) -> bool:
    """Whether *path* of a root file system is of this machine or this hour, and not of the packages."""
    if path in _HOSTS_OWN or path in _LEFT_OUT:
        return True
    if path.startswith((b"var/cache/debconf/", b"var/lib/dpkg/")) and path.endswith(b"-old"):
        return True
    return any(path.startswith(folder + b"/") for folder in _EMPTIED)


def _check_ids(in_userns: bool) -> None:
    """Packages' files belong to many users: a namespace with one id cannot have them."""
    if os.geteuid() != 0:
        raise Unsupported("making a root file system: must be user 0 of a namespace")
    if not in_userns:
        return
    with open("/proc/self/uid_map", encoding="ascii") as file:
        count = sum(int(line.split()[2]) for line in file)
    if count < 1000:
        raise Unsupported(
            f"making a root file system: this user has {count} user id, and packages need more",
            "give it subordinate ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
        )


def _run(command: list[str], request: Request, env: dict[str, str], progress: Progress | None) -> None:
    """Run a tool in a mount namespace of its own, so that what it mounts goes with it; its words are progress."""
    import subprocess

    directory = env["TMPDIR"]

    unshare = shutil.which("unshare", path=env["PATH"])
    prefix = [unshare, "--mount", "--propagation=slave", "--"] if unshare else []
    last: deque[str] = deque(maxlen=_LAST_WORDS)
    try:
        process = subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd="/",
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise Unavailable(f"running {command[0]}: {error.strerror}") from error
    try:
        for line in process.stdout or ():
            last.append(line.strip())
            if progress and line.startswith("I: ") and directory not in line:
                progress("bootstrap", line[3:].strip(), 0, 0)
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    if code != 0:
        raise Unavailable(f"making image {str(request)!r}: {command[0]} failed: {_cause(last)}")


def _end(process: Popen[str]) -> None:
    """Stop the tool and wait until it is gone."""
    import subprocess

    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _cause(lines: deque[str]) -> str:
    """The line of a tool's output that says most."""
    for line in lines:
        if line.startswith("E: ") and "mmdebstrap" not in line and not line.endswith(("failed:", "failed: 25600")):
            return line[3:]
    return next((line.removeprefix("E: ") for line in reversed(lines) if line), "it says nothing")
