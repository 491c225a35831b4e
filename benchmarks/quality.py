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
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from contest import style
from contest.contenders import BASELINE, CONTENDERS, missing
from contest.held_out import HELD_OUT
from contest.models import MODELS
from contest.problems import PROBLEMS

ALL = {**PROBLEMS, **MODELS, **HELD_OUT}
GROUPS = {'quoted': [*PROBLEMS, *MODELS], 'functions': list(PROBLEMS), 'held-out': list(HELD_OUT), 'all': list(ALL)}

LEAST = 1e-3
"""Normalised regrets below it count as it."""

RESAMPLES = 2000
"""Of the bootstrap."""

SEEDS_OF_BASELINE = 5
"""Times the seeds of others: random search costs nothing, and everything is divided by it."""

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
        self.modes = sorted({run.task.pending for run in runs if run.task.contender != BASELINE})
        self.trials = runs[0].task.trials
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


# --- bars ---------------------------------------------------------------------------------------------


def bars(results: Results) -> None:
    """Print what was aimed at and whether it holds, of the contenders that took part."""
    rows = []

    def bar(figure: str, value: Ratio | None, most: float) -> None:
        if value is not None:
            rows.append(
                (figure, str(value), f'<= {most:g}', 'holds' if round(value.value, 3) <= most else 'DOES NOT HOLD')
            )

    def against(own: str, peer: str, pending: int, most_ms: float, kinds: Sequence[str] = ()) -> None:
        """Compare over kinds of problems, and the time if there is a bar for it."""
        ratios = results.overall(own, pending, kinds), results.overall(peer, pending, kinds)
        what = f'{own} : {CONTENDERS[peer].title}, {", ".join(kinds) or "all"}, {name_of_mode(pending)}'
        bar(what, divided(*ratios), 1.0)
        if most_ms < math.inf and all(ratios):
            times = results.ms(own, pending) / results.ms(peer, pending)
            bar(
                f'{own} : {CONTENDERS[peer].title}, ms',
                Ratio(math.log(times), np.full(RESAMPLES, math.log(times))),
                most_ms,
            )

    for pending in results.modes:
        against('tpe', 'optuna-tpe', pending, math.inf)
        for problem in [name for name in results.problems if ALL[name].kind == 'conditional']:
            ratios = [results.ratio(name, problem, pending) for name in ('tpe', 'optuna-tpe')]
            bar(f'tpe : Optuna TPE, {problem}, {name_of_mode(pending)}', divided(*ratios), 1.0)
    against('rf', 'smac', 1, 0.1, ['conditional'])
    against('gp', 'optuna-gp', 1, 0.2, ['continuous'])
    bar('auto, all, one after the other', results.overall('auto', 1), 0.10)
    if rows:
        table('Bars', ('', 'figure', 'bar', ''), rows)


def divided(own: Ratio | None, other: Ratio | None) -> Ratio | None:
    """Return a ratio of ratios; None when one is not known."""
    return own / other if own and other else None


# --- picture ------------------------------------------------------------------------------------------


def draw(results: Results, output: Path) -> None:
    """Draw summaries, what they cost, and how regret falls on each problem."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    columns = min(5, max(3, len(results.problems)))
    lines = math.ceil(len(results.problems) / columns)
    with matplotlib.rc_context(style.SETTINGS):
        figure = plt.figure(figsize=(16, 5.4 + 2.9 * lines), layout='constrained')
        above, below = figure.subfigures(2, 1, height_ratios=(4.9, 2.9 * lines + 0.5))
        above.suptitle(
            f'Search quality after {results.trials} trials, {len(results.problems)} problems', **style.HEADING
        )
        axes = above.subplots(1, len(results.modes) + 1, squeeze=False)[0]
        for axis, pending in zip(axes, results.modes):
            axis.sharex(axes[0])
            draw_overall(axis, results, pending)
        draw_costs(axes[-1], results, results.modes[0])
        mode = name_of_mode(results.modes[0])
        below.suptitle(
            f'Regret after each trial, {mode}: median over the seeds (1: random search at its end)', **style.HEADING
        )
        panels = list(below.subplots(lines, columns, squeeze=False).flat)
        for axis, problem in zip(panels, results.problems):
            draw_problem(axis, results, problem, results.modes[0])
        for axis in panels[len(results.problems) :]:
            axis.set_visible(False)
        contenders = [name for name in results.contenders if name != BASELINE]
        figure.legend(handles=style.legend(contenders), loc='outside lower center', ncols=len(contenders) + 1)
        figure.savefig(output, dpi=130)
    print(f'\nThe picture: {output}')


def draw_overall(axis: Any, results: Results, pending: int) -> None:
    """Draw geometric means with their intervals, the best at the top."""
    ranked = [name for name in results.ranked(pending) if results.overall(name, pending)]
    for place, name in enumerate(ranked):
        ratio = results.overall(name, pending)
        low, high = ratio.interval
        axis.plot([low, high], [place, place], color=style.COLOURS[name], lw=3, alpha=0.35, solid_capstyle='round')
        axis.plot(ratio.value, place, **style.dot(name))
        axis.annotate(
            f'{ratio.value:.3f}', (high, place), (7, 0), textcoords='offset points', va='center', fontsize=8.5
        )
    axis.set_title(f'Normalised regret, {name_of_mode(pending)}')
    axis.set_yticks(range(len(ranked)), [CONTENDERS[name].title for name in ranked])
    axis.set_ylim(len(ranked) - 0.4, -0.6)
    axis.tick_params(axis='y', length=0)
    axis.axvline(1, color=style.DARK, lw=1)
    style.logarithmic(axis, 'x')
    axis.margins(x=0.12)
    axis.set_xlabel('geometric mean over problems, with its interval of 95 %; less is better')
    axis.grid(axis='x', color=style.FAINT)


def draw_costs(axis: Any, results: Results, pending: int) -> None:
    """Draw what quality costs."""
    for name in results.ranked(pending):
        if ratio := results.overall(name, pending):
            axis.plot(results.ms(name, pending), ratio.value, **style.dot(name))
            axis.annotate(
                CONTENDERS[name].title,
                (results.ms(name, pending), ratio.value),
                (6, 5),
                textcoords='offset points',
                fontsize=8.5,
            )
    axis.set_title(f'What it costs, {name_of_mode(pending)}')
    style.logarithmic(axis, 'xy')
    axis.margins(0.12)
    axis.set_xlabel('processor time of ask and tell, milliseconds per trial')
    axis.set_ylabel('normalised regret')
    axis.grid(color=style.FAINT)


def draw_problem(axis: Any, results: Results, problem: str, pending: int) -> None:
    """Draw medians of regret after each trial; leave out how bad the first ones are."""
    baseline = np.median(results.regrets(BASELINE, problem, 1), axis=0)
    trials = np.arange(1, len(baseline) + 1)
    axis.plot(trials, baseline / baseline[-1], **style.BASELINE)
    lowest = 0.5
    for name in reversed(results.ranked(pending)):
        regrets = results.regrets(name, problem, pending)
        if regrets is not None:
            ratios = np.clip(np.median(regrets, axis=0) / baseline[-1], LEAST, None)
            axis.plot(trials, ratios, **style.line(name))
            lowest = min(lowest, ratios[-1])
    axis.set_title(problem, fontweight='normal')
    style.logarithmic(axis, 'y', few=lowest < 0.02)
    axis.grid(color=style.FAINT)
    axis.set_xlim(1, trials[-1])
    axis.set_ylim(lowest / 1.2, 4)
    axis.tick_params(labelsize=8)


# --- the whole ----------------------------------------------------------------------------------------


def tasks_of(arguments: argparse.Namespace, contenders: Sequence[str], problems: Sequence[str]) -> list[Task]:
    """Return all searches, of one seed after the other; random search once, as nothing that is pending matters to it."""
    tasks = []
    for name in (BASELINE, *contenders):
        for pending in arguments.pending if name != BASELINE else [1]:
            slow = CONTENDERS[name].slow and not arguments.full
            seeds = min(arguments.seeds, arguments.slow_seeds) if slow else arguments.seeds
            seeds = SEEDS_OF_BASELINE * seeds if name == BASELINE else seeds if pending == 1 or not slow else 0
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
        '--problems', nargs='+', default=['quoted'], metavar='NAME', help=f'names, or {", ".join(GROUPS)}'
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
    bars(results)
    draw(results, arguments.output)


if __name__ == '__main__':
    main()
