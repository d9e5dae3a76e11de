"""What a container was asked to be: the options of ``run`` and ``create`` as values.

Names are Podman's long option names with underscores; the values are parsed.  A field keeps its default below (mostly
``None`` or empty: "not asked for") until something is asked for; images, ``containers.conf`` and our own defaults are
consulted later, by the functions of ``estiva.engine.spec``.
"""

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNT_KINDS = ("bind", "volume", "tmpfs")


class MountOption:
    """One mount a user asked for.

    ``kind`` one of :data:`MOUNT_KINDS` · ``source`` host path, volume name (``""``: anonymous) or image ·
    ``target`` path in the container · ``options`` as in ``-v src:dst:OPTIONS`` (``ro``, ``Z``, ``U``, ``rshared``,
    ``size=64m`` …).
    """

    __slots__ = ("kind", "options", "source", "target")

    def __init__(self, kind: str, source: str, target: str, options: list[str] | None = None) -> None:
        self.kind = kind
        self.source = source
        self.target = target
        self.options = options or []

    def to_json(self) -> list[Any]:
        """The list :meth:`from_json` reads."""
        return [self.kind, self.source, self.target, self.options]

    @classmethod
    def from_json(cls, value: list[Any]) -> MountOption:
        """The mount a list of :meth:`to_json` tells of."""
        return cls(*value)

    def __repr__(self) -> str:
        return f"MountOption({self.kind!r}, {self.source!r}, {self.target!r}, {self.options!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MountOption) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]


# Field → default.  A list or dict stands for a fresh empty one.  Units: memory, shm_size and rates in bytes (per
# second), stop_timeout and timeout in seconds, cpu_period and cpu_quota in microseconds, cpus in CPUs.
FIELDS: dict[str, Any] = {
    "image": "",  # as the user named it
    "command": [],  # program and arguments given after the image
    "add_host": [],  # "name:address", address "host-gateway" allowed
    "annotation": {},
    "attach": [],  # stdin, stdout, stderr; empty: what -i and -d imply
    "blkio_weight": None,
    "blkio_weight_device": [],  # "path:weight"
    "cap_add": [],
    "cap_drop": [],
    "cgroup_conf": {},  # cgroup v2 file → value
    "cgroup_parent": "",
    "cgroupns": "",  # private, host, ns:PATH, container:ID
    "cgroups": "enabled",  # enabled, disabled
    "cidfile": "",
    "conmon_pidfile": "",
    "cpu_period": None,
    "cpu_quota": None,
    "cpu_rt_period": None,
    "cpu_rt_runtime": None,
    "cpu_shares": None,
    "cpus": None,
    "cpuset_cpus": "",
    "cpuset_mems": "",
    "detach_keys": None,  # None: the default ctrl-p,ctrl-q; "": none
    "device": [],  # "host[:container][:rwm]"
    "device_cgroup_rule": [],  # "c 1:3 rwm"
    "device_read_bps": [],  # "path:rate", rate parsed later
    "device_read_iops": [],
    "device_write_bps": [],
    "device_write_iops": [],
    "dns": [],
    "dns_option": [],
    "dns_search": [],
    "entrypoint": None,  # None: the image's; []: none
    "env": [],  # "NAME=value", in order of rising precedence, --env-file's first
    "env_host": {},  # the host's environment, where --env-host asked for it
    "env_merge": [],  # "NAME=value with ${NAME}"
    "gidmap": [],  # "container:host[:count]"
    "group_add": [],
    "hostname": "",
    "hosts_file": "",
    "http_proxy": {},  # the proxy variables of the host to hand on
    "image_volume": "",  # anonymous (bind), tmpfs, ignore
    "init": False,
    "init_path": "",
    "interactive": False,
    "ipc": "",  # private, shareable, none, host, ns:PATH, container:ID
    "label": {},
    "log_driver": "",
    "log_opt": {},
    "memory": None,
    "memory_reservation": None,
    "memory_swap": None,  # -1: unlimited
    "memory_swappiness": None,
    "mount": [],  # list[MountOption]: -v, --mount and --tmpfs
    "name": "",
    "network": "",  # none, host, private, ns:PATH, container:ID
    "no_healthcheck": False,
    "no_hostname": False,
    "no_hosts": False,
    "oom_kill_disable": False,
    "oom_score_adj": None,
    "pid": "",  # private, host, ns:PATH, container:ID
    "pidfile": "",
    "pids_limit": None,  # 0 and -1: unlimited
    "platform": "",
    "preserve_fds": 0,
    "privileged": False,
    "pull": "",
    "read_only": False,
    "read_only_tmpfs": True,
    "replace": False,
    "restart": "",  # no, on-failure[:N], always, unless-stopped
    "rm": False,
    "rmi": False,
    "rootfs": False,  # image is the path of a root file system
    "runtime": "",
    "security_opt": [],
    "shm_size": None,
    "stop_signal": "",
    "stop_timeout": None,
    "subgidname": "",
    "subuidname": "",
    "sysctl": {},
    "timeout": 0,
    "tty": False,
    "tz": "",
    "uidmap": [],
    "ulimit": [],  # "name=soft[:hard]"
    "umask": "",
    "unsetenv": [],
    "unsetenv_all": False,
    "user": "",
    "userns": "",
    "uts": "",
    "volumes_from": [],  # "container[:options]"
    "workdir": "",
}


class ContainerOptions:
    """The options of one container; see :data:`FIELDS` for what each holds.  Unknown names raise Invalid."""

    __slots__ = tuple(FIELDS)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, image: str = "", command: list[str] | None = None, **fields: Any) -> None:
        for name, default in FIELDS.items():
            setattr(self, name, default if not isinstance(default, list | dict) else default.copy())
        self.image = image
        self.command = list(command or [])
        for name, value in fields.items():
            if name not in FIELDS:
                raise Invalid(f"container option {name!r}: unknown")
            setattr(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """A JSON object of what differs from the defaults."""
        document = {name: getattr(self, name) for name, default in FIELDS.items() if getattr(self, name) != default}
        if "mount" in document:
            document["mount"] = [mount.to_json() for mount in self.mount]
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ContainerOptions:
        """The options :meth:`to_json` wrote; what a newer version added and this one does not know is ignored."""
        options = cls(**{name: value for name, value in document.items() if name in FIELDS})
        options.mount = [MountOption.from_json(value) for value in options.mount]
        return options
