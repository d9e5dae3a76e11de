"""The bundle's configuration, checked where it comes in.  runtime-spec bundle.md, config.md"""

from __future__ import annotations

import os

from estiva.errors import Invalid, NotFound
from estiva.spec import quickjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.2.0"


def load(bundle: str) -> dict[str, Any]:
    """The configuration of the bundle in directory *bundle*, with ``root.path`` absolute.

    Raises NotFound without a config.json, Invalid naming the field.
    """
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            spec = json.loads(file.read())
    except FileNotFoundError:
        raise NotFound(
            f'reading bundle "{bundle}": no such file config.json', "make one with estiva-runtime spec"
        ) from None
    except ValueError as error:
        raise Invalid(f"reading {path}: {error}") from error
    check(spec)
    spec["process"] = dict(spec.get("process") or {})
    root = spec.setdefault("root", {})
    root["path"] = os.path.normpath(os.path.join(bundle, root.get("path") or "rootfs"))
    if not os.path.isdir(root["path"]):
        raise NotFound(f'root.path: "{root["path"]}" is not a directory')
    return dict(spec)


def check(spec: Any) -> None:
    """Raise for a configuration that the compiler would misunderstand."""
    if not isinstance(spec, dict):
        raise Invalid("config.json: not an object")
    version = spec.get("ociVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise Invalid(f'ociVersion: "{version}" is not a version 1')
    for field in ("process", "root", "linux", "hooks", "annotations"):
        if not isinstance(spec.get(field, {}), dict):
            raise Invalid(f"{field}: not an object")
    process = spec.get("process")
    if process is not None:
        check_process(process)
    if spec.get("hooks"):
        from estiva.runtime import hooks

        hooks.check(spec["hooks"])


def check_process(process: dict[str, Any]) -> None:
    args = process.get("args")
    if not isinstance(args, list) or not args or not all(isinstance(word, str) for word in args):
        raise Invalid("process.args: not a list with a program in it")
    if not str(process.get("cwd", "/")).startswith("/"):
        raise Invalid(f'process.cwd: "{process["cwd"]}" is not an absolute path')
    for entry in process.get("env") or ():
        if not isinstance(entry, str):
            raise Invalid("process.env: not a list of strings")
