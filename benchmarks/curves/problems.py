"""Problems whose trials are trained step by step: their losses after every step and their seconds are known.

`digits` and its single trees replay recorded curves; the others are formulas.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from contest.problems import HARTMANN6_CENTRES, HARTMANN6_SCALES, HARTMANN_WEIGHTS, reals, vector
from contest.spaces import Branch, Category, Item, Params, Real, Space, drawn
from scipy.spatial import cKDTree

from .models import MODELS, STEPS, VALIDATED

Floats = npt.NDArray[np.float64]

RECORDED = Path(__file__).parents[1] / 'data' / 'digits_curves.npz'

TOP = 0.01
"""Fraction of the settings that count as good when they are fully trained."""

MOST = 400
"""Full trainings by whose mean seconds a search is limited: random search finds one of the top 1 % with 98 %."""

DRAWN = 10_000
"""Random settings of formulas, by which their targets are found."""


@attrs.frozen(eq=False)
class Curve:
    """How one setting is trained.

    Attributes
    ----------
    losses : array
        Losses that are reported after each step; nan from where the training diverged.
    start, step : float
        Seconds whenever the training starts or is taken up again, and seconds of each step.
    final : float
        True loss of the fully trained model, without the noise of what is reported.
    """

    losses: Floats
    start: float
    step: float
    final: float


@attrs.frozen(eq=False)
class Problem:
    """What may be searched, and the curve of each setting.

    Attributes
    ----------
    name : str
    space : list of parameters and branches
    curve : callable
        Takes active parameters by name.
    known : sequence of curve
        Curves of the recorded settings; none where curves are formulas.
    """

    name: str
    space: Space
    curve: Callable[[Params], Curve]
    known: Callable[[], Sequence[Curve]] | None = None


@cache
def sampled(problem: str) -> Sequence[Curve]:
    """Return the curves of all recorded settings of a problem, or of random ones."""
    own = PROBLEMS[problem]
    if own.known is not None:
        return own.known()
    rng = np.random.default_rng(0)
    return [own.curve(drawn(own.space, rng)) for _ in range(DRAWN)]


@cache
def target(problem: str) -> float:
    """Return the loss that the top 1 % of fully trained settings reach."""
    finals = np.sort([curve.final for curve in sampled(problem)])
    return float(finals[round(TOP * len(finals)) - 1])


@cache
def full_seconds(problem: str) -> float:
    """Return the mean seconds of a full training with random settings."""
    return float(np.mean([curve.start + STEPS * curve.step for curve in sampled(problem)]))


def correlations(problem: str, steps: Sequence[int]) -> list[float]:
    """Return how the ranks of losses after some steps correlate with those of fully trained models (Spearman's rho)."""
    from scipy.stats import spearmanr

    losses = np.array([curve.losses for curve in sampled(problem)])
    losses[np.isnan(losses)] = np.inf
    finals = [curve.final for curve in sampled(problem)]
    return [float(spearmanr(losses[:, step - 1], finals).statistic) for step in steps]


# --- digits: recorded --------------------------------------------------------------------------------


@cache
def recorded(tree: str) -> tuple[Any, list[Curve]]:
    """Return a finder of the nearest recorded setting of a tree, and the curves of all."""
    with np.load(RECORDED) as table:
        columns = [table[f'{tree}/{item.name}'].tolist() for item in MODELS[tree]]
        wrong, seconds = table[f'{tree}/wrong'], table[f'{tree}/seconds'].astype(float)
    losses = np.where(wrong > VALIDATED, np.nan, wrong / VALIDATED)
    places = [place(tree, own) for own in zip(*columns)]
    finals = np.where(np.isnan(losses[:, -1]), np.inf, losses[:, -1])
    curves = [
        Curve(own, start, step, float(final)) for own, (start, step), final in zip(losses, seconds.tolist(), finals)
    ]
    return cKDTree(places), curves


def place(tree: str, values: Sequence[Any]) -> list[float]:
    """Return where a setting lies in the unit cube of its tree; other words are farther away than any numbers."""

    def coordinate(item: Item, value: Any) -> float:
        if isinstance(item, Category):
            number = item.values.index(value)
            return 10.0 * number if isinstance(value, str) else (number + 0.5) / len(item.values)
        assert isinstance(item, Real)
        if item.log:
            return math.log(value / item.low) / math.log(item.high / item.low)
        return (value - item.low) / (item.high - item.low)

    return [coordinate(item, value) for item, value in zip(MODELS[tree], values)]


def named(tree: str) -> Space:
    """Return the parameters of a tree, named so that no other tree shares them."""
    return [attrs.evolve(item, name=f'{tree}_{item.name}') for item in MODELS[tree]]


def replayed(tree: str, params: Params) -> Curve:
    """Return the curve of the nearest recorded setting of a tree."""
    finder, curves = recorded(tree)
    return curves[finder.query(place(tree, [params[item.name] for item in named(tree)]))[1]]


def digits(params: Params) -> Curve:
    """Return the curve of a setting of any tree."""
    return replayed(params['model'], params)


# --- formulas ----------------------------------------------------------------------------------------


def chance(params: Params) -> np.random.Generator:
    """Return the chance of one setting: the same whenever, and by whom, it is trained."""
    return np.random.default_rng(zlib.crc32(repr(sorted(params.items())).encode()))


HARTMANN3_SCALES = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
HARTMANN3_CENTRES = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])

BIAS, NOISE = 1.5, 0.5
"""Of the Hartmann functions, at no fidelity: how much less each peak weighs, and the deviation of the noise."""


def hartmann(scales: Floats, centres: Floats) -> Callable[[Params], Curve]:
    """Return Hartmann's function with a fidelity z from 1/81 to 1.

    The peaks weigh less at lower fidelities, by a bias times 1 - z: Kandasamy et al. (2017), Multi-fidelity
    Bayesian optimisation with continuous approximations, appendix D. The noise, which ends with z = 1, is of
    the benchmarks of Mallik et al. (2023), PriorBand; bias and noise are chosen here. Steps take 10 seconds,
    times up to 3 or a third by the first coordinate.
    """
    away = 1 - np.arange(1, STEPS + 1) / STEPS

    def curve(params: Params) -> Curve:
        x = vector(params, scales.shape[1])
        peaks = np.exp(-(scales * (x - centres) ** 2).sum(axis=1))
        losses = -(HARTMANN_WEIGHTS - BIAS * away[:, None]) @ peaks
        losses += NOISE * away * chance(params).standard_normal(STEPS)
        step = 10 * 3 ** (2 * float(x[0]) - 1)
        return Curve(losses, step, step, float(losses[-1]))

    return curve


POWER = [
    Real('rate', 1e-4, 1, log=True), Real('size', 0, 1), Real('decay', 1e-6, 1e-1, log=True), Real('batch', 0, 1),
]  # fmt: skip


def power_law(params: Params) -> Curve:
    """Return a curve from 0.9 before the first step down to an asymptote, by a power of the steps.

    High rates fall faster, to worse asymptotes; large models take eight times as long as small ones, and are
    better; small batches are noisy, and slightly better.
    """
    rate, decay = math.log10(params['rate']) / 4 + 1, math.log10(params['decay']) / 5 + 1.2
    size, batch = params['size'], params['batch']
    asymptote = 0.05 + 0.4 * (rate - 0.3) ** 2 + 0.2 * (size - 0.8) ** 2 + 0.1 * (decay - 0.6) ** 2 + 0.03 * batch
    means = asymptote + (0.9 - asymptote) * np.arange(2, STEPS + 2) ** -(0.4 + 1.2 * rate)
    noise = 0.03 * (1 - batch) * chance(params).standard_normal(STEPS)
    return Curve(means + noise, 20.0, 10 * 8**size, float(means[-1]))


PROBLEMS = {
    own.name: own
    for own in (
        Problem(
            'digits', [Branch('model', {tree: named(tree) for tree in MODELS})], digits,
            lambda: [curve for tree in MODELS for curve in recorded(tree)[1]],
        ),
        Problem(
            'deep network', named('deep_network'), lambda params: replayed('deep_network', params),
            lambda: recorded('deep_network')[1],
        ),
        Problem('Hartmann3', reals(0, 1, 3), hartmann(HARTMANN3_SCALES, HARTMANN3_CENTRES)),
        Problem('Hartmann6', reals(0, 1, 6), hartmann(HARTMANN6_SCALES, HARTMANN6_CENTRES)),
        Problem('power law', POWER, power_law),
    )
}  # fmt: skip
"""By name, in the order of the tables."""
