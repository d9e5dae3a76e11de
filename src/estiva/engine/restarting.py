"""What may have changed since a container was made: its own user database."""

from __future__ import annotations

from estiva.engine.identity import changed_user_database, image_databases
from estiva.engine.spec.users import groups_to_add, resolve_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.container import Container
    from estiva.storage.layers import LayerLease


def look_user_up_again(container: Container, spec: dict[str, Any], lease: LayerLease) -> None:
    """Put the user of the configuration right, if the container has changed its /etc/passwd or /etc/group."""
    upper = f"{container.bundle}/upper"
    if not lease.lowerdirs or not changed_user_database(upper):
        return
    options = container.options
    who = container.details["who"]
    passwd, group = image_databases(container.engine, container.details["diff_ids"], upper)
    found = resolve_user(who, passwd, group, groups_to_add(options.group_add))
    spec["process"]["user"].update(uid=found.uid, gid=found.gid, additionalGids=found.groups)
