"""One search on a simulated cluster, and the figures that are drawn from it."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from shadho import ComputeClass, Search, Shadho, Trial, hookimpl, spaces
from shadho.backends import Simulated
from shadho.records import Result, TrialState
from shadho.scheduling import Slot

from .contenders import POLICIES, Ended, OracleMarket, OracleTarget, optuna_trials
from .workloads import CLUSTERS, WORKLOADS, Workload

Floats = npt.NDArray[np.float64]

HOUR = 3600.0
MOST = 100_000
"""Trials after which a target counts as never reached."""

MOST_OF_OPTUNA = 3_000
"""The same for Optuna, whose trials cost more and more time."""


class Watch:
    """An observer that notes what finishes, and ends the search when a loss is reached."""

    def __init__(self, workload: Workload, target: float) -> None:
        self.classes = {name: number for number, name in enumerate(workload.factors)}
        self.target = target
        self.ended: list[Ended] = []
        self.wall: list[float] = []

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        failed = trial.loss is None
        number = self.classes[trial.compute_class]
        self.ended.append(Ended(trial.finished, trial.tree, number, np.inf if failed else trial.loss, failed))
        self.wall.append(time.perf_counter())

    @hookimpl
    def shadho_should_stop(self, trial: Trial) -> bool:
        return trial.loss is not None and trial.loss <= self.target


def simulate(
    workload: Workload, slots: int, contender: str, seed: int, *, target: float = -np.inf, **limits: Any
) -> tuple[Watch, float]:
    """Run one search with random sampling; return what was noted, and how long it took in virtual seconds."""
    policy, options = POLICIES.get(contender, ('', {}))
    if contender == 'oracle market':
        policy, options = OracleMarket, {'workload': workload}
    elif contender == 'oracle':
        policy, options = OracleTarget, {'workload': workload, 'target': target}
    watch = Watch(workload, target)
    cluster = Simulated(workload.classes(slots), workload.seconds, memory=workload.needed if workload.memory else None)
    result = Shadho(
        'simulated', workload.loss, workload.space, 'random', seed=seed, backend=cluster, storage=None, display=False,
        plugins=[watch], policy=policy, policy_options=options, **limits,
    ).run()  # fmt: skip
    return watch, result.elapsed


# --- tasks: each is one search, named so that it can be handed to another process --------------------


@attrs.frozen
class Hour:
    """Finished and failed trials of an hour: shape (trees, classes); and after a warm-up, if there was one."""

    done: Floats
    failed: Floats
    late: Floats
    since: float


def run_hour(name: str, slots: int, contender: str, seed: int, warm_up: int = 10) -> Hour:
    """Run an hour; `since` is when every tree had `warm_up` finished trials, and `late` what followed."""
    workload = WORKLOADS[name]
    if contender == 'Optuna TPE':
        ended = []
        for own in optuna_trials(workload, slots, seed):
            if own.finished > HOUR:
                break
            ended.append(own)
    else:
        ended = simulate(workload, slots, contender, seed, timeout=HOUR)[0].ended
    shape = workload.means.shape
    done, failed, late = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    since = HOUR
    for own in ended:
        (failed if own.failed else done)[own.tree, own.compute_class] += 1
        if since < HOUR:
            late[own.tree, own.compute_class] += not own.failed
        elif done.sum(axis=1).min() >= warm_up:
            since = own.finished
    return Hour(done, failed, late, since)


def run_target(name: str, slots: int, contender: str, seed: int, targets: Sequence[float]) -> list[tuple[float, int]]:
    """Return for each loss when it was reached (inf: never), and after how many trials."""
    workload = WORKLOADS[name]
    if contender == 'oracle':  # another tree may be the best for another loss
        return [_reached(_until(workload, slots, contender, seed, target), [target])[0] for target in targets]
    return _reached(_until(workload, slots, contender, seed, min(targets)), targets)


def _until(workload: Workload, slots: int, contender: str, seed: int, target: float) -> list[Ended]:
    if contender != 'Optuna TPE':
        return simulate(workload, slots, contender, seed, target=target, max_tasks=MOST)[0].ended
    ended = []
    for own in optuna_trials(workload, slots, seed):
        ended.append(own)
        if own.loss <= target or len(ended) == MOST_OF_OPTUNA:
            break
    return ended


def _reached(ended: Sequence[Ended], targets: Sequence[float]) -> list[tuple[float, int]]:
    losses = np.array([own.loss for own in ended])
    found = []
    for target in targets:
        hits = np.flatnonzero(losses <= target)
        found.append((ended[hits[0]].finished, int(hits[0]) + 1) if len(hits) else (np.inf, len(ended)))
    return found


def run_quota(name: str, slots: int, contender: str, seed: int, quota: int) -> float:
    """Return the makespan of so many trials of every tree."""
    return simulate(WORKLOADS[name], slots, contender, seed, trials_per_tree=quota)[1]


def run_long(name: str, slots: int, contender: str, seconds: float) -> tuple[Floats, Floats]:
    """Return trials per wall second, of a whole search and of each of its tenths, and what finished.

    The first tenth counts from the first result on: nothing was handed out before.
    """
    workload = WORKLOADS[name]
    begun = time.perf_counter()
    watch, _ = simulate(workload, slots, contender, 0, timeout=seconds)
    whole = len(watch.wall) / (time.perf_counter() - begun)
    parts = np.array_split(np.array(watch.wall), 10)
    done = np.zeros(workload.means.shape)
    for own in watch.ended:
        done[own.tree, own.compute_class] += not own.failed
    return np.array([whole, *((len(part) - 1) / (part[-1] - part[0]) for part in parts)]), done


def decision_cost(trees: int, classes: int, slots: int, trials: int) -> float:
    """Return the seconds of suggesting and learning a trial where so many trees are active."""
    rng = np.random.default_rng(0)
    space = {'exclusive': True, **{f'tree {number}': {'x': spaces.uniform(0, 1)} for number in range(trees)}}
    search = Search(space, 'random', seed=0)
    own = [ComputeClass(f'class {number}', slots // classes) for number in range(classes)]
    search.plan(own, 0.0)
    base, factors = rng.lognormal(3, 1, trees), rng.lognormal(0, 0.7, (trees, classes))
    noise, losses = rng.lognormal(0, 0.5, trials + slots).tolist(), rng.random(trials + slots).tolist()
    events: list[tuple[float, int, int, float]] = []
    spent = 0.0

    def start(number: int, now: float) -> None:
        nonlocal spent
        begun = time.perf_counter()
        trial = search.fill(Slot(own[number].name), now)
        spent += time.perf_counter() - begun
        seconds = float(base[trial.tree] * factors[trial.tree, number]) * noise[trial.id]
        heapq.heappush(events, (now + seconds, trial.id, number, seconds))

    for number in range(classes):
        for _ in range(slots // classes):
            start(number, 0.0)
    spent = 0.0
    for _ in range(trials):
        now, trial, number, seconds = heapq.heappop(events)
        result = Result(
            trial, TrialState.DONE, loss=losses[trial], started=now - seconds, finished=now, seconds=seconds
        )
        begun = time.perf_counter()
        search.record(result)
        spent += time.perf_counter() - begun
        start(number, now)
    return spent / trials


# --- figures -----------------------------------------------------------------------------------------


def work(workload: Workload, done: Floats) -> float:
    """Return the seconds that finished trials would have taken on the fastest class."""
    return float(done.sum(axis=1) @ workload.means.min(axis=1))


def bound(workload: Workload, slots: int, quota: int) -> float:
    """Return the least makespan that mean seconds allow: of the linear program, with trials that can be divided."""
    means, sizes = workload.means, np.array(CLUSTERS[slots])
    trees, classes = means.shape
    pairs = np.flatnonzero(np.isfinite(means.ravel()))
    tree, own = np.divmod(pairs, classes)
    enough = np.zeros((trees, len(pairs) + 1))
    enough[tree, np.arange(len(pairs))] = 1.0
    busy = np.zeros((classes, len(pairs) + 1))
    busy[own, np.arange(len(pairs))] = means.ravel()[pairs]
    busy[:, -1] = -sizes
    cost = np.zeros(len(pairs) + 1)
    cost[-1] = 1.0
    solved = linprog(cost, A_ub=busy, b_ub=np.zeros(classes), A_eq=enough, b_eq=np.full(trees, quota))
    return float(solved.fun)


@attrs.frozen
class Ratio:
    """A ratio with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f'{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]'


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Return the ratio of two means over the same seeds, with a bootstrap interval over the seeds."""
    above, below = np.array(above, dtype=float), np.array(below, dtype=float)
    drawn = np.random.default_rng(0).integers(len(above), size=(4000, len(above)))
    ratios = above[drawn].mean(axis=1) / below[drawn].mean(axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Ratio(float(above.mean() / below.mean()), float(low), float(high))


def shares(workload: Workload, done: Floats) -> Mapping[str, float]:
    """Return the share of the trials that each tree has."""
    return dict(zip(workload.trees, (done.sum(axis=1) / done.sum()).tolist()))
