"""Many trials that run at once lie apart from each other, as those of a peer that is made for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.spatial.distance import pdist, squareform

from shadho import Search, spaces

NAMES = ('x', 'y', 'z')
TOLD, PENDING = 30, 16


def bowl(params: Mapping[str, Any]) -> float:
    return float(sum((params[name] - 0.3) ** 2 for name in NAMES))


def ours(method: str, seed: int) -> list[list[float]]:
    search = Search({name: spaces.uniform(0, 1) for name in NAMES}, method, seed=seed)
    for _ in range(TOLD):
        trial = search.ask()
        search.tell(trial, bowl(trial.params))
    return [[search.ask().params[name] for name in NAMES] for _ in range(PENDING)]


@cache
def theirs(seed: int) -> list[list[float]]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=True)
    study = optuna.create_study(sampler=sampler)

    def ask() -> tuple[Any, dict[str, float]]:
        trial = study.ask()
        return trial, {name: trial.suggest_float(name, 0, 1) for name in NAMES}

    for _ in range(TOLD):
        trial, params = ask()
        study.tell(trial, bowl(params))
    return [list(ask()[1].values()) for _ in range(PENDING)]


def distance_to_nearest(points: list[list[float]]) -> float:
    return float((squareform(pdist(points)) + 9 * np.eye(len(points))).min(axis=1).mean())


@pytest.mark.filterwarnings('ignore::optuna.exceptions.ExperimentalWarning')
@pytest.mark.parametrize('method', ['auto', 'gp', 'tpe', 'rf', 'hyperopt', 'cmaes', 'pso'])
def test_pending_trials_spread_like_those_of_optunas_constant_liar(method: str) -> None:
    seeds = range(2)
    peer = np.mean([distance_to_nearest(theirs(seed)) for seed in seeds])
    own = np.mean([distance_to_nearest(ours(method, seed)) for seed in seeds])
    assert own > 0.4 * peer
