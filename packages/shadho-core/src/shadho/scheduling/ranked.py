"""The rule of the original SHADHO: complex and uncertain trees run on fast classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np

from shadho.forest import Tree
from shadho.records import ClassesChanged, ComputeClass, Event, Trial
from shadho.scheduling.active import ActiveTrees
from shadho.scheduling.complexity import Complexity
from shadho.scheduling.policy import ClassPlan, Policy, PolicyContext
from shadho.scheduling.uncertainty import Uncertainty

__all__ = ['Ranked', 'pair']

_UPDATE = 10
"""Results between two rankings (the original's default)."""

_SHOWN = 16
"""Trees of a class whose shares are shown. By exp(-i/2), all others together get 0.03 % of the picks."""

_ENOUGH = 5
"""Results of each class before measured speeds order the classes instead of hardware. More resist noise. Chosen."""


class Ranked(Policy):
    """Ranks trees by complexity times uncertainty, and assigns them to classes, fastest first.

    This is the rule of the original SHADHO (Kinnison et al. 2018, arXiv:1707.01428). `pair` assigns
    trees to classes. A class picks its tree at place i (from 0) with a probability proportional to
    exp(-i/2). Ranks are updated every 10 results.

    Notes
    -----
    The speed of a class is the speed of its trials relative to trials of the same trees elsewhere.
    Until every class has 5 results, classes are ordered by GPUs, then cores, then memory. Classes
    without slots are left out.
    """

    name = 'ranked'

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self._active = ActiveTrees(context.forest, seed=context.seed)
        self._heuristics = (Complexity(), Uncertainty())
        self._speeds = _Speeds()
        self._ranked: list[Tree] = []
        self._placed: dict[str, list[Tree]] = {}
        self._seen: list[ComputeClass] | None = None
        self._results = 0

    def pick(self, compute_class: str, now: float) -> Tree | None:
        trees = self._placed.get(compute_class, self._ranked)
        if not trees:
            return None
        u = np.random.default_rng((self.seed, self.history.asked)).random()
        # The quantile function of p(i) ∝ exp(-i/2), i < n.
        place = -2 * math.log1p(-u * -math.expm1(-len(trees) / 2))
        return trees[min(int(place), len(trees) - 1)]

    def on(self, event: Event, trial: Trial | None) -> None:
        if isinstance(event, ClassesChanged):
            if self._classes != self._seen:  # each run says which classes there are, mostly the same ones
                self._place()
        elif (measured := self.newly_measured(event, trial)) is not None:
            self._active.add(measured.tree)
            self._speeds.tell(measured)
            self._results += 1
            if self._results % _UPDATE == 0:
                self._place()

    def exclude(self, tree: Tree) -> None:
        self._active.exclude(tree)
        lists = self._ranked, *self._placed.values()
        before = [len(trees) for trees in lists]
        for trees in lists:
            trees[:] = [other for other in trees if other.index != tree.index]
        if any(not trees and count for trees, count in zip(lists, before)):
            self._place()
        else:
            self._show()

    @property
    def _classes(self) -> list[ComputeClass]:
        return [compute_class for compute_class in self.ledger.classes.values() if compute_class.slots]

    def _place(self) -> None:
        self._seen = self._classes
        self._active.grow(self.history.asked, sum(compute_class.slots for compute_class in self._classes))
        trees = self._active.trees
        scores = np.prod([heuristic.scores(trees, self.ledger.evidence) for heuristic in self._heuristics], axis=0)
        self._ranked = [trees[place] for place in np.argsort(-scores, kind='stable').tolist()]
        order = self._speeds.order(self._classes)
        self._placed = {
            compute_class.name: [self._ranked[rank] for rank in ranks]
            for compute_class, ranks in zip(order, pair(len(trees), len(order)))
        }
        self._show()

    def _show(self) -> None:
        self.placement = tuple(
            ClassPlan(compute_class.name, compute_class.slots, 0.0, self._shares(self._placed[compute_class.name]))
            for compute_class in self._classes
            if compute_class.name in self._placed
        )

    def _shares(self, trees: Sequence[Tree]) -> tuple[tuple[int, float], ...]:
        """Return each tree's fraction of a class's time, from its probability and its seconds."""
        first = [tree.index for tree in trees[:_SHOWN]]
        times = {index: math.exp(-place / 2) * self._speeds.seconds(index) for place, index in enumerate(first)}
        total = sum(times.values())
        return tuple(sorted(((index, time / total) for index, time in times.items()), key=lambda share: -share[1]))


def pair(trees: int, classes: int) -> list[list[int]]:
    """Assign ranked trees to ordered classes.

    The longer of the two lists is divided among the shorter as evenly as possible, in order. Each
    group is also paired with a neighbour: the next of the shorter list in its first half, the
    previous one in its second. With more classes than trees, a tree may still be on one class only;
    it then joins the class before it too.

    Returns
    -------
    list of lists of int
        Numbers of the trees of each class, in order. Every tree is on at least two neighbouring
        classes if there are two, and every class has a tree.

    Examples
    --------
    >>> pair(4, 3)
    [[0, 1], [0, 1, 2, 3], [2, 3]]
    """
    if not trees or not classes:
        return [[] for _ in range(classes)]
    longer, shorter = max(trees, classes), min(trees, classes)
    groups: list[list[int]] = [[] for _ in range(shorter)]
    for place in range(longer):
        groups[place * shorter // longer].append(place)
    neighbours = [place + 1 if 2 * place < shorter else place - 1 for place in range(shorter)]
    neighbours = [min(place, shorter - 1) for place in neighbours]
    if trees >= classes:
        placed = [set(group) for group in groups]
        for group, neighbour in zip(groups, neighbours):
            placed[neighbour].update(group)
    else:
        placed = [{tree, neighbours[tree]} for tree, group in enumerate(groups) for _ in group]
        for tree in range(trees):  # rounding may leave a tree on one class, which fails its purpose
            hosts = [place for place in range(classes) if tree in placed[place]]
            if len(hosts) == 1:
                placed[hosts[0] - 1 if hosts[0] else 1].add(tree)
    return [sorted(numbers) for numbers in placed]


@attrs.define
class _Mean:
    value: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += (value - self.value) / self.count


class _Speeds:
    """Slowness of each class: mean log seconds of its trials, relative to the mean of their trees."""

    def __init__(self) -> None:
        self._all = _Mean()
        self._trees: dict[int, _Mean] = {}
        self._classes: dict[str, _Mean] = {}

    def tell(self, trial: Trial) -> None:
        if trial.loss is None or not trial.seconds or trial.seconds <= 0:
            return  # the seconds of a failed trial say nothing about speed
        logarithm = math.log(trial.seconds)
        tree = self._trees.setdefault(trial.tree, _Mean())
        tree.add(logarithm)
        self._all.add(logarithm)
        if tree.count > 1:  # the first trial of a tree equals its mean
            self._classes.setdefault(trial.compute_class, _Mean()).add(logarithm - tree.value)

    def seconds(self, tree: int) -> float:
        """Return the typical seconds of a tree's trials."""
        return math.exp(self._trees.get(tree, self._all).value)

    def order(self, classes: Sequence[ComputeClass]) -> list[ComputeClass]:
        """Return the classes, fastest first."""
        slowness = {each.name: self._classes.get(each.name, _Mean()) for each in classes}
        if all(mean.count >= _ENOUGH for mean in slowness.values()):
            return sorted(classes, key=lambda each: slowness[each.name].value)
        return sorted(classes, key=_power, reverse=True)


def _power(compute_class: ComputeClass) -> tuple[float, float, float]:
    hardware = compute_class.hardware
    return len(hardware.gpus), hardware.cores, hardware.memory
