"""Families of trials whose losses and seconds are known, and the clusters that they run on.

`svm` replays recorded trials; `mix` and `gpu` are modelled: their losses and seconds are formulas.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from shadho import ComputeClass, spaces

Floats = npt.NDArray[np.float64]
Domain = tuple[float, float] | list[int]

RECORDED = Path(__file__).parents[1] / 'data' / 'svm_mnist.csv'
VALIDATED = 1500
"""Digits that each recorded model read; losses are the share that it misread."""

SCALE = 120
"""Recorded seconds are made so many times longer, as if there were more digits to learn from."""

CLUSTERS = {19: (4, 5, 10), 95: (20, 25, 50), 150: (30, 40, 80), 10_000: (2_000, 3_000, 5_000)}
"""Slots of the three classes, by how many there are in all."""


@attrs.frozen
class Log:
    """Powers of ten between two exponents, evenly in the exponent."""

    low: float
    high: float


@attrs.frozen(eq=False)
class Workload:
    """What there is to try, where it may run, and what comes of it.

    Attributes
    ----------
    name : str
    trees : mapping of str to mapping
        Hyperparameters of each tree: a `Log`, a pair of bounds, or a list of choices.
    evaluate : callable
        Of the name of a tree and its hyperparameters: the loss, and the seconds on the fastest class.
    factors : mapping of str to mapping
        For each class, by which factor the trials of each tree take longer there.
    hardware : sequence of mapping
        Of one worker of each class.
    memory : mapping of str to int
        MiB that each tree needs; empty when that is no matter.
    targets : mapping of int to sequence of float, optional
        Losses to reach, an easy one first, by the number of slots; by default such that first come,
        first served needs 1, 15 and 40 trials per slot.
    """

    name: str
    trees: Mapping[str, Mapping[str, Any]]
    evaluate: Callable[[str, Mapping[str, Any]], tuple[float, float]]
    factors: Mapping[str, Mapping[str, float]]
    hardware: Sequence[Mapping[str, Any]]
    memory: Mapping[str, int] = {}
    targets: Mapping[int, Sequence[float]] = {}

    @property
    def space(self) -> dict[str, Any]:
        """The search space: one tree for each name."""
        return {'exclusive': True, **{tree: domains(own) for tree, own in self.trees.items()}}

    def classes(self, slots: int) -> list[ComputeClass]:
        """Return the compute classes of a cluster."""
        return [
            ComputeClass(name, share, hardware)
            for name, share, hardware in zip(self.factors, CLUSTERS[slots], self.hardware)
        ]

    def loss(self, params: Mapping[str, Any]) -> float:
        """Return the loss of a trial: the objective."""
        [(tree, own)] = params.items()
        return self.evaluate(tree, own)[0]

    def seconds(self, params: Mapping[str, Any], compute_class: ComputeClass) -> float:
        """Return how long a trial takes in a class."""
        [(tree, own)] = params.items()
        return self.evaluate(tree, own)[1] * self.factors[compute_class.name][tree]

    def needed(self, params: Mapping[str, Any]) -> float:
        """Return the MiB that a trial needs."""
        [tree] = params
        return self.memory[tree]

    @property
    def fits(self) -> npt.NDArray[np.bool_]:
        """Whether the trials of a tree fit in the memory of a class: shape (trees, classes)."""
        return np.array(
            [
                [self.memory.get(tree, 0) <= own.get('memory', np.inf) for own in self.hardware]
                for tree in self.trees
            ]
        )  # fmt: skip

    @property
    def means(self) -> Floats:
        """Mean seconds of a trial, inf where it does not fit: shape (trees, classes)."""
        base = np.array([seconds.mean() for _, seconds in _sampled(self.name).values()])
        factors = np.array([[own[tree] for own in self.factors.values()] for tree in self.trees])
        return np.where(self.fits, base[:, None] * factors, np.inf)

    def chances(self, target: float) -> Floats:
        """Return the probability that a random trial of each tree reaches a loss."""
        return np.array([(losses <= target).mean() for losses, _ in _sampled(self.name).values()])

    def targets_for(self, slots: int) -> Sequence[float]:
        """Return losses to reach on a cluster, an easy one first."""
        if slots in self.targets:
            return self.targets[slots]
        losses = np.sort(np.concatenate([losses for losses, _ in _sampled(self.name).values()]))
        return [float(losses[int(len(losses) / (slots * waves))]) for waves in (1, 15, 40)]


def domains(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the domains of a tree as those of a search space."""

    def domain(bounds: Any) -> Any:
        if isinstance(bounds, Log):
            return spaces.log10_uniform(bounds.low, bounds.high)
        return bounds if isinstance(bounds, list) else spaces.uniform(*bounds)

    return {name: domain(bounds) for name, bounds in own.items()}


@cache
def _sampled(workload: str) -> dict[str, tuple[Floats, Floats]]:
    """Return losses and seconds of random trials of each tree."""
    own, rng = WORKLOADS[workload], random.Random(0)

    def draw(bounds: Any) -> Any:
        if isinstance(bounds, Log):
            return 10 ** rng.uniform(bounds.low, bounds.high)
        return rng.choice(bounds) if isinstance(bounds, list) else rng.uniform(*bounds)

    samples = {}
    for tree, domains in own.trees.items():
        drawn = [own.evaluate(tree, {name: draw(bounds) for name, bounds in domains.items()}) for _ in range(20_000)]
        losses, seconds = np.array(drawn).T
        samples[tree] = losses, seconds
    return samples


# --- svm: recorded -------------------------------------------------------------------------------

C, GAMMA, COEF0, DEGREE = Log(-3, 3), Log(-4, 0), (0, 1), [2, 3, 4, 5, 6, 7]

KERNELS = {
    'linear': {'C': C},
    'rbf': {'C': C, 'gamma': GAMMA},
    'sigmoid': {'C': C, 'gamma': GAMMA, 'coef0': COEF0},
    'poly': {'C': C, 'gamma': GAMMA, 'coef0': COEF0, 'degree': DEGREE},
}
"""The space of ``examples/svm``."""


def _place(kernel: str, params: Mapping[str, Any]) -> tuple[float, ...]:
    """Return where a setting lies in the unit cube of its kernel."""

    def coordinate(bounds: Any, value: float) -> float:
        if isinstance(bounds, Log):
            return (math.log10(value) - bounds.low) / (bounds.high - bounds.low)
        if isinstance(bounds, list):
            return (bounds.index(value) + 0.5) / len(bounds)
        low, high = bounds
        return (value - low) / (high - low)

    return tuple(coordinate(bounds, params[name]) for name, bounds in KERNELS[kernel].items())


@cache
def _recorded(kernel: str) -> tuple[Any, list[float], list[float]]:
    """Return a finder of the nearest recorded setting of a kernel, and the losses and seconds of all."""
    with open(RECORDED, newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['kernel'] == kernel]
    for row in rows:
        for name, bounds in KERNELS[kernel].items():
            row[name] = int(row[name]) if isinstance(bounds, list) else float(row[name])
    losses = [int(row['wrong']) / VALIDATED for row in rows]
    return cKDTree([_place(kernel, row) for row in rows]), losses, [float(row['seconds']) * SCALE for row in rows]


@lru_cache(maxsize=50_000)
def _nearest(kernel: str, place: tuple[float, ...]) -> tuple[float, float]:
    finder, losses, seconds = _recorded(kernel)
    row = finder.query(place)[1]
    return losses[row], seconds[row]


def recorded_svm(tree: str, params: Mapping[str, Any]) -> tuple[float, float]:
    """Return what the nearest recorded setting of the kernel gave."""
    return _nearest(tree, _place(tree, params))


# --- mix and gpu: modelled -----------------------------------------------------------------------

SIZED = {'size': (0, 1), 'rate': Log(-4, 0)}
"""Hyperparameters of the modelled trees: trials with a larger size take longer."""


def modelled(trees: Mapping[str, tuple[float, float]]) -> Callable[[str, Mapping[str, Any]], tuple[float, float]]:
    """Return a model of trees with given mean seconds and best possible losses.

    Seconds grow eightfold with the size; the loss is a bowl around the best size and rate.
    """

    def evaluate(tree: str, params: Mapping[str, Any]) -> tuple[float, float]:
        seconds, least = trees[tree]
        size, rate = params['size'], math.log10(params['rate']) / 4 + 1
        loss = least + 0.4 * (size - 0.7) ** 2 + 1.0 * (rate - 0.4) ** 2
        return loss, seconds * 8**size * math.log(8) / 7

    return evaluate


def _uniform(trees: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return classes that are slower by the same factor for all trees."""
    return {name: dict.fromkeys(trees, factor) for name, factor in (('16-core', 1.0), ('8-core', 2.0), ('4-core', 3.0))}


CORES = ({'cores': 16}, {'cores': 8}, {'cores': 4})

TARGETS = {
    slots: [(wrong + 0.5) / VALIDATED for wrong in targets]
    for slots, targets in {19: (135, 99, 98), 95: (105, 98, 96), 150: (102, 98, 96)}.items()
}
"""Of `svm`: so many digits may be misread."""

AFFINITY = {
    '16-core': {'linear': 1.0, 'rbf': 1.0, 'sigmoid': 1.0, 'poly': 1.0},
    '8-core': {'linear': 1.2, 'rbf': 4.0, 'sigmoid': 4.0, 'poly': 1.2},
    '4-core': {'linear': 1.5, 'rbf': 12.0, 'sigmoid': 12.0, 'poly': 1.5},
}

MIX = {'size 27': (108.0, 0.10), 'size 9': (36.0, 0.11), 'size 3': (12.0, 0.14), 'size 1': (4.0, 0.20)}
"""Mean seconds on the fastest class, and the least loss."""

NETWORKS = {
    'boosting': (60.0, 0.14),
    'perceptron': (40.0, 0.20),
    'small CNN': (90.0, 0.12),
    'large CNN': (120.0, 0.10),
    'transformer': (160.0, 0.105),
}

ON_GPUS = {
    'A100': {'boosting': 1.0, 'perceptron': 1.0, 'small CNN': 1.0, 'large CNN': 1.0, 'transformer': 1.0},
    '4 GB card': {'boosting': 1.0, 'perceptron': 1.5, 'small CNN': 3.0, 'large CNN': 4.0, 'transformer': 4.0},
    'CPU node': {'boosting': 1.0, 'perceptron': 2.0, 'small CNN': 10.0, 'large CNN': 15.0, 'transformer': 20.0},
}

WORKLOADS = {
    own.name: own
    for own in (
        Workload('svm, uniform', KERNELS, recorded_svm, _uniform(KERNELS), CORES, targets=TARGETS),
        Workload('svm, affinity', KERNELS, recorded_svm, AFFINITY, CORES, targets=TARGETS),
        Workload('mix (modelled)', dict.fromkeys(MIX, SIZED), modelled(MIX), _uniform(MIX), CORES),
        Workload(
            'gpu (modelled)',
            dict.fromkeys(NETWORKS, SIZED),
            modelled(NETWORKS),
            ON_GPUS,
            (
                {'cores': 16, 'memory': 40_960, 'gpus': ['A100']},
                {'cores': 8, 'memory': 4_096, 'gpus': ['K20']},
                {'cores': 16, 'memory': 65_536},
            ),
            memory={
                'boosting': 2_000,
                'perceptron': 1_000,
                'small CNN': 3_000,
                'large CNN': 8_000,
                'transformer': 16_000,
            },
        ),
    )
}
