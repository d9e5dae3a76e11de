"""The options of ``run`` and ``create``, and what each means for a :class:`ContainerOptions`.

One table for both commands.  An option whose value needs no translation sets the field of its own name; the others
have a function in :data:`MEANING`.
"""

from __future__ import annotations

import os

from estiva.cli.parser import Option
from estiva.engine.options import FIELDS, ContainerOptions, MountOption
from estiva.engine.spec import environment, mountparse
from estiva.engine.spec.resources import parse_bytes
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from estiva.cli.parser import Parsed

OPTIONS = (
    Option("add-host", "", "list", "host:ip", "Add a line to /etc/hosts"),
    Option("annotation", "", "array", "key=value", "Add an annotation to the container"),
    Option("arch", "", "string", "ARCH", "Use this architecture instead of the host's for choosing images"),
    Option("attach", "a", "choices", "stream", "Attach to standard input, output or error",
           choices=("stdin", "stdout", "stderr", "STDIN", "STDOUT", "STDERR")),
    Option("authfile", "", "string", "path", "Path of the file with registry credentials", complete="file"),
    Option("blkio-weight", "", "uint", "weight", "Block IO weight, from 10 to 1000"),
    Option("blkio-weight-device", "", "array", "device:weight", "Block IO weight of a device"),
    Option("cap-add", "", "list", "capability", "Add a Linux capability, or ALL"),
    Option("cap-drop", "", "list", "capability", "Drop a Linux capability, or ALL"),
    Option("cgroup-conf", "", "list", "key=value", "Set a file of cgroup v2 directly"),
    Option("cgroup-parent", "", "string", "path", "Cgroup under which the container's is made"),
    Option("cgroupns", "", "string", "mode", "Cgroup namespace: private, host, ns:PATH or container:ID"),
    Option("cgroups", "", "choice", "mode", "Whether the container gets a cgroup", "enabled",
           choices=("enabled", "disabled", "no-conmon")),
    Option("cidfile", "", "string", "path", "Write the container's ID to this file", complete="file"),
    Option("conmon-pidfile", "", "string", "path", "Write the process ID of the monitor to this file",
           complete="file"),
    Option("cpu-period", "", "uint", "µs", "Period of the CPU quota"),
    Option("cpu-quota", "", "int", "µs", "CPU time in each period"),
    Option("cpu-rt-period", "", "uint", "µs", "Period of real-time scheduling (cgroup v1)"),
    Option("cpu-rt-runtime", "", "int", "µs", "Real-time runtime in each period (cgroup v1)"),
    Option("cpu-shares", "c", "uint", "shares", "CPU shares, relative to others (1024 is normal)"),
    Option("cpus", "", "float", "number", "Number of CPUs"),
    Option("cpuset-cpus", "", "string", "list", "CPUs to run on, e.g. 0-2,5"),
    Option("cpuset-mems", "", "string", "list", "Memory nodes to use, e.g. 0,1"),
    Option("creds", "", "string", "user:password", "Credentials for the registry"),
    Option("device", "", "array", "host[:ctr][:rwm]", "Add a device of the host, or a directory of devices"),
    Option("device-cgroup-rule", "", "array", "rule", "Allow the use of devices, e.g. 'c 10:200 rwm'"),
    Option("device-read-bps", "", "array", "device:rate", "Limit bytes read from a device a second"),
    Option("device-read-iops", "", "array", "device:rate", "Limit reads from a device a second"),
    Option("device-write-bps", "", "array", "device:rate", "Limit bytes written to a device a second"),
    Option("device-write-iops", "", "array", "device:rate", "Limit writes to a device a second"),
    Option("dns", "", "list", "address", "Use this DNS server"),
    Option("dns-option", "", "list", "option", "Set a resolver option", aliases=("dns-opt",)),
    Option("dns-search", "", "list", "domain", "Search this DNS domain"),
    Option("entrypoint", "", "string", "command", "Replace the image's entrypoint (a word or a JSON array)"),
    Option("env", "e", "array", "name[=value]", "Set an environment variable"),
    Option("env-file", "", "array", "path", "Read environment variables from a file", complete="file"),
    Option("env-host", help="Pass on all environment variables of the host"),
    Option("env-merge", "", "array", "name=value", "Set a variable from the image's, e.g. PATH=$PATH:/opt/bin"),
    Option("gidmap", "", "list", "map", "Map group IDs: container:host[:count]"),
    Option("group-add", "", "list", "group", "Add a supplementary group"),
    Option("hostname", "h", "string", "name", "Set the container's host name"),
    Option("hosts-file", "", "string", "path", "Base of /etc/hosts: a path, or none", complete="file"),
    Option("http-proxy", "", "bool", "", "Pass on the proxy variables of the host", True),
    Option("image-volume", "", "choice", "how", "What becomes of the image's volumes", "anonymous",
           choices=("anonymous", "bind", "tmpfs", "ignore"), aliases=("builtin-volume",)),
    Option("init", help="Run an init inside the container that forwards signals and reaps processes"),
    Option("init-path", "", "string", "path", "Use this program as init", complete="file"),
    Option("interactive", "i", help="Keep standard input open"),
    Option("ipc", "", "string", "mode", "IPC namespace: private, shareable, none, host, ns:PATH or container:ID"),
    Option("label", "l", "array", "key=value", "Set a label"),
    Option("label-file", "", "array", "path", "Read labels from a file", complete="file"),
    Option("log-driver", "", "choice", "driver", "Where output is logged", choices=("k8s-file", "json-file", "none")),
    Option("log-opt", "", "array", "key=value", "Set a logging option: path, max-size, max-file, tag"),
    Option("memory", "m", "string", "bytes", "Memory limit, e.g. 512m"),
    Option("memory-reservation", "", "string", "bytes", "Memory soft limit"),
    Option("memory-swap", "", "string", "bytes", "Limit of memory and swap together, -1 for none"),
    Option("memory-swappiness", "", "int", "percent", "How readily memory is swapped, 0 to 100 (cgroup v1)", -1),
    Option("mount", "", "array", "type=TYPE,...", "Mount a directory, volume or tmpfs"),
    Option("name", "", "string", "name", "Name the container"),
    Option("network", "", "array", "mode", "Network of the container: none, host, ns:PATH or container:ID",
           aliases=("net",)),
    Option("no-healthcheck", help="Ignore the image's health check"),
    Option("no-hostname", help="Leave /etc/hostname as the image has it"),
    Option("no-hosts", help="Leave /etc/hosts as the image has it"),
    Option("oom-kill-disable", help="Do not kill when memory runs out (cgroup v1)"),
    Option("oom-score-adj", "", "int", "number", "How likely the kernel kills it for memory, -1000 to 1000"),
    Option("os", "", "string", "OS", "Use this OS instead of the host's for choosing images"),
    Option("pid", "", "string", "mode", "PID namespace: private, host, ns:PATH or container:ID"),
    Option("pidfile", "", "string", "path", "Write the program's process ID to this file", complete="file"),
    Option("pids-limit", "", "int", "number", "Limit of processes and threads, -1 for none"),
    Option("platform", "", "string", "os/arch", "Platform for choosing images: OS/ARCH[/VARIANT]"),
    Option("privileged", help="Give the container nearly all the power of its owner"),
    Option("pull", "", "choice", "policy", "When to pull the image", "missing", implied="always",
           choices=("always", "missing", "never", "newer", "true", "false")),
    Option("quiet", "q", help="Show no progress while pulling"),
    Option("read-only", help="Make the root file system read-only"),
    Option("read-only-tmpfs", "", "bool", "", "With --read-only, keep /run, /tmp and /var/tmp writable", True),
    Option("replace", help="Replace a container of the same name"),
    Option("restart", "", "string", "policy", "Restart when it ends: no, on-failure[:N], always, unless-stopped"),
    Option("rm", help="Remove the container when it ends"),
    Option("rootfs", help="The image is the path of a root file system"),
    Option("security-opt", "", "array", "option", "Security options: no-new-privileges, seccomp=FILE|unconfined, "
           "seccomp=learn:FILE, landlock=RULES, label=…, apparmor=…, mask=…, unmask=…, proc-opts=…"),
    Option("shm-size", "", "string", "bytes", "Size of /dev/shm"),
    Option("stop-signal", "", "string", "signal", "Signal that stops the container"),
    Option("stop-timeout", "", "uint", "seconds", "How long a stop waits before it kills", 10),
    Option("subgidname", "", "string", "name", "Name in /etc/subgid to take group IDs from"),
    Option("subuidname", "", "string", "name", "Name in /etc/subuid to take user IDs from"),
    Option("sysctl", "", "list", "name=value", "Set a kernel parameter of the container's namespaces"),
    Option("timeout", "", "uint", "seconds", "Kill the container when it has run this long"),
    Option("tls-verify", "", "bool", "", "Require HTTPS and verify the registry's certificate", True),
    Option("tmpfs", "", "array", "path[:options]", "Mount a file system in memory"),
    Option("tty", "t", help="Give the program a terminal"),
    Option("tz", "", "string", "zone", "Time zone, e.g. Europe/Berlin, or local"),
    Option("uidmap", "", "list", "map", "Map user IDs: container:host[:count]"),
    Option("ulimit", "", "list", "name=soft[:hard]", "Set a resource limit, or host to keep the host's"),
    Option("umask", "", "string", "mask", "Umask of the program, octal"),
    Option("unsetenv", "", "array", "name", "Unset a default environment variable"),
    Option("unsetenv-all", help="Unset all default environment variables"),
    Option("user", "u", "string", "user[:group]", "User the program runs as, by name or number"),
    Option("userns", "", "string", "mode",
           "User namespace: host, keep-id, auto, nomap, private, ns:PATH or container:ID"),
    Option("uts", "", "string", "mode", "UTS namespace: private, host, ns:PATH or container:ID"),
    Option("variant", "", "string", "VARIANT", "Use this variant of the architecture for choosing images"),
    Option("volume", "v", "array", "[src:]dst[:opts]", "Mount a directory of the host, or a volume",
           complete="directory"),
    Option("volumes-from", "", "array", "container", "Mount what another container has mounted", complete="container"),
    Option("workdir", "w", "string", "path", "Directory the program starts in"),
)  # fmt: skip

RUN_OPTIONS = (
    Option("detach", "d", help="Run the container in the background and print its ID"),
    Option("detach-keys", "", "string", "keys", "Keys that detach a terminal, e.g. ctrl-p,ctrl-q"),
    Option("preserve-fds", "", "uint", "count", "Pass on this many descriptors besides the first three"),
    Option("rmi", help="Remove the image, too, when the container ends, if nothing else uses it"),
    Option("sig-proxy", "", "bool", "", "Pass signals on to the program", True),
)

# Options that are about pulling, or for the command itself.
_NOT_FIELDS = frozenset(
    ("arch", "authfile", "creds", "detach", "env-file", "label-file", "os", "quiet", "sig-proxy", "tls-verify", "tmpfs",
     "variant", "volume", "env-host", "http-proxy")
)  # fmt: skip


def container_options(parsed: Parsed, environ: Mapping[str, str]) -> ContainerOptions:
    """The options a command line gives; its first operand is the image, the others the command."""
    options = ContainerOptions(parsed.args[0], parsed.args[1:])
    for name, value in parsed.values.items():
        field = name.replace("-", "_")
        if name in MEANING:
            setattr(options, field, MEANING[name](value))
        elif name not in _NOT_FIELDS and field in FIELDS:
            setattr(options, field, value)
    options.env = _environment(parsed, environ)
    options.env_host = dict(environ) if parsed.flag("env-host") else {}
    options.http_proxy = environment.host_proxies(environ) if parsed.flag("http-proxy") else {}
    options.label = {**_labels_of_files(parsed), **options.label}
    options.mount = _mounts(parsed)
    options.platform = _platform(parsed)
    if options.rm and options.restart not in ("", "no"):
        raise Invalid("the --rm option conflicts with --restart")
    return options


def _environment(parsed: Parsed, environ: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for path in parsed.texts("env-file"):
        lines += environment.read_env_file(path, environ)
    return lines + environment.from_host(parsed.texts("env"), environ)


def _labels_of_files(parsed: Parsed) -> dict[str, str]:
    lines: list[str] = []
    for path in parsed.texts("label-file"):
        lines += [line for line in environment.read_lines(path, "label file") if line.strip() and line[0] != "#"]
    return environment.pairs(lines)


def _mounts(parsed: Parsed) -> list[MountOption]:
    mounts = [mountparse.parse_volume(text) for text in parsed.texts("volume")]
    mounts += [mountparse.parse_mount(text) for text in parsed.texts("mount")]
    mounts += [mountparse.parse_tmpfs(text) for text in parsed.texts("tmpfs")]
    seen: dict[str, MountOption] = {}
    for mount in mounts:
        if seen.setdefault(mount.target, mount) != mount:
            raise Invalid(f"mount destination {mount.target!r}: given twice")
    return list(seen.values())


def _platform(parsed: Parsed) -> str:
    """``OS/ARCH[/VARIANT]`` from --platform or its parts; empty for the host's."""
    parts = [parsed.text(name) for name in ("os", "arch", "variant")]
    if parsed.text("platform"):
        if any(parts):
            raise Invalid("option --platform: excludes --os, --arch and --variant")
        return parsed.text("platform")
    if not any(parts):
        return ""
    if not parts[1]:
        raise Invalid("options --os and --variant: need --arch")
    return "/".join(part for part in (parts[0] or "linux", *parts[1:]) if part)


def _entrypoint(text: str) -> list[str]:
    if text.startswith("["):
        import json

        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return [text] if text else []


def _pairs(option: str) -> Callable[[list[str]], dict[str, str]]:
    """The translation of ``key=value`` words into a dict, for an option that insists on the value."""

    def translate(words: list[str]) -> dict[str, str]:
        for word in words:
            if "=" not in word or word[0] == "=":
                raise Invalid(f"option --{option} {word!r}: not of the form key=value")
        return environment.pairs(words)

    return translate


def _security_options(words: list[str]) -> list[str]:
    """With the path of a profile to learn made absolute: later commands have other working directories."""
    learn = "seccomp=learn:"
    return [learn + os.path.abspath(word[len(learn) :]) if word.startswith(learn) else word for word in words]


def _memory_swap(text: str) -> int:
    return -1 if text == "-1" else parse_bytes(text)


def _pull(text: str) -> str:
    return {"true": "always", "false": "missing"}.get(text, text)


def _mode(option: str) -> Callable[[str], str]:
    """The check of a namespace's mode; an empty value is the default."""

    def check(text: str) -> str:
        from estiva.engine.spec.namespaces import check_mode

        return check_mode(option, text) if text else ""

    return check


def _network(words: list[str]) -> str:
    if len(words) > 1:
        raise Invalid("option --network: can be given once")
    word = {"private": "none"}.get(words[0], words[0])
    return _mode("network")(word)


def _restart(text: str) -> str:
    policy, colon, count = text.partition(":")
    if policy not in ("", "no", "on-failure", "always", "unless-stopped") or (
        colon and (policy != "on-failure" or not count.isdigit())
    ):
        raise Invalid(f"restart policy {text!r}: not known", "choose no, on-failure[:N], always or unless-stopped")
    return text


def _checked(check: Callable[[str], Any]) -> Callable[[Any], Any]:
    """The value itself, after *check* has found no fault with it (or with each, of a list)."""

    def keep(value: Any) -> Any:
        for each in value if isinstance(value, list) else [value]:
            check(each)
        return value

    return keep


def _check_signal(text: str) -> None:
    from estiva.engine.signals import parse_signal

    parse_signal(text)


def _check_ulimit(text: str) -> None:
    from estiva.runtime.rlimits import parse_ulimit

    if text != "host":
        parse_ulimit(text)


def _check_device(text: str) -> None:
    from estiva.runtime.devices import DeviceOption

    DeviceOption.parse(text)


def _check_rule(text: str) -> None:
    from estiva.runtime.devices import parse_rule

    parse_rule(text)


def _check_host(text: str) -> None:
    from estiva.engine.spec.files import parse_host

    parse_host(text)


MEANING: dict[str, Callable[[Any], Any]] = {
    "add-host": _checked(_check_host),
    "annotation": _pairs("annotation"),
    "attach": lambda words: [word.lower() for word in words],
    "cgroup-conf": _pairs("cgroup-conf"),
    "cgroupns": _mode("cgroupns"),
    "device": _checked(_check_device),
    "device-cgroup-rule": _checked(_check_rule),
    "entrypoint": _entrypoint,
    "image-volume": lambda text: "" if text in ("anonymous", "bind") else text,
    "ipc": _mode("ipc"),
    "label": environment.pairs,
    "log-opt": _pairs("log-opt"),
    "memory": parse_bytes,
    "memory-reservation": parse_bytes,
    "memory-swap": _memory_swap,
    "memory-swappiness": lambda number: None if number == -1 else number,
    "mount": lambda _: [],
    "network": _network,
    "pid": _mode("pid"),
    "pull": _pull,
    "restart": _restart,
    "security-opt": _security_options,
    "shm-size": parse_bytes,
    "stop-signal": _checked(_check_signal),
    "sysctl": _pairs("sysctl"),
    "ulimit": _checked(_check_ulimit),
    "userns": lambda text: text or "host",  # "" is a choice: what is set elsewhere does not count
    "uts": _mode("uts"),
}
