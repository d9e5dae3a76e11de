"""Times in inspected documents: RFC 3339 in JSON, and in templates what Go's ``time.Time`` shows and has."""

from __future__ import annotations

from estiva.cli import human
from estiva.engine.images import parse_time
from estiva.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: where times stand in the documents of containers and images
PLACES = (
    ("Created",),
    ("State", "StartedAt"),
    ("State", "FinishedAt"),
    ("State", "CheckpointedAt"),
    ("State", "RestoredAt"),
)


class GoTime(str):
    """An RFC 3339 text that a template shows as ``2026-11-24 01:05:35.4 +0000 UTC``."""

    __slots__ = ()

    @property
    def nanoseconds(self) -> int:
        """Since 1970; the zero time is before."""
        return parse_time(self[:])

    def __str__(self) -> str:
        return human.go_time(self.nanoseconds)

    def go_field(self, name: str) -> Any:
        """The methods of time.Time that need no argument."""
        if name == "String":
            return str(self)
        return {"Unix": self.nanoseconds // 10**9, "UnixNano": self.nanoseconds}[name]


def with_times(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of *document* whose times a template shows as Go does."""
    copy = dict(document)
    for *groups, name in PLACES:
        holder = copy
        for group in groups:
            holder[group] = holder = dict(holder[group]) if isinstance(holder.get(group), dict) else {}
        if isinstance(holder.get(name), str):
            try:
                parse_time(holder[name])
            except Invalid:
                continue
            holder[name] = GoTime(holder[name])
    return {key: value for key, value in copy.items() if key in document}
