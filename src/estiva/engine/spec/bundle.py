"""Options and image into a bundle's ``config.json``: the seam between engine and runtime.  runtime-spec config.md"""

from __future__ import annotations

from estiva.engine.spec.devices import devices
from estiva.engine.spec.environment import hostname
from estiva.engine.spec.mounts import mounts
from estiva.engine.spec.namespaces import id_mappings, mode_of, namespaces, sysctls
from estiva.engine.spec.process import process
from estiva.engine.spec.resources import resources
from estiva.engine.spec.security import annotated, masked_paths, readonly_paths, seccomp
from estiva.engine.spec.users import KEEP_GROUPS, KEEP_GROUPS_ANNOTATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.options import ContainerOptions, MountOption
    from estiva.engine.spec.context import Context

OCI_VERSION = "1.2.0"
INIT_PATH = "/run/estiva-init"  # where --init-path's program is put


def bundle_config(options: ContainerOptions, context: Context, chosen: list[MountOption]) -> dict[str, Any]:
    """The whole document; its ``root.path`` is where an OCI runtime other than ours finds the file system.

    *chosen* are the mounts asked for, with every volume already turned into a bind mount of its directory.
    """
    document: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": process(options, context),
        "root": {"path": f"{context.bundle}/rootfs", "readonly": bool(options.read_only)},
        "mounts": mounts(options, context, chosen),
        "annotations": {
            **annotated(options),
            **({KEEP_GROUPS_ANNOTATION: "1"} if KEEP_GROUPS in options.group_add else {}),
        },
        "linux": linux(options, context),
    }
    if options.init and options.init_path:  # ours needs no file in the container
        source = {"destination": INIT_PATH, "type": "bind", "source": options.init_path}
        document["mounts"].append({**source, "options": ["bind", "rprivate", "ro"]})
        document["process"]["args"] = [INIT_PATH, "--", *document["process"]["args"]]
    if mode_of(options, context, "uts") == "private":
        document["hostname"] = hostname(options, context)
    return document


def linux(options: ContainerOptions, context: Context) -> dict[str, Any]:
    """The ``linux`` object.  config-linux.md"""
    section: dict[str, Any] = {
        "namespaces": namespaces(options, context),
        "uidMappings": [] if context.joins_userns else id_mappings(context.uid_maps),
        "gidMappings": [] if context.joins_userns else id_mappings(context.gid_maps),
        "devices": devices(options),
        "sysctl": sysctls(options, context),
        "resources": resources(options, context),
        "seccomp": seccomp(options, context),
        "maskedPaths": masked_paths(options),
        "readonlyPaths": readonly_paths(options),
        "mountLabel": context.mount_label,
    }
    return {name: value for name, value in section.items() if value or name == "namespaces"}
