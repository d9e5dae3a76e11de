"""Estiva: a container engine.

``import estiva`` loads nothing; the public names arrive when they are first used, so that a command line pays only
for what it needs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from estiva.engine.engine import Engine as Engine

__version__ = "0.1.0"

_PUBLIC = {"Engine": "estiva.engine.engine"}

__all__ = ["Engine", "__version__"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'estiva' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value
