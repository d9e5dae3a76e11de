"""User namespaces of containers: which ids they map.  podman-run(1) "--userns", "--uidmap", "--subuidname" """

from __future__ import annotations

import os

from estiva.engine.hostfacts import read_or_empty
from estiva.engine.spec.context import AutoRequest
from estiva.errors import Invalid, NotFound
from estiva.runtime.idmap import IdMap, parse_maps, subordinate_ids
from estiva.runtime.idmap_option import check_overlap, merged, option_maps, split
from estiva.runtime.userns_mode import AUTO_USER, UserNamespace, auto_size, auto_spans, fixed_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.engine import Engine
    from estiva.engine.images import ImageRecord
    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context

NOBODY = "65534"  # stands for whoever has no id here
FILES = ("/etc/subuid", "/etc/subgid")


def choose_maps(engine: Engine, options: ContainerOptions, context: Context, image: ImageRecord | None) -> str:
    """Set the maps of *context* as the options ask, or for ``auto`` what they are to be chosen by, and
    ``options.userns`` to the mode that holds; the user that keep-id suggests, or ``""``."""
    if options.uidmap or options.gidmap or options.subuidname or options.subgidname:
        _explicit(engine, options, context)
        options.userns = "private"
        return ""
    options.userns = options.userns or engine.settings.userns
    namespace = UserNamespace.parse(options.userns)
    if namespace.kind == "auto":
        context.automatic = _automatic(engine, namespace, options, context, image)
        return ""
    if namespace.kind in ("ns", "container"):
        _join(engine, namespace, context)
        return ""
    maps = fixed_maps(namespace, engine.id_maps(), rootless=engine.settings.rootless, uid=os.getuid(), gid=os.getgid())
    if maps is None:
        return ""
    _set(engine, context, maps.uids, maps.gids)
    return maps.user


def _set(engine: Engine, context: Context, uids: list[IdMap], gids: list[IdMap]) -> None:
    pairs = zip((uids, gids), engine.id_maps(), strict=True)
    context.uid_maps, context.gid_maps = ([(m.ctr, m.host, m.size) for m in split(*pair)] for pair in pairs)


def _explicit(engine: Engine, options: ContainerOptions, context: Context) -> None:
    """What --uidmap and --gidmap or the names in /etc/sub[ug]id say, or both together."""
    if options.userns not in ("", "private"):
        raise Invalid(
            f"option --userns {options.userns}: cannot be combined with --uidmap, --gidmap, --subuidname and "
            "--subgidname"
        )
    ours = engine.id_maps()
    asked = option_maps(options.uidmap, options.gidmap, ours, rootless=engine.settings.rootless)
    names = (options.subuidname or options.subgidname, options.subgidname or options.subuidname)
    for maps, file, name, mine, what in zip(asked, FILES, names, ours, ("user", "group"), strict=True):
        if name:
            maps[:0] = _of_name(file, name, mine)
        if not maps:
            raise Invalid(f"no {what} ids are mapped", f"give at least one --{what[0]}idmap")
        check_overlap(maps, f"{what} id")
        _check_ours(maps, mine)
    _set(engine, context, merged(asked[0]), merged(asked[1]))


def _check_ours(maps: list[IdMap], ours: list[IdMap]) -> None:
    """Raise Invalid for ids outside that this engine's own namespace does not have."""
    most = max((entry.ctr + entry.size for entry in ours), default=0)
    for entry in maps:
        if entry.host + entry.size > most:
            raise Invalid(
                f'id map "{entry}": there are only {most} ids to map to', "for users, 1 is the first subordinate one"
            )


def _of_name(file: str, name: str, ours: list[IdMap]) -> list[IdMap]:
    """The ids of *name* in /etc/subuid or /etc/subgid, one range after another from 0 on, as ids of ours."""
    text, position = [], 0
    for first, count in subordinate_ids(file, name, -1):
        text.append(f"{position}:@{first}:{count}")
        position += count
    if not text:
        raise Invalid(f"user {name!r}: has no ids in {file}")
    return option_maps(text, [], (ours, ours), rootless=False)[0]


def _automatic(
    engine: Engine,
    namespace: UserNamespace,
    options: ContainerOptions,
    context: Context,
    image: ImageRecord | None,
) -> AutoRequest:
    rootless, ours = engine.settings.rootless, engine.id_maps()
    ranges = [[] if rootless else subordinate_ids(file, AUTO_USER, -1) for file in FILES]
    if not rootless and not (ranges[0] and ranges[1]):
        raise Invalid(
            f'cannot find UID/GID for user {AUTO_USER}: no subuid ranges found for user "{AUTO_USER}" in /etc/subuid '
            "and /etc/subgid",
            f'add a line such as "{AUTO_USER}:2147483647:2147483648" to both',
        )
    needed = 0 if namespace.size else _highest_id(engine, options.user or context.image.get("User") or "", image) + 1
    spans = [auto_spans(rootless, maps, each) for maps, each in zip(ours, ranges, strict=True)]
    whose = "your subordinate ids" if rootless else f'the subordinate ids of the user "{AUTO_USER}"'
    return AutoRequest(namespace, ours, (spans[0], spans[1]), auto_size(namespace, needed), whose)


def _highest_id(engine: Engine, user: str, image: ImageRecord | None) -> int:
    """The highest user or group id that *user* has or the image's user database names."""
    numbers = [0, *(int(part) for part in user.split(":") if part.isdigit())]
    if image is not None:
        from estiva.engine.identity import image_databases

        for text in image_databases(engine, image.diff_ids):
            for line in text.splitlines():
                fields = line.split(":")
                if len(fields) > 3:
                    numbers += [int(field) for field in fields[2:4] if field.isdigit() and field != NOBODY]
    return max(numbers)


def _join(engine: Engine, namespace: UserNamespace, context: Context) -> None:
    """Take over the maps of a namespace that exists: files are to have the ids they have for who is in there."""
    if namespace.kind == "container":
        other = engine.containers.get(namespace.target)
        context.uid_maps, context.gid_maps = other.details["uid_maps"], other.details["gid_maps"]
    else:
        if not os.path.exists(namespace.target):
            raise NotFound(f"option --userns ns:{namespace.target}: no such file or directory")
        process, found, kind = namespace.target.partition("/ns/")
        if process.startswith("/proc/") and found and kind == "user" and not engine.settings.rootless:
            uids, gids = (parse_maps(read_or_empty(f"{process}/{name}_map")) for name in ("uid", "gid"))
            _set(engine, context, uids, gids)
    context.joins_userns = True
