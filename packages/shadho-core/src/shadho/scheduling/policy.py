"""The contracts of scheduling: a policy decides what slots run, a heuristic scores trees."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from typing import ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from shadho.forest import Forest, Tree
from shadho.ledger import Ledger
from shadho.records import Event, Report, Trial
from shadho.samplers import Offer
from shadho.table import Table

__all__ = ['Choice', 'ClassPlan', 'Heuristic', 'Move', 'New', 'Policy', 'PolicyContext', 'Run', 'Slot']


@attrs.frozen
class ClassPlan:
    """A policy's plan for one compute class.

    Attributes
    ----------
    name : str
    slots : int
    price : float
        Gain in speed of the whole search from one more slot of this class, as a fraction (0.02 is
        2 %). The class with the highest price is the bottleneck.
    trees : tuple of (int, float)
        Numbers of the trees placed here and their fractions of the class's time, the largest first;
        small ones may be left out.
    """

    name: str
    slots: int
    price: float
    trees: tuple[tuple[int, float], ...]


def _promises_nothing(trees: Sequence[Tree]) -> npt.NDArray[np.float64] | None:
    return None


def _promotes_nothing() -> Generator[Trial, None, None]:
    yield from ()


def _offers_nothing(tree: Tree, count: int) -> Sequence[Offer]:
    return ()


@attrs.frozen
class PolicyContext:
    """The read-only state that a policy decides from.

    Attributes
    ----------
    forest : Forest
    ledger : Ledger
        The state of every trial, and the finished ones as columns (`ledger.history`).
    seed : int
        Fixes every random choice.
    trials_per_tree : int or None
        Quota of trials in every tree, at which the search ends.
    promise : callable
        The sampler's estimate of the promise of trees (see `Sampler.promise`).
    promotable : callable
        Yields paused trials that deserve to go on, the best first (see `Fidelity.promotable`).
    offers : callable
        Returns about so many suggestions of a tree, of which a slot may begin any (see `Sampler.offers`); empty if there is no
        choice.
    crowded : collection of int
        Trees of which so many suggestions were passed over that only the least of them are offered again.
    cost_aware : bool
        Whether seconds may count (see `Slot.cost_weight`).
    """

    forest: Forest
    ledger: Ledger
    seed: int
    trials_per_tree: int | None = None
    promise: Callable[[Sequence[Tree]], npt.NDArray[np.float64] | None] = _promises_nothing
    promotable: Callable[[], Generator[Trial, None, None]] = _promotes_nothing
    offers: Callable[[Tree, int], Sequence[Offer]] = _offers_nothing
    crowded: Collection[int] = ()
    cost_aware: bool = False


@attrs.frozen
class Slot:
    """A free slot and the choices that it allows.

    Attributes
    ----------
    compute_class : str
    may_begin : bool
        Whether a new trial may begin; False once the search has begun all that it may have.
    may_move : bool
        Whether a running trial may end and restart here; False for a place in the queue of a busy worker.
    trial_timeout : float
        Time limit of a trial in seconds.
    cost_weight : float
        Power of a trial's seconds by which its expected improvement is divided, from 0 (seconds do not count) to 1.
    """

    compute_class: str
    may_begin: bool = True
    may_move: bool = False
    trial_timeout: float = math.inf
    cost_weight: float = 0.0


@attrs.frozen
class New:
    """Begin a new trial of a tree, by default with the sampler's own suggestion."""

    tree: Tree
    offer: Offer | None = None


@attrs.frozen
class Run:
    """Run a waiting or a paused trial."""

    trial: Trial


@attrs.frozen
class Move:
    """End a trial that runs in another class, and restart it in the slot; its progress is lost."""

    trial: Trial


Choice = New | Run | Move
"""A policy's decision for a free slot."""


class Policy(ABC):
    """Decides what a free slot runs.

    Parameters
    ----------
    context : PolicyContext
    **options
        Options of the policy.

    Attributes
    ----------
    is_cost_aware : bool
        Whether `Slot.cost_weight` counts.
    context : PolicyContext
    forest, ledger, history, seed
        Those of the context.
    placement : tuple of ClassPlan
        The current plan, replaced by a new tuple when it changes; empty if the policy does not plan.

    Notes
    -----
    With a single compute class, `pick` must return a tree while any tree is not excluded: a search
    whose slots are all idle would never end.

    Only `on` and `exclude` change a policy's state, and both follow from the log. `choose` and `pick` may be called at any time,
    any number of times. A resumed search therefore continues as if it had never been interrupted.
    """

    name: ClassVar[str]
    is_cost_aware: ClassVar[bool] = False

    def __init__(self, context: PolicyContext) -> None:
        self.context = context
        self.forest = context.forest
        self.ledger = context.ledger
        self.history = context.ledger.history
        self.seed = context.seed
        self.placement: tuple[ClassPlan, ...] = ()
        self._measured = 0

    def choose(self, slot: Slot, now: float) -> Choice | None:
        """Return the choice for a free slot; None leaves it idle.

        The default is a waiting trial if there is one (of a class that is gone: if it `fits`), else a paused trial that deserves to go
        on and `fits`, else a new trial of the tree that `pick` returns.

        Parameters
        ----------
        slot : Slot
        now : float
            Seconds of active search, like the times of events.
        """
        waiting = self.ledger.next_waiting(slot.compute_class)
        if waiting is not None and (
            waiting.compute_class == slot.compute_class or self.fits(waiting, slot.compute_class)
        ):
            return Run(waiting)
        if self.ledger.paused:
            with closing(self.context.promotable()) as promotable:
                for trial in promotable:
                    if self.fits(trial, slot.compute_class):
                        return Run(trial)
        tree = self.pick(slot.compute_class, now) if slot.may_begin else None
        return None if tree is None else New(tree)

    def fits(self, trial: Trial, compute_class: str) -> bool:
        """Whether a trial of another class may go on in a class; True by default."""
        return True

    @abstractmethod
    def pick(self, compute_class: str, now: float) -> Tree | None:
        """Return the tree for a new trial in a slot of the class; None leaves the slot idle."""

    def on(self, event: Event, trial: Trial | None) -> None:
        """Learn from an event, which the ledger has already applied.

        Parameters
        ----------
        event : Event
            A `Trial` begins; an `Attempt` runs a waiting or paused trial; a `Report` comes from a running one; a `Result` ends an
            attempt, after which the trial is finished, paused or, if the attempt was lost or cancelled, waiting;
            `ClassesChanged` replaces `ledger.classes`. Ignore other kinds.
        trial : Trial or None
            The trial after the event; None for an event of the search.
        """

    def newly_measured(self, event: Event, trial: Trial | None) -> Trial | None:
        """Return the trial whose first comparable loss an event has brought, or that has failed before it; None otherwise.

        To be called once for each event, from `on`. Its `seconds` are those until then.
        """
        count = len(self.ledger.measured)
        if trial is None or count == self._measured:
            return None
        self._measured = count
        if isinstance(event, Report):
            return attrs.evolve(trial, seconds=max(0.0, event.time - (trial.started or 0.0)))
        return trial

    @abstractmethod
    def exclude(self, tree: Tree) -> None:
        """Never pick this tree again: it has no suggestions left."""


class Heuristic(ABC):
    """Scores trees; policies combine the scores into priorities."""

    name: ClassVar[str]

    @abstractmethod
    def scores(self, trees: Sequence[Tree], history: Table) -> npt.NDArray[np.float64]:
        """Return one score of 0 or more for each tree; higher means sooner.

        Policies call this for every plan. Cache costly scores, and recompute one only after the
        tree's history has grown (`Table.count`).
        """
