"""Recorded searches, opened to be looked at: they may be running meanwhile."""

from __future__ import annotations

import os
from collections.abc import Container, Generator, Sequence
from contextlib import closing

from shadho.cluster import Cluster
from shadho.errors import StorageError
from shadho.forest import Forest
from shadho.options import find_storage, is_file
from shadho.records import Result, Trial
from shadho.result import SearchResult
from shadho.resume import identity_of
from shadho.search import Search
from shadho.spaces import spec
from shadho.storage import Storage, consistent

__all__ = ['columns', 'load_result', 'open_recorded']


def open_recorded(path: str | os.PathLike[str]) -> Storage:
    """Return the storage of a search that has run; it need not be opened to be read.

    Raises
    ------
    StorageError
        When there is no such file.
    """
    from shadho import plugins

    if not is_file(path):
        raise StorageError(
            f'there is no file {os.fspath(path)!r}; a search writes <exp_key>.db into its working folder'
        )
    return find_storage(plugins.load(), path, '', 'normal')


def load_result(storage: str | os.PathLike[str] | Storage) -> SearchResult:
    """Return the result of a search that has run, or is running, from its file.

    Parameters
    ----------
    storage : path or Storage
        Such as ``'svm.db'``. It is only read.

    Returns
    -------
    SearchResult
        As `Shadho.run` returned it, except that parameters which JSON has no form for are texts, and that classes
        come without the policy's plans. `stopped` is 'running' while a process runs the search, and 'killed' when
        one did not come to its end; there are no `classes` then.

    Raises
    ------
    StorageError
        When there is no such file, or it holds no search.

    Examples
    --------
    >>> import shadho
    >>> result = shadho.load_result('svm.db')  # doctest: +SKIP
    >>> result.best.loss  # doctest: +SKIP
    0.0133
    """
    found = storage if isinstance(storage, Storage) else open_recorded(storage)
    known = identity_of(found)
    forest = Forest(spec.from_outline(known['outline']))
    search = Search(forest, method='random', policy='fcfs', seed=known['seed'], direction=known['direction'])
    elapsed = float(known.get('elapsed', 0.0))

    def records() -> Generator[Trial | Result, None, None]:
        nonlocal elapsed
        for record in consistent(found):
            elapsed = max(elapsed, record.started or 0.0, getattr(record, 'finished', None) or 0.0)
            yield record

    with closing(records()) as log:
        search.restore(log, only_learn=True)
    stopped = 'running' if found.writer() is not None else str(known.get('stopped') or 'killed')
    classes = Cluster.of(known).uses if stopped not in ('running', 'killed') else []
    return SearchResult(
        str(known['exp_key']), search.leaders, stopped, elapsed, found, forest, search.history, search.direction,
        search.seed, classes, str(known.get('loss_key', 'loss')),
    )  # fmt: skip


def columns(titles: Sequence[str], rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """Set rows below their titles: the columns named in `left` to the left, the others to the right.

    Examples
    --------
    >>> columns(['tree', 'trials'], [['rbf', '12'], ['linear', '3']])
    ['tree    trials', 'rbf         12', 'linear       3']
    """
    widths = [max(len(row[place]) for row in [titles, *rows]) for place in range(len(titles))]
    return [
        '  '.join(
            text.ljust(width) if place in left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in [titles, *rows]
    ]
