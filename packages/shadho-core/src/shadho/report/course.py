"""Finished trials as columns, and their colours: what every picture of a search is drawn from."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property

import attrs
import numpy as np
import numpy.typing as npt

from shadho.cluster import Cluster
from shadho.forest import Path
from shadho.forest.tree import show_path
from shadho.records import ComputeClass, Trial, TrialState
from shadho.report.log import EndedAttempt, read_log
from shadho.report.parameters import MOST_DECADES, Parameter, read_parameters
from shadho.result import SearchResult
from shadho.words import counted, format_loss, shorten

__all__ = ['COLOURS', 'FAINT', 'GRID', 'INK', 'OTHER', 'Course', 'Group', 'unit_of_time']

# Nine colours of Okabe and Ito and of Paul Tol, so ordered that the first ones differ most, also
# for readers who see two colours only; and a grey for all other trees.
COLOURS = ('#0072b2', '#e69f00', '#ee6677', '#66ccee', '#225522', '#ddcc77', '#332288', '#cc79a7', '#228833')
OTHER = '#bbbbbb'
INK, FAINT, GRID = '#333333', '#777777', '#e6e6e6'

_MOST_TOLD_APART = 20
"""The best trees, which labels tell apart where there is no room for all that differs."""

_ENOUGH = 20
"""Fewest trials at a rung for figures to compare their losses, instead of those at the rung below. Fewer show too little of the range of
each parameter; more would mostly be losses of the first rung. Chosen."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@attrs.frozen
class Group:
    """Trials that are drawn in one colour: those of a tree, or of all trees that have no colour of their own."""

    label: str
    colour: str
    rows: Mask


@attrs.frozen(eq=False, slots=False)
class Course:
    """Finished trials of a search as columns, in the order of completion.

    Attributes
    ----------
    result : SearchResult
    trials : list of Trial
    ids : array of int, shape (trials,)
    trees : array of object, shape (trials,)
        Numbers of trees may be greater than any fixed-width integer.
    classes : array of object, shape (trials,)
        Names of compute classes.
    started, finished : array of float, shape (trials,)
        Seconds of active search.
    losses : array of float, shape (trials,)
        In units of `unit`; nan where the trial failed.
    failed : array of bool, shape (trials,)
    unit : float
        Of the losses: 1, unless most are so large or so small that no picture can show them.
    attempts : list of EndedAttempt
        Those that did not end their trials: lost, cancelled, or paused before the trial went on.
    level : int
        The step after which all losses were measured; 0 where each is the last one of its trial.
    whole : Course or None
        What these trials were taken from, if they are not all (see `comparable`).
    """

    result: SearchResult
    trials: list[Trial]
    ids: npt.NDArray[np.int64]
    trees: npt.NDArray[np.object_]
    classes: npt.NDArray[np.object_]
    started: Floats
    finished: Floats
    losses: Floats
    failed: Mask
    unit: float = 1.0
    attempts: list[EndedAttempt] = attrs.Factory(list)
    level: int = 0
    whole: Course | None = None

    @classmethod
    def of(cls, result: SearchResult | Course) -> Course:
        """Read the trials of a search once; what has been read comes back as it is."""
        if isinstance(result, Course):
            return result
        trials, attempts = read_log(result)
        losses, unit = _in_range(np.array([np.nan if trial.loss is None else trial.loss for trial in trials], float))
        return cls(
            result,
            trials,
            np.array([trial.id for trial in trials], int),
            np.array([trial.tree for trial in trials], object),
            np.array([trial.compute_class for trial in trials], object),
            np.array([trial.started for trial in trials], float),
            np.array([trial.finished for trial in trials], float),
            losses,
            np.array([trial.state is TrialState.FAILED for trial in trials], bool),
            unit,
            attempts,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """The steps at which losses were compared; none where the fidelity has no rungs."""
        return tuple(self.result.storage.metadata().get('rungs') or ())

    @cached_property
    def comparable(self) -> Course:
        """These trials with losses that can be compared: those at the last rung that twenty have reached.

        Trials that have not reached it are left out. Without rungs, or at the first rung with fewer, it is this course.
        """
        level, losses = 0, {}
        for step in self.rungs if self.whole is None else ():
            found = self._losses_at(step)
            if level and len(found) < _ENOUGH:
                break
            level, losses = step, found
        if not losses:
            return self
        kept = [row for row in range(len(self)) if row in losses or self.failed[row]]
        trials = [
            attrs.evolve(self.trials[row], loss=losses[row], state=TrialState.PAUSED, step=level)
            if row in losses
            else self.trials[row]
            for row in kept
        ]
        values, unit = _in_range(np.array([losses.get(row, np.nan) for row in kept], float))
        columns = {name: getattr(self, name)[kept] for name in ('ids', 'trees', 'classes', 'started', 'finished')}
        failed = np.array([row not in losses for row in kept], bool)
        return attrs.evolve(
            self, trials=trials, losses=values, failed=failed, unit=unit, level=level, whole=self, **columns
        )

    def _losses_at(self, step: int) -> dict[int, float]:
        """Return the losses at a step by row; those of trials that ended before it of their own accord are their last ones."""
        found = {}
        for row, trial in enumerate(self.trials):
            steps, losses = self.curves.get(row, (np.empty(0), np.empty(0)))
            place = int(np.searchsorted(steps, step))
            if place < len(steps):
                found[row] = float(losses[place]) * self.unit
            elif trial.state is TrialState.DONE and trial.loss is not None:
                found[row] = trial.loss
        return found

    @property
    def caption(self) -> str:
        """Which losses of which trials are compared; nothing where it is the last loss of every trial."""
        if self.whole is None:
            return ''
        count, name = len(self) - int(self.failed.sum()), self.result.loss_name
        return f'The {name} of each trial after step {self.level:,}, which {count:,} of {len(self.whole):,} trials have reached.'

    @cached_property
    def seconds(self) -> Floats:
        """How long the last attempt at each trial took; nan where that is not known."""
        earlier: defaultdict[int, float] = defaultdict(float)
        for own in self.attempts:
            if own.state is TrialState.PAUSED:
                earlier[own.trial] += own.seconds
        taken = (np.nan if trial.seconds is None else trial.seconds - earlier[trial.id] for trial in self.trials)
        return np.array([*taken], float)

    def seconds_in(self, compute_class: str) -> list[float]:
        """Return the seconds of the attempts that ended in a class in order: those that ended their trials, and those that were paused."""
        last = self.seconds[(self.classes == compute_class) & ~np.isnan(self.seconds)].tolist()
        paused = (own for own in self.attempts if own.state is TrialState.PAUSED)
        return [*last, *(own.seconds for own in paused if own.compute_class == compute_class)]

    @property
    def sign(self) -> int:
        """1 when the loss is minimised, -1 when it is maximised."""
        return self.result.goal.sign

    @cached_property
    def is_finite(self) -> Mask:
        """Which trials have a loss that can be drawn."""
        return np.isfinite(self.losses)

    @cached_property
    def has_number(self) -> Mask:
        """Which trials have a finite loss, also one that cannot be drawn."""
        return np.array([trial.loss is not None and np.isfinite(trial.loss) for trial in self.trials], bool)

    def bounded_places(self) -> Floats:
        """Return `places`, those that cannot be drawn at the end of the axis that they lie beyond."""
        bounded: Floats = np.clip(self.losses, -(10.0**MOST_DECADES), 10.0**MOST_DECADES)
        if not self.is_log:
            return bounded
        least = self.losses[self.is_finite].min()
        return np.asarray(np.log10(np.maximum(bounded, least)))

    @cached_property
    def is_furthest(self) -> Mask:
        """Which trials were run as far as any with a loss was: those that are done, if there are any."""
        reach = np.array([trial.reach for trial in self.trials], float)
        known = reach[self.is_finite]
        return np.asarray(reach == known.max() if len(known) else np.ones(len(reach), bool))

    @property
    def partial(self) -> dict[TrialState, int]:
        """How many trials were stopped, or are paused; only those states of which there are any."""
        states = Counter(trial.state for trial in self.trials)
        return {state: states[state] for state in (TrialState.STOPPED, TrialState.PAUSED) if states[state]}

    @property
    def is_infinite(self) -> Mask:
        """Which trials are not failed, with a loss that cannot be drawn: infinite, or beyond 10^100 times the others."""
        return ~self.failed & ~self.is_finite

    @cached_property
    def decades(self) -> float:
        """Powers of ten that the losses span; 0 unless all are positive."""
        losses = self.losses[self.is_finite]
        return float(np.ptp(np.log10(losses))) if len(losses) and losses.min() > 0 else 0.0

    @property
    def is_log(self) -> bool:
        """Whether losses are drawn on a logarithmic axis, as when all are positive and span more than two decades."""
        return self.decades > 2

    @property
    def loss_name(self) -> str:
        """What to write beside the axis of the loss, which is called as `SearchResult.loss_name` says."""
        unit = '' if self.unit == 1 else f' / {self.unit:g}'
        return f'{self.measured}{unit}' + (' (maximised)' if self.sign < 0 else '')

    @property
    def measured(self) -> str:
        """What the losses are: the name of the loss, and after which step they were measured."""
        return self.result.loss_name + (f' after step {self.level:,}' if self.level else '')

    @property
    def places(self) -> Floats:
        """Losses where they stand on their axis: logarithms, when it is logarithmic."""
        return np.log10(self.losses) if self.is_log else self.losses

    @cached_property
    def curves(self) -> dict[int, tuple[Floats, Floats]]:
        """The finite losses that each trial has reported: steps and losses, in units of `unit`, by the row of the trial."""
        rows = {number: row for row, number in enumerate(self.ids.tolist())}
        goal, found = self.result.goal, {}
        for trial, reports in self.result.reports().items():
            losses = goal.sign * np.array([goal.reported(report.results) for report in reports]) / self.unit
            finite = np.isfinite(losses)
            if trial in rows and finite.any():
                found[rows[trial]] = np.array([report.step for report in reports], float)[finite], losses[finite]
        return found

    @cached_property
    def parameters(self) -> list[Parameter]:
        """All parameters that a trial had, in the order of the space."""
        return read_parameters(self.result.forest, self.trials)

    @cached_property
    def compute_classes(self) -> dict[str, ComputeClass]:
        """The compute classes of the latest run, as they were last, the largest first."""
        uses = self.result.classes
        known = [use.compute_class for use in uses] or Cluster.of(self.result.storage.metadata()).classes
        return {own.name: own for own in sorted(known, key=lambda own: (*_size(own), own.name))}

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the compute classes, the largest first; those of earlier runs come last."""
        seen = {str(name) for name in self.classes} | {own.compute_class for own in self.attempts}
        return [*self.compute_classes, *sorted(seen - set(self.compute_classes))]

    def best_so_far(self) -> tuple[Mask, Floats]:
        """Return which trials `is_furthest` have a finite loss, and the best loss up to each of them."""
        better = np.maximum if self.sign < 0 else np.minimum
        drawn = self.is_finite & self.is_furthest
        return drawn, better.accumulate(self.losses[drawn]) if drawn.any() else np.empty(0)

    def groups(self) -> Iterator[Group]:
        """Yield each tree that has a colour, then all others together; only finite losses count.

        Up to nine trees, those with the best losses, have a colour.
        """
        return iter(self._groups)

    @cached_property
    def _groups(self) -> list[Group]:
        if self.whole is None:
            return list(self._grouped())
        whole, drawn = self.whole, self.is_finite  # in the same colours
        found = [
            attrs.evolve(own, rows=drawn & np.isin(self.trees, np.unique(whole.trees[own.rows])))
            for own in whole.groups()
        ]
        return [own for own in found if own.rows.any()]

    def _grouped(self) -> Iterator[Group]:
        drawn = self.is_finite
        best = self.best_of_trees()
        shown = sorted(sorted(best, key=lambda tree: best[tree])[: len(COLOURS)])
        for tree, colour in zip(shown, COLOURS):
            label = 'trials' if self.result.forest.count == 1 else self.label(tree)
            yield Group(label, colour, drawn & (self.trees == tree))
        if len(best) > len(shown):
            others = drawn & ~np.isin(self.trees, np.array(shown, object))
            yield Group(counted(len(best) - len(shown), 'other tree'), OTHER, others)

    def all_groups(self) -> list[Group]:
        """Return `groups`, then the trials that are done or have failed without a finite loss."""
        others = [
            Group(f'infinite {self.result.loss_name}', OTHER, self.is_infinite),
            Group('failed', INK, self.failed),
        ]
        return [*self.groups(), *(group for group in others if group.rows.any())]

    def best_of_trees(self) -> dict[int, float]:
        """Return the best finite loss of each tree that has one, in the direction that is minimised.

        It is infinite for trees of which no trial `is_furthest`.
        """
        best: dict[int, float] = {}
        drawn = self.is_finite & self.is_furthest
        for tree, loss in zip(self.trees[drawn], self.sign * self.losses[drawn]):
            best[tree] = min(loss, best.get(tree, np.inf))
        for tree in self.trees[self.is_finite]:
            best.setdefault(tree, np.inf)
        return best

    @cached_property
    def _differing(self) -> list[Path]:
        """The decisions on which the trees of the trials differ, in the order of the space."""
        found = [self.result.forest.tree(tree).decisions for tree in set(self.trees)]
        paths = dict.fromkeys(path for decisions in found for path in decisions)
        return [path for path in paths if len({decisions.get(path) for decisions in found}) > 1]

    @cached_property
    def _telling(self) -> list[Path]:
        """Few decisions that tell the best trees apart, as all of them are too many to read: chosen one by one."""
        best = self.best_of_trees()
        trees = sorted(best, key=lambda tree: best[tree])[:_MOST_TOLD_APART]
        found = [self.result.forest.tree(tree).decisions for tree in trees]
        groups: list[tuple[str | None, ...]] = [()] * len(found)
        chosen: list[Path] = []

        def refined(path: Path) -> list[tuple[str | None, ...]]:
            return [(*group, decisions.get(path)) for group, decisions in zip(groups, found)]

        while len(set(groups)) < len(found):
            path = max(self._differing, key=lambda path: len(set(refined(path))))
            groups = refined(path)
            chosen.append(path)
        return [path for path in self._differing if path in chosen]

    def label(self, tree: int, limit: int = 36) -> str:
        """Return what distinguishes a tree from the others that were tried, in at most so many characters."""
        if self.whole is not None:
            return self.whole.label(tree, limit)
        own = self.result.forest.tree(tree)
        label = _told(own.decisions, self._differing) or own.label
        if len(label) > limit:
            label = _told(own.decisions, self._telling, brief=True) or label
        if label.startswith('_'):  # matplotlib takes such labels for its own, and shows none
            label = ' ' + label
        return shorten(label, limit)

    def title(self) -> str:
        """Say which search this is, how many trials it had and the best loss."""
        result = self.result
        trials = counted(len(result), 'trial')
        if result.best is None:
            return f'{result.exp_key}: {trials}, none done'
        return f'{result.exp_key}: {trials}, best {result.loss_name} {format_loss(result.best.loss)}'


def _told(decisions: dict[Path, str], paths: list[Path], brief: bool = False) -> str:
    """Write some decisions of a tree for people; in brief, without what the names of all have in common."""
    names = {path: show_path(path) if path else '' for path in paths}
    common = _common_beginning(list(names.values())) if brief and len(names) > 1 else ''
    known = ((names[path].removeprefix(common), decisions[path]) for path in paths if path in decisions)
    return (' ' if brief else ', ').join(f'{name}={decision}' if name else decision for name, decision in known)


def _common_beginning(names: list[str]) -> str:
    """Return what all names begin with, without the digits at its end, which are part of a number."""
    pairs = zip(min(names), max(names))
    return ''.join(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)).rstrip('0123456789')


def _size(compute_class: ComputeClass) -> tuple[float, ...]:
    """Return a key by which the largest class comes first: slots times what a trial asks for, GPUs before all else."""
    asked = compute_class.resources
    amounts = (asked.get('gpus', 0), asked.get('cores', 1), asked.get('memory', 0))
    return tuple(-compute_class.slots * float(amount) for amount in amounts)


def _in_range(losses: Floats) -> tuple[Floats, float]:
    """Return losses in a unit in which they can be drawn, and the unit; those that cannot be are infinite.

    Squares, margins and ticks of what is left are far from the ends of a float.
    """
    sizes = np.abs(losses[np.isfinite(losses) & (losses != 0)])
    middle = float(np.median(np.log10(sizes))) if len(sizes) else 0.0
    unit = 1.0 if abs(middle) <= MOST_DECADES else 10.0 ** max(round(middle), -307)
    with np.errstate(over='ignore'):
        scaled = losses / unit
    scaled[np.abs(scaled) > 10.0**MOST_DECADES] *= np.inf
    scaled[np.abs(scaled) < 10.0 ** (-2 * MOST_DECADES)] = 0.0
    return scaled, unit


def unit_of_time(seconds: float) -> tuple[str, float]:
    """Return the unit of time in which so many seconds are easy to read, and its length in seconds.

    Examples
    --------
    >>> unit_of_time(7300)
    ('hours', 3600.0)
    """
    for unit, length in (('days', 86_400.0), ('hours', 3_600.0), ('minutes', 60.0)):
        if seconds > 2 * length:
            return unit, length
    return 'seconds', 1.0
