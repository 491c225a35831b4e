"""Recorded searches, opened to be looked at: they may be running meanwhile."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence

from shadho.cluster import Cluster
from shadho.errors import StorageError
from shadho.forest import Forest
from shadho.options import find_storage, is_file
from shadho.recommend import MOST_LEADERS
from shadho.records import Trial
from shadho.result import SearchResult, read_finished
from shadho.resume import identity_of
from shadho.search import check_tree
from shadho.spaces import spec
from shadho.storage import LogIndex, Storage

__all__ = ['check_trees', 'columns', 'load_result', 'look_up', 'open_recorded', 'unfinished']


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
    return _result(found, Storage.index(found))  # by which every record is read and checked


def look_up(storage: str | os.PathLike[str] | Storage) -> SearchResult:
    """Return the same as `load_result` in a fraction of the time: what is wrong with a record is said when it is read."""
    found = storage if isinstance(storage, Storage) else open_recorded(storage)
    return _result(found, found.index())


def _result(found: Storage, index: LogIndex) -> SearchResult:
    known = identity_of(found)
    forest = Forest(spec.from_outline(known['outline']))
    direction = known['direction']
    check_trees(forest, index)
    running = unfinished(found, forest, index, {**index.running, **index.waiting})
    stopped = 'running' if found.writer() is not None else index.stopped or 'killed'
    classes = Cluster.of(known).uses if stopped not in ('running', 'killed') else []
    result = SearchResult(
        str(known['exp_key']), read_finished(found, index, index.leaders(MOST_LEADERS, direction)), stopped,
        index.latest, found, forest, index.history(direction, running), direction,
        known['seed'], classes, str(known.get('loss_key', 'loss')),
    )  # fmt: skip
    result.index = index
    return result


def check_trees(forest: Forest, index: LogIndex) -> None:
    """Refuse a log that has finished trials of another space; ShadhoError."""
    last = dict(zip(zip(index.trees, index.lengths().tolist()), index.numbers))
    for (tree, length), number in last.items():
        check_tree(forest, number, tree, length)


def unfinished(storage: Storage, forest: Forest, index: LogIndex, positions: Mapping[int, int]) -> list[Trial]:
    """Return trials that have not finished, by their numbers and positions; ShadhoError where one is of another space."""
    found = storage.at([place for number, position in positions.items() for place in index.places(number, position)])
    trials = [index.begun(number, position, found) for number, position in positions.items()]
    for trial in trials:
        check_tree(forest, trial.id, trial.tree, len(trial.point))
    return trials


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
