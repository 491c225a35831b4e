"""Options of a search: checking what a user gave, and finding the backend and storage meant by it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from shadho.backends import Backend, Job
from shadho.errors import ConfigurationError
from shadho.fidelity import Fidelity
from shadho.forest import Forest
from shadho.forest.tree import show_path
from shadho.plugins import Registry, install_command
from shadho.storage import Storage
from shadho.storage.base import check_durability
from shadho_worker.command import parameters_text

__all__ = [
    'check_backend',
    'check_fidelity',
    'check_key',
    'check_objective',
    'check_parameters',
    'find_backend',
    'find_earlier',
    'find_storage',
    'is_file',
    'objective_name',
    'warn_of_launcher',
    'working_folder',
]

log = logging.getLogger('shadho')


_LONGEST_KEY = 200
"""Bytes of a search's name; those of a file may be 255, and endings are added to it."""

_LONGEST_NAME = 240
"""Bytes of a storage's file name, to which endings are added too."""


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
    length = len(exp_key.encode('utf-8', 'surrogatepass'))
    if length > _LONGEST_KEY:
        raise ConfigurationError(
            f'exp_key is {length} bytes long ({exp_key[:20]!r}...), but files are named after it; use at most '
            f'{_LONGEST_KEY}, and keep what describes the search elsewhere'
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


def check_parameters(objective: Any, forest: Forest) -> None:
    """Refuse a space that holds what cannot be written for a command.

    Raises
    ------
    ConfigurationError
        When a choice or a constant cannot be written as JSON.
    """
    if not isinstance(objective, str):
        return
    for path, value in forest.values():
        try:
            parameters_text(value)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f'the space, at {show_path(path)}: {error}') from None


def check_fidelity(fidelity: Fidelity, takes_trial: bool) -> None:
    """Refuse a fidelity that judges trials which cannot report; ConfigurationError."""
    if fidelity.needs_steps and not takes_trial:
        raise ConfigurationError(
            f'fidelity={fidelity.name!r} judges trials by what they report, and this objective cannot report. Use a '
            'function with a second parameter, as in def objective(params, trial), that calls trial.report(loss=...) in a '
            'loop, for step in trial.steps(), or a command whose program reports'
        )


def check_backend(backend: Backend, job: Job) -> None:
    """Refuse a backend that cannot give an objective its trial; ConfigurationError.

    A command is refused only if it has steps, as most commands report nothing.
    """
    is_needed = job.max_steps is not None if job.is_command else job.objective.takes_trial
    if is_needed and not backend.has_folders:
        raise ConfigurationError(
            f'backend={backend.name!r} cannot run an objective that takes its trial: there, trials cannot report, and have no '
            "folder that follows them. Use another backend, such as 'local', or a function of the parameters alone, or a command "
            'without max_steps'
        )


def objective_name(objective: Any) -> str:
    """Name an objective for people: a command by itself, a function by its name."""
    if isinstance(objective, str):
        return objective
    return getattr(objective, '__qualname__', None) or type(objective).__qualname__


def find_backend(registry: Registry, name: Any, job: Job) -> Backend:
    """Return a new backend of that name; for 'auto', of the one that is meant for the job most."""
    if isinstance(name, type) and issubclass(name, Backend):
        raise ConfigurationError(f'backend={name.__name__} is a class; did you mean {name.__name__}()?')
    if not isinstance(name, str):
        raise ConfigurationError(
            f"backend must be 'auto', the name of a backend or a Backend, such as 'local' or Local(workers=2); "
            f'got {name!r} ({type(name).__name__})'
        )
    if name != 'auto':
        backend: Backend = registry.get('backend', name)()
        return backend
    classes = registry.classes('backend')
    # Of two that suit equally well, the one that was installed on purpose.
    suits = {cls: (cls.affinity(job), not cls.__module__.startswith('shadho.')) for cls in classes.values()}
    best: type[Backend] = max(suits, key=lambda cls: suits[cls])
    if best.affinity(job) < 1:
        asked = [name for name in ('trial_timeout', 'max_tasks_per_child') if getattr(job, name) is not None]
        limit = f' with {" and ".join(asked)}' if asked else ''
        raise ConfigurationError(
            f'no installed backend can run this search{limit} by itself; {install_command("shadho-local")}, or name one: '
            + ', '.join(classes)
        )
    return best()


def warn_of_launcher(registry: Registry, backend: Backend, job: Job) -> None:
    """Warn when this process is one of several that were started for another backend than the search is to use."""
    for cls in registry.classes('backend').values():
        if cls.affinity(job) == 3 and not isinstance(backend, cls):
            log.warning(
                'this process is one of several that were started for the backend %r; with backend=%r each of them runs a '
                'search of its own. Leave backend= out to run one search on all of them, or start a single process',
                cls.name, backend.name,
            )  # fmt: skip


def _check_storage(storage: Any) -> None:
    if isinstance(storage, type) and issubclass(storage, Storage):
        raise ConfigurationError(f'storage={storage.__name__} is a class; did you mean {storage.__name__}(...)?')
    if storage is not None and not isinstance(storage, (str, os.PathLike)):
        raise ConfigurationError(
            "storage must be a path such as 'search.db', 'auto', or None to keep nothing; "
            f'got {storage!r} ({type(storage).__name__})'
        )


def find_storage(registry: Registry, storage: Any, exp_key: str, durability: str) -> Storage:
    """Return the storage that a name, a path, None or 'auto' means."""
    check_durability(durability)
    if isinstance(storage, Storage):
        return storage
    _check_storage(storage)
    name = {None: 'memory', ':memory:': 'memory', 'auto': 'sqlite'}.get(storage, storage)
    classes: dict[str, Any] = dict(registry.classes('storage'))
    found: Storage
    if name in classes:
        cls = classes[name]
        found = cls(exp_key + cls.suffixes[0], durability=durability) if cls.suffixes else cls()
        return found
    path = Path(os.fspath(name))
    _check_name(path)
    for cls in classes.values():
        if path.suffix in cls.suffixes:
            found = cls(path, durability=durability)
            return found
    known = sorted(suffix for cls in classes.values() for suffix in cls.suffixes)
    raise ConfigurationError(
        f'storage={os.fspath(storage)!r}: no storage has this name or file ending; give a path that ends in one of '
        f'{", ".join(known)}, one of the names {", ".join(sorted(classes))}, or None to keep nothing'
    )


def _check_name(path: Path) -> None:
    """Refuse what can be no file's name."""
    name = os.fspath(path)
    try:
        longest = max(len(os.fsencode(part)) for part in (*path.parts, ''))
    except UnicodeEncodeError:
        raise ConfigurationError(
            f'storage={name!r}: no file can have this name, as it holds half a character'
        ) from None
    if longest > _LONGEST_NAME:
        raise ConfigurationError(
            f'storage: a part of {name[:20]!r}... is {longest} bytes long, which no file system takes; '
            f'use at most {_LONGEST_NAME}, such as svm.db'
        )
    if '\0' in name:
        raise ConfigurationError(f'storage={name!r}: no file can have a null character in its name; leave it out')


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether there is such a file: none has a name that is too long, which `Path.is_file` raises for."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def working_folder() -> str:
    """Return the working folder of this process, which may be gone."""
    try:
        return os.getcwd()
    except OSError as error:
        raise ConfigurationError(
            'the working folder of this process does not exist any more: was it removed, or its file system unmounted? Go to '
            'one that exists (cd, or os.chdir) and start again'
        ) from error


def find_earlier(registry: Registry, warm_start: Any) -> Storage:
    """Return the storage of an earlier search, which is only read."""
    if isinstance(warm_start, Storage):
        return warm_start
    if not isinstance(warm_start, (str, os.PathLike)) or not is_file(warm_start):
        raise ConfigurationError(
            f"warm_start must be the file of an earlier search, such as 'other.db', or a Storage; got {warm_start!r}, "
            'which is no file'
        )
    return find_storage(registry, Path(warm_start), '', 'normal')
