"""Going on with a recorded search, after making sure that it is the same one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from shadho.errors import StorageError
from shadho.records import Result, Trial
from shadho.search import Search
from shadho.spaces import spec
from shadho.storage import Storage

__all__ = ['resume']

log = logging.getLogger('shadho')


def resume(
    storage: Storage,
    new_search: Callable[[int | None], Search],
    seed: int | None,
    names: Mapping[str, str],
    *,
    allowed: bool,
) -> tuple[Search, float]:
    """Build a search from what its storage holds, or prepare an empty storage for it.

    Parameters
    ----------
    storage : Storage
        Open.
    new_search : callable
        Makes the search for a seed.
    seed : int or None
        The user's; a recorded one is used without.
    names : mapping
        What else is recorded of the search: its exp_key and objective.
    allowed : bool
        Whether there may be anything in the storage.

    Returns
    -------
    Search
    float
        Seconds that it was active so far.

    Raises
    ------
    StorageError
        When the storage belongs to another search, or holds one and may not.
    """
    known = storage.metadata()
    search = new_search(known.get('seed') if seed is None else seed)
    space = search.forest.space
    own = {
        'fingerprint': spec.fingerprint(space),
        'direction': search.direction,
        'loss_key': search.loss_key,
        'space': spec.describe(space),
        'outline': spec.outline(space),
    }
    if not known:
        storage.update(**own, **names, seed=search.seed, version=version('shadho-core'), elapsed=0.0)
        return search, 0.0
    if not allowed:
        raise StorageError(
            f'{storage} already holds a search, and resume=False: nothing is overwritten. Give another exp_key or '
            'storage, remove the file, or let the search go on with resume=True'
        )
    _check_same(storage, known, own)
    if search.seed != known['seed']:
        log.warning('seed=%s differs from the seed %s that this search began with', search.seed, known['seed'])
    if known.get('objective') != names['objective']:
        log.warning(
            'this search was recorded with the objective %s, and goes on with %s; if they measure different things, '
            'give another exp_key', known.get('objective'), names['objective'],
        )  # fmt: skip
    elapsed = float(known['elapsed'])

    def records() -> Iterator[Trial | Result]:
        nonlocal elapsed  # a driver that was killed did not note how long it ran
        for _, record in storage.read():
            elapsed = max(elapsed, record.started or 0.0, getattr(record, 'finished', None) or 0.0)
            yield record

    search.restore(records())
    return search, elapsed


def _check_same(storage: Storage, known: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    if known.get('fingerprint') != own['fingerprint']:
        # As people read a space; in full where that leaves the difference out.
        difference = spec.difference(known['space'], own['space']) or spec.difference(known['outline'], own['outline'])
        raise StorageError(
            f'{storage} belongs to another search space. Give this search another exp_key or storage, or the space '
            f'that is recorded:\n{difference}'
        )
    for name in ('direction', 'loss_key'):
        if known.get(name) != own[name]:
            raise StorageError(
                f'{storage} was recorded with {name}={known.get(name)!r}, and now {name}={own[name]!r}: their losses '
                'cannot be compared. Give this search another exp_key or storage'
            )
