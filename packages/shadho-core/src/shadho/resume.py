"""Resuming a recorded search, after a check that it is the same search."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from importlib.metadata import version
from typing import Any

from shadho.errors import LedgerError, ShadhoError, SpaceError, StorageError, brief
from shadho.records import PARTIAL, Event, Trial
from shadho.result import finished_trials
from shadho.search import Search
from shadho.spaces import spec
from shadho.storage import Metadata, Storage, contradiction, in_order

__all__ = ['identity_of', 'restore', 'resume', 'warm_up']

log = logging.getLogger('shadho')


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# Checks of the metadata that every search has, and of those that an older one may lack.
_IDENTITY: Mapping[str, Callable[[Any], bool]] = {
    'exp_key': _is_text,
    'outline': _is_text,
    'direction': lambda value: value in ('minimize', 'maximize'),
    'seed': lambda value: type(value) is int and value >= 0,
}
_OTHERS: Mapping[str, Callable[[Any], bool]] = {
    'space': _is_text,
    'fingerprint': _is_text,
    'loss_key': _is_text,
    'rungs': lambda value: isinstance(value, list) and all(type(step) is int and step > 0 for step in value),
    'uses': lambda value: isinstance(value, dict) and all(map(_is_use, value.values())),
}


def _is_use(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (2, 3) and all(isinstance(part, (int, float)) for part in value)


def identity_of(storage: Storage) -> Metadata:
    """Return the metadata of the search in a storage.

    Raises
    ------
    StorageError
        When the storage holds no search, or its metadata are invalid.
    """
    known = storage.metadata()
    if not _IDENTITY.keys() <= known.keys():
        raise StorageError(f'{storage} holds no search; give the file of a search that has run, such as svm.db')
    for name, is_right in {**_IDENTITY, **_OTHERS}.items():
        if name in known and not is_right(known[name]):
            raise StorageError(f'{storage} is corrupt: its {name} is {known[name]!r:.80}')
    if known.get('fingerprint', '') != spec.fingerprint_of(known['outline']):
        raise StorageError(f'{storage} is corrupt: its space is not the one that it was recorded with')
    return known


def resume(
    storage: Storage,
    new_search: Callable[[int | None], Search],
    seed: int | None,
    identity: Mapping[str, Any],
    *,
    allowed: bool,
) -> Search:
    """Build a search from its storage, or prepare an empty storage for it.

    Parameters
    ----------
    storage : Storage
        Open.
    new_search : callable
        Makes a search from a seed.
    seed : int or None
        The user's seed; None uses the recorded one.
    identity : mapping
        Facts that identify a search: written for a new search, compared for an old one.
    allowed : bool
        Whether the storage may hold trials already.

    Returns
    -------
    Search
        Its ledger holds the state and the active seconds of all earlier runs.

    Raises
    ------
    StorageError
        When the storage belongs to another search, or holds trials although `allowed` is False.
    """
    if not any(isinstance(event, Trial) for _, event in storage.read()):
        search = new_search(seed)
        storage.update(**identity, seed=search.seed, version=version('shadho-core'), **_this_run())
        restore(search, storage)
        return search
    if not allowed:
        raise StorageError(
            f'{storage} already holds a search, and resume=False: nothing is overwritten. Give another exp_key or '
            'storage, remove the file, or continue the search with resume=True'
        )
    known = identity_of(storage)
    _check_same(storage, known, identity)
    search = new_search(known['seed'] if seed is None else seed)
    if search.seed != known['seed']:
        log.warning('this search began with the seed %s, and continues with %s', known['seed'], search.seed)
    if known.get('objective') != identity['objective']:
        log.warning(
            'this search was recorded with the objective %s, and continues with %s; if they measure different things, '
            'give another exp_key', known.get('objective'), identity['objective'],
        )  # fmt: skip
    try:
        restore(search, storage)
    except ShadhoError:
        raise
    except Exception as error:  # a sampler or policy may fail on trials whose metadata another release wrote
        raise StorageError(
            f'{storage} cannot be resumed: {type(error).__name__}: {error}. Was it edited, or written by another release? '
            'Give another exp_key to start over'
        ) from error
    storage.update(**_this_run())
    return search


def restore(search: Search, storage: Storage) -> None:
    """Apply the log of a storage to a new search; see `Search.replay`.

    Raises
    ------
    StorageError
        Where the log contradicts itself.
    """
    position = 0

    def events() -> Generator[Event, None, None]:
        nonlocal position
        with closing(in_order(storage)) as log:
            for item in log:
                position, event = item
                yield event

    try:
        with closing(events()) as recorded:
            search.replay(recorded)
    except LedgerError as error:
        raise contradiction(storage, position, error.__cause__) from error


def _this_run() -> dict[str, Any]:
    """Return how this run was started, for `shadho resume`."""
    return {'uses': {}, 'command': [sys.executable, *sys.orig_argv[1:]], 'folder': os.getcwd()}


def warm_up(search: Search, storage: Storage, identity: Mapping[str, Any]) -> None:
    """Let a search learn from an earlier one over the same or an overlapping space.

    Raises
    ------
    StorageError
        When the losses of the two are not comparable, or no earlier trial lies in the space.
    """
    known = identity_of(storage)
    for name in ('direction', 'loss_key'):
        if known.get(name) != identity[name]:
            raise StorageError(
                f'warm_start: {storage} was recorded with {name}={brief(known.get(name))}, and this search has '
                f'{name}={identity[name]!r}: their losses cannot be compared'
            )
    count = taken = 0
    reason = 'it has no finished trials'
    for trial in finished_trials(storage):
        if trial.state in PARTIAL:  # their losses are of earlier steps
            continue
        count += 1
        try:
            search.add(trial.params, trial.loss)
            taken += 1
        except SpaceError as error:
            reason = str(error)
    if not taken:
        raise StorageError(f'warm_start: no trial of {storage} can be used: {reason}')
    log.info('%d of %d earlier trials in %s lie in the space; the search learns from them', taken, count, storage)


def _check_same(storage: Storage, known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    if known.get('fingerprint') != given['fingerprint']:
        # The readable form of a space may leave the difference out; then its full outline shows it.
        difference = spec.difference(known.get('space', ''), given['space']) or spec.difference(
            known['outline'], given['outline']
        )
        raise StorageError(
            f'{storage} belongs to another search space. Give this search another exp_key or storage, or the space '
            f'that is recorded:\n{difference}'
        )
    reasons = dict.fromkeys(('direction', 'loss_key'), 'their losses cannot be compared')
    if 'grid' in (known.get('method'), given['method']):
        reasons |= dict.fromkeys(('method', 'grid_points'), 'the recorded trials are not the first points of this grid')
    if known.get('max_steps') is not None or given['max_steps'] is not None:
        reasons |= dict.fromkeys(('max_steps', 'fidelity', 'rungs'), 'the recorded trials were judged at other steps')
    for name, reason in reasons.items():
        if known.get(name) != given[name]:
            raise StorageError(
                f'{storage} was recorded with {name}={brief(known.get(name))}, and this search has {name}={given[name]!r}: '
                f'{reason}. Give this search another exp_key or storage'
            )
