"""What the container's processes may do: capabilities, seccomp, labels, hidden and read-only paths.

runtime-spec config.md "Linux Process", config-linux.md "Seccomp", "Masked Paths"; podman-run(1) "--security-opt".
"""

from __future__ import annotations

from estiva.errors import Invalid, Unsupported
from estiva.runtime import capabilities
from estiva.runtime.compile_process import ANNOTATION
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context

SELINUX = "/sys/fs/selinux"
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/dev/block",
    "/sys/devices/virtual/powercap", "/sys/firmware", SELINUX,
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
LEARN = "learn:"
OPTIONS = ("apparmor", "label", "landlock", "mask", "no-new-privileges", "proc-opts", "seccomp", "unmask")


def security_options(options: ContainerOptions) -> dict[str, list[str]]:
    """The values of each ``--security-opt NAME=VALUE`` (``NAME:VALUE`` is accepted, too); raises Invalid."""
    found: dict[str, list[str]] = {}
    for text in options.security_opt:
        cut = min((text.find(c) for c in "=:" if c in text), default=len(text))
        name, value = text[:cut], text[cut + 1 :]
        if name not in OPTIONS or (not value and name != "no-new-privileges"):
            raise Invalid(f"security option {text!r}: not valid", f"options are {', '.join(OPTIONS)}")
        found.setdefault(name, []).append(value)
    return found


def no_new_privileges(options: ContainerOptions) -> bool:
    """Whether set-user-id programs lose their power."""
    values = security_options(options).get("no-new-privileges", ["false"])
    if values[-1] not in ("", "true", "false"):
        raise Invalid(f"security option no-new-privileges={values[-1]!r}: neither true nor false")
    return values[-1] != "false"


def bounding_set(options: ContainerOptions, context: Context) -> list[str]:
    """The capabilities the container can have at most."""
    if options.privileged:
        everything = capabilities.names(capabilities.bounding())
        return sorted(set(everything) - set(map(capabilities.normalize, options.cap_drop)))
    base = context.conf.get("default_capabilities") or capabilities.DEFAULT
    return capabilities.merge(base, options.cap_add, options.cap_drop)


def capability_sets(options: ContainerOptions, context: Context) -> dict[str, list[str]]:
    """The five sets.  A user other than root holds, from the start, only what was added by name."""
    bounding = bounding_set(options, context)
    sets = {"bounding": bounding, "effective": bounding, "permitted": bounding, "inheritable": [], "ambient": []}
    if context.user.uid != 0:
        added = [] if options.privileged else capabilities.merge((), options.cap_add, ())
        own = [name for name in added if name in bounding]
        sets.update(effective=own, permitted=own, inheritable=own, ambient=own)
    return sets


def seccomp(options: ContainerOptions, context: Context) -> dict[str, Any] | None:
    """The ``linux.seccomp`` section; None for no filter at all."""
    chosen = security_options(options).get("seccomp", [""])[-1]
    if learned_profile(options):  # what it may do meanwhile is what it may do by default
        chosen = ""
    chosen = chosen or str(context.conf.get("seccomp_profile") or "")
    if chosen == "unconfined" or (options.privileged and not chosen):
        return None
    from estiva.runtime import seccomp_profile

    profile = seccomp_profile.load_profile(chosen) if chosen else seccomp_profile.load_profile()
    return seccomp_profile.resolve(profile, bounding_set(options, context), context.host.arch)


def learned_profile(options: ContainerOptions) -> str:
    """The file of ``seccomp=learn:FILE``, ``""`` if no profile is to be learned."""
    chosen = security_options(options).get("seccomp", [""])[-1]
    if not chosen.startswith(LEARN):
        return ""
    if not chosen[len(LEARN) :].startswith("/"):
        raise Invalid(f"security option seccomp={chosen}: not an absolute path")
    return chosen[len(LEARN) :]


def annotated(options: ContainerOptions) -> dict[str, str]:
    """The bundle's annotations: the user's, and the Landlock rules, for which the OCI has no field."""
    result: dict[str, str] = dict(options.annotation)
    chosen = security_options(options).get("landlock")
    if chosen:
        from estiva.engine.spec.landlock import policy

        if ANNOTATION in result:
            raise Invalid(f"security option landlock: the annotation {ANNOTATION} is given, too", "use one of them")
        result[ANNOTATION] = json.dumps(policy(chosen))
    return result


def process_labels(options: ContainerOptions, context: Context) -> dict[str, str]:
    """``apparmorProfile`` and ``selinuxLabel`` of the process object, where the host has such a thing."""
    labels: dict[str, str] = {}
    if context.apparmor_profile:
        labels["apparmorProfile"] = context.apparmor_profile
    check_apparmor(options, context)
    asked = security_options(options).get("label")
    if asked:
        from estiva.engine.spec.labels import LabelChoice

        LabelChoice(asked)  # bad words are bad words, also where there are no labels
    if context.process_label:
        labels["selinuxLabel"] = context.process_label
    return labels


def check_apparmor(options: ContainerOptions, context: Context) -> None:
    """Raise Unsupported for a profile on a host without AppArmor."""
    asked = security_options(options).get("apparmor", [""])[-1]
    if asked and asked != "unconfined" and not context.host.apparmor:
        raise Unsupported(f"AppArmor profile {asked!r} specified, but AppArmor is not enabled on this host")


def is_nested(options: ContainerOptions) -> bool:
    """Whether the container may see that there is SELinux, and label its own files and processes."""
    return "nested" in security_options(options).get("label", ())


def masked_paths(options: ContainerOptions) -> list[str]:
    """The paths hidden from the container."""
    chosen = security_options(options)
    hidden = [] if options.privileged else [path for path in MASKED if not _unmasked(path, chosen)]
    if SELINUX in hidden and is_nested(options):
        hidden.remove(SELINUX)
    for value in chosen.get("mask", []):
        hidden += [path for path in value.split(":") if path not in hidden]
    return hidden


def readonly_paths(options: ContainerOptions) -> list[str]:
    """The paths the container may only read."""
    chosen = security_options(options)
    return [] if options.privileged else [path for path in READONLY if not _unmasked(path, chosen)]


def _unmasked(path: str, chosen: dict[str, list[str]]) -> bool:
    """Whether ``unmask=`` names this path, ``ALL``, or a pattern for it."""
    values = chosen.get("unmask", [])
    if not values:
        return False
    from fnmatch import fnmatchcase  # rarely needed

    for value in values:
        if any(pattern in ("ALL", "all") or fnmatchcase(path, pattern) for pattern in value.split(":")):
            return True
    return False
