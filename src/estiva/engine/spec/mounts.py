"""What is mounted where in the container.  runtime-spec config.md "Mounts"; podman-run(1) "--volume".

The writable layer and the layers below it are not here: storage describes them when the container starts.
"""

from __future__ import annotations

from estiva.engine.spec.mountparse import PROPAGATION
from estiva.engine.spec.namespaces import mode_of
from estiva.engine.spec.resources import parse_bytes
from estiva.engine.spec.security import SELINUX, is_nested, security_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.options import ContainerOptions, MountOption
    from estiva.engine.spec.context import Context

SHM = "shm"  # in the run directory: what --ipc shareable has at /dev/shm
DEFAULT_SHM = "65536k"
TMPFS_COPY_UP = "tmpcopyup"  # fill it from the image, as crun and runc spell it
COPY_UP = "x-estiva.copyup"  # of ours: the same for an empty volume
OPTIONAL = "x-estiva.optional"  # of ours: that the source is not there is no failure
CHOWN = "x-estiva.chown"  # of ours: =uid:gid, give the source to the container's user


def mounts(options: ContainerOptions, context: Context, chosen: list[MountOption]) -> list[dict[str, Any]]:
    """The ``mounts`` list: the usual ones and generated files, unless a *chosen* one takes their place, then those.

    *chosen* are the options' mounts with every volume already turned into a bind mount of its directory.
    """
    asked = [user_mount(mount, context, index) for index, mount in enumerate(chosen)]
    taken = {mount["destination"] for mount in asked}
    usual = [*kernel_mounts(options, context), *file_mounts(options, context), *scratch(options)]
    kept = [mount for mount in usual if mount["destination"] not in taken]
    return sorted([*kept, *asked], key=lambda mount: mount["destination"].count("/") if mount["destination"] else 0)


def kernel_mounts(options: ContainerOptions, context: Context) -> list[dict[str, Any]]:
    """/proc, /dev and what belongs in it, /sys, cgroups."""
    return [
        _proc(options, context),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k", *_dev_mode(options)),
        _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
               *(["gid=5"] if _has_gid(context, 5) else [])),
        *_ipc(options, context),
        *_sys(options, context),
    ]  # fmt: skip


def _proc(options: ContainerOptions, context: Context) -> dict[str, Any]:
    if mode_of(options, context, "pid") == "host" and _own_users(context):
        return _bind("/proc", "/proc", "rbind", "nosuid", "noexec", "nodev")
    words = security_options(options).get("proc-opts", [""])[-1]
    return _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev", *filter(None, words.split(",")))


def _ipc(options: ContainerOptions, context: Context) -> list[dict[str, Any]]:
    """Shared memory and message queues; those of the host or another container where the namespace is."""
    if options.ipc == "none":
        return [_mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev")]
    if mode_of(options, context, "ipc") == "host":
        words = ("bind", "nosuid", "noexec", "nodev", OPTIONAL)
        mqueue = _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev")
        if _own_users(context):  # only the owner of the namespace may mount its queues
            mqueue = _bind("/dev/mqueue", "/dev/mqueue", *words)
        return [mqueue, _bind("/dev/shm", "/dev/shm", *words)]
    size = options.shm_size
    if size is None:
        size = parse_bytes(str(context.conf.get("shm_size") or DEFAULT_SHM))
    mqueue = _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev")
    if options.ipc == "shareable":  # a mount of this container's could not be had by another: a directory can
        return [mqueue, _bind("/dev/shm", f"{context.run_dir}/{SHM}", "bind", "nosuid", "noexec", "nodev")]
    shm = ("nosuid", "noexec", "nodev", "mode=1777", *([f"size={size}"] if size else []))
    return [mqueue, _mount("/dev/shm", "tmpfs", "shm", *shm)]


def _sys(options: ContainerOptions, context: Context) -> list[dict[str, Any]]:
    """sysfs can only be mounted by who owns the network namespace, so sometimes the host's is bound."""
    access = "rw" if options.privileged else "ro"
    if mode_of(options, context, "network") == "host" and _own_users(context):
        return [_bind("/sys", "/sys", "rbind", "rslave", "nosuid", "noexec", "nodev", "ro")]
    sysfs = _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", access)
    nested = []
    if context.host.selinux and is_nested(options):
        nested = [_bind(SELINUX, SELINUX, "bind", "rprivate", "nosuid", "noexec", "rw")]
    if options.cgroups == "disabled" or (mode_of(options, context, "cgroupns") != "private" and _own_users(context)):
        return [
            sysfs,
            *nested,
            _bind("/sys/fs/cgroup", "/sys/fs/cgroup", "rbind", "rslave", "nosuid", "noexec", "nodev", "ro"),
        ]
    words = ("rprivate", "nosuid", "noexec", "nodev", "relatime", access)
    return [sysfs, *nested, _mount("/sys/fs/cgroup", "cgroup", "cgroup", *words)]


def file_mounts(options: ContainerOptions, context: Context) -> list[dict[str, Any]]:
    """The files :mod:`estiva.engine.spec.files` writes into the bundle."""
    names = {
        "hosts": "/etc/hosts" if not options.no_hosts else "",
        "hostname": "/etc/hostname" if not options.no_hostname else "",
        "resolv.conf": "/etc/resolv.conf",
        ".containerenv": "/run/.containerenv",
        "localtime": "/etc/localtime" if options.tz else "",
    }
    return [_bind(path, f"{context.bundle}/{name}", "bind", "rprivate") for name, path in names.items() if path]


def scratch(options: ContainerOptions) -> list[dict[str, Any]]:
    """Where programs may write although the root file system is read-only."""
    if not options.read_only or not options.read_only_tmpfs:
        return []
    words = ("rw", "rprivate", "nosuid", "nodev", TMPFS_COPY_UP)
    return [_mount(path, "tmpfs", "tmpfs", *words) for path in ("/run", "/tmp", "/var/tmp")]


def user_mount(mount: MountOption, context: Context, index: int) -> dict[str, Any]:
    """One mount the user or the image asked for."""
    if mount.kind == "tmpfs":
        return _tmpfs(mount)
    if "O" in mount.options:
        return _overlay(mount, context, index)
    words = [word for word in mount.options if word not in ("z", "Z", "U", "copy", "nocopy", "suid", "dev", "exec")]
    if not {"bind", "rbind"} & set(words):
        words.append("rbind")
    if not PROPAGATION & set(words):
        words.append("rprivate")
    if not {"ro", "rw"} & set(words):
        words.append("rw")
    if "copy" in mount.options:
        words.append(COPY_UP)
    if "U" in mount.options and not context.uid_maps:  # else the source is not for its root to give away
        words.append(f"{CHOWN}={context.user.uid}:{context.user.gid}")
    if not any(word.startswith("idmap") for word in words):
        return _bind(mount.target, mount.source, *words)
    from estiva.engine.spec.mountmaps import idmap_word, mount_maps  # rarely needed

    word = idmap_word(words)
    maps = mount_maps(word, context.uid_maps, context.gid_maps)
    words = [each if each != word else "idmap" for each in words]
    return {**_bind(mount.target, mount.source, *words), **maps}


def _tmpfs(mount: MountOption) -> dict[str, Any]:
    words = [word for word in mount.options if word not in ("exec", "suid", "dev", "notmpcopyup", "U", TMPFS_COPY_UP)]
    for word in ("exec", "suid", "dev"):
        if not {word, f"no{word}"} & set(mount.options):
            words.append(f"no{word}")
    if not {"ro", "rw"} & set(words):
        words.append("rw")
    if not PROPAGATION & set(words):
        words.append("rprivate")
    if "notmpcopyup" not in mount.options:
        words.append(TMPFS_COPY_UP)
    return _mount(mount.target, "tmpfs", "tmpfs", *words)


def _overlay(mount: MountOption, context: Context, index: int) -> dict[str, Any]:
    """A source that can be written without changing it: what is written goes with the container (option ``O``)."""
    place = overlay_place(context.bundle, index)
    given = dict(word.split("=", 1) for word in mount.options if "=" in word)
    upper, work = given.get("upperdir", f"{place}/upper"), given.get("workdir", f"{place}/work")
    words = [f"lowerdir={mount.source}", f"upperdir={upper}", f"workdir={work}", "rprivate"]
    if context.rootless:
        words.append("userxattr")
    return _mount(mount.target, "overlay", "overlay", *words)


def overlay_place(bundle: str, index: int) -> str:
    """Where the changes of the mount with this *index* are kept while the container runs."""
    return f"{bundle}/overlay/{index}"


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _bind(destination: str, source: str, *options: str) -> dict[str, Any]:
    return _mount(destination, "bind", source, *options)


def _dev_mode(options: ContainerOptions) -> list[str]:
    return ["ro"] if options.read_only and not options.read_only_tmpfs else []


def _own_users(context: Context) -> bool:
    """Whether the container's root is not the host's, so that the host's namespaces are not its own."""
    return context.rootless or bool(context.uid_maps)


def _has_gid(context: Context, gid: int) -> bool:
    maps = context.gid_maps
    return any(ctr <= gid < ctr + size for ctr, _, size in maps) if maps else gid < context.gid_count
