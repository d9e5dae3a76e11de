"""The small files a container gets from its host, written into the bundle at every start."""

from __future__ import annotations

import os

from estiva.engine.hostfacts import read_or_empty
from estiva.engine.spec import files
from estiva.engine.spec.context import Context
from estiva.engine.spec.environment import hostname
from estiva.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.container import Container
    from estiva.engine.options import ContainerOptions

ZONES = "/usr/share/zoneinfo"


def write_files(container: Container) -> None:
    """Write hosts, hostname, resolv.conf, .containerenv and localtime, as far as the container mounts them."""
    options, details = container.options, container.details
    context = Context(container.id, container.name, container.bundle, rootless=container.engine.settings.rootless)
    context.conf = container.engine.settings.conf.get("containers", {})
    context.host.hostname = os.uname().nodename
    from estiva import __version__

    texts = {".containerenv": files.container_env(options, context, __version__, container.image_id)}
    if not options.no_hosts:
        texts["hosts"] = files.hosts(options, context, _base_hosts(options, context))
    if not options.no_hostname:
        texts["hostname"] = hostname(options, context) + "\n"
    texts["resolv.conf"] = files.resolv_conf(options, context, read_or_empty("/etc/resolv.conf"))
    owner = (details["uid_maps"], details["gid_maps"])
    label = container.spec()["linux"].get("mountLabel", "")
    for name, text in texts.items():
        _write(f"{container.bundle}/{name}", text.encode(), owner, label)
    if options.tz:
        _write(f"{container.bundle}/localtime", _zone(options.tz), owner, label)


def _base_hosts(options: ContainerOptions, context: Context) -> str:
    path = options.hosts_file or str(context.conf.get("base_hosts_file") or "/etc/hosts")
    if path == "none":
        return ""
    if options.hosts_file and not os.path.isfile(path):
        raise NotFound(f"option --hosts-file {path!r}: no such file")
    return read_or_empty(path)


def _zone(name: str) -> bytes:
    """The host's data of a time zone; ``local`` is the host's own."""
    path = "/etc/localtime" if name == "local" else os.path.normpath(f"{ZONES}/{name}")
    try:
        if name != "local" and not path.startswith(f"{ZONES}/"):
            raise FileNotFoundError
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"option --tz {name!r}: no such time zone on this host") from None


def _write(
    path: str, data: bytes, maps: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]], label: str
) -> None:
    """Written in place: a restarted container's mount of the file stays valid, and it is made anew each start."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(fd, 0o644)
        if maps[0]:
            from estiva.engine.userfiles import host_id

            try:
                os.fchown(fd, host_id(maps[0], 0), host_id(maps[1], 0))
            except PermissionError:
                pass  # an ordinary user's file is root's in the user's namespace, whatever the container maps
        os.write(fd, data)
        if label:
            from estiva.engine.relabel import relabel_tree

            relabel_tree(path, label)
    finally:
        os.close(fd)
