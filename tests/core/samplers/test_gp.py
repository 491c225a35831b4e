"""Gaussian processes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest

from shadho import Search, spaces
from shadho.forest import Forest
from shadho.samplers.base import Sampler
from shadho.samplers.gp import GaussianProcess
from shadho.testing import SamplerSuite

X = spaces.uniform(0, 1)


class TestGaussianProcess(SamplerSuite):
    """The contract of samplers."""

    expensive = True

    def make(self, forest: Forest, seed: int) -> Sampler:
        return GaussianProcess(forest, seed=seed)


def bowl(params: Any) -> float:
    return float((params['x'] - 0.3) ** 2 + 2 * (params['y'] - 0.8) ** 2)


def best_of(method: Any, seed: int, objective: Callable[[Any], float], trials: int = 25) -> float:
    search = Search({'x': X, 'y': X}, method=method, seed=seed)
    for _ in range(trials):
        trial = search.ask()
        assert trial is not None
        search.tell(trial, objective(trial.params))
    assert search.best is not None
    assert search.best.loss is not None
    return search.best.loss


def test_it_finds_the_bottom_of_a_bowl_in_few_trials() -> None:
    ours, chance = ([best_of(method, seed, bowl) for seed in range(3)] for method in (GaussianProcess, 'random'))
    assert statistics.median(ours) < statistics.median(chance) / 50


@pytest.mark.parametrize('change', [lambda loss: -1e200 * math.exp(-loss), lambda loss: math.exp(50 * loss), math.log])
def test_the_scale_of_losses_does_not_matter(change: Callable[[float], float]) -> None:
    best = best_of(GaussianProcess, 1, lambda params: change(bowl(params) + 1e-6))
    assert best < change(best_of('random', 1, bowl) / 2)
