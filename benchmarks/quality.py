"""How good is what a search finds? Our methods beside other libraries, on problems of many kinds.

Ours are run; others, and random search, were run once, and their figures are kept in
``data/quality_peers.jsonl``::

    python benchmarks/quality.py                         # the default and auto: some hours on two cores
    python benchmarks/quality.py --methods tpe --kinds discrete mixint --seeds 5 --modes 1
    python benchmarks/quality.py --problems held-out     # or their names, or named or many, see below
    python benchmarks/quality.py --runs runs.jsonl       # keeps every search, to go on from when it is interrupted
    python benchmarks/quality.py --peers --runs peers.jsonl         # runs the others again, and keeps their figures
    python benchmarks/quality.py --peers --methods optuna-gp smac --seeds 2   # of some of them, with fewer seeds

Modes: each search has 100 trials, one after the other (``1``) or with 8 of them pending, of which one at random
ends next; on ten problems also with 4 and 16 pending; and on four of COCO's functions 1,000 trials, one after the
other (``many``). Other peers than Optuna's TPE and CMA-ES are run on the ten problems alone, one after the other, with 5 seeds.

Regret is the best loss that a search found less the least one that is known; where there is noise, it is that of the
true loss of the setting that is recommended, which is the one of the least loss unless a method knows better. Figures
are medians over the seeds divided by those of random search (every parameter drawn independently, no policy), so
that 1 is random search and less is better; a figure below 0.001 counts as 0.001, as a zero would outweigh all others.
Summaries are geometric means over problems; in brackets are bootstrap intervals of 95 % over the seeds. ``ms`` is the
processor time of ask and tell, of all trials, divided by their number.

Ours search with the default policy. Methods, libraries and problems whose packages are not there are left out, with
a line that says so. Needs ``pip install coco-experiment matplotlib scikit-learn`` besides shadho-core, and for the
others ``cmaes hyperopt optuna smac torch==2.13.0``.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
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
from contest.kept import BARRED, PEERS, SEEDS, keep_rows, kept_rows, planned_modes, planned_problems, planned_seeds
from contest.results import (
    ALL,
    CHECKPOINTS,
    KINDS,
    MANY,
    MODES,
    NAMED,
    REQUIRES,
    ROWS,
    Mode,
    Ratio,
    Results,
    Run,
    Task,
    rows_of,
)

GROUPS = {'held-out': tuple(HELD_OUT), 'named': NAMED, 'many': MANY}


# --- searches -----------------------------------------------------------------------------------------


def search(task: Task) -> Run:
    """Run one search, in a process of its own."""
    try:
        return _searched(task)
    except Exception as error:
        return Run(task, [], math.nan, f'{type(error).__name__}: {error}')


def _searched(task: Task) -> Run:
    problem, trials = ALL[task.problem], task.mode.trials
    contender = CONTENDERS[task.contender](problem.space, task.seed, trials)
    order = np.random.default_rng(task.seed)
    noise = problem.noise * np.random.default_rng((task.seed, 1)).standard_normal(trials)
    waiting: list[Any] = []
    asked, seconds, least, truth, best = 0, 0.0, math.inf, math.inf, []
    for told in range(1, trials + 1):
        begun = time.process_time()
        while asked < min(told - 1 + task.mode.pending, trials):
            waiting.append((asked, *contender.ask()))
            asked += 1
        seconds += time.process_time() - begun
        number, token, params = waiting.pop(order.integers(len(waiting)))
        own = problem.loss(params)
        loss = own + noise[number]
        if loss < least:
            least, truth = loss, own
        begun = time.process_time()
        contender.tell(token, loss)
        seconds += time.process_time() - begun
        if told * CHECKPOINTS % trials == 0:
            recommended = contender.recommend() if problem.noise else None
            best.append(float(truth if recommended is None else problem.loss(recommended)))
    return Run(task, best, 1000 * seconds / trials)


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
    found = [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
    return [Run(**{**own, 'task': Task(**{**own['task'], 'mode': Mode(**own['task']['mode'])})}) for own in found]


def run_peers(
    names: Sequence[str], modes: Sequence[str], problems: Sequence[str], arguments: argparse.Namespace
) -> None:
    """Run random search and peers, the most important first; keep their rows after each mode of each."""
    for mode in modes:
        for name in (BASELINE, *names):
            own = [problem for problem in planned_problems(name, mode) if problem in problems]
            if mode in planned_modes(name) and own:
                tasks = [
                    Task(name, problem, seed, MODES[mode])
                    for problem in own
                    for seed in range(planned_seeds(name, problem, arguments.seeds))
                ]
                runs = run_all(tasks, arguments.workers, arguments.runs)
                show_errors(runs)
                keep_rows(rows_of(runs))


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


def show_errors(runs: Iterable[Run]) -> None:
    """Print each error of searches once."""
    for contender, name, error in sorted({(run.task.contender, run.task.problem, run.error) for run in runs}):
        if error:
            print(f'\n{CONTENDERS[contender].title} failed on {name}: {error}')


def show_kinds(results: Results, mode: Mode) -> None:
    """Print geometric means of each kind of problems, of everybody who was run on all of them."""
    problems = results.common(mode)
    kinds = [kind for kind in KINDS if any(ALL[name].kind == kind for name in problems)]
    of_kind = {kind: [name for name in problems if ALL[name].kind == kind] for kind in kinds}
    rows = []
    for name in results.contenders:
        if name != BASELINE and results.common(mode, name):
            figures = [results.overall(name, mode, own) for own in of_kind.values()]
            cells = [f'{own.value:.3f}' if own else '-' for own in figures]
            overall = str(results.overall(name, mode, problems) or '-')
            rows.append((CONTENDERS[name].title, overall, *cells, f'{results.ms(name, mode):.2f}'))
    header = [f'{kind} ({len(own)})' for kind, own in of_kind.items()]
    table(
        f'Normalised regret, {mode}: geometric means over problems', ('', f'all ({len(problems)})', *header, 'ms'), rows
    )


def show_ratios(results: Results, name: str, mode: Mode) -> None:
    """Print how a method of ours compares with others on each problem, and on all that both were run on."""
    peers = [peer for peer in PEERS if results.common(mode, name, peer)]
    if not peers:
        return
    title = CONTENDERS[name].title
    rows = []
    for problem in results.common(mode, name):
        ratios = [str(results.against(name, peer, mode, [problem]) or '-') for peer in peers]
        over = excess(results, name, problem, mode)
        mark = 'WORSE' if over is not None and over > MOST_ON_ROWS else ''
        rows.append((problem, ALL[problem].kind, str(results.ratio(name, problem, mode)), *ratios, mark))
    header = ('', 'kind', 'regret', *(f': {CONTENDERS[peer].title}' for peer in peers), '')
    table(f'{title} on each problem, {mode}: normalised regret, and its ratio to those of others', header, rows)
    summaries = [summary(results, name, peer, mode) for peer in peers]
    table(f'{title} and others, {mode}', ('', 'problems', 'geometric mean', 'worst problem', 'its ratio'), summaries)


def summary(results: Results, name: str, peer: str, mode: Mode) -> tuple[str, ...]:
    """Return how a method of ours compares with another one on all problems that both were run on."""
    common = results.common(mode, name, peer)
    ratios = {problem: ratio for problem in common if (ratio := results.against(name, peer, mode, [problem]))}
    worst = max(ratios, key=lambda problem: ratios[problem].value)
    overall = results.against(name, peer, mode, common)
    return f': {CONTENDERS[peer].title}', str(len(common)), str(overall), worst, str(ratios[worst])


# --- bars ---------------------------------------------------------------------------------------------

FEW_VALUED = ('discrete', 'deep', 'mixint')
"""Kinds of problems on each of which `tpe` is to be as good as Optuna's."""

MOST_ON_ROWS = 1.3
"""On every problem, the ratio to the better of two peers may be this at the lower end of its interval."""

MOST_OVERALL = 0.7
"""The geometric mean may be so much of Optuna TPE's."""


def default_method() -> str:
    """Return the method that a search has when none is named."""
    from shadho import Search

    return str(inspect.signature(Search).parameters['method'].default)


def excess(results: Results, name: str, problem: str, mode: Mode) -> float | None:
    """Return the lower end of the interval of the ratio to the better of two peers; None when there is none."""
    better = results.better(BARRED, problem, mode)
    ratio = better and results.against(name, better, mode, [problem])
    if not ratio:
        return None
    low, _ = ratio.interval
    return ratio.value if math.isnan(low) else low


def bars(results: Results, modes: Sequence[Mode]) -> None:
    """Print what was aimed at and whether it holds, of the methods that took part."""
    rows = []

    def bar(figure: str, value: Ratio | float | None, most: float, also: str = '') -> None:
        if value is not None:
            number, shown = (value.value, str(value)) if isinstance(value, Ratio) else (value, f'{value:.3f}')
            rows.append((figure, shown, f'<= {most:g}', 'holds' if round(number, 3) <= most else 'DOES NOT HOLD', also))

    for mode in modes:
        common = results.common(mode, 'tpe', 'optuna-tpe')
        for kind in FEW_VALUED:
            own = [name for name in common if ALL[name].kind == kind]
            bar(f'tpe : Optuna TPE, {kind} ({len(own)}), {mode}', results.against('tpe', 'optuna-tpe', mode, own), 1)
        for name in dict.fromkeys((default_method(), 'auto')):
            over = {own: excess(results, name, own, mode) or 0.0 for own in results.common(mode, name, *BARRED)}
            if over:
                worst = max(over, key=lambda problem: over[problem])
                failing = sum(own > MOST_ON_ROWS for own in over.values())
                also = f'{worst}; {failing} of {len(over)} problems are over'
                bar(f'{name} : better of two, worst problem, lower end, {mode}', over[worst], MOST_ON_ROWS, also)
            common = results.common(mode, name, 'optuna-tpe')
            ratio = results.against(name, 'optuna-tpe', mode, common)
            bar(f'{name} : Optuna TPE, geometric mean ({len(common)}), {mode}', ratio, MOST_OVERALL)
    if rows:
        table('Bars', ('', 'figure', 'bar', '', ''), rows)


# --- picture ------------------------------------------------------------------------------------------


def draw(results: Results, mode: Mode, output: Path) -> None:
    """Draw what quality costs, and how regret falls on each kind of problems."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    problems = results.common(mode)
    of_kind = {kind: own for kind in KINDS if (own := [name for name in problems if ALL[name].kind == kind])}
    columns = 4
    with matplotlib.rc_context(style.SETTINGS):
        lines = math.ceil((len(of_kind) + 1) / columns)
        figure, panels = plt.subplots(
            lines, columns, squeeze=False, figsize=(16, 3.4 * lines + 0.8), layout='constrained'
        )
        figure.suptitle(
            f'Regret during {mode.trials} trials, {mode}, {len(problems)} problems: '
            'geometric means of each kind (1: random search at its end)',
            **style.HEADING,
        )
        first, *others = panels.flat
        draw_costs(first, results, mode, problems)
        for axis, (kind, own) in zip(others, of_kind.items()):
            draw_kind(axis, results, mode, f'{kind} ({len(own)})', own)
        for axis in others[len(of_kind) :]:
            axis.set_visible(False)
        contenders = [name for name in results.contenders if name != BASELINE and results.common(mode, name)]
        figure.legend(handles=style.legend(contenders), loc='outside lower center', ncols=len(contenders) + 1)
        figure.savefig(output, dpi=110)
    print(f'\nThe picture: {output}')


def draw_bars(results: Results, mode: Mode, output: Path) -> None:
    """Draw the regret of our methods and of the two peers of the bars, on all problems that they were all run on."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    names = [name for name in results.contenders if name in BARRED or (name not in PEERS and name != BASELINE)]
    names = [name for name in names if results.common(mode, name)]
    problems = results.common(mode, *names)
    found = [(ratio.value, name) for name in [*names, BASELINE] if (ratio := results.overall(name, mode, problems))]
    with matplotlib.rc_context(style.SETTINGS):
        figure, axis = plt.subplots(figsize=(8, 0.42 * len(found) + 0.68), layout='constrained')
        for place, (value, name) in enumerate(sorted(found)):
            axis.barh(place, value, color=style.COLOURS.get(name, style.FAINT), height=0.62)
            axis.annotate(f'{value:.2g}', (value, place), (5, 0), textcoords='offset points', va='center')
        axis.set_yticks(range(len(found)), [own_title(name) for _, name in sorted(found)])
        axis.invert_yaxis()
        axis.tick_params(axis='y', length=0)
        axis.set_xlim(0, 1.08)
        axis.set_title(
            f'Regret after {mode.trials} trials, {len(problems)} problems (random search: 1; less is better)'
        )
        figure.savefig(output)
    print(f'The picture of the means: {output}')


def own_title(name: str) -> str:
    """Return what a contender is called where ours and others stand side by side."""
    title = CONTENDERS[name].title
    return title if name in PEERS or name == BASELINE else f'SHADHO {title}'


def draw_costs(axis: Any, results: Results, mode: Mode, problems: Sequence[str]) -> None:
    """Draw what quality costs, of those who were run on all problems."""
    for name in results.contenders:
        if name != BASELINE and (ratio := results.overall(name, mode, problems)):
            place = results.ms(name, mode), ratio.value
            low, high = (ratio.value if math.isnan(limit) else limit for limit in ratio.interval)
            axis.plot([place[0]] * 2, [low, high], color=style.COLOURS[name], lw=3, alpha=0.35, solid_capstyle='round')
            axis.plot(*place, **style.dot(name))
            axis.annotate(CONTENDERS[name].title, place, (6, 5), textcoords='offset points', fontsize=8.5)
    axis.set_title(f'All problems ({len(problems)}), and what they cost')
    style.logarithmic(axis, 'xy')
    axis.margins(0.15)
    axis.set_xlabel('processor time of ask and tell, milliseconds per trial')
    axis.set_ylabel('normalised regret')
    axis.grid(color=style.FAINT)


def draw_kind(axis: Any, results: Results, mode: Mode, title: str, problems: Sequence[str]) -> None:
    """Draw geometric means of regret during the searches; leave out how bad it is at first."""
    trials = mode.trials / CHECKPOINTS * np.arange(1, CHECKPOINTS + 1)
    lowest = 0.5
    for name in results.contenders:
        curves = [own for problem in problems if (own := results.curve(name, problem, mode)) is not None]
        if len(curves) == len(problems):
            means = np.exp(np.mean(np.log(curves), axis=0))
            axis.plot(trials, means, **(style.BASELINE if name == BASELINE else style.line(name)))
            lowest = min(lowest, means[-1])
    axis.set_title(title, fontweight='normal')
    style.logarithmic(axis, 'y', few=lowest < 0.02)
    axis.grid(color=style.FAINT)
    axis.set_xlim(trials[0], trials[-1])
    axis.set_ylim(lowest / 1.2, 8)
    axis.tick_params(labelsize=8)


# --- the whole ----------------------------------------------------------------------------------------


def chosen_problems(names: Sequence[str] | None, kinds: Sequence[str]) -> list[str]:
    """Return problems by their names or those of groups, and by their kinds."""
    unknown = [name for name in names or () if name not in ALL and name not in GROUPS]
    if unknown:
        sys.exit(f'--problems: there is no {unknown[0]!r}; there are {", ".join([*GROUPS, *ALL])}')
    chosen = dict.fromkeys(own for name in names or ALL for own in GROUPS.get(name, [name]))
    return [name for name in chosen if ALL[name].kind in kinds and not missing_modules(name)]


def missing_modules(problem: str) -> list[str]:
    """Return the modules that a problem lacks."""
    return [own for own in REQUIRES.get(ALL[problem].kind, ()) if importlib.util.find_spec(own) is None]


def main() -> None:
    """Run the searches, print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [name for name in CONTENDERS if name != BASELINE]
    parser.add_argument(
        '--methods', choices=names, nargs='+', metavar='NAME', help=f'{", ".join(names)} (the default and auto)'
    )
    parser.add_argument('--kinds', choices=KINDS, nargs='+', default=KINDS, metavar='KIND', help=', '.join(KINDS))
    parser.add_argument('--problems', nargs='+', metavar='NAME', help=f'names, or {", ".join(GROUPS)}')
    parser.add_argument('--modes', choices=MODES, nargs='+', default=list(MODES), help='trials pending, or many trials')
    parser.add_argument('--seeds', type=int, default=SEEDS, help='searches of each method on each problem, or fewer')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--runs', type=Path, help='a file that keeps every search; those it holds are not run again')
    parser.add_argument('--peers', action='store_true', help='run the others instead, and keep their rows')
    parser.add_argument('--bars', type=Path, help='where a picture of the means alone goes')
    parser.add_argument('--output', type=Path, default=Path('quality.png'), help='where the picture goes')
    arguments = parser.parse_args()

    wanted = arguments.methods or (PEERS if arguments.peers else dict.fromkeys((default_method(), 'auto')))
    reasons = {name: missing(name) for name in wanted if (name in PEERS) == arguments.peers}
    for name, reason in reasons.items():
        if reason:
            print(f'left out: {CONTENDERS[name].title} ({reason})')
    for kind in arguments.kinds:
        if lacks := [own for own in REQUIRES.get(kind, ()) if importlib.util.find_spec(own) is None]:
            print(f'left out: problems of the kind {kind} (not installed: {", ".join(lacks)})')
    contenders = [name for name, reason in reasons.items() if not reason]
    problems = chosen_problems(arguments.problems, arguments.kinds)
    if arguments.peers:
        run_peers(contenders, arguments.modes, problems, arguments)
        return
    tasks = [
        Task(name, own, seed, MODES[mode])
        for seed in range(arguments.seeds)
        for mode in arguments.modes
        for name in contenders
        for own in ROWS[mode]
        if own in problems
    ]
    runs = run_all(tasks, arguments.workers, arguments.runs)
    results = Results([*kept_rows(), *rows_of(runs)], problems)
    modes = [MODES[mode] for mode in arguments.modes if any(own in problems for own in ROWS[mode])]
    for mode in modes:
        show_kinds(results, mode)
        for name in sorted(contenders, key=lambda name: name not in (default_method(), 'auto')):
            show_ratios(results, name, mode)
    show_errors(runs)
    bars(results, modes)
    if modes:
        draw(results, modes[0], arguments.output)
        if arguments.bars:
            draw_bars(results, modes[0], arguments.bars)


if __name__ == '__main__':
    main()
