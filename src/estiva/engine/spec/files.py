"""The texts of the small files every container gets: names of hosts, resolver, who runs it.

hosts(5), resolv.conf(5), hostname(5); podman-run(1) for what Podman writes into them.
"""

from __future__ import annotations

from estiva.engine.spec.environment import hostname
from estiva.engine.spec.namespaces import mode_of
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.options import ContainerOptions
    from estiva.engine.spec.context import Context

LOCAL = {"localhost": ("127.0.0.1", "::1")}


def hosts(options: ContainerOptions, context: Context, host_text: str, gateway: str = "") -> str:
    """/etc/hosts: what ``--add-host`` says, the *host_text* it is based on, then the container's own names.

    *gateway* is what ``host-gateway`` means; without one, that word is an error.
    """
    lines: list[str] = []
    for text in options.add_host:
        for name, address in parse_host(text):
            if address == "host-gateway":
                if not gateway:
                    raise Invalid(f"option --add-host {text!r}: there is no way to the host without a network")
                address = gateway
            lines.append(f"{address}\t{name}")
    base = [line for line in host_text.splitlines() if _words(line)]
    lines += ["\t".join([_words(line)[0], " ".join(_words(line)[1:])]) for line in base]
    known = {name for line in lines for name in line.split()[1:]}
    lines += [f"{address}\tlocalhost" for address in LOCAL["localhost"] if "localhost" not in known]
    if mode_of(options, context, "network") == "none":
        names = dict.fromkeys((hostname(options, context), context.name))
        lines.append(f"127.0.0.1\t{' '.join(names)}")
    return "\n".join(lines) + "\n"


def parse_host(text: str) -> list[tuple[str, str]]:
    """(name, address) of each name in ``NAME[;NAME…]:ADDRESS``; raises Invalid."""
    names, colon, address = text.partition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not colon or not names or not (address == "host-gateway" or is_address(address)):
        raise Invalid(f"option --add-host {text!r}: not of the form NAME:ADDRESS")
    return [(name, address) for name in names.split(";")]


def is_address(text: str) -> bool:
    """Whether *text* is an IPv4 or IPv6 address."""
    from socket import AF_INET, AF_INET6, inet_pton  # only with addresses to check

    for family in (AF_INET6 if ":" in text else AF_INET,):
        try:
            inet_pton(family, text)
        except OSError:
            return False
    return True


def resolv_conf(options: ContainerOptions, context: Context, host_text: str) -> str:
    """/etc/resolv.conf: the host's, without servers that only listen there unless its network is shared; the
    ``--dns…`` options replace what they are about."""
    private = mode_of(options, context, "network") != "host"
    servers: list[str] = []
    search: list[str] = []
    settings: list[str] = []
    for line in host_text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest and not (private and _is_loopback(rest[0])):
            servers.append(rest[0])
        elif word in ("search", "domain"):
            search = rest
        elif word == "options":
            settings += rest
    servers = list(options.dns) or servers
    search = [name for name in options.dns_search if name != "."] if options.dns_search else search
    settings = list(options.dns_option) or settings
    lines = [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {server}" for server in servers]
    lines += [f"options {' '.join(settings)}"] if settings else []
    return "".join(f"{line}\n" for line in lines)


def container_env(options: ContainerOptions, context: Context, version: str, image_id: str) -> str:
    """/run/.containerenv: empty, but for privileged containers, whose programs may want to know."""
    if not options.privileged:
        return ""
    facts = {
        "engine": f"estiva-{version}",
        "name": context.name,
        "id": context.id,
        "image": options.image,
        "imageid": image_id,
        "rootless": int(context.rootless),
    }
    return "".join(f'{key}="{value}"\n' if key != "rootless" else f"{key}={value}\n" for key, value in facts.items())


def _words(line: str) -> list[str]:
    return line.partition("#")[0].split()


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
