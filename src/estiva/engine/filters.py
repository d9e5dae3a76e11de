"""The filters of ``ps`` and its kin.  podman-ps(1) "--filter"."""

from __future__ import annotations

import re

from estiva.engine.imagenames import repository
from estiva.errors import Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from estiva.engine.container import Container
    from estiva.engine.engine import Engine

    Test = Callable[[Container], bool]

STATES = ("configured", "created", "exited", "initialized", "paused", "removing", "running", "stopped", "stopping",
          "unknown")  # fmt: skip


def matching(engine: Engine, containers: Sequence[Container], filters: Sequence[str], all: bool) -> list[Container]:
    """The containers that meet at least one of the filters of each key; without *all*, only running ones, unless a
    filter is about the state."""
    tests: dict[str, list[Test]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        negated = key.endswith("!")
        key = key.removesuffix("!")
        if not equals:
            raise Invalid(f"filter {text!r}: not of the form key=value")
        test = make_test(engine, key, value)
        tests.setdefault(key, []).append(_not(test) if negated else test)
    if not all and not {"status", "exited"} & tests.keys():
        tests["running"] = [lambda container: container.state().running]
    return [each for each in containers if _passes(each, tests)]


def _passes(container: Container, tests: dict[str, list[Test]]) -> bool:
    for key, alternatives in tests.items():
        met = [test(container) for test in alternatives]
        # of labels, all are wanted
        if not (all(met) if key == "label" else any(met)):
            return False
    return True


def _not(test: Test) -> Test:
    return lambda container: not test(container)


def make_test(engine: Engine, key: str, value: str) -> Test:
    """What the filter *key* = *value* asks of a container; raises Invalid for an unknown key or a bad value."""
    if key in ("label", "status", "exited", "restart-policy"):
        return _of_container(key, value)
    if key == "id":
        return lambda container: container.id.startswith(value) or bool(re.search(value, container.id))
    if key == "name":
        return lambda container: bool(re.search(value, container.name))
    if key == "command":
        return lambda container: value in container.command[:1]
    if key == "ancestor":
        return _ancestor(engine, value)
    if key in ("before", "since"):
        moment = engine.containers.get(value).created_ns
        if key == "before":
            return lambda container: container.created_ns < moment
        return lambda container: container.created_ns > moment
    if key == "volume":
        return lambda container: any(value in (m.source, m.target) for m in container.mounts)
    if key == "network":
        return lambda container: (container.options.network or "none") == value
    if key in ("health", "pod"):
        return lambda container: False
    if key == "until":
        return _until(value)
    raise Invalid(f"filter {key!r}: unknown")


def _of_container(key: str, value: str) -> Test:
    if key == "label":
        name, equals, wanted = value.partition("=")
        return lambda container: name in container.labels and (not equals or container.labels[name] == wanted)
    if key == "restart-policy":
        return lambda container: (container.restart_policy.partition(":")[0] or "no") == value
    if key == "exited":
        if not value.lstrip("-").isdigit():
            raise Invalid(f"filter exited={value!r}: not an exit code")
        return lambda container: _ended_with(container, int(value))
    if value not in STATES:
        raise Invalid(f"filter status={value!r}: not a state", f"choose from {', '.join(STATES)}")
    wanted = "exited" if value == "stopped" else value
    return lambda container: container.state().status == wanted


def _ended_with(container: Container, code: int) -> bool:
    state = container.state()
    return state.status == "exited" and state.exit_code == code


def _ancestor(engine: Engine, value: str) -> Test:
    """Made from that image, or one of its layers' descendants."""
    try:
        image = engine.images.find(value)
    except NotFound:
        return lambda container: value in (container.image_name, repository(container.image_name))
    layers = image.diff_ids
    return lambda container: (
        container.image_id == image.id
        or (bool(layers) and container.details.get("diff_ids", [])[: len(layers)] == layers)
    )


def _until(value: str) -> Test:
    from estiva.engine.images import parse_time

    limit = int(value) * 1_000_000_000 if value.isdigit() else parse_time(value)
    return lambda container: container.created_ns < limit
