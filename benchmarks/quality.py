"""How good is what a search finds? Our methods and other libraries on the same problems, in the same run.

One command, its tables and a picture, ``quality.png``::

    python benchmarks/quality.py                         # about an hour on two cores
    python benchmarks/quality.py --quick                 # about ten minutes: few seeds
    python benchmarks/quality.py --methods tpe optuna-tpe --problems Shared 'Two levels' --seeds 10
    python benchmarks/quality.py --problems held-out     # problems that nobody tunes on
    python benchmarks/quality.py --runs runs.jsonl       # keeps every search, to go on from when it is interrupted
    python benchmarks/quality.py --full                  # much longer: slow libraries with all seeds, and with 8 pending

Each search has 100 trials: one after the other, and with 8 of them pending, of which one at random ends
next. Its regret is the best loss that it found less the least one that is known. Figures are medians over
the seeds divided by those of random search (every parameter drawn independently, no policy), so that 1 is
random search and less is better; a figure below 0.001 counts as 0.001, as a zero would outweigh all
others. Summaries are geometric means over problems; in brackets are bootstrap intervals of 95 % over the
seeds (none where there is one seed). ``ms`` is the processor time of ask and tell, of all trials, divided by their number.

Ours search with the default policy. ``auto`` is ``gp`` for as many trials as these: only the first seed of each problem is
run to see that it is, trial for trial, and then the others are those of ``gp``. Methods and libraries that are
not there are left out, with a line that says so. Needs ``pip install cmaes hyperopt matplotlib optuna scikit-learn smac`` besides shadho-core, and
``torch==2.13.0`` for Optuna's Gaussian process.
"""

from __future__ import annotations

import argparse
import json
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
from contest import style
from contest.contenders import BASELINE, CONTENDERS, missing
from contest.held_out import HELD_OUT
from contest.models import MODELS
from contest.problems import PROBLEMS
from contest.results import ALL, LEAST, Ratio, Results, Run, Task

GROUPS = {'quoted': [*PROBLEMS, *MODELS], 'functions': list(PROBLEMS), 'held-out': list(HELD_OUT), 'all': list(ALL)}

SEEDS_OF_BASELINE = 5
"""Times the seeds of others: random search costs nothing, and everything is divided by it."""


ALIAS, SAME_AS = 'auto', 'gp'
"""A method that does as another one does, which is checked with one seed of each problem rather than run twice."""


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


def run_all(tasks: Sequence[Task], workers: int, kept: Path | None) -> list[Run]:
    """Run all searches that a file does not hold yet, a few at a time, and show how far they are."""
    # New interpreters, as BLAS reads how many threads it may have when it is loaded.
    os.environ.update(dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1'))
    live = sys.stderr.isatty()
    begun = shown = time.monotonic()
    known = {run.task: run for run in load(kept)} if kept is not None else {}
    runs = [known[task] for task in tasks if task in known]
    tasks = [task for task in tasks if task not in known]
    before = len(runs)
    with ProcessPoolExecutor(workers, get_context('spawn'), initializer=quiet) as pool:
        for future in as_completed([pool.submit(search, task) for task in tasks]):
            runs.append(future.result())
            if kept is not None:
                keep(kept, runs[-1])
            done = len(runs) - before
            now = time.monotonic()
            if now - shown > (1 if live else 60) or done == len(tasks):
                shown, passed = now, (now - begun) / 60
                left = passed / done * (len(tasks) - done)
                text = f'{done:,} of {len(tasks):,} searches in {passed:.1f} minutes, about {left:.0f} to go'
                print(f'{text}   ', end='\r' if live else '\n', file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return runs


def keep(path: Path, run: Run) -> None:
    """Add a search to a file."""
    with open(path, 'a', encoding='utf-8') as file:
        file.write(json.dumps(attrs.asdict(run)) + '\n')


def load(path: Path) -> list[Run]:
    """Return the searches that a file holds; none when there is no file yet."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
    return [Run(**{**row, 'task': Task(**row['task'])}) for row in rows]


def with_alias(runs: Sequence[Run]) -> list[Run]:
    """Give the alias the other's runs wherever the run of its own found the same after every trial."""
    own = {(run.task.problem, run.task.pending, run.task.seed): run for run in runs if run.task.contender == ALIAS}
    model = {(run.task.problem, run.task.pending, run.task.seed): run for run in runs if run.task.contender == SAME_AS}
    same = {key[:2] for key, run in own.items() if key in model and run.best == model[key].best}
    differs = {key[:2] for key in own if key in model} - same
    if differs:
        print(f'{ALIAS} is not {SAME_AS} on {sorted(differs)}: only what it ran itself counts there')
    copies = [
        attrs.evolve(run, task=attrs.evolve(run.task, contender=ALIAS))
        for key, run in model.items()
        if key[:2] in same and key not in own
    ]
    return [*runs, *copies]


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

    def bar(figure: str, value: Ratio | float | None, most: float) -> None:
        if value is not None:
            number, shown = (value.value, str(value)) if isinstance(value, Ratio) else (value, f'{value:.3f}')
            rows.append((figure, shown, f'<= {most:g}', 'holds' if round(number, 3) <= most else 'DOES NOT HOLD'))

    def against(own: str, peer: str, pending: int, **which: Any) -> None:
        what = ', '.join(which.get('kinds') or which.get('problems') or ['all'])
        ratio = results.against(own, peer, pending, **which)
        bar(f'{own} : {CONTENDERS[peer].title}, {what}, {name_of_mode(pending)}', ratio, 1.0)

    def faster(own: str, peer: str, most: float) -> None:
        times = results.ms(own, 1) / results.ms(peer, 1)
        bar(f'{own} : {CONTENDERS[peer].title}, processor time', None if math.isnan(times) else times, most)

    for pending in results.modes:
        against('tpe', 'optuna-tpe', pending)
        for problem in [name for name in results.problems if ALL[name].kind == 'conditional']:
            against('tpe', 'optuna-tpe', pending, problems=[problem])
    against('rf', 'smac', 1, kinds=['conditional'])
    faster('rf', 'smac', 0.1)
    against('gp', 'optuna-gp', 1, kinds=['continuous'])
    faster('gp', 'optuna-gp', 0.2)
    bar('auto, all, one after the other', results.overall('auto', 1), 0.10)
    if rows:
        table('Bars', ('', 'figure', 'bar', ''), rows)


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
        low, high = (ratio.value if math.isnan(limit) else limit for limit in ratio.interval)
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
            if name == ALIAS and SAME_AS in contenders:
                seeds = min(seeds, 1)
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
    parser.add_argument('--runs', type=Path, help='a file that keeps every search; those it holds are not run again')
    parser.add_argument('--output', type=Path, default=Path('quality.png'), help='where the picture goes')
    arguments = parser.parse_args()
    arguments.seeds = arguments.seeds or (4 if arguments.quick else 20)
    arguments.slow_seeds = 1 if arguments.quick else 5

    reasons = {name: missing(name) for name in arguments.methods}
    for name, reason in reasons.items():
        if reason:
            print(f'left out: {CONTENDERS[name].title} ({reason})')
    contenders = [name for name, reason in reasons.items() if not reason]
    tasks = tasks_of(arguments, contenders, chosen_problems(arguments.problems))
    results = Results(with_alias(run_all(tasks, arguments.workers, arguments.runs)))
    show(results)
    bars(results)
    draw(results, arguments.output)


if __name__ == '__main__':
    main()
