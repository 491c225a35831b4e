"""Records learning curves: models of scikit-learn with many settings, read after every step of their training."""

from __future__ import annotations

import itertools
import sys
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from contest import spaces
from contest.spaces import Params

from shadho.forest import Forest
from shadho.ledger import Ledger
from shadho.samplers import SamplerContext
from shadho.samplers.sobol import Sobol

from .models import LEARNED, MODELS, STEPS, VALIDATED, boosted, trained

SETTINGS = 480
"""Of each tree: the first points of its Sobol' sequence."""

DIVERGED = np.iinfo(np.uint16).max
"""In the place of misread digits, where the weights of a model are no numbers any more."""


@cache
def digits() -> tuple[Any, ...]:
    """Return digits to learn from and to read, as parts of full ink, with what they are."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    return tuple(
        train_test_split(images / 16, labels, train_size=LEARNED, test_size=VALIDATED, stratify=labels, random_state=0)
    )


def curve(tree: str, params: Params) -> tuple[list[int], float, float]:
    """Return digits misread after each step, CPU seconds to start, and CPU seconds of a step with its reading."""
    images, others, labels, other_labels = digits()
    wrong: list[int] = []
    if tree == 'boosting':  # all steps are looked at in one model, as a fit that goes on reads its data again
        begun = time.process_time()
        boosted(params, 1, images, labels).predict(others)
        first = time.process_time() - begun
        begun = time.process_time()
        model = boosted(params, STEPS, images, labels)
        wrong = [int((read != other_labels).sum()) for read in model.staged_predict(others)]
        step = (time.process_time() - begun - first) / (STEPS - 1)
        return wrong, max(first - step, 0.0), step
    ends = [time.process_time()]
    try:
        for model in itertools.islice(trained(tree, params, images, labels), STEPS):
            wrong.append(int((model.predict(others) != other_labels).sum()))
            ends.append(time.process_time())
    except ValueError:  # the weights are no numbers any more
        ends.append(time.process_time())
    first, *rest = np.diff(ends)
    step = float(np.mean(rest)) if rest else float(first)
    return wrong + [DIVERGED] * (STEPS - len(wrong)), max(float(first) - step, 0.0), step


def record(path: Path, count: int = SETTINGS) -> None:
    """Train the first settings of each tree, one after the other, and write the table: about half an hour."""
    from threadpoolctl import threadpool_limits

    forest = Forest({'exclusive': True, **{tree: spaces.for_shadho(own) for tree, own in MODELS.items()}})
    sampler = Sobol(SamplerContext(forest, Ledger(), seed=0))
    table: dict[str, Any] = {}
    begun = time.process_time()
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for tree in forest:
            settings = [
                setting for number in range(count) for setting in tree.decode(sampler.point(tree, number)).values()
            ]
            curves = [curve(tree.label, own) for own in settings]
            print(f'{tree.label}: {count} settings, {time.process_time() - begun:,.0f} s', file=sys.stderr, flush=True)
            for item in MODELS[tree.label]:
                table[f'{tree.label}/{item.name}'] = np.array([own[item.name] for own in settings])
            table[f'{tree.label}/wrong'] = np.array([wrong for wrong, _, _ in curves], dtype=np.uint16)
            table[f'{tree.label}/seconds'] = np.array([seconds for _, *seconds in curves], dtype=np.float32)
    np.savez_compressed(path, **table)
