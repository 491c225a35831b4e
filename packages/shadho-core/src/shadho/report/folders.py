"""The folders of trials that a search keeps, for people and for other programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from shadho.errors import ConfigurationError, StorageError
from shadho.execution.folders import folders_in, folders_of, size_of
from shadho.records import Result
from shadho.report.recorded import open_recorded
from shadho.resume import identity_of

__all__ = ['KeptFolder', 'copied', 'kept_folders', 'part_means']


@attrs.frozen
class KeptFolder:
    """The folder of a trial.

    Attributes
    ----------
    trial : int
    state : str
        As in `TrialState`; 'waiting' if the trial did not finish and will run again, 'unknown' if the search has no such trial.
    step : int or None
        The last step of the trial; None while it runs or waits.
    loss : float or None
    size : int
        Bytes.
    path : Path
    timing : mapping of str to float
        As in `Result`, of the last attempt.
    """

    trial: int
    state: str
    step: int | None
    loss: float | None
    size: int
    path: Path
    timing: Mapping[str, float] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return all as plain data, for JSON."""
        return {**attrs.asdict(self), 'path': str(self.path), 'timing': dict(self.timing)}


def kept_folders(storage: str | os.PathLike[str], trials: Collection[int] = ()) -> list[KeptFolder]:
    """Return the folders of the trials of a search, in the order of trials.

    Parameters
    ----------
    storage : path
        Of a search that has run, or is running.
    trials : collection of int, optional
        Only those of these trials.

    Raises
    ------
    StorageError
        When there is no such file, or it holds no search.
    ConfigurationError
        When one of `trials` has no folder.
    """
    found = open_recorded(storage)
    identity_of(found)
    index = found.index()
    folders = {number: path for number, path in folders_in(folders_of(Path(storage))) if not trials or number in trials}
    if missing := set(trials) - folders.keys():
        raise ConfigurationError(
            f'trial {min(missing)} has no folder in {folders_of(Path(storage))}; see shadho folders'
        )
    rows = {number: row for row, number in enumerate(index.numbers) if number in folders}
    results = found.at([index.results[row] for row in rows.values()])
    unfinished = 'waiting' if found.writer() is None else 'running'
    states = {**dict.fromkeys(index.running, unfinished), **dict.fromkeys(index.waiting, 'waiting')}
    kept = []
    for number, path in folders.items():
        result = results[index.results[rows[number]]] if number in rows else None
        if isinstance(result, Result):
            state, step, loss, timing = result.state.value, result.step, result.loss, result.timing
            kept.append(KeptFolder(number, state, step, loss, size_of(path), path, timing))
        else:
            kept.append(KeptFolder(number, states.get(number, 'unknown'), None, None, size_of(path), path))
    return kept


def copied(folder: KeptFolder, to: Path) -> KeptFolder:
    """Copy a folder to ``to/<trial>``, and return where it is now.

    Raises
    ------
    ConfigurationError
        When there is something of that name.
    StorageError
        When it cannot be copied.
    """
    target = to / str(folder.trial)
    if target.exists():
        raise ConfigurationError(f'{target} exists already; give another folder, or remove it')
    try:
        shutil.copytree(folder.path, target, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise StorageError(f'the folder of trial {folder.trial} cannot be copied to {target}: {error}') from None
    return attrs.evolve(folder, path=target)


def part_means(folders: Iterable[KeptFolder]) -> dict[str, float]:
    """Return the mean seconds of each part of attempts that carries a folder on: 'save', 'transfer' and 'load'."""
    found: dict[str, list[float]] = {}
    for folder in folders:
        for part, seconds in folder.timing.items():
            found.setdefault(part, []).append(seconds)
    return {part: sum(found[part]) / len(found[part]) for part in ('save', 'transfer', 'load') if part in found}
