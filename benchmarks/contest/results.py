"""What searches came to: regrets, normalised by random search's, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from .coco import COCO
from .contenders import BASELINE, CONTENDERS
from .discrete import DISCRETE
from .hard import HARD
from .held_out import HELD_OUT
from .models import MODELS
from .problems import PROBLEMS

ALL = {**PROBLEMS, **MODELS, **HELD_OUT, **DISCRETE, **HARD, **COCO}
"""Every problem by its name."""

LEAST = 1e-3
"""Normalised regrets below it count as it."""

TRACE = np.finfo(float).tiny

RESAMPLES = 2000
"""Of the bootstrap."""

Floats = npt.NDArray[np.float64]


@attrs.frozen
class Task:
    """One search."""

    contender: str
    problem: str
    seed: int
    pending: int
    trials: int


@attrs.frozen
class Run:
    """What came of it: the best loss after each trial, and milliseconds of ask and tell for each."""

    task: Task
    best: list[float]
    ms: float
    error: str = ''


@attrs.frozen
class Ratio:
    """A figure with its bootstrap interval of 95 %.

    Attributes
    ----------
    logs : array
        Logarithms: of the figure, then of those of all resamples.
    """

    logs: Floats

    @property
    def value(self) -> float:
        return float(np.exp(self.logs[0]))

    @property
    def interval(self) -> tuple[float, float]:
        low, high = np.exp(np.quantile(self.logs[1:], (0.025, 0.975)))
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval
        return f'{self.value:.3f}' + ('' if math.isnan(low) else f' [{low:.3f}, {high:.3f}]')


def mean(ratios: Sequence[Ratio | None]) -> Ratio | None:
    """Return the geometric mean; None when one is not known."""
    logs = [own.logs for own in ratios if own is not None]
    return Ratio(np.mean(logs, axis=0)) if logs and len(logs) == len(ratios) else None


class Results:
    """What all runs together say.

    Attributes
    ----------
    contenders, problems : list of str
        Those that took part.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.contenders = [name for name in CONTENDERS if any(run.task.contender == name for run in runs)]
        self.problems = [name for name in ALL if any(run.task.problem == name for run in runs)]
        self.modes = sorted({run.task.pending for run in runs if run.task.contender != BASELINE})
        self.trials = runs[0].task.trials
        self.errors = {(run.task.contender, run.task.problem, run.error) for run in runs if run.error}
        self._best: dict[tuple[str, str, int], list[list[float]]] = {}
        self._ms: dict[tuple[str, int], list[float]] = {}
        for run in sorted(runs, key=lambda run: run.task.seed):
            self._best.setdefault((run.task.contender, run.task.problem, run.task.pending), []).append(run.best)
            self._ms.setdefault((run.task.contender, run.task.pending), []).append(run.ms)
        self._least = {name: self._least_of(name) for name in self.problems}
        self._medians: dict[tuple[str, str, int], Floats | None] = {}

    def _least_of(self, problem: str) -> float:
        found = [best[-1] for (_, own, _), runs in self._best.items() if own == problem for best in runs if best]
        return min(ALL[problem].best, *found)

    def regrets(self, contender: str, problem: str, pending: int) -> Floats | None:
        """Return regrets after each trial of each seed: shape (seeds, trials); None when there are none."""
        pending = 1 if contender == BASELINE else pending
        best = self._best.get((contender, problem, pending))
        return None if best is None or not all(best) else np.array(best) - self._least[problem]

    def ratio(self, contender: str, problem: str, pending: int) -> Ratio | None:
        """Return the normalised regret."""
        own, baseline = (self._median(name, problem, pending) for name in (contender, BASELINE))
        if own is None or baseline is None:
            return None
        # Where random search always finds the least, so does the other: a trace of regret makes that a ratio of 1.
        return Ratio(np.log(np.clip((own + TRACE) / (baseline + TRACE), LEAST, 1 / LEAST)))

    def _median(self, contender: str, problem: str, pending: int) -> Floats | None:
        """Return the median of regrets, and those of resamples of the seeds; the same ones whatever it is compared with."""
        key = contender, problem, pending
        if key not in self._medians:
            regrets = self.regrets(*key)
            self._medians[key] = None if regrets is None else _medians(regrets[:, -1], len(self._medians))
        return self._medians[key]

    def overall(
        self, contender: str, pending: int, kinds: Collection[str] = (), problems: Collection[str] = ()
    ) -> Ratio | None:
        """Return the geometric mean over problems: some, those of some kinds, or all."""
        names = problems or [name for name in self.problems if not kinds or ALL[name].kind in kinds]
        return mean([self.ratio(contender, name, pending) for name in names])

    def against(
        self, own: str, other: str, pending: int, kinds: Collection[str] = (), problems: Collection[str] = ()
    ) -> Ratio | None:
        """Return a ratio of geometric means; None when one is not known."""
        one, two = (self.overall(name, pending, kinds, problems) for name in (own, other))
        return Ratio(one.logs - two.logs) if one and two else None

    def ms(self, contender: str, pending: int) -> float:
        """Return the mean time of ask and tell."""
        return float(np.mean(self._ms.get((contender, pending), [math.nan])))

    def seeds(self, contender: str, pending: int) -> int:
        """Return how many seeds a contender had."""
        found = [len(runs) for (own, _, mode), runs in self._best.items() if own == contender and mode == pending]
        return max(found, default=0)

    def ranked(self, pending: int) -> list[str]:
        """Return the contenders of a mode, the best first."""
        of_mode = [name for name in self.contenders if name != BASELINE and self.seeds(name, pending)]
        return sorted(of_mode, key=lambda name: own.value if (own := self.overall(name, pending)) else math.inf)


def _medians(regrets: Floats, seed: int) -> Floats:
    """Return the median, then those of all resamples: shape (1 + resamples,); of one seed nothing is known but itself."""
    if len(regrets) == 1:
        return np.append(regrets, np.full(RESAMPLES, np.nan))
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(regrets), size=(RESAMPLES, len(regrets)))
    return np.concatenate([[np.median(regrets)], np.median(regrets[chosen], axis=1)])
