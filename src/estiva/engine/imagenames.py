"""Which stored image a user's words may mean: the canonical names behind a short one."""

from __future__ import annotations


def candidates(name: str) -> list[str]:
    """The canonical names a user's *name* may stand for, the likeliest first (no id and no suffix matching)."""
    if not name or name != name.strip():
        return []
    full = name.removeprefix("docker://") if "@" in name else with_tag(name.removeprefix("docker://"))
    if "@" in full:  # a digest decides alone: repository:tag@digest means repository@digest
        named, _, digest = full.partition("@")
        full = f"{repository(named)}@{digest}"
    first, slash, rest = full.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        if first in ("docker.io", "index.docker.io"):
            return [f"docker.io/{rest if '/' in rest else 'library/' + rest}"]
        return [full]
    hub = f"docker.io/{full}" if slash else f"docker.io/library/{full}"
    return [f"localhost/{full}", hub]


def with_tag(name: str) -> str:
    """*name*, with ``:latest`` if it has no tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def repository(name: str) -> str:
    """*name* without its tag or digest."""
    name = name.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]
