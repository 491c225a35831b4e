"""Problems with what makes searches go wrong: noise, divergence, ranges that are too wide, many dimensions."""

from __future__ import annotations

import math

import numpy as np

from .problems import Problem, mixed, problem, reals, vector
from .spaces import Params, Real

HARD: dict[str, Problem] = {}
"""By name, in the order of the tables."""


# --- noise: a tenth of what random settings differ by -------------------------------------------------

BOWL_OPTIMUM = np.array([0.62, 0.28, 0.83, 0.41, 0.55])


@problem('Noisy bowl', 'noisy', reals(0, 1, 5), into=HARD, noise=0.07)
def noisy_bowl(params: Params) -> float:
    """A bowl whose dimensions matter a little differently."""
    x = vector(params, 5) - BOWL_OPTIMUM
    return float(np.array([1.0, 0.7, 1.5, 0.5, 1.2]) @ x**2 + (x[0] + x[2]) ** 2)


problem('Noisy mixed', 'noisy', mixed.space, mixed.best, HARD, noise=0.44)(mixed.loss)


# --- divergence: losses that differ by powers of ten --------------------------------------------------


@problem(
    'Diverging30', 'diverging',
    [Real('rate', 1e-5, 1, log=True), Real('momentum', 0, 1), *reals(0, 1, 3)],
    into=HARD,
)  # fmt: skip
def diverging30(params: Params) -> float:
    """In 30 % of the space losses are 10^6 to 10^10; the best rate is next to where they begin."""
    rate, x = (math.log10(params['rate']) + 5) / 5, vector(params, 3)
    beyond = rate + 0.4 * (params['momentum'] - 0.5) - 0.7
    if beyond > 0:
        return float(10 ** (6 + 4 * min(beyond / 0.5, 1)))
    return float(4 * (beyond + 0.08) ** 2 + (params['momentum'] - 0.8) ** 2 + ((x - [0.3, 0.65, 0.45]) ** 2).sum())


@problem('Diverging5', 'diverging', reals(0, 1, 5), into=HARD)
def diverging5(params: Params) -> float:
    """In 5 % of the space, scattered, losses are 10^10."""
    x = vector(params, 5)
    if math.sin(17 * x[0] + 29 * x[1] + 23 * x[2]) > math.cos(0.05 * math.pi):
        return 1e10
    x = x - np.array([0.35, 0.6, 0.75, 0.2, 0.5])
    return float(x @ x + (x[1:] + x[:-1]) @ (x[1:] + x[:-1]))


@problem('Heavy tails', 'diverging', reals(-1, 1, 5), best=1.0, into=HARD)
def heavy_tails(params: Params) -> float:
    """The exponential of a rough bowl."""
    x = vector(params, 5) - np.array([0.32, -0.41, 0.13, 0.55, -0.24])
    return float(np.exp(5 * x @ x + 1.5 - 0.5 * np.cos(3 * math.pi * x[:3]).sum()))


# --- ranges that are too wide -------------------------------------------------------------------------

WIDE_OPTIMUM = np.array([4.0, 7.0, 2.5, 5.5])


def powers(values: np.ndarray, optimum: np.ndarray) -> np.ndarray:
    """Return by how many powers of ten values are off, less than a hundredth counting as that."""
    return np.log10((values + 0.01) / (optimum + 0.01))


@problem('Wide4', 'wide', reals(0, 1000, 4), into=HARD)
def wide4(params: Params) -> float:
    """Four ranges that should have been logarithmic: all that is good lies in the first hundredth of each."""
    off = powers(vector(params, 4), WIDE_OPTIMUM)
    return float(off @ off + 0.5 * (off[0] - off[1]) ** 2)


NEEDLE_OPTIMUM = np.array([137.0, 641.0, 872.0, 388.0])


@problem('Needle4', 'wide', reals(0, 1000, 4), into=HARD)
def needle4(params: Params) -> float:
    """Four ranges in whose middle somewhere is a funnel, a hundredth wide: distances count by their logarithm."""
    return float(np.log1p(np.abs(vector(params, 4) - NEEDLE_OPTIMUM) / 10).sum())


@problem('Wide rate', 'wide', [Real('rate', 0, 1), *reals(0, 1, 4)], into=HARD)
def wide_rate(params: Params) -> float:
    """A learning rate on a linear range, best at 0.002, beside four usual parameters."""
    rate = math.log10((params['rate'] + 1e-5) / 0.002)
    x = vector(params, 4) - np.array([0.7, 0.35, 0.5, 0.15])
    return float(0.3 * rate**2 + x @ x + (x[0] + 0.3 * rate) ** 2)


# --- many dimensions ----------------------------------------------------------------------------------


def optimum(count: int) -> np.ndarray:
    """Return a place away from the middle and from the edges, the same always."""
    return np.random.default_rng(count).uniform(0.15, 0.85, count)


@problem('High20', 'high', reals(0, 1, 20), into=HARD)
def high20(params: Params) -> float:
    """A bowl, turned a little, whose dimensions matter a hundredfold differently."""
    x = vector(params, 20) - optimum(20)
    return float(np.logspace(0, 2, 20) @ (x + 0.5 * np.roll(x, 1)) ** 2)


@problem('High50', 'high', reals(0, 1, 50), into=HARD)
def high50(params: Params) -> float:
    """A bowl with waves."""
    x = vector(params, 50) - optimum(50)
    return float(x @ x + 0.02 * (1 - np.cos(6 * math.pi * x)).sum())


@problem('High100', 'high', reals(0, 1, 100), into=HARD)
def high100(params: Params) -> float:
    """A bowl of 100 dimensions, of which 20 matter ten times as much as the others."""
    x = vector(params, 100) - optimum(100)
    return float(x @ x + 9 * x[::5] @ x[::5])


@problem('High200', 'high', reals(0, 1, 200), into=HARD)
def high200(params: Params) -> float:
    """200 dimensions, of which 8 matter."""
    x = (vector(params, 200) - optimum(200))[::25]
    return float(x @ x + (x[1:] + x[:-1]) @ (x[1:] + x[:-1]))
