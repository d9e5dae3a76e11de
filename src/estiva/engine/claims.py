"""What a container has for itself alone: a range of ids, a pair of SELinux categories.

Both are chosen in the very transaction that enters the container in the database, so that two commands at the same
moment cannot choose the same, and are free again when its row goes.
"""

from __future__ import annotations

import os

from estiva.engine.spec.labels import PRIVILEGED_LEVEL, Label, LabelChoice, choose_level, make_labels
from estiva.engine.spec.process import arguments
from estiva.engine.spec.security import security_options
from estiva.runtime.idmap import IdMap
from estiva.runtime.idmap_option import split
from estiva.runtime.userns_mode import auto_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.database import Transaction
    from estiva.engine.engine import Engine
    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context


def choose(engine: Engine, change: Transaction, options: ContainerOptions, context: Context) -> None:
    """Give *context* the ids its automatic user namespace asks for, and SELinux labels where the host has SELinux."""
    if context.automatic is not None:
        request = context.automatic
        used = [_used(change, kind) for kind in (0, 1)]
        maps = [
            auto_maps(request.namespace, kind, request.ours[kind], request.spans[kind], used[kind], request.size,
                      request.whose)
            for kind in (0, 1)
        ]  # fmt: skip
        context.uid_maps, context.gid_maps = (
            [(m.ctr, m.host, m.size) for m in split(each, mine)] for each, mine in zip(maps, request.ours, strict=True)
        )
    if context.host.selinux:
        _choose_labels(engine, change, options, context)


def _used(change: Transaction, kind: int) -> list[IdMap]:
    return [IdMap(0, *row) for row in change.query("SELECT first, count FROM used_ids WHERE kind=?", (kind,))]


def enter(change: Transaction, context: Context) -> None:
    """Note in the database what the container, whose row is there, has."""
    for kind, maps in enumerate((context.uid_maps, context.gid_maps)):
        for _, host, size in maps:
            change.execute("INSERT INTO used_ids VALUES (?,?,?,?)", (context.id, kind, host, size))
    if context.process_label:
        level = Label.parse(context.process_label).level
        change.execute("INSERT INTO used_levels VALUES (?,?)", (context.id, level))


def _choose_labels(engine: Engine, change: Transaction, options: ContainerOptions, context: Context) -> None:
    """Set the SELinux labels of *context*: those of the container it shares processes or memory with, else its own."""
    if context.conf.get("label") is False:
        return
    choice = LabelChoice(security_options(options).get("label", []))
    if options.privileged or "host" in (options.pid, options.ipc):
        choice.disabled = True
    others = [mode.partition(":")[2] for mode in (options.pid, options.ipc) if mode.startswith("container:")]
    if others and not choice.disabled:
        spec = engine.containers.get(others[-1]).spec()
        context.process_label = spec["process"].get("selinuxLabel", "")
        context.mount_label = spec["linux"].get("mountLabel", "")
        return
    level = choice.parts.get("level") or ("" if choice.disabled else choose_level(_levels(change), _random))
    runtime = options.runtime or engine.settings.runtime
    context.process_label, context.mount_label = make_labels(
        choice, level, arguments(options, context), runtime, context.host.selinux_contexts
    )


def _levels(change: Transaction) -> set[str]:
    return {PRIVILEGED_LEVEL, *(level for (level,) in change.query("SELECT level FROM used_levels"))}


def _random(below: int) -> int:
    return int.from_bytes(os.urandom(8), "little") % below
