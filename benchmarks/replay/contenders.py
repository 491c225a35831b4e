"""Who competes: policies by their names in the tables, oracles that know what others must learn, and Optuna."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from shadho.forest import Tree
from shadho.scheduling import Policy, PolicyContext
from shadho.scheduling.market import Market
from shadho.scheduling.runtime import RuntimeModel

from .workloads import Log, Workload

EQUAL: Mapping[str, Any] = {'heuristics': {}}
"""Options of a market in which all trees have the same priority."""

KNOWN: Mapping[str, Any] = {**EQUAL, 'fairness': 0.5}
"""Options of the market that knows all seconds: those of `equal θ=0.5`, which it is compared with."""

POLICIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    'fcfs': ('fcfs', {}),
    'ranked': ('ranked', {}),
    'market': ('market', {}),
    'market θ=0': ('market', {'fairness': 0.0}),
    'market θ=1': ('market', {'fairness': 1.0}),
    'equal θ=0': ('market', {**EQUAL, 'fairness': 0.0}),
    'equal θ=0.5': ('market', {**EQUAL, 'fairness': 0.5}),
    'equal θ=1': ('market', {**EQUAL, 'fairness': 1.0}),
}
"""Policy and options; θ is `fairness`, `equal` has equal priorities, `market` the default ones."""


class KnownSeconds(RuntimeModel):
    """Knows the true mean seconds of every tree in every class from the beginning."""

    def __init__(self, means: npt.NDArray[np.float64], classes: list[str]) -> None:
        super().__init__(float)
        self._means, self._names = means, classes

    def predict(self, trees: Any, classes: Any, running: Any = (), now: float = 0.0) -> npt.NDArray[np.float64]:
        return self._means[np.ix_(list(trees), [self._names.index(name) for name in classes])]


class OracleMarket(Market):
    """The market with known seconds and equal priorities: what learning seconds can cost at most."""

    name = 'oracle market'

    def __init__(self, context: PolicyContext, *, workload: Workload, **options: Any) -> None:
        super().__init__(context, **{**KNOWN, **options})
        self.runtime = KnownSeconds(workload.means, list(workload.factors))


class OracleTarget(Policy):
    """Runs in each class the tree that reaches a loss soonest there: the fastest that random settings can be."""

    name = 'oracle'

    def __init__(self, context: PolicyContext, *, workload: Workload, target: float) -> None:
        super().__init__(context)
        best = np.argmax(workload.chances(target)[:, None] / workload.means, axis=0)
        self._best = {name: context.forest.tree(int(tree)) for name, tree in zip(workload.factors, best)}

    def pick(self, compute_class: str, now: float) -> Tree | None:
        return self._best[compute_class]

    def exclude(self, tree: Tree) -> None:
        raise NotImplementedError('trees of continuous domains have no end')


@attrs.frozen
class Ended:
    """What is noted of a finished trial: numbers of its tree and class, and whether it failed."""

    finished: float
    tree: int
    compute_class: int
    loss: float
    failed: bool


def optuna_trials(workload: Workload, slots: int, seed: int) -> Any:
    """Yield the trials of Optuna's TPE sampler in the order in which they finish.

    Trials are handed to whichever worker is free, in the same virtual time; a trial that does not
    fit in the memory of its worker fails after half of its seconds, as in the simulated cluster.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True))
    classes = workload.classes(slots)
    trees = list(workload.trees)
    fits = workload.fits
    events: list[tuple[float, int, Any, Ended]] = []

    def start(number: int, now: float) -> None:
        trial = study.ask()
        tree = trial.suggest_categorical('tree', trees)
        params = {name: _suggest(trial, f'{tree} {name}', bounds) for name, bounds in workload.trees[tree].items()}
        fit = bool(fits[trees.index(tree), number])
        seconds = workload.seconds({tree: params}, classes[number]) * (1.0 if fit else 0.5)
        loss = workload.loss({tree: params}) if fit else math.nan
        ended = Ended(now + seconds, trees.index(tree), number, loss, not fit)
        heapq.heappush(events, (ended.finished, trial.number, trial, ended))

    for number, own in enumerate(classes):
        for _ in range(own.slots):
            start(number, 0.0)
    while True:
        now, _, trial, ended = heapq.heappop(events)
        if ended.failed:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, ended.loss)
        yield ended
        start(ended.compute_class, now)


def _suggest(trial: Any, name: str, bounds: Any) -> Any:
    if isinstance(bounds, Log):
        return trial.suggest_float(name, 10**bounds.low, 10**bounds.high, log=True)
    if isinstance(bounds, list):
        return trial.suggest_categorical(name, bounds)
    return trial.suggest_float(name, *bounds)
