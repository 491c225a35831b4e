"""Does it pay to stop trials early? Time to a well trained model, beside other libraries, in simulated seconds.

One command, its tables and a picture, ``fidelity.png``::

    python benchmarks/fidelity.py --quick            # some minutes: one cluster, few seeds
    python benchmarks/fidelity.py                    # within an hour on two cores
    python benchmarks/fidelity.py --full             # more seeds
    python benchmarks/fidelity.py --methods full optuna-hyperband --problems digits --slots 4
    python benchmarks/fidelity.py --peers            # other libraries too, in the same run, and keeps their rows: hours
    python benchmarks/fidelity.py --record           # trains all recorded models again: about half an hour on one core

A trial is trained for 81 steps at most, and its loss is known after each. Slots, 8 of them or 4 or 1, train what a
contender asks for through its own ask and tell; a trial that is paused goes on from where it was, and pays its
start-up seconds again. What a contender itself computes takes none of the simulated time. A search ends when a
trial with a loss of the top 1 % of all settings is fully trained; it has missed its target when that takes longer
than 400 full trainings, which then count as its time. Figures are ratios of means over the same seeds, in brackets
bootstrap intervals of 95 %; summaries are geometric means over problems. Random search trains every trial fully;
the oracle too, but it knows after one step which will be among the best, and trains only these on.

Problems:

* ``digits``: 1,920 models of scikit-learn that were really trained on 400 handwritten digits and read 1,397 others
  after each step (``data/digits_curves.npz``): linear models, two kinds of networks, and boosting. A setting has
  the curve and the seconds of the nearest recorded one. ``deep network`` is one of the four alone.
* ``Hartmann3``, ``Hartmann6``: functions whose peaks are flat and noisy at first.
* ``power law``: fast curves end at worse losses, and large models take longer.

The rows of other libraries were measured once, and are kept in ``data/fidelity_peers.jsonl``: on 8 slots, with three
seeds, which is few (tables count them). Their packages are only needed for ``--peers``: ``pip install
neural-pipeline-search==0.17 syne-tune==0.16 optuna``, which brings torch, and some gigabytes. What is missing there is
left out, with a line that says so. NePS and Syne Tune know no conditional parameters, so on ``digits`` they search those
of all four trees side by side. NePS 0.17 leaves promoted settings out when it counts a rung, so its ASHA promotes all
but two of each, not a third: a weaker peer than the algorithm of that name. Syne Tune's stops trials and never resumes
them. Not measured, though it can be run: its BOHB. Left out: Syne Tune's ASHA
with BORE, which needs more than a minute for a search, and with CQR; ifBO of NePS, whose weights are a download; and PriorBand,
which needs a prior. Needs ``pip install matplotlib``, besides shadho-core; and scikit-learn and threadpoolctl to record.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from contest import style
from contest.results import Ratio
from curves.contenders import BASELINE, CONTENDERS, ORACLE, PEERS, missing
from curves.models import STEPS
from curves.problems import PROBLEMS, RECORDED, correlations, full_seconds, target
from curves.record import record
from curves.results import Results, keep_rows, kept_rows, rows_of
from curves.runs import Run, Task, limit, run
from quality import quiet, table

SLOTS = (8, 4, 1)


@attrs.frozen
class Scale:
    """How much is run, unless options say otherwise."""

    seeds: int = 30
    slots: Sequence[int] = SLOTS

    @classmethod
    def quick(cls) -> Scale:
        return cls(10, (8,))

    @classmethod
    def full(cls) -> Scale:
        return cls(100)


def run_all(tasks: Sequence[Task], workers: int) -> list[Run]:
    """Run all searches, a few at a time; show how far they are, and each error once."""
    # New interpreters, as BLAS reads how many threads it may have when it is loaded.
    os.environ.update(dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1'))
    begun = shown = time.monotonic()
    runs: list[Run] = []
    with ProcessPoolExecutor(workers, get_context('spawn'), initializer=quiet) as pool:
        for future in as_completed([pool.submit(run, task) for task in tasks]):
            runs.append(future.result())
            now = time.monotonic()
            if now - shown > 30 or len(runs) == len(tasks):
                shown = now
                text = f'{len(runs):,} of {len(tasks):,} searches in {(now - begun) / 60:.1f} minutes'
                print(text, file=sys.stderr, flush=True)
    for name, problem, error in sorted({(own.task.contender, own.task.problem, own.error) for own in runs}):
        if error:
            print(f'\n{CONTENDERS[name].title} failed on {problem}: {error}')
    return runs


def run_peers(names: Sequence[str], tasks: Sequence[Task], workers: int) -> list[Run]:
    """Run the searches of peers, and keep their row of each problem when it has ended."""
    runs = []
    for name, problem in itertools.product(names, dict.fromkeys(task.problem for task in tasks)):
        runs += run_all([task for task in tasks if (task.contender, task.problem) == (name, problem)], workers)
        keep_rows(rows_of(runs))
    return runs


# --- tables ------------------------------------------------------------------------------------------


def show_problems(problems: Sequence[str]) -> None:
    """Print what the problems are like."""
    steps = (1, 3, 9, 27, STEPS)
    rows = [
        (
            name,
            f'{target(name):.4g}',
            f'{full_seconds(name):,.3g}',
            *(f'{own:.2f}' for own in correlations(name, steps)),
        )
        for name in problems
    ]
    header = ('', 'target', 'seconds of a full training', *(f'step {step}' for step in steps))
    table('Problems, and how ranks after some steps correlate with final ones', header, rows)


def show_overall(results: Results, slots: int) -> None:
    """Print how many times sooner than random search everybody reaches the targets."""
    rows = []
    for name in results.contenders:
        own = results.rows(name, slots)
        if own and name != BASELINE:
            figures = [results.sooner(name, problem, slots) for problem in results.problems]
            share = results.overall(name, ORACLE, slots)
            rows.append((
                CONTENDERS[name].title, shown(results.overall(name, BASELINE, slots)),
                *(f'{figure.value:.2f}' if figure else '-' for figure in figures), percent(share),
                f'{sum(row.misses for row in own)} of {sum(len(row.seconds) for row in own)}',
            ))  # fmt: skip
    header = ('', 'all', *results.problems, 'share of the oracle', 'misses')
    table(f'{slots} slots: how many times sooner than random search the target is reached', header, rows)


def show_peers(results: Results, slots: int) -> None:
    """Print how many times sooner than each peer ours reach the targets, over the seeds that both have."""
    peers = [name for name in results.contenders if name in PEERS and results.rows(name, slots)]
    ours = [name for name in results.contenders if name not in (*PEERS, BASELINE, ORACLE)]
    rows = [(CONTENDERS[name].title, *(shown(results.overall(name, peer, slots)) for peer in peers)) for name in ours]
    if peers and rows:
        header = ('', *(CONTENDERS[peer].title for peer in peers))
        table(f'{slots} slots: how many times sooner than other libraries, all problems', header, rows)


def show_problem(results: Results, problem: str, slots: int) -> None:
    """Print seconds to the target of one problem."""
    rows = [
        (
            CONTENDERS[name].title, f'{np.median(row.times):,.3g}', f'{np.mean(row.times):,.3g}',
            f'{row.misses} of {len(row.seconds)}', shown(results.sooner(name, problem, slots)),
            percent(results.share(name, problem, slots)),
        )
        for name in results.contenders
        if (row := results.row(name, problem, slots))
    ]  # fmt: skip
    title = (
        f'{problem}, {slots} slots: simulated seconds to {target(problem):.4g}, at most {limit(problem, slots):,.4g}'
    )
    table(title, ('', 'median', 'mean', 'misses', 'x random', 'share of the oracle'), rows)


def shown(ratio: Ratio | None) -> str:
    """Return a ratio with its interval, to two digits behind the point."""
    if ratio is None:
        return '-'
    low, high = ratio.interval
    return f'{ratio.value:.2f} [{low:.2f}, {high:.2f}]'


def percent(ratio: Ratio | None) -> str:
    """Return a ratio in per cent."""
    return '-' if ratio is None else f'{ratio.value:.0%}'


# --- picture -----------------------------------------------------------------------------------------


def colour(name: str) -> Any:
    """Return a colour: grey for the floor and the ceiling, else one of each for ours and for others."""
    import matplotlib

    if name in (BASELINE, ORACLE):
        return '#8a8a8a' if name == BASELINE else '#c4c4c4'
    own = [other for other in CONTENDERS if other not in (BASELINE, ORACLE) and (other in PEERS) == (name in PEERS)]
    return matplotlib.colormaps['Dark2' if name in PEERS else 'tab10'](own.index(name))


def draw(results: Results, slots: int, output: Path) -> None:
    """Draw how much sooner targets are reached, and which share of the searches has reached them by when."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    columns = 3
    lines = -(-(len(results.problems) + 1) // columns)
    with matplotlib.rc_context(style.SETTINGS):
        figure, panels = plt.subplots(
            lines, columns, squeeze=False, figsize=(15, 3.8 * lines + 0.9), layout='constrained'
        )
        figure.suptitle(f'Time to a fully trained model of the top 1 %, {slots} slots', **style.HEADING)
        first, *others = panels.flat
        draw_overall(first, results, slots)
        for axis, problem in zip(others, results.problems):
            draw_problem(axis, results, problem, slots)
        for axis in others[len(results.problems) :]:
            axis.set_visible(False)
        handles, labels = others[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc='outside lower center', ncols=5)
        figure.savefig(output, dpi=110)
    print(f'\nThe picture: {output}')


def draw_overall(axis: Any, results: Results, slots: int) -> None:
    """Draw geometric means over problems, with their intervals."""
    found = [(name, own) for name in results.contenders if (own := results.overall(name, BASELINE, slots))]
    found.sort(key=lambda pair: pair[1].value)
    for height, (name, ratio) in enumerate(found):
        axis.plot(ratio.interval, [height] * 2, color=colour(name), lw=3, alpha=0.35, solid_capstyle='round')
        axis.plot(ratio.value, height, 'o', color=colour(name), mfc='white' if name in PEERS else colour(name))
    axis.set_yticks(range(len(found)), [CONTENDERS[name].title for name, _ in found])
    style.logarithmic(axis, 'x')
    axis.grid(axis='x', color=style.FAINT)
    axis.set_title(f'All problems ({len(results.problems)})')
    axis.set_xlabel('times sooner than random search')


def draw_problem(axis: Any, results: Results, problem: str, slots: int) -> None:
    """Draw which share of the searches has reached the target by when."""
    for name in results.contenders:
        if row := results.row(name, problem, slots):
            reached = sorted(own for own in row.seconds if own is not None)
            shares = np.arange(len(reached) + 1) / len(row.seconds)
            axis.step([*reached[:1], *reached], shares, where='post', color=colour(name), lw=3 if name in (BASELINE, ORACLE) else 1.6,
                      ls=(0, (4, 1.5)) if name in PEERS else '-', label=CONTENDERS[name].title)  # fmt: skip
    style.logarithmic(axis, 'x')
    axis.set_ylim(0, 1.02)
    axis.grid(color=style.FAINT)
    axis.set_title(problem, fontweight='normal')
    axis.set_xlabel('simulated seconds')
    axis.set_ylabel('searches that reached the target')


# --- the whole ---------------------------------------------------------------------------------------


def chosen(names: Iterable[str], peers: bool) -> list[str]:
    """Return those that can take part; say who cannot, and why."""
    found = []
    for name in dict.fromkeys((BASELINE, ORACLE, *names)):
        if name in PEERS and not peers:
            continue
        if reason := missing(name):
            print(f'left out: {CONTENDERS[name].title} ({reason})')
        else:
            found.append(name)
    return found


def main() -> None:
    """Run the searches, print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument('--quick', action='store_true', help='few seeds, 8 slots')
    size.add_argument('--full', action='store_true', help='many seeds')
    parser.add_argument('--methods', choices=CONTENDERS, nargs='+', metavar='NAME', help=', '.join(CONTENDERS))
    parser.add_argument('--problems', choices=PROBLEMS, nargs='+', metavar='NAME', help=', '.join(PROBLEMS))
    parser.add_argument('--slots', type=int, nargs='+', help='slots of each cluster')
    parser.add_argument('--seeds', type=int, help='searches of each contender on each problem')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--peers', action='store_true', help='run other libraries in the same run, and keep their rows')
    parser.add_argument('--record', action='store_true', help='train the recorded models again, and nothing else')
    parser.add_argument('--output', type=Path, default=Path('fidelity.png'), help='where the picture goes')
    arguments = parser.parse_args()

    if arguments.record:
        record(RECORDED)
        show_problems(['digits', 'deep network'])
        return
    scale = Scale.quick() if arguments.quick else Scale.full() if arguments.full else Scale()
    seeds, clusters = arguments.seeds or scale.seeds, arguments.slots or scale.slots
    problems = arguments.problems or list(PROBLEMS)
    names = chosen(arguments.methods or CONTENDERS, arguments.peers)
    tasks = [
        Task(name, problem, slots, seed)
        for name in names
        for slots in clusters
        for problem in problems
        for seed in range(seeds)
    ]
    rows = rows_of(run_all([task for task in tasks if task.contender not in PEERS], arguments.workers))
    peers = [name for name in names if name in PEERS]
    rows = [*kept_rows(), *rows, *rows_of(run_peers(peers, tasks, arguments.workers))]
    results = Results(rows, problems)
    show_problems(problems)
    for slots in clusters:
        for problem in problems:
            show_problem(results, problem, slots)
        show_overall(results, slots)
        show_peers(results, slots)
    draw(results, clusters[0], arguments.output)


if __name__ == '__main__':
    main()
