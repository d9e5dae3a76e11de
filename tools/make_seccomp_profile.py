"""Make src/estiva/runtime/data/seccomp.json: the default seccomp profile.

    tools/make_seccomp_profile.py [/usr/share/containers/seccomp.json] > src/estiva/runtime/data/seccomp.json

The rule set is that of containers/common (Apache-2.0), which Podman, Buildah and CRI-O use; Debian ships it in
golang-github-containers-common.  ``NEWER`` adds the system calls Linux gained since that copy was made and that are
the plain successors of calls it allows: without them new C libraries fall back to slower ways, or fail.
"""

from __future__ import annotations

import json
import sys
from typing import Any

NEWER = [
    "cachestat",
    "fchmodat2",
    "file_getattr",
    "file_setattr",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "getxattrat",
    "listmount",
    "listxattrat",
    "map_shadow_stack",
    "mseal",
    "open_tree_attr",
    "removexattrat",
    "set_mempolicy_home_node",
    "setxattrat",
    "statmount",
    "uretprobe",
]


def tidy(rule: dict[str, Any]) -> dict[str, Any]:
    """*rule* without its empty and redundant fields."""
    kept = {key: value for key, value in rule.items() if value and key not in ("errno", "names")}
    kept["args"] = [{k: v for k, v in arg.items() if v or k != "valueTwo"} for arg in rule.get("args") or []]
    if not kept["args"]:
        del kept["args"]
    return {"names": sorted(rule["names"]), **kept}


def main(source: str = "/usr/share/containers/seccomp.json") -> None:
    with open(source) as file:
        profile = json.load(file)
    rules = [tidy(rule) for rule in profile["syscalls"]]
    allowed = max(rules, key=lambda rule: len(rule["names"]))
    allowed["names"] = sorted({*allowed["names"], *NEWER})
    head = {key: profile[key] for key in ("defaultAction", "defaultErrnoRet", "archMap")}
    print(json.dumps(head, indent=1).removesuffix("\n}") + ',\n "syscalls": [')
    print(",\n".join(f"  {json.dumps(rule)}" for rule in rules))
    print(" ]\n}")


if __name__ == "__main__":
    main(*sys.argv[1:])
