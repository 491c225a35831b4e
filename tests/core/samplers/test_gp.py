"""Gaussian processes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadho import Search, spaces
from shadho.samplers import Sampler, SamplerContext, gp
from shadho.samplers.gp import GaussianProcess
from shadho.testing import SamplerSuite

X = spaces.uniform(0, 1)


class TestGaussianProcess(SamplerSuite):
    """The contract of samplers."""

    expensive = True

    def make(self, context: SamplerContext) -> Sampler:
        return GaussianProcess(context)


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


def median_of(method: str, objective: Callable[[Any], float]) -> float:
    return statistics.median(best_of(method, seed, objective, 50) for seed in range(3))


def test_losses_of_trials_that_diverge_do_not_hide_the_others() -> None:
    def diverging(params: Any) -> float:
        return float(10 ** (6 + 4 * params['y'])) if params['x'] + 0.3 * params['y'] > 0.8 else bowl(params)

    assert median_of('gp', diverging) < median_of('random', diverging) / 100


def test_a_range_that_should_have_been_logarithmic_is_stretched() -> None:
    def rate(params: Any) -> float:
        return float((math.log10(params['x'] + 1e-7) + 2.7) ** 2 + (params['y'] - 0.4) ** 2)

    assert median_of('gp', rate) < median_of('random', rate) / 50


@given(warp=st.floats(-6, 6), x=st.floats(0, 1))
def test_warps_keep_the_ends_and_the_order_and_have_these_slopes(warp: float, x: float) -> None:
    warps, step = np.array([warp]), 1e-6
    assert gp._warped(np.array([0.0, 1.0])[:, None], warps).ravel() == pytest.approx([0.0, 1.0])
    x = min(max(x, step), 1 - step)
    low, middle, high = gp._warped(np.array([x - step, x, x + step])[:, None], warps).ravel()
    assert low < middle < high
    by_x, by_warp = gp._warp_slopes(np.array([[x]]), warps)
    assert by_x[0, 0] == pytest.approx((high - low) / (2 * step), rel=1e-3)
    if abs(warp) > 0.01:
        ends = [gp._warped(np.array([[x]]), warps + sign * 1e-5)[0, 0] for sign in (-1, 1)]
        assert by_warp[0, 0] == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-2, abs=1e-6)
