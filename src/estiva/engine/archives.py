"""Loading and importing archives for any user: done where ids are mapped, and the records handed back."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from estiva.engine.engine import Engine, Progress
    from estiva.engine.images import ImageRecord

    Records = list[ImageRecord]


def load(engine: Engine, path: str, *, progress: Progress) -> Records:
    """The images of the archive or directory *path*, stored.  Raises as :func:`estiva.engine.saveload.load`."""
    from estiva.registry.settings import RegistrySettings

    engine.settings.make_dirs()
    settings = RegistrySettings.from_environ(engine.settings.environ, engine.settings.uid).to_json()
    found = engine.inside("estiva.engine.archives:load_inside", progress=progress, path=path, settings=settings)
    return [engine.images.find(each) for each in found]


def load_inside(
    root: str, run_root: str, driver: str, path: str, settings: dict[str, Any], progress: Progress | None = None
) -> list[str]:
    """The ids of the images loaded."""
    from estiva.engine.engine import Engine
    from estiva.engine.saveload import load
    from estiva.registry.settings import RegistrySettings

    with Engine(root, run_root, storage_driver=driver) as engine:
        read = RegistrySettings.from_json(settings)
        return [each.id for each in load(engine.store, engine.images, path, settings=read, progress=progress)]


def import_tar(engine: Engine, path: str, *, progress: Progress, **what: Any) -> ImageRecord:
    """The image made of the tar *path*; *what* are ``name``, ``message``, ``changes`` and ``platform`` of
    :func:`estiva.engine.importing.import_tar`, which says what is raised."""
    engine.settings.make_dirs()
    environ = {
        name: engine.settings.environ[name] for name in ("SOURCE_DATE_EPOCH",) if name in engine.settings.environ
    }
    found = engine.inside(
        "estiva.engine.archives:import_inside", progress=progress, path=path, environ=environ, what=what
    )
    return engine.images.find(found)


def import_inside(
    root: str,
    run_root: str,
    driver: str,
    path: str,
    environ: dict[str, str],
    what: dict[str, Any],
    progress: Progress | None = None,
) -> str:
    """The id of the image made."""
    from estiva.engine.engine import Engine
    from estiva.engine.importing import import_tar

    with Engine(root, run_root, storage_driver=driver) as engine:
        return import_tar(engine.store, engine.images, path, environ=environ, progress=progress, **what).id
