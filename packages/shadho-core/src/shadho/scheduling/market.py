"""The market: trees with budgets bid for slots of the compute classes."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.forest import Tree
from shadho.records import Attempt, ClassesChanged, ComputeClass, Event, Result, Trial
from shadho.scheduling.complexity import complexity
from shadho.scheduling.credits import Credits
from shadho.scheduling.effects import Effects
from shadho.scheduling.fit import Fit
from shadho.scheduling.layout import Layout
from shadho.scheduling.matching import Matching
from shadho.scheduling.memory import MemoryLimits
from shadho.scheduling.planner import Planner
from shadho.scheduling.policy import Choice, Heuristic, Move, New, Policy, PolicyContext, Slot
from shadho.scheduling.promise import Promise
from shadho.scheduling.quota import QuotaPlanner
from shadho.scheduling.runtime import UNFIT, RuntimeModel
from shadho.scheduling.stragglers import Stragglers

__all__ = ['Forecast', 'Market']

Floats = npt.NDArray[np.float64]

_MOST_EXCLUDED = 0.05
"""Fraction of the planned trees that may be excluded before a new plan. A plan costs milliseconds; an old one wastes
shares. Chosen."""

_OFFERS = 16
"""Suggestions from which a slot takes the one that suits it. More suit better, and wait longer."""

_TREES = 3
"""Trees that are asked for a setting that fits in a class before its slot stays idle. More cost time in each choice. Chosen."""


@attrs.frozen(eq=False)
class Forecast:
    """The expected speed of a search on some compute classes.

    Attributes
    ----------
    trees : list of Tree
    classes : list of str
    seconds : array, shape (trees, classes)
        Expected seconds of one trial; inf where it does not fit.
    rates : array, shape (trees, classes)
        Trials per second.
    prices : array, shape (classes,)
        Worth of one more slot, as a fraction of the speed of the search.
    """

    trees: list[Tree]
    classes: list[str]
    seconds: Floats
    rates: Floats
    prices: Floats


class Market(Policy):
    """Places trees on the hardware that suits them, and gives more slots to promising trees.

    Every tree has a budget and buys slots of the compute classes with it. At the equilibrium prices
    all slots are sold, no tree could do better with its budget, and each tree runs where it gains
    most over the others. The market learns the seconds and the promise of trees during the search. Within a tree, it learns the seconds
    of settings and where they fit, and gives each class those that suit it.

    Parameters
    ----------
    fairness : float, default 0.75
        Power of a trial's seconds in the budget of its tree. With 1, trees of equal priority get
        equal numbers of trials; with 0, they get equal compute, so many more cheap trials run.
    heuristics : mapping of str or Heuristic to float, optional
        Factors of the priorities, each with its power; by default ``{'promise': 1.5}``. An empty
        mapping means equal priorities.
    floor : float, default 0.05
        Fraction of the whole budget that is divided evenly among all trees, so that no tree starves.
    restart_stragglers : bool, default True
        Whether an idle slot, as at the end of a search, takes over a trial that runs in another class. The trial
        restarts in the idle slot if its expected remaining time is at least 1.2 times that of a restart.

    Notes
    -----
    On a single slot, the market ignores measured seconds, so that a serial search repeats exactly. A sampler's estimate of the
    promise replaces that of the heuristic. With `trials_per_tree`, budgets follow the remaining trials, which minimises the
    makespan, and heuristics are ignored.
    """

    name = 'market'
    is_cost_aware = True

    def __init__(
        self,
        context: PolicyContext,
        *,
        fairness: float = 0.75,
        heuristics: Mapping[Any, float] | None = None,
        floor: float = 0.05,
        restart_stragglers: bool = True,
    ) -> None:
        super().__init__(context)
        fairness, floor = _check_share('fairness', fairness), _check_share('floor', floor)
        if not isinstance(restart_stragglers, bool):
            raise ConfigurationError(
                f"policy='market': restart_stragglers must be True or False; got {restart_stragglers!r}"
            )
        self.heuristics: dict[Heuristic, float] = (
            {Promise(): 1.5} if heuristics is None else _check_heuristics(heuristics)
        )
        effects = Effects(context.forest, context.cost_aware)
        self.runtime = RuntimeModel(lambda tree: complexity(context.forest.tree(tree)), effects)
        self._memory = MemoryLimits(effects)
        self._matching = Matching(context.ledger, effects, self._memory)
        self._quota = (
            None if context.trials_per_tree is None else QuotaPlanner(context, self.runtime, {}, fairness, floor)
        )
        self._planner = self._quota or Planner(context, self.runtime, self.heuristics, fairness, floor)
        self._credits = Credits(context.seed)
        self._fit = Fit(self.history, self.runtime)
        self._layout = Layout()  # of the plan that is followed
        self._has_one_tree = False
        self._stragglers = Stragglers(self.history) if restart_stragglers else None
        self._interval: float = 1  # results until the next plan
        self._results = 0  # since the plan was made
        self._excluded = 0
        self._is_due = False

    # --- choosing ----------------------------------------------------------------------------------

    def choose(self, slot: Slot, now: float) -> Choice | None:
        choice = super().choose(slot, now)
        if isinstance(choice, New):
            choice = self._suited(choice, slot) or self._other(slot, now)
        if choice is not None or not slot.may_move or self._stragglers is None or len(self._layout.classes) < 2:
            return choice
        if self.ledger.rungs:  # seconds are learned up to the first rung only
            return None
        trial = self._stragglers.find(slot, self._layout.classes, self.runtime, now)
        return None if trial is None else Move(trial)

    def _suited(self, choice: New, slot: Slot) -> New | None:
        """Return a choice with the suggestion of its tree that suits a slot; None if none fits there."""
        tree, compute_class = choice.tree.index, slot.compute_class
        is_limited, matters = self._memory.holds_back(tree, compute_class), self._matching.matters(tree, slot)
        if not is_limited and not matters:
            return choice
        for count in (2 * _OFFERS, 8 * _OFFERS) if is_limited else (_OFFERS,):
            offers = self.context.offers(choice.tree, count)
            if not offers:
                return choice
            fits = self._memory.fits(tree, [offer.suggestion.point for offer in offers], compute_class)
            fitting = [offer for offer, may_run in zip(offers, fits) if may_run]
            if (
                fitting and matters
            ):  # of more, other trees would wait for what is passed over (see `PolicyContext.crowded`)
                last = fitting[:_OFFERS][-1].number
                return self._matching.best(choice, slot, [offer for offer in fitting if offer.number <= last])
            if fitting:
                return New(choice.tree, max(fitting, key=lambda offer: offer.value))
            if offers[0].number == offers[-1].number:  # of a model, which offers no others
                break
        return None

    def _other(self, slot: Slot, now: float) -> New | None:
        """Return a choice of another tree, where no suggestion of the first one fits."""
        trees = _TREES if self.ledger.running else None  # all, before every slot is idle
        others = itertools.islice(self._picks(slot.compute_class, now), 1, trees)
        return next(filter(None, (self._suited(New(tree), slot) for tree in others)), None)

    def fits(self, trial: Trial, compute_class: str) -> bool:
        row, place = self._layout.rows.get(compute_class), self._layout.columns.get(trial.tree)
        if row is None or place is None:
            return True
        if self._fit.asks(row) and self._fit.blocked(row)[place]:
            return False
        return bool(self._memory.fits(trial.tree, [trial.point], compute_class)[0])

    def pick(self, compute_class: str, now: float) -> Tree | None:
        return next(self._picks(compute_class, now), None)

    def _picks(self, compute_class: str, now: float) -> Iterator[Tree]:
        """Yield the trees that a class may begin, the one that comes next first."""
        layout = self._layout
        row, trees = layout.rows.get(compute_class), layout.trees
        if row is None or not trees:
            return
        if self._is_alone:  # the common search of one tree needs no credits
            yield trees[0]
            return
        may_run = self._may_run(row, now)
        # Settings that fit here alone come first where many wait.
        crowded = [
            layout.columns.get(tree)
            for tree in self.context.crowded
            if not self._memory.holds_back(tree, compute_class)
        ]
        first = np.array([column for column in crowded if column is not None and may_run[column]], dtype=int)
        if len(first):
            may_run = np.isin(np.arange(len(may_run)), first)
        while may_run.any():
            column = self._credits.best(row, may_run)
            yield trees[column]
            may_run[column] = False

    @property
    def _is_alone(self) -> bool:
        """Whether there is no choice: a single tree that has not failed to fit anywhere."""
        return self._has_one_tree and not self._fit.has_failures

    def _may_run(self, row: int, now: float) -> npt.NDArray[np.bool_]:
        """Return the trees that a class may run now, as flags."""
        may_run: npt.NDArray[np.bool_] = self._credits.mix[row] > 0
        if self._fit.asks(row):
            free = may_run & ~self._fit.blocked(row)
            # A single class must not idle (see `Policy`).
            may_run = free if free.any() or len(self._layout.classes) > 1 else may_run
        if not self.heuristics:
            others = may_run & ~self._fit.slow_perhaps(row)
            may_run = others if (others & self._fit.fitted(row)).any() else may_run
        if self._quota is not None and (self.ledger.running or not self._memory.is_limited):
            may_run = may_run & self._quota.in_time(self._credits.plan, row, now)
        return may_run

    # --- learning ----------------------------------------------------------------------------------

    def on(self, event: Event, trial: Trial | None) -> None:
        self.learn(event, trial)
        self._replan_if_due()

    def learn(self, event: Event, trial: Trial | None) -> None:
        """Learn from an event without planning; `forecast` needs no more when it reads a log."""
        measured = self.newly_measured(event, trial)
        if measured is not None:
            self.runtime.tell(measured)
            self._matching.learn(measured.tree)
            self._planner.active.add(measured.tree)  # a tree of an earlier run may not be active yet
            self._results += 1
        if isinstance(event, Trial):
            if not self._is_alone:
                self._pay(event)
            self._begun(event)
        elif isinstance(event, Result) and trial is not None:
            self._ended(event, trial, measured is not None)
        elif isinstance(event, Attempt) and trial is not None:
            self._begun(trial)
        elif isinstance(event, ClassesChanged):
            self._is_due |= self._have_changed(event.classes)

    def exclude(self, tree: Tree) -> None:
        self._planner.active.exclude(tree)
        self._excluded += 1
        self._is_due |= self._credits.exclude(tree.index)
        if self._is_due:  # too little is left to pick from; else the next event will do
            self._replan_if_due()

    def _have_changed(self, classes: Sequence[ComputeClass]) -> bool:
        slots = {each.name: each.slots for each in classes if each.slots}
        return list(slots.items()) != [(each.name, each.slots) for each in self._layout.classes]

    def _pay(self, trial: Trial) -> None:
        """Charge a new trial to its tree."""
        place = self._layout.place(trial)
        if place is not None:
            self._credits.begin(*place, self._may_run(place[0], trial.started or 0.0))

    def _begun(self, trial: Trial) -> None:
        self.runtime.know(trial)
        self._fit.begun(trial)
        self._memory.begun(trial)

    def _ended(self, result: Result, trial: Trial, is_known: bool) -> None:
        if result.reason == 'moved' and self._stragglers is not None:
            self._stragglers.moved(trial)
            self.runtime.cut_off(trial, result.finished)
        if trial.error is not None and trial.error.kind in UNFIT and not is_known:  # after its first loss
            self.runtime.tell(trial)
        self._is_due |= self._fit.ended(trial)
        self._memory.ended(trial)

    def _replan_if_due(self) -> None:
        """Make a new plan if enough has changed. Only events lead here, so a replayed log gives the same plans."""
        is_thinned = self._excluded and self._excluded > _MOST_EXCLUDED * len(self._layout.trees)
        if self._results >= self._interval or self._is_due or is_thinned:
            self._is_due, self._results, self._excluded = False, 0, 0
            plan = self._planner.plan(list(self.ledger.classes.values()), self.ledger.time)
            self._interval = self._planner.interval(plan)
            self._credits.follow(plan)
            self._fit.lay_out(plan.layout)
            self._memory.lay_out(plan)
            self._matching.lay_out(plan)
            self._layout = plan.layout
            self._has_one_tree = len(plan.layout.trees) == 1 and self._quota is None
            self.placement = plan.describe()

    def forecast(self, classes: Sequence[ComputeClass], now: float) -> Forecast:
        """Plan for these classes, and return the expected seconds, rates and prices."""
        plan = self._planner.plan(classes, now, repeats=False)
        return Forecast(plan.layout.trees, list(plan.layout.rows), plan.seconds.T, plan.rates.T, plan.prices)


def _check_share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ConfigurationError(f"policy='market': {name} must be a number from 0 to 1; got {value!r}")
    return float(value)


def _check_heuristics(heuristics: Mapping[Heuristic, float]) -> dict[Heuristic, float]:
    for heuristic, power in heuristics.items() if isinstance(heuristics, Mapping) else [(heuristics, None)]:
        is_number = isinstance(power, numbers.Real) and not isinstance(power, bool)
        if not isinstance(heuristic, Heuristic) or not is_number or not 0 <= power < math.inf:
            raise ConfigurationError(
                "policy='market': heuristics must be a dict of heuristics and finite powers of 0 or more, such as "
                f"{{'promise': 1.5}}; got {getattr(heuristic, 'name', heuristic)!r}: {power!r}"
            )
    return {heuristic: float(power) for heuristic, power in heuristics.items()}
