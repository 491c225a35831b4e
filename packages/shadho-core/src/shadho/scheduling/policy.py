"""The contracts of scheduling: a policy places trees on classes, a heuristic scores trees."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from shadho.forest import Forest, Tree
from shadho.ledger import Ledger
from shadho.records import Event, Trial
from shadho.table import Table

__all__ = ['Choice', 'ClassPlan', 'Heuristic', 'Move', 'New', 'Policy', 'PolicyContext', 'Run', 'Slot']


@attrs.frozen
class ClassPlan:
    """What a policy intends with one compute class.

    Attributes
    ----------
    name : str
    slots : int
    price : float
        How much faster the whole search would become with one more slot of this class, as a share
        of its speed (0.02: by 2 %). The class with the highest one is the bottleneck.
    trees : tuple of (int, float)
        Numbers of the trees that are placed here and their shares of the class's time, the largest
        first; of many trees, only those.
    """

    name: str
    slots: int
    price: float
    trees: tuple[tuple[int, float], ...]


def _promises_nothing(trees: Sequence[Tree]) -> npt.NDArray[np.float64] | None:
    return None


@attrs.frozen
class PolicyContext:
    """What a policy decides with. All of it is for reading.

    Attributes
    ----------
    forest : Forest
    ledger : Ledger
        The state of every trial, and the finished ones as columns (`ledger.history`).
    seed : int
        Fixes every random choice.
    trials_per_tree : int or None
        The search ends when every tree has had so many trials.
    promise : callable
        What the sampler expects of some trees: see `Sampler.promise`.
    """

    forest: Forest
    ledger: Ledger
    seed: int
    trials_per_tree: int | None = None
    promise: Callable[[Sequence[Tree]], npt.NDArray[np.float64] | None] = _promises_nothing


@attrs.frozen
class Slot:
    """A free slot, and what may be done with it.

    Attributes
    ----------
    compute_class : str
    may_begin : bool
        Whether a new trial may begin: not when all that the search may have were begun.
    may_move : bool
        Whether a running trial may be ended to begin again here: not when the slot is one ahead, in the queue of a worker.
    trial_timeout : float
        Seconds after which a trial is ended in any case.
    """

    compute_class: str
    may_begin: bool = True
    may_move: bool = False
    trial_timeout: float = math.inf


@attrs.frozen
class New:
    """Begin a new trial of a tree."""

    tree: Tree


@attrs.frozen
class Run:
    """Run a trial that waits for its next attempt."""

    trial: Trial


@attrs.frozen
class Move:
    """End a trial that runs in another class, and begin it again in the slot: what it has done so far is lost."""

    trial: Trial


Choice = New | Run | Move
"""What a slot is to run."""


class Policy(ABC):
    """Decides what a free slot runs.

    Parameters
    ----------
    context : PolicyContext
    **options
        Of the policy itself.

    Attributes
    ----------
    context : PolicyContext
    forest, ledger, history, seed
        Those of the context.
    placement : tuple of ClassPlan
        What is planned now, replaced whenever that changes; empty when the policy does not plan.

    Notes
    -----
    While there is one compute class, and a tree that is not excluded, `pick` returns a tree: a
    search whose slots are all idle would never end.

    The state of a policy changes by `on` and `exclude` alone, which follow from the log: `choose` and `pick` may be asked at any
    moment, any number of times. So a search that is resumed goes on as one that was never interrupted.
    """

    name: ClassVar[str]

    def __init__(self, context: PolicyContext) -> None:
        self.context = context
        self.forest = context.forest
        self.ledger = context.ledger
        self.history = context.ledger.history
        self.seed = context.seed
        self.placement: tuple[ClassPlan, ...] = ()

    def choose(self, slot: Slot, now: float) -> Choice | None:
        """Return what a free slot runs; None leaves it idle.

        By default a trial that waits for its next attempt, else a new one of the tree that `pick` returns.

        Parameters
        ----------
        slot : Slot
        now : float
            Seconds of active search, as the times of events.
        """
        waiting = self.ledger.next_waiting(slot.compute_class)
        if waiting is not None:
            return Run(waiting)
        tree = self.pick(slot.compute_class, now) if slot.may_begin else None
        return None if tree is None else New(tree)

    @abstractmethod
    def pick(self, compute_class: str, now: float) -> Tree | None:
        """Return the tree of which a slot of the class begins a new trial; None for no trial."""

    def on(self, event: Event, trial: Trial | None) -> None:
        """Learn from an event, which the ledger has applied already.

        Parameters
        ----------
        event : Trial, Attempt, Result, ClassesChanged or another one
            A trial was begun, or begun again; an attempt ended: the trial is finished, or waits since it was lost or
            cancelled; classes have come or gone, which are `ledger.classes` now.
        trial : Trial or None
            The trial as the event leaves it; None for an event of the search.
        """

    @abstractmethod
    def exclude(self, tree: Tree) -> None:
        """Never pick this tree again: nothing is left to suggest in it."""


class Heuristic(ABC):
    """Scores trees; policies combine the scores into priorities."""

    name: ClassVar[str]

    @abstractmethod
    def scores(self, trees: Sequence[Tree], history: Table) -> npt.NDArray[np.float64]:
        """Return one score of 0 or more for each tree; higher means sooner.

        Called each time a policy plans anew: what is costly should be kept, and computed again only
        where the history has grown (`Table.count`).
        """
