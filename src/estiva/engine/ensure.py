"""Having an image: found here, or pulled as a policy says."""

from __future__ import annotations

from estiva.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.engine import Engine, Progress
    from estiva.engine.images import ImageRecord


def ensure_image(
    engine: Engine, name: str, policy: str, platform: str, progress: Progress | None, how: dict[str, Any]
) -> ImageRecord:
    """The image; *how* are fields of :class:`~estiva.registry.settings.RegistrySettings` (creds, authfile …)."""
    if policy in ("missing", "never") and not platform:
        try:
            return engine.images.find(name)
        except NotFound:
            if policy == "never":
                raise
    from estiva.registry.settings import RegistrySettings

    engine.settings.make_dirs()
    settings = RegistrySettings.from_environ(engine.settings.environ, engine.settings.uid, **how).to_json()
    found = engine.inside(
        "estiva.engine.ensure:pull_inside",
        progress=progress or _silent,
        spec=name,
        platform=platform,
        policy=policy,
        settings=settings,
    )
    return engine.images.find(found)


def _silent(event: str, subject: str, done: int, total: int) -> None:
    """Progress nobody wants to see."""


def pull_inside(
    root: str,
    run_root: str,
    driver: str,
    spec: str,
    platform: str,
    policy: str,
    settings: dict[str, Any],
    progress: Progress | None = None,
) -> str:
    """The id of the image, pulled where ids are mapped."""
    from estiva.engine.engine import Engine
    from estiva.engine.pull import pull
    from estiva.registry.settings import RegistrySettings

    with Engine(root, run_root, storage_driver=driver) as engine:
        record = pull(
            engine.store,
            engine.images,
            spec,
            settings=RegistrySettings.from_json(settings),
            platform=platform or None,
            policy=policy,
            progress=progress,
        )
    return record.id
