"""A container's cgroup made by systemd: a transient scope, so that systemd knows of it and gives it its place.

A scope begins with a process that is there already, and its cgroup goes when the last one does.  Our container's first
process, however, is born in its cgroup (see life.c).  So the scope begins with a *placeholder*, a helper that does
nothing but wait for the end of a pipe that whoever starts the container holds: once the container runs, or if its start
fails in any way, that of this process included, the placeholder ends, and with it the scope if nothing else is in it.

An ordinary user's processes may only be moved, or born, within what systemd gave the user.  A login session is not in
there; then this process itself moves there first, into a scope of its own, as Podman does.  org.freedesktop.systemd1(5)
"""

from __future__ import annotations

import os
import struct
import time

from estiva.errors import Conflict, EstivaError, Invalid, Unavailable, Unsupported
from estiva.runtime.cgroup import apply as limits
from estiva.runtime.cgroup import driver, settings, units
from estiva.runtime.cgroup.bus import PATIENCE_S, Bus, BusError, addresses
from estiva.runtime.cgroup.checks import check_resources
from estiva.runtime.cgroup.dbus import Variant
from estiva.runtime.cgroup.files import failure
from estiva.runtime.cgroup.handle import CgroupHandle, remove_parents, remove_tree
from estiva.runtime.cgroup.hierarchy import delegated_parent, own_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from estiva.runtime.cgroup.hierarchy import Hierarchies
    from estiva.runtime.cgroup.units import Properties

BOOTED = "/run/systemd/system"  # sd_booted(3)
_MANAGER_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_ERROR = "org.freedesktop.systemd1."


class UnitName:
    """``slice:prefix:name``: the scope ``prefix-name.scope`` in that slice."""

    __slots__ = ("name", "slice")

    def __init__(self, slice_name: str, name: str) -> None:
        self.slice = slice_name
        self.name = name

    @classmethod
    def parse(cls, cgroups_path: str, container_id: str, *, user: bool) -> UnitName:
        """From ``linux.cgroupsPath``; raises Invalid for what has not its form."""
        default = "user.slice" if user else "system.slice"
        if not cgroups_path:
            return cls(default, f"estiva-{container_id}.scope")
        if cgroups_path.count(":") != 2 or "/" in cgroups_path:
            raise Invalid(
                f'linux.cgroupsPath: "{cgroups_path}" is not of the form slice:prefix:name',
                "systemd manages cgroups here, not paths",
            )
        slice_name, prefix, name = cgroups_path.split(":")
        slice_name = slice_name or default
        if not slice_name.endswith(".slice") or (slice_name[0] in "-." and slice_name != "-.slice"):
            raise Invalid(f'linux.cgroupsPath: "{slice_name}" is not the name of a slice')
        if not name or name.endswith(".slice"):
            raise Invalid(f'linux.cgroupsPath: "{cgroups_path}" names no scope, and a container needs one')
        return cls(slice_name, f"{prefix}-{name}.scope" if prefix else f"{name}.scope")


class Unit:
    """What a handle keeps of a unit that exists.  ``user``: it is of this user's manager, not of the system's."""

    __slots__ = ("environ", "name", "user")

    def __init__(self, name: str, user: bool, environ: Mapping[str, str]) -> None:
        self.name = name
        self.user = user
        self.environ = environ

    def bus(self) -> Bus:
        return Bus(addresses(self.user, self.environ))

    def set(self, resources: dict[str, Any], v2: bool) -> None:
        """Change the unit's own idea of the limits."""
        with self.bus() as bus:
            properties = units.resource_properties(resources, _version(bus), v2)
            if not properties:
                return
            try:
                bus.call(
                    _MANAGER_PATH,
                    _MANAGER,
                    "SetUnitProperties",
                    "sba(sv)",
                    [self.name, True, list(properties.items())],
                )
            except BusError as error:
                raise Unavailable(f'changing the limits of unit "{self.name}": systemd: {error.text}') from error

    def stop(self) -> None:
        """Have systemd end it, and forget that it failed; one that is gone is fine."""
        with self.bus() as bus:
            bus.listen(_MANAGER, "JobRemoved")
            try:
                bus.call(_MANAGER_PATH, _MANAGER, "Subscribe")
                (job,) = bus.call(_MANAGER_PATH, _MANAGER, "StopUnit", "ss", [self.name, "replace"])
            except BusError as error:
                if error.name != _ERROR + "NoSuchUnit":
                    raise Unavailable(f'stopping unit "{self.name}": systemd: {error.text}') from error
            else:
                _job_result(bus, job)
            _reset(bus, self.name)


def create(
    hierarchies: Hierarchies,
    unit_name: UnitName,
    resources: dict[str, Any],
    annotations: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    user: bool = False,
) -> CgroupHandle:
    """Start the scope and set the OCI *resources* on it; the handle's ``release`` is to be called once the container is
    in it.  On failure nothing is left.  Raises as :func:`~estiva.runtime.cgroup.driver.create` does, and Unavailable
    where systemd does not answer."""
    check_resources(resources)
    check_running(hierarchies, user)
    unit = Unit(unit_name.name, user, environ)
    if user:
        enter_user_scope(hierarchies, environ)
    v2 = hierarchies.mode == "v2"
    with unit.bus() as bus:
        version = _version(bus)
        extra = {
            **units.annotated_properties(annotations),
            **units.resource_properties(resources, version, v2),
        }
        pid, held = _place_holder()
        try:
            properties = units.scope_properties(f"estiva container {unit.name}", unit_name.slice, pid, version, v2)
            _start(bus, unit.name, {**properties, **extra})
            path = _path_of(pid, unit.name, v2)
        except BaseException:
            os.close(held)
            raise
    return _finish(hierarchies, unit, path, held, resources)


def _finish(hierarchies: Hierarchies, unit: Unit, path: str, held: int, resources: dict[str, Any]) -> CgroupHandle:
    """The handle of the started scope, with what systemd does not do done."""
    given = [mount for mount in hierarchies.mounts() if os.path.isdir(mount + path)]
    made: list[str] = []
    handle = CgroupHandle(hierarchies, path, None if hierarchies.mode != "v2" else given, unit=unit, held=held)
    try:
        for mount in hierarchies.mounts():
            if mount not in given:
                driver.make_directory(hierarchies, mount, path, made)
        handle.own_dirs = made
        wanted = settings.needed(resources)
        driver.check_controllers(handle, hierarchies, wanted, unit.user)
        driver.check_unified(hierarchies, resources)
        limits.apply(handle, resources, rootless=unit.user, fresh=True)
    except BaseException as error:
        handle.release()
        try:
            unit.stop()
        finally:
            for directory in made:
                remove_tree(directory)
                remove_parents(directory)
        if isinstance(error, OSError):
            raise failure(f"making cgroup {path}", error) from error
        raise
    return handle


def check_running(hierarchies: Hierarchies, user: bool) -> None:
    """Unsupported where there is no systemd, or it cannot do this."""
    if not os.path.isdir(BOOTED):
        raise Unsupported(
            "cgroup manager systemd: this machine was not booted with systemd", "use the cgroupfs manager"
        )
    if user and hierarchies.mode != "v2":
        raise Unsupported("cgroup manager systemd: without root it needs cgroup v2", "use the cgroupfs manager")


def enter_user_scope(hierarchies: Hierarchies, environ: Mapping[str, str]) -> bool:
    """Move this process to where the user may divide cgroups, if it is not there; whether it was moved."""
    if delegated_parent(hierarchies) is not None:
        return False
    name = f"estiva-{os.getpid()}-{time.monotonic_ns()}.scope"
    with Bus(addresses(True, environ)) as bus:
        properties = {
            "Description": Variant("s", "estiva"),
            "Slice": Variant("s", "user.slice"),
            "Delegate": Variant("b", True),
            "PIDs": Variant("au", [os.getpid()]),
            "CollectMode": Variant("s", "inactive-or-failed"),
        }
        _start(bus, name, properties)
    return True


def _place_holder() -> tuple[int, int]:
    """(process id of a new placeholder, the descriptor that keeps it)."""
    from estiva.linux.unix import receive, socketpair
    from estiva.runtime import helper, plan

    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    ours, theirs = socketpair()
    try:
        work = plan.Plan().add(plan.HOLD, helper.KEEP_FROM)
        started = helper.spawn(work, theirs, ["estiva-hold"], keep=[read_fd])
        os.close(theirs)
        theirs = -1
        message = receive(ours, 16)
        helper.wait(started)
        if message[:1] != b"p":
            raise Unavailable("starting the scope: its placeholder was killed")
    except BaseException:
        os.close(write_fd)
        raise
    finally:
        for fd in (read_fd, ours, theirs):
            if fd >= 0:
                os.close(fd)
    return struct.unpack("=i", message[1:5])[0], write_fd


def _version(bus: Bus) -> int:
    """The number of the manager's version, ``252.38-1~deb12u1``."""
    (value,) = bus.call(_MANAGER_PATH, "org.freedesktop.DBus.Properties", "Get", "ss", [_MANAGER, "Version"])
    digits = str(value.value).lstrip("v")
    count = next((at for at, letter in enumerate(digits) if not letter.isdigit()), len(digits))
    return int(digits[:count] or 0)


def _start(bus: Bus, name: str, properties: Properties) -> None:
    """Start a transient unit and wait until it is there."""
    bus.listen(_MANAGER, "JobRemoved")
    bus.call(_MANAGER_PATH, _MANAGER, "Subscribe")
    arguments: list[Any] = [name, "replace", list(properties.items()), []]
    for again in (True, False):
        try:
            (job,) = bus.call(_MANAGER_PATH, _MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", arguments)
            break
        except BusError as error:
            if error.name == _ERROR + "UnitExists" and again:
                _reset(bus, name)  # a scope that failed stays until somebody has taken note
                continue
            kind: type[EstivaError] = Conflict if error.name == _ERROR + "UnitExists" else Unavailable
            raise kind(f'starting unit "{name}": systemd: {error.text}') from error
    result = _job_result(bus, job)
    if result != "done":
        _reset(bus, name)
        raise Unavailable(f'starting unit "{name}": systemd says "{result}"', f"see journalctl --unit={name}")


def _path_of(pid: int, name: str, v2: bool) -> str:
    """The cgroup into which systemd has put process *pid*, as the hierarchies that are mounted here name it."""
    try:
        path = own_paths(f"/proc/{pid}/cgroup").get("" if v2 else "name=systemd", "")
    except FileNotFoundError:
        raise Unavailable(f'starting unit "{name}": it ended at once') from None
    if path.startswith("/.."):
        raise Unsupported(
            f'starting unit "{name}": its cgroup is outside of this cgroup namespace, and cannot be managed from here',
            "use the cgroupfs manager inside containers",
        )
    if path.rpartition("/")[2] != name:
        raise Unavailable(f'starting unit "{name}": systemd left its process in cgroup "{path}"')
    return path


def _job_result(bus: Bus, job: str) -> str:
    """How a job ended: ``done``, ``failed``, ``canceled``, ``timeout`` …  Raises Unavailable if it does not end."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        _, removed, _, result = bus.signal("JobRemoved", deadline)
        if removed == job:
            return str(result)


def _reset(bus: Bus, name: str) -> None:
    try:
        bus.call(_MANAGER_PATH, _MANAGER, "ResetFailedUnit", "s", [name])
    except BusError:
        return  # it had not failed, or is gone
