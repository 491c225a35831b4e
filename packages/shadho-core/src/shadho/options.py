"""Options of a search: checking what a user gave, and finding the backend and storage meant by it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from shadho.backends import Backend, Job
from shadho.errors import ConfigurationError
from shadho.plugins import Registry
from shadho.storage import Storage

__all__ = [
    'check_count',
    'check_key',
    'check_objective',
    'check_seconds',
    'find_backend',
    'find_storage',
    'objective_name',
]


def check_key(exp_key: str) -> str:
    """Return a name of a search that can be a file's."""
    if (
        not isinstance(exp_key, str)
        or not exp_key.strip()
        or '/' in exp_key
        or '\0' in exp_key
        or exp_key in ('.', '..')
    ):
        raise ConfigurationError(
            f"exp_key must be a name that can be a file's, such as 'svm-search'; got {exp_key!r}. For a storage in another "
            'folder give storage="folder/name.db"'
        )
    return exp_key


def check_objective(objective: Any) -> Any:
    """Return an objective that can be called, or given to a shell."""
    if isinstance(objective, str):
        if not objective.strip():
            raise ConfigurationError("the objective is an empty command; pass one such as 'bash evaluate.sh'")
    elif not callable(objective):
        raise ConfigurationError(
            f'the objective must be a function of the parameters, or a shell command as a string; got {objective!r} '
            f'({type(objective).__name__})'
        )
    return objective


def objective_name(objective: Any) -> str:
    """Name an objective for people: a command by itself, a function by its name."""
    if isinstance(objective, str):
        return objective
    return getattr(objective, '__qualname__', None) or type(objective).__qualname__


def check_seconds(name: str, value: float | None) -> float | None:
    """Return a limit in seconds; None when there is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigurationError(f'{name} must be a number of seconds greater than 0, or None; got {value!r}')
    return None if math.isinf(value) else float(value)


def check_count(name: str, value: int | None, least: int) -> int | None:
    """Return a whole number, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f'{name} must be an integer of {least} or more; got {value!r}')
    return value


def find_backend(registry: Registry, name: str, job: Job) -> Backend:
    """Return a new backend of that name; for 'auto', of the one that is meant for the job most."""
    if name != 'auto':
        backend: Backend = registry.get('backend', name)()
        return backend
    classes = registry.classes('backend')
    # Of two that suit equally well, the one that was installed on purpose.
    suits = {cls: (cls.affinity(job), not cls.__module__.startswith('shadho.')) for cls in classes.values()}
    best: type[Backend] = max(suits, key=lambda cls: suits[cls])
    if best.affinity(job) < 1:
        limit = ' with a trial_timeout' if job.trial_timeout is not None else ''
        raise ConfigurationError(
            f'no installed backend can run this search{limit} by itself; pip install shadho-core[local], or name one: '
            + ', '.join(classes)
        )
    return best()


def find_storage(registry: Registry, storage: Any, exp_key: str, durability: str) -> Storage:
    """Return the storage that a name, a path, None or 'auto' means."""
    if isinstance(storage, Storage):
        return storage
    name = {None: 'memory', ':memory:': 'memory', 'auto': 'sqlite'}.get(storage, storage)
    classes: dict[str, Any] = dict(registry.classes('storage'))
    found: Storage
    if name in classes:
        cls = classes[name]
        found = cls(exp_key + cls.suffixes[0], durability=durability) if cls.suffixes else cls()
        return found
    path = Path(os.fspath(name))
    for cls in classes.values():
        if path.suffix in cls.suffixes:
            found = cls(path, durability=durability)
            return found
    known = sorted(suffix for cls in classes.values() for suffix in cls.suffixes)
    raise ConfigurationError(
        f'storage={os.fspath(storage)!r}: no storage has this name or file ending; give a path that ends in one of '
        f'{", ".join(known)}, one of the names {", ".join(sorted(classes))}, or None to keep nothing'
    )
