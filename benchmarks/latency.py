"""What a suggestion costs: milliseconds of ask and tell, with 10 mixed dimensions, after many finished trials.

One command, a table and a picture, ``latency.png``::

    python benchmarks/latency.py             # about five minutes
    python benchmarks/latency.py --quick     # one minute: fewer suggestions, 100 and 1,000 trials
    python benchmarks/latency.py --full      # slow libraries after 5,000 trials too, which takes an hour

Every method is told the same finished trials, of random search, and then asked for suggestions in turn with
the others, in one process with one thread; each is told its loss at once. Times are those of the processor.
The first suggestion does not count, as it may import or fit what later ones have. Some methods fit a model
only now and then, so that there are medians and means; ratios are those of the means to Optuna's TPE, in
the same run.

Needs ``pip install cmaes hyperopt matplotlib optuna scikit-learn smac`` besides shadho-core, and ``torch==2.13.0`` for
Optuna's Gaussian process.
"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from contest import spaces, style
from contest.contenders import BASELINE, CONTENDERS, Contender, missing
from contest.spaces import Category, Params, Real, Space, Whole

SPACE: Space = [
    *(Real(f'x{place}', -1, 1) for place in range(4)), Real('rate', 1e-5, 1, log=True), Real('decay', 1e-6, 1e-1, log=True),
    Whole('layers', 1, 8), Whole('units', 16, 512), Category('activation', ('relu', 'tanh', 'gelu')),
    Category('optimiser', ('sgd', 'adam', 'rmsprop', 'lion')),
]  # fmt: skip

SLOW = 1000
"""Finished trials after which slow libraries are left out, unless ``--full``."""

LEAST_ASKED = 17
"""Suggestions at least: SMAC fits its forest once for eight of them."""

TURN = 20.0
"""Milliseconds of one contender's turn, if it can suggest more than once in them."""

PEER = 'optuna-tpe'

Ms = Mapping[tuple[str, int], Sequence[float]]


def loss(params: Params) -> float:
    """Return what is to be learned; its shape matters little."""
    bowl = sum((params[f'x{place}'] - 0.3) ** 2 for place in range(4)) + (math.log10(params['rate']) + 3) ** 2
    whole = (params['layers'] - 3) ** 2 / 10 + abs(params['units'] - 128) / 200
    return float(bowl + whole + (params['activation'] == 'tanh') + 0.5 * (params['optimiser'] == 'sgd'))


@attrs.define
class Timed:
    """A contender with the milliseconds of its suggestions."""

    contender: Contender
    ms: list[float] = attrs.Factory(list)

    def step(self) -> None:
        """Ask and tell."""
        begun = time.process_time()
        token, params = self.contender.ask()
        asked = time.process_time()
        value = loss(params)
        before = time.process_time()
        self.contender.tell(token, value)
        self.ms.append(1000 * (asked - begun + time.process_time() - before))

    def turn(self, asked: int, budget: float) -> None:
        """Ask for one or more: as many as `TURN` allows, as another library that ran before leaves caches cold."""
        first = len(self.ms)
        while len(self.ms) < asked and (len(self.ms) < LEAST_ASKED or sum(self.ms) < budget):
            self.step()
            if sum(self.ms[first:]) > TURN:
                break


def measure(finished: int, names: Sequence[str], asked: int, budget: float) -> dict[str, list[float]]:
    """Return milliseconds of the suggestions of each contender after so many finished trials.

    Parameters
    ----------
    asked : int
        Suggestions of each contender.
    budget : float
        Milliseconds after which one has had enough of them, if it had `LEAST_ASKED`.
    """
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    rng = np.random.default_rng(0)
    points = [spaces.drawn(SPACE, rng) for _ in range(finished)]
    timed = {name: Timed(CONTENDERS[name](SPACE, 0, finished + asked + 1)) for name in names}
    for own in timed.values():
        own.contender.learn([(point, loss(point)) for point in points])
        own.step()
        own.ms.clear()
    gc.collect()
    for _ in range(asked):
        for own in timed.values():
            own.turn(asked, budget)
    return {name: own.ms for name, own in timed.items()}


def measure_all(names: Sequence[str], sizes: Sequence[int], asked: int, budget: float, full: bool) -> Ms:
    """Measure after each number of finished trials, in a new process with one thread."""
    os.environ.update(dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1'))
    ms = {}
    for finished in sizes:
        taking_part = [name for name in names if full or finished <= SLOW or not CONTENDERS[name].slow]
        begun = time.monotonic()
        with ProcessPoolExecutor(1, get_context('spawn')) as pool:
            measured = pool.submit(measure, finished, taking_part, asked, budget).result()
        ms.update({(name, finished): times for name, times in measured.items()})
        print(f'after {finished:,} trials: measured in {time.monotonic() - begun:.0f} seconds', flush=True)
    return ms


def show(names: Sequence[str], sizes: Sequence[int], ms: Ms) -> None:
    """Print medians, means, and ratios of means to the peer."""
    widths = 8, 8, 7
    print(f'\n{"":<14}' + ''.join(f'{f"{size:,} trials":>{sum(widths)}}' for size in sizes))
    print(f'{"":<14}' + f'{"median":>{widths[0]}}{"mean":>{widths[1]}}{"ratio":>{widths[2]}}' * len(sizes))
    for name in names:
        cells = ''
        for size in sizes:
            if (name, size) in ms:
                own = ms[name, size]
                ratio = f'{statistics.mean(own) / statistics.mean(ms[PEER, size]):.2f}' if (PEER, size) in ms else ''
                cells += f'{_number(statistics.median(own)):>{widths[0]}}{_number(statistics.mean(own)):>{widths[1]}}{ratio:>{widths[2]}}'
            else:
                cells += f'{"-":>{widths[0]}}' + ' ' * (widths[1] + widths[2])
        print(f'{CONTENDERS[name].title:<14}{cells}'.rstrip())


def _number(ms: float) -> str:
    """Return milliseconds with three digits or so."""
    return f'{ms:.3f}' if ms < 1 else f'{ms:.2f}' if ms < 10 else f'{ms:,.0f}' if ms >= 100 else f'{ms:.1f}'


@attrs.frozen
class Bar:
    """What was aimed at."""

    name: str
    finished: int
    most: float
    of: Callable[[Sequence[float]], float] = statistics.median
    of_peer: float = 0.0
    """Or so many times the peer's."""


BARS = [
    *(Bar('random', finished, 0.1) for finished in (100, 1000, 5000)),
    Bar('tpe', 1000, 10, of_peer=0.7), Bar('tpe', 5000, 30, of_peer=0.7),
    Bar('rf', 1000, 60, statistics.mean), Bar('gp', 100, 150), Bar('gp', 1000, 500),
]  # fmt: skip


def judge(ms: Ms) -> None:
    """Print which bars hold."""
    print()
    for bar in BARS:
        if (bar.name, bar.finished) in ms:
            value, aim = bar.of(ms[bar.name, bar.finished]), f'{bar.most:g} ms'
            holds = value <= bar.most
            if bar.of_peer and (PEER, bar.finished) in ms:
                holds = holds or value <= bar.of_peer * bar.of(ms[PEER, bar.finished])
                aim += f", or {bar.of_peer:g} of {CONTENDERS[PEER].title}'s"
            verdict = 'holds' if holds else 'DOES NOT HOLD'
            what = f'{bar.name} after {bar.finished:,} trials: {bar.of.__name__} {_number(value)} ms'
            print(f'{what:<46} <= {aim:<36} {verdict}')


def draw(names: Sequence[str], sizes: Sequence[int], ms: Ms, output: Path) -> None:
    """Draw a line for each contender; where mean and median differ much, the mean too."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    with matplotlib.rc_context(style.SETTINGS):
        figure, axis = plt.subplots(figsize=(9.5, 6.2), layout='constrained')
        ends = []
        for name in names:
            known = [size for size in sizes if (name, size) in ms]
            medians = [statistics.median(ms[name, size]) for size in known]
            axis.plot(known, medians, **style.line(name), **_dot(name))
            for size, median in zip(known, medians):
                mean = statistics.mean(ms[name, size])
                if not 0.67 < mean / median < 1.5:
                    axis.plot([size, size], [median, mean], color=style.COLOURS[name], lw=1, alpha=0.6)
                    axis.plot(size, mean, color=style.COLOURS[name], marker='_', ms=9)
            ends.append((known[-1], medians[-1], name))
        style.logarithmic(axis, 'xy')
        axis.set_xlim(sizes[0] / 1.15, sizes[-1] * 2.1)
        axis.set_xticks(sizes, [f'{size:,}' for size in sizes])
        axis.minorticks_off()
        _label(axis, ends)
        axis.set_title(
            'Milliseconds of ask and tell, 10 mixed dimensions: medians (a dash: the mean, where it differs)'
        )
        axis.set_xlabel('finished trials')
        axis.set_ylabel('milliseconds')
        axis.grid(color=style.FAINT)
        figure.savefig(output, dpi=130)
    print(f'\nThe picture: {output}')


def _dot(name: str) -> dict[str, Any]:
    return {key: value for key, value in style.dot(name).items() if key != 'color'}


def _label(axis: Any, ends: Sequence[tuple[int, float, str]]) -> None:
    """Write names at the ends of lines, those that would touch one above the other."""
    low, high = (math.log(limit) for limit in axis.get_ylim())
    gap = 0.032 * (high - low)
    for end in {size for size, _, _ in ends}:
        place = -math.inf
        for size, value, name in sorted(ends, key=lambda own: own[1]):
            if size == end:
                place = max(math.log(value), place + gap)
                axis.annotate(
                    CONTENDERS[name].title,
                    (size, value),
                    (size * 1.09, math.exp(place)),
                    color=style.COLOURS[name],
                    va='center',
                )


def main() -> None:
    """Measure, print the table and what holds, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='fewer suggestions, after 100 and 1,000 trials')
    parser.add_argument('--full', action='store_true', help='slow libraries after any number of trials')
    known = [name for name in CONTENDERS if name != BASELINE]
    parser.add_argument('--methods', choices=known, nargs='+', default=known, metavar='NAME', help=', '.join(known))
    parser.add_argument('--trials', type=int, nargs='+', help='finished trials (100 1000 5000)')
    parser.add_argument('--asked', type=int, help='suggestions that are timed, of each method (50)')
    parser.add_argument('--output', type=Path, default=Path('latency.png'), help='where the picture goes')
    arguments = parser.parse_args()
    sizes = sorted(arguments.trials or ([100, 1000] if arguments.quick else [100, 1000, 5000]))
    asked, budget = arguments.asked or (20 if arguments.quick else 50), 2e3 if arguments.quick else 15e3

    reasons = {name: missing(name) for name in arguments.methods}
    for name, reason in reasons.items():
        if reason:
            print(f'left out: {CONTENDERS[name].title} ({reason})')
    names = [name for name, reason in reasons.items() if not reason]
    ms = measure_all(names, sizes, asked, budget, arguments.full)
    show(names, sizes, ms)
    judge(ms)
    draw(names, sizes, ms, arguments.output)


if __name__ == '__main__':
    main()
