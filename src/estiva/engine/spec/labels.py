"""SELinux labels of containers.  Pure.  podman-run(1) "--security-opt label", container_selinux(8), mcs(8)

A label is ``user:role:type:level``.  Containers are kept apart by the level: each has a pair of categories of its own
(``s0:c12,c834``), and a process reaches only files whose categories it has, too.
"""

from __future__ import annotations

from estiva.errors import Invalid, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

CATEGORIES = 1024
PRIVILEGED_LEVEL = f"s0:c{CATEGORIES - 2},c{CATEGORIES - 1}"  # of the files of containers that no label holds back
PARTS = ("user", "role", "type", "level", "filetype")
# What the policy is asked for, with the answers of container-selinux.  selinux_lxc_contexts(5)
CONTEXTS = {
    "process": "system_u:system_r:container_t:s0",
    "file": "system_u:object_r:container_file_t:s0",
    "init_process": "system_u:system_r:container_init_t:s0",
    "kvm_process": "system_u:system_r:container_kvm_t:s0",
}
INITS = ("/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init")  # and every program called systemd
KVM_RUNTIMES = ("kata", "kata-runtime", "kata-qemu", "kata-fc", "crun-vm", "krun")  # containers.conf(5)


class Label:
    """``user:role:type[:level]``; the level may itself have colons."""

    __slots__ = ("level", "role", "type", "user")

    def __init__(self, user: str, role: str, type: str, level: str = "") -> None:
        self.user = user
        self.role = role
        self.type = type
        self.level = level

    @classmethod
    def parse(cls, text: str) -> Label:
        """Raises Invalid for what is not a label; the kernel knows if there is such a type."""
        parts = text.split(":", 3)
        if len(parts) < 3 or not all(parts) or set(text) & set(" \t\n\0"):
            raise Invalid(f"SELinux label {text!r}: not valid", "write it as user:role:type:level")
        return cls(*parts)

    def __str__(self) -> str:
        return ":".join(filter(None, (self.user, self.role, self.type, self.level)))

    def at(self, level: str) -> Label:
        """The same at another level."""
        return Label(self.user, self.role, self.type, level)


def parse_level(text: str) -> tuple[str, frozenset[int]]:
    """(sensitivity, categories) of a level such as ``s0:c1,c5.c7``; of a range, of its upper end.  Raises Invalid."""
    low, dash, high = text.partition("-")
    ends = [_parse_end(part, text) for part in ((low, high) if dash else (low,))]
    if dash and not ends[0][1] <= ends[1][1]:
        raise Invalid(f"SELinux level {text!r}: the upper end lacks categories of the lower one")
    return ends[-1]


def _parse_end(text: str, whole: str) -> tuple[str, frozenset[int]]:
    sensitivity, colon, categories = text.partition(":")
    found: set[int] = set()
    try:
        if sensitivity[:1] != "s" or not sensitivity[1:].isdigit() or (colon and not categories):
            raise ValueError
        for part in categories.split(",") if colon else ():
            first, dot, last = part.partition(".")
            numbers = [_category(name) for name in ((first, last) if dot else (first,))]
            if numbers[0] > numbers[-1]:
                raise ValueError
            found.update(range(numbers[0], numbers[-1] + 1))
    except ValueError:
        raise Invalid(f"SELinux level {whole!r}: not valid", "write it as s0:c1,c2 or s0-s0:c0.c1023") from None
    return sensitivity, frozenset(found)


def _category(name: str) -> int:
    if name[:1] != "c" or not name[1:].isdigit() or int(name[1:]) >= CATEGORIES:
        raise ValueError
    return int(name[1:])


def choose_level(taken: Collection[str], random: Callable[[int], int]) -> str:
    """A level with a pair of categories that is not among the levels *taken*.

    *random* (n) gives a number below n.  There are 523 776 pairs, so almost always the first try is free; when it is
    not, the next free one in order is taken.  Raises Unavailable when there is none.
    """
    pairs = CATEGORIES * (CATEGORIES - 1) // 2 - 1  # the last one is PRIVILEGED_LEVEL
    start = random(pairs)
    for step in range(min(len(taken) + 1, pairs)):
        level = _pair((start + step) % pairs)
        if level not in taken:
            return level
    raise Unavailable("choosing an SELinux level: containers have all pairs of categories", "remove containers")


def _pair(number: int) -> str:
    """The pair of categories with this number, counted c0,c1 c0,c2 … c1022,c1023."""
    first, row = 0, CATEGORIES - 1
    while number >= row:
        number -= row
        first += 1
        row -= 1
    return f"s0:c{first},c{first + 1 + number}"


class LabelChoice:
    """``--security-opt label=…``, all of them: ``disabled``, ``nested`` and the ``parts`` that were named."""

    __slots__ = ("disabled", "nested", "parts")

    def __init__(self, values: Sequence[str]) -> None:
        self.disabled = "disable" in values
        self.nested = "nested" in values
        self.parts: dict[str, str] = {}
        for value in values:
            name, _, part = value.replace("=", ":", 1).partition(":")
            if name in PARTS and part:
                self.parts[name] = part
            elif value not in ("disable", "nested"):
                raise Invalid(
                    f"bad label option {value!r}, valid options 'disable', 'nested' or 'user, role, level, type, "
                    "filetype' followed by ':' and a value"
                )
        if "level" in self.parts:
            parse_level(self.parts["level"])


def make_labels(
    choice: LabelChoice, level: str, args: Sequence[str], runtime: str, contexts: Mapping[str, str]
) -> tuple[str, str]:
    """The labels of the container's processes and of its files.

    *level*: the one chosen for this container, unless the user names one · *args*: its program, for an init system
    gets a type of its own · *contexts*: the policy's answers for the keys of :data:`CONTEXTS`.
    """
    file = Label.parse(contexts.get("file") or CONTEXTS["file"])
    if choice.disabled:
        return "", str(file.at(PRIVILEGED_LEVEL))
    key = "process"
    if "type" not in choice.parts:
        if runtime.rpartition("/")[2] in KVM_RUNTIMES:
            key = "kvm_process"
        elif _is_init(args):
            key = "init_process"
    process = Label.parse(contexts.get(key) or CONTEXTS[key])
    parts = choice.parts
    level = parts.get("level", level)
    user = parts.get("user", process.user)
    process = Label(user, parts.get("role", process.role), parts.get("type", process.type), level)
    return str(process), str(Label(parts.get("user", file.user), file.role, parts.get("filetype", file.type), level))


def _is_init(args: Sequence[str]) -> bool:
    return bool(args) and (args[0] in INITS or args[0].rpartition("/")[2] == "systemd")


def shared(label: str) -> str:
    """The file *label* at the level that every container may use."""
    return str(Label.parse(label).at("s0"))


def overlay_option(label: str, security_opt: Sequence[str]) -> str:
    """The mount option that gives all files of an overlay the *label*; with ``label=nested`` only the top has it, and
    the container may label others itself.  mount(8) "context=" """
    nested = any(text.replace(":", "=", 1) == "label=nested" for text in security_opt)
    return f"{'rootcontext' if nested else 'context'}={label}"


def parse_contexts(text: str) -> dict[str, str]:
    """The contents of the policy's file ``lxc_contexts``: key → label.  selinux_lxc_contexts(5)"""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        value = value.strip().strip('"')
        if equals and key.strip() and not key.lstrip().startswith("#") and value.count(":") >= 2:
            found[key.strip()] = value
    return found
