"""What searches came to: regrets, normalised by random search's, with bootstrap intervals."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Collection, Iterable, Sequence

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

KINDS = list(dict.fromkeys(problem.kind for problem in ALL.values()))

REQUIRES = {'models': ('sklearn',), 'bbob': ('cocoex',), 'mixint': ('cocoex',)}
"""Modules that problems of some kinds need."""

CHECKPOINTS = 20
"""How many times within a search its best loss is kept, evenly spaced, the last time at the end."""

LEAST = 1e-3
"""Normalised regrets below it count as it."""

TRACE = np.finfo(float).tiny

RESAMPLES = 2000
"""Of the bootstrap."""

Floats = npt.NDArray[np.float64]


@attrs.frozen
class Mode:
    """How searches are run: how many trials are pending, and how many there are in all."""

    pending: int
    trials: int

    def __str__(self) -> str:
        if self.trials != 100:
            return f'{self.trials:,} trials'
        return 'one after the other' if self.pending == 1 else f'{self.pending} pending'

    def of(self, contender: str) -> Mode:
        """Return the mode in which a contender is run: nothing that is pending matters to random search."""
        return Mode(1, self.trials) if contender == BASELINE else self


MODES = {'1': Mode(1, 100), '8': Mode(8, 100), '4': Mode(4, 100), '16': Mode(16, 100), 'many': Mode(1, 1000)}
"""By the names of the option ``--modes``."""

NAMED = (
    'Hartmann6', 'Mixed', 'Two levels', 'SVM digits', 'Choices625', 'Deep integers', 'Diverging30', 'Wide rate', 'f8 5d',
    'mixint15 5d',
)  # fmt: skip
"""Problems for slow libraries and for further modes: of ten kinds one each."""

MANY = ('f6 5d', 'f10 5d', 'f15 5d', 'f22 5d')
"""Problems for searches of many trials."""

ROWS = {'1': tuple(ALL), '8': tuple(ALL), '4': NAMED, '16': NAMED, 'many': MANY}
"""Problems of each mode."""


@attrs.frozen
class Task:
    """One search."""

    contender: str
    problem: str
    seed: int
    mode: Mode


@attrs.frozen
class Run:
    """What came of it: the best loss at each checkpoint, and milliseconds of ask and tell for each trial."""

    task: Task
    best: list[float]
    ms: float
    error: str = ''


@attrs.frozen
class Row:
    """What the searches of one contender on one problem came to.

    Attributes
    ----------
    final : list of float
        The best loss of each seed, 0 and on.
    curve : list of float
        Medians over the seeds of the best loss at each checkpoint.
    ms : float
        Mean milliseconds of ask and tell for each trial.
    versions : str
        Of the libraries that had a part in it.
    """

    contender: str
    problem: str
    mode: Mode
    final: list[float]
    curve: list[float]
    ms: float
    versions: str = ''

    @property
    def key(self) -> tuple[str, str, Mode]:
        return self.contender, self.problem, self.mode


def versions(contender: str, problem: str) -> str:
    """Return the versions of the libraries that a contender and a problem need."""
    modules = dict.fromkeys(('numpy', *CONTENDERS[contender].requires, *REQUIRES.get(ALL[problem].kind, ())))
    names = importlib.metadata.packages_distributions()
    return ', '.join(f'{names[own][0]} {importlib.metadata.version(names[own][0])}' for own in modules)


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """Return rows of all that was run without an error, to six digits."""
    together: dict[tuple[str, str, Mode], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.task.seed):
        together.setdefault((run.task.contender, run.task.problem, run.task.mode), []).append(run)
    rows = []
    for (contender, problem, mode), own in together.items():
        if any(run.error for run in own):
            continue
        best = np.array([run.best for run in own])
        final, curve = ([float(f'{value:.7g}') for value in part] for part in (best[:, -1], np.median(best, axis=0)))
        ms = float(f'{np.mean([run.ms for run in own]):.3g}')
        rows.append(Row(contender, problem, mode, final, curve, ms, versions(contender, problem)))
    return rows


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
    """What all rows together say.

    Parameters
    ----------
    rows : list of `Row`
        Of everybody, random search among them.
    problems : collection of str
        Those that are looked at.
    """

    def __init__(self, rows: Iterable[Row], problems: Collection[str]) -> None:
        self._rows = {row.key: row for row in rows if row.problem in problems}
        self.contenders = [name for name in CONTENDERS if any(key[0] == name for key in self._rows)]
        self.problems = [name for name in ALL if any(key[1] == name for key in self._rows)]
        self._least = {name: self._least_of(name) for name in self.problems}
        self._medians: dict[tuple[str, str, Mode], Floats | None] = {}

    def _least_of(self, problem: str) -> float:
        return min(ALL[problem].best, *(min(row.final) for key, row in self._rows.items() if key[1] == problem))

    def ratio(self, contender: str, problem: str, mode: Mode) -> Ratio | None:
        """Return the normalised regret."""
        own, baseline = (self._median(name, problem, mode.of(name)) for name in (contender, BASELINE))
        if own is None or baseline is None:
            return None
        # Where random search always finds the least, so does the other: a trace of regret makes that a ratio of 1.
        return Ratio(np.log(np.clip((own + TRACE) / (baseline + TRACE), LEAST, 1 / LEAST)))

    def _median(self, contender: str, problem: str, mode: Mode) -> Floats | None:
        """Return the median of regrets, and those of resamples of the seeds; the same whatever it is compared with."""
        key = contender, problem, mode
        if key not in self._medians:
            regrets = np.array(self._rows[key].final) - self._least[problem] if key in self._rows else None
            self._medians[key] = None if regrets is None else _medians(regrets, len(self._medians))
        return self._medians[key]

    def curve(self, contender: str, problem: str, mode: Mode) -> Floats | None:
        """Return normalised regrets at each checkpoint, of medians over the seeds; 1 is random search at its end."""
        own, baseline = (self._rows.get((name, problem, mode.of(name))) for name in (contender, BASELINE))
        if own is None or baseline is None:
            return None
        least = self._least[problem]
        ratios = (np.array(own.curve) - least + TRACE) / (baseline.curve[-1] - least + TRACE)
        return np.clip(ratios, LEAST, 1 / LEAST)

    def overall(self, contender: str, mode: Mode, problems: Collection[str]) -> Ratio | None:
        """Return the geometric mean of normalised regrets over problems."""
        return mean([self.ratio(contender, name, mode) for name in problems])

    def against(self, own: str, other: str, mode: Mode, problems: Collection[str]) -> Ratio | None:
        """Return a ratio of geometric means; None when one is not known."""
        one, two = (self.overall(name, mode, problems) for name in (own, other))
        return Ratio(one.logs - two.logs) if one and two else None

    def common(self, mode: Mode, *contenders: str) -> list[str]:
        """Return the problems that all of some contenders, and random search, were run on."""
        names = (BASELINE, *contenders)
        return [own for own in self.problems if all((name, own, mode.of(name)) in self._rows for name in names)]

    def better(self, peers: Collection[str], problem: str, mode: Mode) -> str | None:
        """Return which of some contenders has the lesser regret on a problem."""
        ratios = {name: ratio.value for name in peers if (ratio := self.ratio(name, problem, mode))}
        return min(ratios, key=lambda name: ratios[name], default=None)

    def ms(self, contender: str, mode: Mode) -> float:
        """Return the mean time of ask and tell over problems."""
        own = [row.ms for (name, _, which), row in self._rows.items() if name == contender and which == mode]
        return float(np.mean(own)) if own else math.nan


def _medians(regrets: Floats, seed: int) -> Floats:
    """Return the median, then those of all resamples: shape (1 + resamples,); of one seed nothing is known but itself."""
    if len(regrets) == 1:
        return np.append(regrets, np.full(RESAMPLES, np.nan))
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(regrets), size=(RESAMPLES, len(regrets)))
    return np.concatenate([[np.median(regrets)], np.median(regrets[chosen], axis=1)])
