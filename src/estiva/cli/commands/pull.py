"""``estiva pull``."""

from __future__ import annotations

from estiva.cli.errors import complain, describe
from estiva.cli.parser import Command, Option
from estiva.cli.progress import Progress
from estiva.cli.select import code_of
from estiva.errors import EstivaError, Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.cli.globals import Globals
    from estiva.cli.parser import Parsed

#: how a registry is reached: shared with other commands that speak to one
REGISTRY_OPTIONS = (
    Option("authfile", "", "string", "path", "Path of the credentials file", complete="file"),
    Option("cert-dir", "", "string", "path", "Directory with TLS certificates for the registry", complete="directory"),
    Option("creds", "", "string", "[username[:password]]", "Credentials for the registry"),
    Option("tls-verify", "", help="Require HTTPS and check certificates", default=True),
)
PLATFORM_OPTIONS = (
    Option("arch", "", "string", "ARCH", "Architecture of the image, instead of this machine's",
           aliases=("override-arch",)),
    Option("os", "", "string", "OS", "Operating system of the image", aliases=("override-os",)),
    Option("platform", "", "string", "OS/ARCH[/VARIANT]", "Platform of the image"),
    Option("variant", "", "string", "VARIANT", "Variant of the architecture", aliases=("override-variant",)),
)  # fmt: skip


def registry_settings(parsed: Parsed) -> dict[str, Any]:
    """What the registry options say, as fields of ``RegistrySettings``."""
    return {
        "authfile": parsed.text("authfile") or None,
        "cert_dir": parsed.text("cert-dir") or None,
        "creds": parsed.text("creds") or None,
        "tls_verify": parsed.flag("tls-verify") if parsed.given("tls-verify") else None,
    }


def platform_of(parsed: Parsed) -> str:
    """``os/arch[/variant]`` that the platform options ask for, ``""`` for this machine's.

    :raises Invalid: --platform and one of the others
    """
    parts = [parsed.text(name) for name in ("os", "arch", "variant")]
    if not any(parts):
        return parsed.text("platform")
    if parsed.text("platform"):
        raise Invalid("--platform option can not be specified with --arch, --os or --variant")
    if not parts[1]:
        from estiva.spec.platform import host

        parts[1] = host().architecture
    return "/".join(filter(None, (parts[0] or "linux", *parts[1:])))


def pull(parsed: Parsed, settings: Globals) -> int:
    if parsed.flag("all-tags"):
        raise Unsupported("pulling all tags: this cannot be done yet", "name the tags")
    how = registry_settings(parsed)
    platform = platform_of(parsed)
    failures: list[BaseException] = []
    with settings.engine() as engine, Progress(quiet=parsed.flag("quiet")) as progress:
        for name in parsed.args:
            try:
                policy = parsed.text("policy")
                record = engine.ensure_image(name, policy=policy, platform=platform, progress=progress, **how)
            except (EstivaError, OSError) as error:
                failures.append(error)
            else:
                print(record.id, flush=True)
    for failure in failures:
        complain(describe(failure))
    return code_of(failures)


COMMAND = Command(
    "pull",
    usage="[options] SOURCE [SOURCE...]",
    summary="Pull an image from a registry",
    description="SOURCE is a reference (debian:12), docker://REFERENCE, oci:PATH[:NAME], oci-archive:PATH[:NAME],\n"
    "docker-archive:PATH[:REFERENCE], dir:PATH, or debootstrap:SUITE to make a Debian or Ubuntu root file system\n"
    "from the distribution's packages. The image's ID is printed in the end.",
    examples=(
        "pull debian:12",
        "pull --tls-verify=false localhost:5000/team/app",
        "pull oci-archive:image.tar",
        "pull debootstrap:bookworm",
    ),
    options=(
        Option("all-tags", "a", help="All tags of the repository", hidden=True),
        *PLATFORM_OPTIONS,
        *REGISTRY_OPTIONS,
        Option("policy", "", "choice", "policy", "When to pull", "always",
               choices=("always", "missing", "never", "newer")),
        Option("quiet", "q", help="Print no progress"),
        Option("disable-content-trust", hidden=True),
    ),
    run=pull,
    minimum=1,
    operands="image",
)  # fmt: skip
