"""Sending functions to workers, which lack the modules that lie beside the script."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import cloudpickle

__all__ = ['by_value', 'own_modules']


def own_modules() -> list[ModuleType]:
    """Return the modules that were loaded from the script's folder or the working folder."""
    roots = {Path(entry or os.getcwd()).resolve() for entry in (sys.path[0], '')}
    loaded = dict(sys.modules)
    own = {name for name, module in loaded.items() if '.' not in name and _root(module) in roots}
    return [module for name, module in loaded.items() if name.partition('.')[0] in own]


def _root(module: ModuleType) -> Path | None:
    """Return the folder that a top-level module or package was found in."""
    if module.__name__ == '__main__':
        return None  # by value in any case
    for folder in getattr(module, '__path__', ()):
        return Path(folder).resolve().parent
    file = getattr(module, '__file__', None)
    return Path(file).resolve().parent if file else None


@contextmanager
def by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Pickle what these modules define as a whole, not by name."""
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
