"""Does it pay to decide what runs where? A simulation that replays recorded losses and seconds.

One command, its tables and a picture, ``scheduling.png``::

    python benchmarks/scheduling.py                  # about 40 minutes on two cores
    python benchmarks/scheduling.py --quick          # a few minutes: fewer seeds, one cluster
    python benchmarks/scheduling.py --only target    # one section: hour, makespan, target, large, decision
    python benchmarks/scheduling.py --record         # fit all recorded models anew first (a quarter of an hour on two cores)

No trial is run: the very driver of real searches runs on simulated clusters of three compute classes
(`Simulated`), and a trial's loss and seconds are those of the nearest setting in a table of 5,120
support vector machines that were really fitted to 1,000 MNIST digits (``data/svm_mnist.csv``), with
seconds made longer as if there were more digits. Which class is slower by how much is assumed:

* ``svm, uniform``: 1 : 2 : 3 for all kernels;
* ``svm, affinity``: 1 : 4 : 12 for rbf and sigmoid, 1 : 1.2 : 1.5 for linear and poly.

Two more families are modelled, losses and seconds too: ``mix``, whose trees cost 27 : 9 : 3 : 1 on
uniformly slower classes, and ``gpu``, models on A100 cards, old cards of 4 GB that the larger ones do
not fit on, and nodes without cards.

All policies search at random within a tree, with the same seeds; ratios are of means over the seeds,
in brackets bootstrap intervals of 95 %. Needs ``pip install matplotlib optuna``, besides shadho-core;
and mlxtend and scikit-learn to record.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from replay import runs
from replay.contenders import POLICIES
from replay.record import record
from replay.runs import HOUR, Hour, Ratio, ratio
from replay.workloads import RECORDED, WORKLOADS, Workload

SOME = ('fcfs', 'ranked', 'market', 'equal θ=0.5')
PER_SLOT = 20
"""Trials of each slot that makespans are taken with."""

Figures = dict[tuple[Any, ...], Any]


@attrs.define
class Scale:
    """How much is run."""

    seeds: int = 48
    seeds_of_targets: int = 100
    seeds_of_options: int = 24
    seeds_of_optuna: int = 8
    clusters: Sequence[int] = (19, 95, 150)
    seconds: float = 1200.0
    decisions: int = 50_000

    @classmethod
    def quick(cls) -> Scale:
        return cls(4, 8, 4, 2, (95,), 600.0, 10_000)

    def seeds_for(self, contender: str, most: int) -> int:
        """Return how many seeds a contender has: fewer of those whose figures no bar is about."""
        if contender == 'Optuna TPE':
            return self.seeds_of_optuna
        return min(most, self.seeds_of_options) if contender in POLICIES and contender not in SOME else most

    def pairs(self) -> Iterator[tuple[int, str, Workload]]:
        """Yield clusters with workloads; on the largest, the recorded ones only."""
        for slots in self.clusters:
            for name, workload in WORKLOADS.items():
                if slots < 150 or name.startswith('svm'):
                    yield slots, name, workload


@attrs.define
class Report:
    """Prints tables, and collects which bars hold."""

    bars: list[tuple[str, str, str, bool]] = attrs.Factory(list)

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        rows = [header, *rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        print(f'\n{title}')
        for row in rows:
            cells = [
                cell.ljust(width) if not place else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths))
            ]
            print('  ' + '  '.join(cells).rstrip(), flush=True)

    def bar(
        self, figure: str, value: float | Ratio | None, least: float | None = None, most: float | None = None
    ) -> None:
        """Note a figure beside what it must be; ratios count as they are shown, None as one that is not known."""
        number = round(value.value, 2) if isinstance(value, Ratio) else value
        holds = number is not None and (least is None or number >= least) and (most is None or number <= most)
        wanted = f'>= {least:,g}' if least is not None else f'<= {most:,g}'
        shown = str(value) if isinstance(value, Ratio) else f'{value:,.3g}' if value is not None else 'never'
        self.bars.append((figure, shown, wanted, holds))

    def verdict(self) -> None:
        rows = [
            (figure, value, wanted, 'holds' if holds else 'DOES NOT HOLD') for figure, value, wanted, holds in self.bars
        ]
        self.table('Bars', ('', 'figure', 'bar', ''), rows)


def each_seed(
    pool: Executor, function: Callable[..., Any], contenders: Sequence[str], seeds: Callable[[str], int], name: str, slots: int,
    *rest: Any,
) -> dict[str, list[Any]]:  # fmt: skip
    """Return what each contender achieved, by seeds."""
    tasks = [(name, slots, own, seed, *rest) for own in contenders for seed in range(seeds(own))]
    results = pool.map(function, *zip(*tasks), chunksize=2)
    return {own: [next(results) for _ in range(seeds(own))] for own in contenders}


# --- an hour: models, work, the mix, what learning costs ---------------------------------------------


def hour(pool: Executor, scale: Scale, report: Report) -> Figures:
    """Compare what finishes in an hour."""
    figures: Figures = {}
    for slots, name, workload in scale.pairs():
        contenders = [*(POLICIES if slots == 95 else SOME), 'oracle market', *(['Optuna TPE'] if slots == 19 else [])]
        hours = each_seed(pool, runs.run_hour, contenders, partial(scale.seeds_for, most=scale.seeds), name, slots)
        rows = []
        for own, ended in hours.items():
            models, work = compare_hours(workload, ended, hours['fcfs'])
            done = np.mean([each.done for each in ended], axis=0)
            mix = runs.shares(workload, done)
            figures[name, slots, own] = models, work, mix
            failed = np.mean([each.failed.sum() for each in ended])
            rows.append(
                (
                    own,
                    f'{done.sum():,.0f}',
                    str(models),
                    str(work),
                    *(f'{share:.0%}' for share in mix.values()),
                    f'{failed:.0f}',
                )
            )
        report.table(
            f'{name}, {slots} slots: an hour ({scale.seeds} seeds); work: finished trials, each worth its mean seconds on the fastest class',
            ('', 'models/h', 'x fcfs', 'work x fcfs', *workload.trees, 'out of memory'), rows,
        )  # fmt: skip
        learned(report, workload, slots, hours)
        limits(report, workload, slots, hours['market'])
    for slots in set(scale.clusters) & {95}:
        bars_of_hours(report, figures, slots)
    return figures


def compare_hours(workload: Workload, ended: Sequence[Hour], base: Sequence[Hour]) -> tuple[Ratio, Ratio]:
    """Return the ratios of models and of work, over the seeds that both have."""
    pairs = list(zip(ended, base))
    models = ratio([own.done.sum() for own, _ in pairs], [other.done.sum() for _, other in pairs])
    return models, ratio(
        [runs.work(workload, own.done) for own, _ in pairs], [runs.work(workload, other.done) for _, other in pairs]
    )


def learned(report: Report, workload: Workload, slots: int, hours: dict[str, list[Hour]]) -> None:
    """Compare rates with learned and known seconds, from when every tree had ten finished trials."""
    pairs = [
        (own, known)
        for own, known in zip(hours['equal θ=0.5'], hours['oracle market'])
        if max(own.since, known.since) < HOUR
    ]
    models = work = None
    if pairs:
        models = ratio(*([each.late.sum() / (HOUR - each.since) for each in side] for side in zip(*pairs)))
        work = ratio(*([runs.work(workload, each.late) / (HOUR - each.since) for each in side] for side in zip(*pairs)))
        since = np.median([own.since for own, _ in pairs])
        print(
            '  learned seconds : known ones, equal priorities, from when every tree had 10 finished trials on', end=' '
        )
        print(f'(at {since:,.0f} s): models {models}, work {work}')
    report.bar(f'{workload.name}, {slots} slots: models/h, seconds learned : known', models, least=0.9)
    report.bar(f'{workload.name}, {slots} slots: work, seconds learned : known', work, least=0.9)


def limits(report: Report, workload: Workload, slots: int, hours: Sequence[Hour]) -> None:
    """Check that no tree starves, and that what does not fit is soon known."""
    least = min(float(each.done.sum(axis=1).min() / each.done.sum()) for each in hours)
    report.bar(f'{workload.name}, {slots} slots: least share of trials of a tree in any seed', least, least=0.001)
    if workload.memory:
        most = max(float(each.failed.max()) for each in hours)
        report.bar(f'{workload.name}, {slots} slots: most trials out of memory, of a tree in a class', most, most=5)


def bars_of_hours(report: Report, figures: Figures, slots: int) -> None:
    """Check how much finishes, by the default options and by those that trade time to target for it."""
    for own in ('market', 'equal θ=0.5', 'equal θ=0'):
        for name, least in (('svm, affinity', 1.8), ('mix (modelled)', 1.8)):
            report.bar(f'{name}, {slots} slots: models/h x fcfs, {own}', figures[name, slots, own][0], least=least)
        for name, least in (('svm, uniform', 1.0), ('svm, affinity', 1.5)):
            report.bar(f'{name}, {slots} slots: work x fcfs, {own}', figures[name, slots, own][1], least=least)


# --- makespan ----------------------------------------------------------------------------------------


def makespan(pool: Executor, scale: Scale, report: Report) -> Figures:
    """Compare how long the same number of trials of every tree takes."""
    figures: Figures = {}
    for slots, name, workload in scale.pairs():
        quota = math.ceil(PER_SLOT * slots / len(workload.trees))
        bound = runs.bound(workload, slots, quota)
        contenders = ('fcfs', 'ranked', 'market', 'oracle market')
        spans = each_seed(pool, runs.run_quota, contenders, lambda _: scale.seeds, name, slots, quota)
        rows = []
        for own, seconds in spans.items():
            to_fcfs, to_bound = ratio(seconds, spans['fcfs']), ratio(seconds, [bound] * len(seconds))
            figures[name, slots, own] = to_fcfs, to_bound
            rows.append((own, f'{np.mean(seconds):,.0f}', str(to_fcfs), str(to_bound)))
        title = f'{name}, {slots} slots: makespan of {quota} trials of every tree; the bound is {bound:,.0f} s'
        report.table(title, ('', 'seconds', ': fcfs', ': bound'), rows)
        if workload.memory:
            print('  (Trials that ran out of memory count as finished, which the bound knows nothing of.)')
        to_fcfs, to_bound = figures[name, slots, 'market']
        report.bar(f'{name}, {slots} slots: makespan : bound', to_bound, most=1.15)
        if name == 'svm, affinity':
            report.bar(f'{name}, {slots} slots: makespan : fcfs', to_fcfs, most=0.8)
    return figures


# --- time to target ----------------------------------------------------------------------------------


def target(pool: Executor, scale: Scale, report: Report) -> Figures:
    """Compare how soon losses are reached."""
    figures: Figures = {}
    for slots, name, workload in scale.pairs():
        targets = workload.targets_for(slots)
        contenders = [*(POLICIES if slots == 95 else SOME), 'oracle', *(['Optuna TPE'] if slots < 150 else [])]
        seeds = scale.seeds_of_targets
        found = each_seed(pool, runs.run_target, contenders, partial(scale.seeds_for, most=seeds), name, slots, targets)
        waves = [float(np.mean([each[place][1] for each in found['fcfs']])) / slots for place in range(len(targets))]
        rows = []
        for own, reached in found.items():
            cells = []
            for place, wave in enumerate(waves):
                sooner = sooner_than(found['fcfs'], reached, place)
                figures[name, slots, own, place] = sooner, wave
                cells.append(str(sooner) if sooner is not None else 'not always')
            rows.append((own, *cells, f'{np.mean([each[-1][1] for each in reached]):,.0f}'))
        header = [f'{loss:.4g} ({wave:.1f} waves)' for loss, wave in zip(targets, waves)]
        report.table(
            f'{name}, {slots} slots: how many times sooner than fcfs a loss is reached ({seeds} seeds); '
            'waves: trials per slot that fcfs needs', ('', *header, 'trials to the last'), rows,
        )  # fmt: skip
        bars_of_targets(report, figures, name, slots)
    return figures


def sooner_than(base: Sequence[Any], reached: Sequence[Any], place: int) -> Ratio | None:
    """Return how many times sooner a loss is reached; None when some searches never reached it."""
    seconds = [each[place][0] for each in reached]
    others = [each[place][0] for each in base[: len(reached)]]
    return ratio(others, seconds) if np.isfinite([*seconds, *others]).all() else None


def bars_of_targets(report: Report, figures: Figures, name: str, slots: int) -> None:
    """Check how soon losses are reached; how many times sooner one can be is assumed where losses are modelled."""
    for place in range(3):
        sooner, waves = figures[name, slots, 'market', place]
        oracle, _ = figures[name, slots, 'oracle', place]
        loss = f'{name}, {slots} slots: time to {WORKLOADS[name].targets_for(slots)[place]:.4g} ({waves:.0f} waves)'
        if waves < 3:
            report.bar(f'{loss}, an easy one: x fcfs', sooner, least=0.95)
        elif waves >= 8:
            if name.startswith('svm'):
                report.bar(f'{loss}: x fcfs', sooner, least=1.7 if 'affinity' in name else 1.5)
            share = None if sooner is None or oracle is None else sooner.value / oracle.value
            report.bar(f'{loss}: share of the oracle', share, least=0.75)


# --- large clusters, many trees ----------------------------------------------------------------------


def large(pool: Executor, scale: Scale, report: Report) -> Figures:
    """Measure how fast the driver is with 10,000 workers; alone on the machine, so in one process."""
    for name in ('mix (modelled)', 'svm, affinity'):
        workload, base, rows = WORKLOADS[name], None, []
        for own in SOME:
            rates, done = runs.run_long(name, 10_000, own, scale.seconds)
            base = done if base is None else base
            models, work = done.sum() / base.sum(), runs.work(workload, done) / runs.work(workload, base)
            rows.append(
                (
                    own,
                    f'{done.sum():,.0f}',
                    f'{models:.2f}',
                    f'{work:.2f}',
                    *(f'{rates[place]:,.0f}' for place in (0, 1, 10)),
                )
            )
            if own == 'market':
                report.bar(f'{name}, 10,000 workers: trials per wall second', float(rates[0]), least=5_000)
                report.bar(
                    f'{name}, 10,000 workers: its last tenth : its first', float(rates[10] / rates[1]), least=0.9
                )
        report.table(
            f'{name}, 10,000 workers, {scale.seconds:,.0f} s, 1 seed', ('', 'trials', 'models x fcfs', 'work x fcfs',
            'trials per wall second', 'of the first tenth', 'of the last tenth'), rows,
        )  # fmt: skip
    name = 'svm, affinity'
    quota = PER_SLOT * 10_000 // len(WORKLOADS[name].trees)
    bound = runs.bound(WORKLOADS[name], 10_000, quota)
    spans = {own: runs.run_quota(name, 10_000, own, 0, quota) for own in ('fcfs', 'ranked', 'market')}
    rows = [(own, f'{span:,.0f}', f'{span / spans["fcfs"]:.2f}', f'{span / bound:.2f}') for own, span in spans.items()]
    title = f'{name}, 10,000 workers: makespan of {quota:,} trials of every tree, 1 seed; the bound is {bound:,.0f} s'
    report.table(title, ('', 'seconds', ': fcfs', ': bound'), rows)
    return {}


def decision(pool: Executor, scale: Scale, report: Report) -> Figures:
    """Measure what a decision costs with many trees and classes."""
    cost = 1000 * runs.decision_cost(trees=10_000, classes=20, slots=5_000, trials=scale.decisions)
    print(
        f'\n10,000 active trees x 20 classes: {cost:.2f} ms a trial to suggest and learn it ({scale.decisions:,} trials)'
    )
    report.bar('10,000 active trees x 20 classes: milliseconds a trial', cost, most=1.0)
    return {}


# --- the picture -------------------------------------------------------------------------------------

COLOURS = {
    'ranked': '#999999', 'market': '#0072b2', 'equal θ=0.5': '#e69f00', 'equal θ=0': '#d55e00', 'oracle': '#009e73',
    'oracle market': '#009e73', 'Optuna TPE': '#cc79a7',
}  # fmt: skip
NAMES = {'market': 'market (default)', 'equal θ=0.5': 'market, equal priorities', 'equal θ=0': 'equal priorities, θ=0'}


def draw(figures: dict[str, Figures], path: Path) -> None:
    """Draw times to targets, what an hour gives, and the mix of trees."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(20, 10), width_ratios=(1.3, 1, 1), layout='constrained')
    draw_targets(axes[0], figures.get('target', {}))
    draw_hours(axes[1], figures.get('hour', {}))
    draw_mix(axes[2], figures.get('hour', {}))
    figure.suptitle(
        'Simulated clusters, replaying recorded (svm) or modelled (mix, gpu) losses and seconds', fontsize=13
    )
    figure.savefig(path, dpi=110)
    print(f'\n{path} shows the main figures')


def draw_dots(axis: Any, rows: Sequence[str], dots: dict[str, list[Ratio | None]]) -> None:
    """Draw ratios with their intervals: one line for each row, one colour for each contender."""
    for number, (own, ratios) in enumerate(dots.items()):
        shift = (number - (len(dots) - 1) / 2) * 0.13
        known = [(place + shift, each) for place, each in enumerate(ratios) if each is not None]
        values = [each.value for _, each in known]
        spread = [[each.value - each.low for _, each in known], [each.high - each.value for _, each in known]]
        axis.errorbar(
            values,
            [place for place, _ in known],
            xerr=spread,
            fmt='o',
            ms=4.5,
            lw=1.5,
            color=COLOURS[own],
            label=NAMES.get(own, own),
        )
    for place in range(0, len(rows), 2):
        axis.axhspan(place - 0.5, place + 0.5, color='#f3f3f3', zorder=0)
    axis.axvline(1, color='black', lw=1)
    axis.set_xscale('log', base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f'{value:g}x')
    axis.set_yticks(range(len(rows)), rows)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis='x', color='#dddddd')
    axis.legend(loc='upper center', bbox_to_anchor=(0.5, -0.05), ncols=3, fontsize=9, frameon=False)


def draw_targets(axis: Any, figures: Figures) -> None:
    """Draw times to targets, of all clusters and families."""
    axis.set_title('Time to a target loss: how many times sooner than fcfs')
    contenders = ('ranked', 'equal θ=0.5', 'market', 'oracle', 'Optuna TPE')
    keys = [
        (name, slots, place)
        for name, slots, own, place in figures
        if own == 'market' and (slots == 95 or name.startswith('svm'))
    ]
    rows = [
        f'{name}, {slots} slots, {figures[name, slots, "market", place][1]:.0f} waves' for name, slots, place in keys
    ]
    dots = {
        own: [figures.get((name, slots, own, place), (None,))[0] for name, slots, place in keys] for own in contenders
    }
    draw_dots(axis, rows, dots)
    axis.tick_params(axis='y', labelsize=8)


def draw_hours(axis: Any, figures: Figures) -> None:
    """Draw what finishes in an hour on 95 slots."""
    axis.set_title('An hour on 95 slots, as a multiple of fcfs')
    contenders = ('ranked', 'market', 'equal θ=0.5', 'equal θ=0', 'oracle market')
    rows = [f'{name}\n{figure}' for name in WORKLOADS for figure in ('models', 'work')]
    dots = {
        own: [figures[name, 95, own][place] for name in WORKLOADS for place in (0, 1)] for own in contenders if figures
    }
    draw_dots(axis, rows, dots)


def draw_mix(axis: Any, figures: Figures) -> None:
    """Draw which trees the trials are of."""
    axis.set_title('The mix: share of trials of each tree (svm, 95 slots)')
    rows = [(name, own) for name in ('svm, uniform', 'svm, affinity') for own in ('fcfs', *SOME[1:], 'equal θ=0')]
    trees = list(WORKLOADS['svm, uniform'].trees)
    left = np.zeros(len(rows))
    for tree, colour in zip(trees, ('#56b4e9', '#0072b2', '#f0e442', '#e69f00')):
        widths = np.array([figures[name, 95, own][2][tree] if figures else 0.0 for name, own in rows])
        axis.barh(range(len(rows)), widths, left=left, color=colour, label=tree, height=0.7)
        left += widths
    axis.set_yticks(range(len(rows)), [f'{own}\n({name.split(", ")[1]})' for name, own in rows])
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
    axis.legend(loc='upper center', bbox_to_anchor=(0.5, -0.05), ncols=4, fontsize=9, frameon=False)


SECTIONS: dict[str, Callable[[Executor, Scale, Report], Figures]] = {
    own.__name__: own for own in (hour, makespan, target, large, decision)
}


def main() -> None:
    """Run the sections, and print their tables and which bars hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='fewer seeds, one cluster')
    parser.add_argument('--only', choices=SECTIONS, nargs='+', default=list(SECTIONS), help='sections to run')
    parser.add_argument('--output', type=Path, default=Path('scheduling.png'), help='where the picture goes')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--record', action='store_true', help='fit all recorded models anew first')
    arguments = parser.parse_args()
    logging.getLogger('shadho').setLevel(logging.ERROR)
    if arguments.record:
        record(RECORDED, arguments.workers)

    print(
        'A simulation: clusters, classes and their speeds are assumed; svm replays recorded losses and seconds, mix and gpu are modelled.'
    )
    scale, report = Scale.quick() if arguments.quick else Scale(), Report()
    figures = {}
    with ProcessPoolExecutor(arguments.workers, initializer=quiet) as pool:
        for name in arguments.only:
            begun = time.perf_counter()
            figures[name] = SECTIONS[name](pool, scale, report)
            print(f'\n({name}: {(time.perf_counter() - begun) / 60:.1f} minutes)', flush=True)
    report.verdict()
    if {'hour', 'target'} <= set(figures):
        draw(figures, arguments.output)


def quiet() -> None:
    """Leave warnings out, of workers that seem slow because their trials are."""
    logging.getLogger('shadho').setLevel(logging.ERROR)


if __name__ == '__main__':
    main()
