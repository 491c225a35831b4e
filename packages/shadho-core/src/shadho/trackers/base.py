"""The life of a tracker, and the hyperparameters as flat columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from shadho.forest.tree import Path
from shadho.plugins.hookspecs import hookimpl
from shadho.records import Report, Trial
from shadho.result import SearchInfo, SearchResult
from shadho.spaces.domains import Domain
from shadho.spaces.structure import Dependent, Repeat, Scope, Sequence, as_node

__all__ = ['Tracker', 'distinct', 'hyperparameters', 'values_of']


class Tracker(ABC):
    """Notes each finished trial of a search once, also when the search is interrupted and goes on.

    A trial is noted as soon as its result is in the storage. What is missing when the search ends, because an
    earlier run was killed or had no tracker, is noted then. After an error in `begin` the tracker is silent; the
    search is not stopped by any.

    Attributes
    ----------
    completes : bool
        Whether it can tell which trials it holds, so that missing ones can be added.
    follows : bool
        Whether it wants to know what trials report (see `take_reports`).
    """

    completes: ClassVar[bool] = True
    follows: ClassVar[bool] = False

    def __init__(self) -> None:
        self._noted: set[int] | None = None
        self._reports: dict[int, dict[int, Report]] = {}  # of trials that are not noted yet, by step

    @abstractmethod
    def begin(self, search: SearchInfo) -> set[int]:
        """Open what is written to; return the numbers of the trials that it holds already."""

    @abstractmethod
    def note(self, trial: Trial) -> None:
        """Write a finished trial down, now or in another thread."""

    def take_reports(self, trial: Trial) -> list[Report]:
        """Return what a trial has reported in this run, in the order of steps, and forget it."""
        steps = self._reports.pop(trial.id, {})
        return [steps[step] for step in sorted(steps)]

    def settle(self) -> None:
        """Wait for other threads; one that could not write a trial has called `forget`."""

    def forget(self, trial: Trial) -> None:
        """Take back that a trial is noted."""
        if self._noted is not None:
            self._noted.discard(trial.id)

    @abstractmethod
    def end(self, result: SearchResult) -> None:
        """Close what `begin` has opened."""

    @hookimpl
    def shadho_search_started(self, search: SearchInfo) -> None:
        self._noted = None
        self._noted = self.begin(search)

    @hookimpl
    def shadho_trial_reported(self, trial: Trial, report: Report) -> None:
        if self.follows and self._noted is not None:
            self._reports.setdefault(trial.id, {})[report.step] = report

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        if self._noted is not None and trial.id not in self._noted:
            self._noted.add(trial.id)
            try:
                self.note(trial)
            except BaseException:
                self.forget(trial)
                raise

    @hookimpl
    def shadho_search_finished(self, result: SearchResult) -> None:
        if self._noted is None:
            return
        try:
            self.settle()
            if self.completes and len(self._noted) < len(result):
                for trial in result:
                    if trial.is_finished:
                        self.shadho_trial_finished(trial)
        finally:
            self.settle()
            self._noted = None
            self._reports = {}
            self.end(result)


def hyperparameters(space: Any) -> Iterator[tuple[Path, Domain | Dependent]]:
    """Yield everything that varies in a space with its place, in order; each copy of a repeat has its own.

    Examples
    --------
    >>> from shadho import spaces
    >>> layer = spaces.scope(width=[16, 32], bias=True)
    >>> [path for path, _ in hyperparameters({'layers': spaces.repeat(layer, 2), 'rate': spaces.uniform(0, 1)})]
    [('layers', 0, 'width'), ('layers', 1, 'width'), ('rate',)]
    """
    node = as_node(space)
    if isinstance(node, (Domain, Dependent)):
        yield (), node
        return
    for key, part in _parts(node):
        yield from (((key, *path), found) for path, found in hyperparameters(part))


def _parts(node: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(node, Scope):
        return [(key, node[key]) for key in node]
    if isinstance(node, Sequence):
        return enumerate(node.parts)
    return ((number, node.part) for number in range(node.length)) if isinstance(node, Repeat) else ()


def distinct(names: Iterable[str], clean: Callable[[str], str], longest: int) -> dict[str, str]:
    """Give each name one that another program takes, and no two the same.

    Parameters
    ----------
    names : iterable of str
    clean : callable
        Returns a name that the program takes; one that it takes as it is stays so.
    longest : int
        Characters of a name at most.

    Examples
    --------
    >>> distinct(['lr/log', 'lr_log', 'lr log'], lambda name: name.replace('/', '_').replace(' ', '_'), 250)
    {'lr_log': 'lr_log', 'lr/log': 'lr_log-2', 'lr log': 'lr_log-3'}
    """
    names = list(names)
    found = {name: name for name in names if clean(name) == name and len(name) <= longest}
    taken = set(found)
    for name in names:
        if name in found:
            continue
        own, number = clean(name)[:longest], 1
        while own in taken:
            number += 1
            ending = f'-{number}'
            own = clean(name)[: longest - len(ending)] + ending
        taken.add(own)
        found[name] = own
    return found


def values_of(params: Any, columns: Mapping[str, Path]) -> dict[str, Any]:
    """Return the values of a trial's hyperparameters by column; those that its tree lacks are left out.

    Examples
    --------
    >>> values_of({'rbf': {'C': 10}}, {'params.rbf.C': ('rbf', 'C'), 'params.linear.C': ('linear', 'C')})
    {'params.rbf.C': 10}
    """
    values = {}
    for name, path in columns.items():
        value = params
        try:
            for key in path:
                value = value[key]
        except (KeyError, IndexError, TypeError):  # another option, a shorter repeat, an absent part
            continue
        values[name] = value
    return values
