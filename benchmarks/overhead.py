"""What a trial costs beside its objective: rates with an objective that does nothing, next to peers.

One command, one table::

    python benchmarks/overhead.py            # about three minutes on two cores
    python benchmarks/overhead.py --quick    # a tenth of the trials

Each figure is taken in turn with its peer or floor, several rounds; ratios are those of the medians.
Needs ``pip install optuna`` besides shadho-core[local].
"""

from __future__ import annotations

import argparse
import gc
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from shadho import Shadho, Trial, hookimpl, spaces

SPACE = {'x': spaces.uniform(0, 1), 'y': spaces.uniform(0, 1)}


def nothing(params: object) -> float:
    """Cost nothing."""
    return 0.0


class Stopwatch:
    """An observer that notes when trials finish, so that starting up does not count."""

    def __init__(self) -> None:
        self.times: list[float] = []

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        self.times.append(time.perf_counter())

    def rate(self, first: int, last: int) -> float:
        """Return trials per second between two trials."""
        return (last - first) / (self.times[last] - self.times[first])


def shadho_rate(backend: str, trials: int, folder: Path) -> Stopwatch:
    """Run a search of so many trials with its default storage, SQLite."""
    watch = Stopwatch()
    storage = folder / f'{backend}-{time.monotonic_ns()}.db'
    Shadho(
        'overhead',
        nothing,
        SPACE,
        max_tasks=trials,
        seed=0,
        backend=backend,
        storage=storage,
        display=False,
        plugins=[watch],
    ).run()
    return watch


def optuna_rate(trials: int, folder: Path) -> float:
    """Return the rate of Optuna with random sampling and its journal file."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(folder / f'{time.monotonic_ns()}.log')))
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        return nothing({'x': trial.suggest_float('x', 0, 1), 'y': trial.suggest_float('y', 0, 1)})

    study.optimize(objective, n_trials=50)
    begun = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return trials / (time.perf_counter() - begun)


def pool_rate(trials: int) -> float:
    """Return the rate of a process pool with one future for each trial: the floor."""
    params = {'x': 0.5, 'y': 0.5}
    with ProcessPoolExecutor(2) as pool:
        for future in [pool.submit(nothing, params) for _ in range(50)]:
            future.result()
        begun = time.perf_counter()
        for future in [pool.submit(nothing, params) for _ in range(trials)]:
            future.result()
        return trials / (time.perf_counter() - begun)


def compare(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Measure two rates in turn; return their medians."""
    pairs = [(ours(), peer()) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def bytes_per_trial(trials: int, folder: Path) -> float:
    """Return by how much the driver's memory grows for each trial that is recorded."""
    import psutil

    process = psutil.Process()
    marks: list[int] = []

    class Marks:
        @hookimpl
        def shadho_trial_finished(self, trial: Trial) -> None:
            if trial.id in (trials // 5, trials - 1):
                gc.collect()
                marks.append(process.memory_info().rss)

    Shadho(
        'memory', nothing, SPACE, max_tasks=trials, seed=0, backend='inline', storage=folder / 'memory.db', display=False,
        plugins=[Marks()],
    ).run()  # fmt: skip
    return (marks[1] - marks[0]) / (trials - trials // 5)


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='a tenth of the trials')
    scale = 10 if parser.parse_args().quick else 1
    logging.disable(logging.WARNING)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trials = 5_000 // scale
        ours, peer = compare(
            lambda: shadho_rate('inline', trials, folder).rate(50, trials - 1), lambda: optuna_rate(trials, folder), 3
        )
        rows.append(('inline, SQLite: trials/s', ours, 'Optuna, journal file', peer, ours / peer, '>= 3'))
        trials = 20_000 // scale
        ours, peer = compare(
            lambda: shadho_rate('local', trials, folder).rate(50, trials - 1), lambda: pool_rate(trials), 5
        )
        rows.append(('local, 2 slots, SQLite: trials/s', ours, 'ProcessPoolExecutor(2)', peer, ours / peer, '>= 0.5'))
        last = 52_000 // scale
        windows = []
        for _ in range(3):
            watch = shadho_rate('inline', last, folder)
            step = 2_000 // scale
            windows.append((watch.rate(last - step, last - 1), watch.rate(step // 2, step // 2 + step)))
        late, early = (statistics.median(column) for column in zip(*windows))
        rows.append(
            (
                f'inline, at trial {last - step // 2:,}: trials/s',
                late,
                f'at trial {step:,}',
                early,
                late / early,
                '>= 0.9',
            )
        )
        size = bytes_per_trial(50_000 // scale, folder)
        rows.append(('driver memory: bytes a trial', size, 'bound', 2048.0, size / 2048, '<= 1'))
    print(f'{"figure":<36}{"ours":>9}  {"beside":<24}{"":>9}{"ratio":>8}   bar')
    for figure, ours, beside, peer, ratio, bar in rows:
        print(f'{figure:<36}{ours:>9,.0f}  {beside:<24}{peer:>9,.0f}{ratio:>8.2f}   {bar}')


if __name__ == '__main__':
    main()
