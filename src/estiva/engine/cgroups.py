"""Finding the cgroup of a container that some command started."""

from __future__ import annotations

from estiva.engine.hostfacts import read_or_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.container import Container
    from estiva.runtime.cgroup.handle import CgroupHandle

CGROUP = "cgroup"  # in the run directory: the path, where it is not the same for every session
PARENT = "/estiva"


def root_cgroup_path(container_id: str, parent: str) -> str:
    """Where root's containers are in each hierarchy."""
    from estiva.runtime.cgroup.hierarchy import container_path

    return container_path(container_id, parent=parent or PARENT)


def find_cgroup(container: Container) -> CgroupHandle:
    """The container's cgroup, with those directories that exist now."""
    from estiva.runtime.cgroup.driver import open_handle
    from estiva.runtime.cgroup.hierarchy import detect

    if container.engine.settings.rootless:
        path = read_or_empty(f"{container.run_dir}/{CGROUP}")
    else:
        path = root_cgroup_path(container.id, container.options.cgroup_parent)
    return open_handle(detect(), path)
