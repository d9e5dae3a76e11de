"""``idmap[=uids=…;gids=…]`` of a mount: files that show other ids than they have.  Pure.  podman-run(1) "--volume" """

from __future__ import annotations

from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Maps = list[tuple[int, int, int]]


def idmap_word(options: Iterable[str]) -> str:
    """The word about ids among the *options* of a mount, or ``""``."""
    return next((word for word in options if word == "idmap" or word.startswith("idmap=")), "")


def mount_maps(word: str, uid_maps: Maps, gid_maps: Maps) -> dict[str, list[dict[str, int]]]:
    """``uidMappings`` and ``gidMappings`` of a mount with *word*; empty for the container's own, which are not told.

    *uid_maps*, *gid_maps*: those of the container's user namespace; they stand in for what the word leaves out.
    """
    if "=" not in word:
        if not uid_maps:
            raise Invalid(
                f"mount option {word!r}: the container has no user namespace of its own",
                "add --userns or --uidmap, or say idmap=uids=…;gids=…",
            )
        return {}
    chosen = {"uids": uid_maps, "gids": gid_maps}
    for part in word.partition("=")[2].split(";"):
        kind, _, text = part.partition("=")
        if kind not in chosen:
            raise Invalid(
                f"mount option {word!r}: unknown part {part!r}", "write it as idmap=uids=0-1000-1;gids=0-1000-1"
            )
        chosen[kind] = [_entry(entry, word, uid_maps if kind == "uids" else gid_maps) for entry in text.split("#")]
    if not all(chosen.values()):
        raise Invalid(f"mount option {word!r}: both uids and gids are needed without a user namespace")
    names = zip(("uidMappings", "gidMappings"), ("uids", "gids"), strict=True)
    return {
        name: [{"containerID": first, "hostID": host, "size": size} for first, host, size in chosen[kind]]
        for name, kind in names
    }


def _entry(text: str, word: str, maps: Maps) -> tuple[int, int, int]:
    """``[@]FILE-HOST-SIZE``: ids of the files and those they show; with ``@`` the latter are the container's."""
    parts = text.removeprefix("@").split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts) or not int(parts[2]):
        raise Invalid(f"mount option {word!r}: {text!r} is no map", "write it as FILE-HOST-SIZE, joined by #")
    first, host, size = map(int, parts)
    if text.startswith("@"):
        for ctr, outer, count in maps:
            if ctr <= host < ctr + count:
                return first, host - ctr + outer, size
        raise Invalid(
            f"mount option {word!r}: could not find a user namespace mapping for the relative mapping {text!r}"
        )
    return first, host, size
