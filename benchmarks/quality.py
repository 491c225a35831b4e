"""How good is what a search finds? Our methods and other libraries on the same problems, in the same run.

One command, its tables and a picture, ``quality.png``::

    python benchmarks/quality.py                         # about an hour on two cores
    python benchmarks/quality.py --quick                 # a few minutes: few seeds
    python benchmarks/quality.py --methods tpe optuna-tpe --problems Shared 'Two levels' --seeds 10
    python benchmarks/quality.py --problems held-out     # problems that nobody tunes on
    python benchmarks/quality.py --full                  # slow libraries with all seeds, and with 8 pending

Each search has 100 trials: one after the other, and with 8 of them pending, of which one at random ends
next. Its regret is the best loss that it found less the least one that is known. Figures are medians over
the seeds divided by those of random search (every parameter drawn independently, no policy), so that 1 is
random search and less is better; a figure below 0.001 counts as 0.001, as a zero would outweigh all
others. Summaries are geometric means over problems; in brackets are bootstrap intervals of 95 % over the
seeds. ``ms`` is the processor time of ask and tell, of all trials, divided by their number.

Ours search with the default policy. Methods and libraries that are not there are left out, with a line
that says so. Needs ``pip install matplotlib optuna hyperopt smac scikit-learn`` besides shadho-core, and
``torch==2.13.0`` for Optuna's Gaussian process.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
from contest.contenders import BASELINE, CONTENDERS, missing
from contest.held_out import HELD_OUT
from contest.problems import PROBLEMS

ALL = PROBLEMS | HELD_OUT
GROUPS = {'tuned': list(PROBLEMS), 'held-out': list(HELD_OUT), 'all': list(ALL)}

LEAST = 1e-3
"""Normalised regrets below it count as it."""

RESAMPLES = 2000
"""Of the bootstrap."""

SEEDS_OF_BASELINE = 100
"""Random search costs nothing, and everything is divided by it."""

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


def search(task: Task) -> Run:
    """Run one search, in a process of its own."""
    try:
        return _searched(task)
    except Exception as error:
        return Run(task, [], math.nan, f'{type(error).__name__}: {error}')


def _searched(task: Task) -> Run:
    problem = ALL[task.problem]
    contender = CONTENDERS[task.contender](problem.space, task.seed, task.trials)
    order = np.random.default_rng(task.seed)
    waiting, losses, seconds = [], [], 0.0
    for told in range(task.trials):
        begun = time.process_time()
        while len(waiting) < min(task.pending, task.trials - told):
            waiting.append(contender.ask())
        seconds += time.process_time() - begun
        token, params = waiting.pop(order.integers(len(waiting)))
        losses.append(problem.loss(params))
        begun = time.process_time()
        contender.tell(token, losses[-1])
        seconds += time.process_time() - begun
    best = np.fmin.accumulate(np.nan_to_num(losses, nan=np.inf, posinf=np.inf))
    return Run(task, best.tolist(), 1000 * seconds / task.trials)


def quiet() -> None:
    """Leave out what libraries tell of themselves."""
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')


def run_all(tasks: Sequence[Task], workers: int) -> list[Run]:
    """Run all searches, a few at a time, and show how far they are."""
    runs: list[Run] = []
    begun = shown = time.monotonic()
    # New interpreters, as BLAS reads how many threads it may have when it is loaded.
    os.environ.update(dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1'))
    with ProcessPoolExecutor(workers, get_context('spawn'), initializer=quiet) as pool:
        for future in as_completed([pool.submit(search, task) for task in tasks]):
            runs.append(future.result())
            now = time.monotonic()
            if now - shown > (1 if sys.stderr.isatty() else 60) or len(runs) == len(tasks):
                shown = now
                left = (now - begun) / len(runs) * (len(tasks) - len(runs)) / 60
                text = f'{len(runs):,} of {len(tasks):,} searches in {(now - begun) / 60:.1f} minutes, {left:.0f} to go'
                print(f'\r{text}  ' if sys.stderr.isatty() else text, end='', file=sys.stderr, flush=True)
                print(end='' if sys.stderr.isatty() else '\n', file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return runs


@attrs.frozen
class Ratio:
    """A figure with its bootstrap interval of 95 %; kept as logarithms."""

    log: float
    logs: Floats = attrs.field(repr=False)

    @property
    def value(self) -> float:
        return math.exp(self.log)

    @property
    def interval(self) -> tuple[float, float]:
        low, high = np.exp(np.quantile(self.logs, (0.025, 0.975)))
        return float(low), float(high)

    def __truediv__(self, other: Ratio) -> Ratio:
        return Ratio(self.log - other.log, self.logs - other.logs)

    def __str__(self) -> str:
        low, high = self.interval
        return f'{self.value:.3f} [{low:.3f}, {high:.3f}]'


def mean(ratios: Iterable[Ratio | None]) -> Ratio | None:
    """Return the geometric mean; None when one is not known."""
    known = list(ratios)
    if not known or any(own is None for own in known):
        return None
    return Ratio(float(np.mean([own.log for own in known if own])), np.mean([own.logs for own in known if own], axis=0))


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
        self.modes = sorted({run.task.pending for run in runs})
        self.errors = {(run.task.contender, run.task.problem, run.error) for run in runs if run.error}
        self._best: dict[tuple[str, str, int], list[list[float]]] = {}
        self._ms: dict[tuple[str, int], list[float]] = {}
        for run in sorted(runs, key=lambda run: run.task.seed):
            self._best.setdefault((run.task.contender, run.task.problem, run.task.pending), []).append(run.best)
            self._ms.setdefault((run.task.contender, run.task.pending), []).append(run.ms)
        self._least = {name: self._least_of(name) for name in self.problems}
        self._cache: dict[tuple[str, str, int], Ratio | None] = {}

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
        key = contender, problem, pending
        if key not in self._cache:
            own, baseline = self.regrets(*key), self.regrets(BASELINE, problem, 1)
            known = own is not None and baseline is not None
            self._cache[key] = _ratio(own[:, -1], baseline[:, -1], len(self._cache)) if known else None
        return self._cache[key]

    def overall(self, contender: str, pending: int, kinds: Iterable[str] = ()) -> Ratio | None:
        """Return the geometric mean over problems, of some kinds or of all."""
        problems = [name for name in self.problems if not kinds or ALL[name].kind in kinds]
        return mean(self.ratio(contender, name, pending) for name in problems)

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
        return sorted(of_mode, key=lambda name: own.log if (own := self.overall(name, pending)) else math.inf)


def _ratio(own: Floats, baseline: Floats, number: int) -> Ratio:
    """Return a ratio of medians; `number` makes the resamples independent of those of other ratios."""
    rng = np.random.default_rng(number)
    draws = [
        np.median(losses[rng.integers(len(losses), size=(RESAMPLES, len(losses)))], axis=1)
        for losses in (own, baseline)
    ]
    return Ratio(float(_log_ratio(np.median(own), np.median(baseline))), _log_ratio(*draws))


def _log_ratio(own: Floats, baseline: Floats) -> Floats:
    """Return logarithms of ratios within bounds; where random search always finds the least, of regrets plus a trace."""
    trace = np.finfo(float).tiny
    return np.log(np.clip((own + trace) / (baseline + trace), LEAST, 1 / LEAST))


# --- tables -------------------------------------------------------------------------------------------


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table."""
    rows = [header, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    print(f'\n{title}')
    for row in rows:
        cells = [
            cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(zip(row, widths))
        ]
        print('  ' + '  '.join(cells).rstrip(), flush=True)


def name_of_mode(pending: int) -> str:
    """Say how many trials are pending."""
    return 'one after the other' if pending == 1 else f'{pending} pending'


def show(results: Results) -> None:
    """Print all tables."""
    kinds = list(dict.fromkeys(ALL[name].kind for name in results.problems))
    for pending in results.modes:
        ranked = results.ranked(pending)
        rows = [
            (
                CONTENDERS[name].title, str(results.overall(name, pending) or '-'),
                *(f'{own.value:.3f}' if (own := results.overall(name, pending, {kind})) else '-' for kind in kinds),
                f'{results.ms(name, pending):.2f}', str(results.seeds(name, pending)),
            )
            for name in ranked
        ]  # fmt: skip
        mode = name_of_mode(pending)
        table(f'Normalised regret, {mode}: geometric means', ('', 'all', *kinds, 'ms', 'seeds'), rows)
        for kind in kinds:
            problems = [name for name in results.problems if ALL[name].kind == kind]
            rows = [
                (CONTENDERS[name].title, *(str(results.ratio(name, own, pending) or '-') for own in problems))
                for name in ranked
            ]
            table(f'{kind}, {mode}', ('', *problems), rows)
    for contender, problem, error in sorted(results.errors):
        print(f'\n{CONTENDERS[contender].title} failed on {problem}: {error}')


def tasks_of(arguments: argparse.Namespace, contenders: Sequence[str], problems: Sequence[str]) -> list[Task]:
    """Return all searches, of one seed after the other; random search once, as nothing that is pending matters to it."""
    tasks = []
    for name in (BASELINE, *contenders):
        for pending in arguments.pending if name != BASELINE else [1]:
            slow = CONTENDERS[name].slow and not arguments.full
            seeds = min(arguments.seeds, arguments.slow_seeds) if slow else arguments.seeds
            seeds = SEEDS_OF_BASELINE if name == BASELINE else seeds if pending == 1 or not slow else 0
            tasks += [Task(name, own, seed, pending, arguments.trials) for own in problems for seed in range(seeds)]
    return sorted(tasks, key=lambda task: task.seed)


def chosen_problems(names: Sequence[str]) -> list[str]:
    """Return problems by their names or those of groups."""
    unknown = [name for name in names if name not in ALL and name not in GROUPS]
    if unknown:
        sys.exit(f'--problems: there is no {unknown[0]!r}; there are {", ".join([*GROUPS, *ALL])}')
    return list(dict.fromkeys(own for name in names for own in GROUPS.get(name, [name])))


def main() -> None:
    """Run the searches, print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='4 seeds, of slow libraries one')
    parser.add_argument('--full', action='store_true', help='slow libraries with all seeds, and with pending trials')
    names = [name for name in CONTENDERS if name != BASELINE]
    parser.add_argument('--methods', choices=names, nargs='+', default=names, metavar='NAME', help=', '.join(names))
    parser.add_argument(
        '--problems', nargs='+', default=['tuned'], metavar='NAME', help=f'names, or {", ".join(GROUPS)}'
    )
    parser.add_argument('--seeds', type=int, help='searches of each method on each problem (20)')
    parser.add_argument('--pending', type=int, nargs='+', default=[1, 8], help='how many trials are pending')
    parser.add_argument('--trials', type=int, default=100, help='trials of each search')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--output', type=Path, default=Path('quality.png'), help='where the picture goes')
    arguments = parser.parse_args()
    arguments.seeds = arguments.seeds or (4 if arguments.quick else 20)
    arguments.slow_seeds = 1 if arguments.quick else 5

    reasons = {name: missing(name) for name in arguments.methods}
    for name, reason in reasons.items():
        if reason:
            print(f'left out: {CONTENDERS[name].title} ({reason})')
    contenders = [name for name, reason in reasons.items() if not reason]
    results = Results(run_all(tasks_of(arguments, contenders, chosen_problems(arguments.problems)), arguments.workers))
    show(results)


if __name__ == '__main__':
    main()
