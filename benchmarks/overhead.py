"""What a trial costs beside its objective: rates with an objective that does nothing, next to peers.

One command, one table::

    python benchmarks/overhead.py            # about three minutes on two cores
    python benchmarks/overhead.py --quick    # a tenth of the trials

Each figure is taken in turn with its peer or floor, several rounds; ratios are those of the medians.
Needs ``pip install optuna`` besides shadho-core and shadho-local.
"""

from __future__ import annotations

import argparse
import gc
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
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
        'random',
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


class Memory:
    """An observer that notes the memory of this process at two trials."""

    def __init__(self, *trials: int) -> None:
        self.trials = trials
        self.marks: list[int] = []

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        import psutil

        if trial.id in self.trials:
            gc.collect()
            self.marks.append(psutil.Process().memory_info().rss)


def bytes_per_trial(trials: int, folder: Path) -> float:
    """Return by how much the driver's memory grows for each trial that is recorded."""
    memory = Memory(trials // 5, trials - 1)
    options = {'backend': 'inline', 'storage': folder / 'memory.db', 'display': False, 'plugins': [memory]}
    Shadho('memory', nothing, SPACE, 'random', max_tasks=trials, seed=0, **options).run()
    return (memory.marks[1] - memory.marks[0]) / (trials - trials // 5)


def import_seconds(statement: str) -> float:
    """Return the CPU seconds of a new interpreter that runs a statement, beyond one that runs none."""

    def cpu(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, '-c', code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return statistics.median(cpu(statement) - cpu('pass') for _ in range(5))


def early_and_late(trials: int, window: int, folder: Path) -> tuple[float, float]:
    """Return the rates around trial `window` and at the end of a long search."""
    watches = [shadho_rate('inline', trials, folder) for _ in range(3)]
    early = statistics.median(watch.rate(window // 2, window + window // 2) for watch in watches)
    late = statistics.median(watch.rate(trials - window, trials - 1) for watch in watches)
    return early, late


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='a tenth of the trials')
    scale = 10 if parser.parse_args().quick else 1
    logging.disable(logging.WARNING)
    print(f'{"figure":<36}{"ours":>9}  {"beside":<24}{"":>9}{"ratio":>8}   bar')

    def show(figure: str, ours: float, beside: str, peer: float, bar: str) -> None:
        print(f'{figure:<36}{ours:>9,.0f}  {beside:<24}{peer:>9,.0f}{ours / peer:>8.2f}   {bar}', flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many, last, window = (count // scale for count in (5_000, 20_000, 51_000, 2_000))
        inline, optuna = compare(
            lambda: shadho_rate('inline', few, folder).rate(50, few - 1), lambda: optuna_rate(few, folder), 3
        )
        show('inline, SQLite: trials/s', inline, 'Optuna, journal file', optuna, '>= 3')
        local, pool = compare(lambda: shadho_rate('local', many, folder).rate(50, many - 1), lambda: pool_rate(many), 5)
        show('local, 2 slots, SQLite: trials/s', local, 'ProcessPoolExecutor(2)', pool, '>= 0.5')
        early, late = early_and_late(last, window, folder)
        show(f'inline, at trial {last - window // 2:,}: trials/s', late, f'at trial {window // 2:,}', early, '>= 0.9')
        with ProcessPoolExecutor(1, get_context('spawn')) as fresh:  # with no freed memory to use again
            size = fresh.submit(bytes_per_trial, 100_000 // scale, folder).result()
        show('driver memory: bytes a trial', size, 'bound', 2048, '<= 1')
    ours, peer = map(import_seconds, ('from shadho import Shadho, Search, spaces', 'import optuna'))
    show('import: CPU ms', ours * 1000, 'import optuna', peer * 1000, 'ours <= 300')


if __name__ == '__main__':
    main()
