"""Problems that figures are quoted for: functions with known optima, and models on scikit-learn's data."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import numpy as np

from .spaces import Branch, Category, Params, Real, Space, Whole

PROBLEMS: dict[str, Problem] = {}
"""By name, in the order of the tables."""


@attrs.frozen
class Problem:
    """A loss over a space.

    Attributes
    ----------
    name : str
    kind : str
        What its table is called: 'continuous', 'mixed', 'models' and so on.
    space : list of parameters and branches
    loss : callable
        Takes active parameters by name; nan is a failed trial.
    best : float
        The least loss there is, or the least that is known.
    noise : float
        Standard deviation of normal noise that searches see on top of the loss. Regret is that of the loss
        itself, at the setting that is recommended.
    """

    name: str
    kind: str
    space: Space
    loss: Callable[[Params], float] = attrs.field(repr=False)
    best: float = 0.0
    noise: float = 0.0


def problem(
    name: str,
    kind: str,
    space: Space,
    best: float = 0.0,
    into: dict[str, Problem] = PROBLEMS,
    noise: float = 0.0,
) -> Callable[[Callable[[Params], float]], Problem]:
    """Make a problem of a loss."""

    def made(loss: Callable[[Params], float]) -> Problem:
        into[name] = Problem(name, kind, space, loss, best, noise)
        return into[name]

    return made


def reals(low: float, high: float, count: int) -> list[Real]:
    """Return so many real parameters, x0 and on."""
    return [Real(f'x{place}', low, high) for place in range(count)]


def vector(params: Params, count: int) -> np.ndarray:
    """Return the values of `reals`."""
    return np.array([params[f'x{place}'] for place in range(count)])


@problem('Branin', 'continuous', [Real('x0', -5, 10), Real('x1', 0, 15)], best=0.397887357729738)
def branin(params: Params) -> float:
    """Branin's: three equal optima."""
    x, y = params['x0'], params['x1']
    b, c = 5.1 / (4 * math.pi**2), 5 / math.pi
    return (y - b * x**2 + c * x - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


HARTMANN_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN6_SCALES = np.array([
    [10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14],
])  # fmt: skip
HARTMANN6_CENTRES = 1e-4 * np.array([
    [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
    [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
])  # fmt: skip


@problem('Hartmann6', 'continuous', reals(0, 1, 6), best=-3.32236801141551)
def hartmann6(params: Params) -> float:
    """Hartmann's in six dimensions: four peaks."""
    distances = (HARTMANN6_SCALES * (vector(params, 6) - HARTMANN6_CENTRES) ** 2).sum(axis=1)
    return float(-HARTMANN_WEIGHTS @ np.exp(-distances))


ACKLEY_OPTIMUM = np.array([2.3, -1.9, 6.2, -4.4, 0.6, 4.7, -2.5, 7.1, 3.8, -3.3])


@problem('Ackley10', 'continuous', reals(-5, 10, 10))
def ackley10(params: Params) -> float:
    """Ackley's, shifted: a funnel full of small basins."""
    x = vector(params, 10) - ACKLEY_OPTIMUM
    bowl = -20 * math.exp(-0.2 * math.sqrt((x**2).mean()))
    return float(bowl - math.exp(np.cos(2 * math.pi * x).mean()) + 20 + math.e)


@problem('Rosenbrock5', 'continuous', reals(-5, 10, 5))
def rosenbrock5(params: Params) -> float:
    """Rosenbrock's: a curved valley."""
    x = vector(params, 5)
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


@problem(
    'Mixed', 'mixed',
    [
        *reals(-1, 1, 3), Real('rate', 1e-4, 1e2, log=True), Whole('count', 1, 20), Whole('width', 2, 64),
        Category('metric', ('manhattan', 'euclid', 'chebyshev', 'cosine')),
        Category('weights', ('even', 'distance', 'rank')),
    ],
)  # fmt: skip
def mixed(params: Params) -> float:
    """A bowl whose place depends on one category, and whose steepness depends on the other."""
    shift = {'manhattan': -0.5, 'euclid': 0.0, 'chebyshev': 0.4, 'cosine': 0.6}[params['metric']]
    offset = {'manhattan': 0.5, 'euclid': 0.2, 'chebyshev': 0.0, 'cosine': 0.3}[params['metric']]
    steepness = {'even': 2.0, 'distance': 1.0, 'rank': 3.0}[params['weights']]
    x = vector(params, 3) - np.array([shift, -0.3, 0.55])
    rate = (math.log10(params['rate']) - 0.7) / 3
    whole = ((params['count'] - 7) / 19 + (params['width'] - 40) / 62) ** 2 + ((params['count'] - 7) / 19) ** 2
    distance = {'even': 0.1, 'distance': 0.0, 'rank': 0.05}[params['weights']]
    return float(offset + distance + steepness * (x @ x + (rate + 0.5 * x[0]) ** 2 + 2 * whole))


SHARED = [Real('rate', 1e-5, 1, log=True), Real('decay', 1e-6, 1e-1, log=True)]


@problem(
    'Shared', 'conditional',
    [
        *SHARED, Real('noise', 0, 1),
        Branch('model', {
            'linear': [],
            'kernel': [Real('bandwidth', 1e-3, 1e3, log=True)],
            'forest': [Whole('depth', 1, 20), Real('share', 0.05, 1)],
            'network': [Whole('layers', 1, 6), Real('dropout', 0, 0.8), Category('unit', ('relu', 'tanh', 'gelu'))],
        }),
    ],
)  # fmt: skip
def shared(params: Params) -> float:
    """Three parameters that all branches share and that matter alike in each, beside their own."""
    rate, decay = math.log10(params['rate']) + 2.6, math.log10(params['decay']) + 4.2
    common = 0.3 * (rate + 0.4 * decay) ** 2 + 0.1 * decay**2 + (params['noise'] - 0.15) ** 2
    return common + _of_model(params)


def _of_model(params: Params) -> float:
    if params['model'] == 'linear':
        return 0.6
    if params['model'] == 'kernel':
        return 0.25 + 0.1 * (math.log10(params['bandwidth']) - 1.2) ** 2
    if params['model'] == 'forest':
        return 0.05 + 0.004 * (params['depth'] - 13) ** 2 + (params['share'] - 0.4) ** 2
    unit = {'relu': 0.05, 'tanh': 0.1, 'gelu': 0.0}[params['unit']]
    return 0.05 * (params['layers'] - 3) ** 2 + 2 * (params['dropout'] - 0.35) ** 2 + unit


@problem(
    'Two levels', 'conditional',
    [
        *SHARED,
        Branch('optimiser', {
            'sgd': [
                Real('momentum', 0, 1), Real('floor', 0, 1),
                Branch('schedule', {
                    'constant': [],
                    'cosine': [Real('warmup', 0, 0.5)],
                    'step': [Real('factor', 0.01, 1, log=True), Whole('every', 1, 30)],
                }),
            ],
            'adam': [Real('beta', 0.5, 1), Real('epsilon', 1e-10, 1e-2, log=True)],
            'lbfgs': [Whole('memory', 3, 50)],
        }),
    ],
)  # fmt: skip
def two_levels(params: Params) -> float:
    """Two parameters shared by all, two by the inner branches; the easy branch is not the best one."""
    optimiser = params['optimiser']
    rate = math.log10(params['rate']) + {'sgd': 1.8, 'adam': 2.6, 'lbfgs': 2.2}[optimiser]
    decay = math.log10(params['decay']) + 3.7
    common = 0.25 * (rate - 0.3 * decay) ** 2 + 0.15 * decay**2
    if optimiser == 'adam':
        return 0.05 + common + 2 * (params['beta'] - 0.9) ** 2 + 0.01 * (math.log10(params['epsilon']) + 7) ** 2
    if optimiser == 'lbfgs':
        return 0.2 + common + 0.0002 * (params['memory'] - 15) ** 2
    return common + (params['momentum'] - 0.85) ** 2 + 0.7 * (params['floor'] - 0.2) ** 2 + _of_schedule(params)


def _of_schedule(params: Params) -> float:
    if params['schedule'] == 'constant':
        return 0.2
    if params['schedule'] == 'cosine':
        return 2 * (params['warmup'] - 0.12) ** 2
    return 0.08 + 0.3 * (math.log10(params['factor']) + 0.7) ** 2 + 0.001 * (params['every'] - 9) ** 2
