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
from shadho.records import ComputeClass, Trial
from shadho.table import Table

__all__ = ['ClassPlan', 'Heuristic', 'Policy', 'PolicyContext']


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


class Policy(ABC):
    """Decides which tree the next trial of a compute class comes from.

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

    A policy hears of every change of a trial's state: `begin`, then `take_back` or `tell`.
    """

    name: ClassVar[str]

    def __init__(self, context: PolicyContext) -> None:
        self.context = context
        self.forest = context.forest
        self.ledger = context.ledger
        self.history = context.ledger.history
        self.seed = context.seed
        self.placement: tuple[ClassPlan, ...] = ()

    def plan(self, classes: Sequence[ComputeClass], now: float) -> None:
        """Reconsider the placement: classes have come or gone, or a search begins."""

    @abstractmethod
    def pick(self, compute_class: str, now: float) -> Tree | None:
        """Return the tree that a free slot of the class should run; None leaves the slot idle.

        `now` is in seconds of active search, as in `plan` and as the times of trials.
        """

    def adopt(self, tree: Tree, compute_class: str, now: float) -> None:
        """Replay a pick of an earlier run, so that later picks match those of a search that never ended."""

    def begin(self, trial: Trial) -> None:
        """Note that an attempt at a trial has begun: one that was picked, or one that runs again."""

    def take_back(self, trial: Trial) -> None:
        """Note that an attempt was lost or cancelled; the trial waits for its next attempt."""

    def tell(self, trial: Trial, loss: float) -> None:
        """Learn from a finished trial, which is in the history already.

        `loss` is in the direction that is minimised; nan when the trial failed.
        """

    def straggler(self, compute_class: str, now: float, trial_timeout: float = math.inf) -> Trial | None:
        """Return a running trial of another class that a slot of this one, which would stay idle, is to begin anew.

        None, which is the default, leaves the slot idle. The trial is ended where it runs, and what it has done so far
        is lost; each trial should be named once at most. `trial_timeout` is after how many seconds a trial is ended in any case.
        """
        return None

    @abstractmethod
    def exclude(self, tree: Tree) -> None:
        """Never pick this tree again: its sampler has nothing left to suggest."""


class Heuristic(ABC):
    """Scores trees; policies combine the scores into priorities."""

    name: ClassVar[str]

    @abstractmethod
    def scores(self, trees: Sequence[Tree], history: Table) -> npt.NDArray[np.float64]:
        """Return one score of 0 or more for each tree; higher means sooner.

        Called each time a policy plans anew: what is costly should be kept, and computed again only
        where the history has grown (`Table.count`).
        """
