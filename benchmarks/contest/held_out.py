"""Problems that nobody tunes on: other functions, dimensions and structures than those of `problems`."""

from __future__ import annotations

import math

import numpy as np

from .problems import HARTMANN_WEIGHTS, Problem, problem, reals, vector
from .spaces import Branch, Category, Params, Real, Whole

HELD_OUT: dict[str, Problem] = {}
"""By name, in the order of the tables."""


@problem('Camel2', 'continuous', [Real('x0', -3, 3), Real('x1', -2, 2)], best=-1.0316284534898774, into=HELD_OUT)
def camel2(params: Params) -> float:
    """The six-hump camel."""
    x, y = params['x0'], params['x1']
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (-4 + 4 * y**2) * y**2


HARTMANN3_SCALES = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
HARTMANN3_CENTRES = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])


@problem('Hartmann3', 'continuous', reals(0, 1, 3), best=-3.86278214782076, into=HELD_OUT)
def hartmann3(params: Params) -> float:
    """Hartmann's in three dimensions."""
    distances = (HARTMANN3_SCALES * (vector(params, 3) - HARTMANN3_CENTRES) ** 2).sum(axis=1)
    return float(-HARTMANN_WEIGHTS @ np.exp(-distances))


@problem('Levy4', 'continuous', reals(-10, 10, 4), into=HELD_OUT)
def levy4(params: Params) -> float:
    """Levy's: a bowl with waves."""
    w = 1 + (vector(params, 4) - 1) / 4
    inner = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)).sum()
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return float(math.sin(math.pi * w[0]) ** 2 + inner + last)


@problem('Styblinski7', 'continuous', reals(-5, 5, 7), best=-39.16616570377142 * 7, into=HELD_OUT)
def styblinski7(params: Params) -> float:
    """Styblinski and Tang's: separable, with two basins in each dimension."""
    x = vector(params, 7)
    return float((x**4 - 16 * x**2 + 5 * x).sum() / 2)


ELLIPSOID_OPTIMUM = np.array([0.31, 0.77, 0.12, 0.58, 0.9, 0.45, 0.66, 0.23, 0.84, 0.05, 0.39, 0.71])


@problem('Ellipsoid12', 'continuous', reals(0, 1, 12), into=HELD_OUT)
def ellipsoid12(params: Params) -> float:
    """A bowl whose dimensions matter a thousandfold differently, turned a little."""
    x = vector(params, 12) - ELLIPSOID_OPTIMUM
    x = x + 0.3 * np.roll(x, 1)
    return float(np.logspace(0, 3, 12) @ x**2)


@problem(
    'Mixed7', 'mixed',
    [
        Whole('trees', 10, 500), Whole('depth', 1, 12), Whole('leaf', 1, 50), Real('share', 0.1, 1),
        Category('criterion', ('gini', 'entropy', 'hellinger')), Category('bootstrap', ('yes', 'no')),
        Category('scaling', ('none', 'standard', 'robust', 'quantile', 'rank')),
    ],
    into=HELD_OUT,
)  # fmt: skip
def mixed7(params: Params) -> float:
    """Mostly whole numbers and words; deeper is better only with large leaves."""
    depth, leaf = (params['depth'] - 8) / 11, (params['leaf'] - 20) / 49
    bowl = (depth - leaf) ** 2 + 0.5 * depth**2 + 0.3 * (params['share'] - 0.55) ** 2
    words = {'gini': 0.03, 'entropy': 0.0, 'hellinger': 0.08}[params['criterion']]
    words += {'none': 0.2, 'standard': 0.02, 'robust': 0.0, 'quantile': 0.05, 'rank': 0.1}[params['scaling']]
    if params['bootstrap'] == 'no':
        words += 0.02 + 0.3 * abs(params['share'] - 0.3)
    return bowl + words + 5 / params['trees'] - 0.01


@problem(
    'Switches', 'conditional',
    [
        *reals(-1, 1, 2),
        Branch('first', {'off': [], 'on': [Real('a', -1, 1), Whole('n', 1, 9)]}),
        Branch('second', {'off': [], 'low': [Real('b', 0, 1)], 'high': [Real('c', 0, 1)]}),
        Branch('third', {'off': [], 'on': [Category('word', ('p', 'q', 'r'))]}),
    ],
    into=HELD_OUT,
)  # fmt: skip
def switches(params: Params) -> float:
    """Three independent branches: 12 trees, in all of which the same two parameters matter."""
    x = vector(params, 2) - np.array([0.45, -0.62])
    loss = float(x @ x + (x[0] + x[1]) ** 2)
    loss += 0.3 if params['first'] == 'off' else (params['a'] + 0.2) ** 2 + 0.02 * (params['n'] - 6) ** 2
    second = params['second']
    loss += 0.25 if second == 'off' else (params['b'] - 0.8) ** 2 if second == 'low' else 0.1 + params['c'] ** 2
    return loss + (0.0 if params['third'] == 'off' else {'p': 0.1, 'q': 0.2, 'r': 0.3}[params['word']])


@problem(
    'Pipeline', 'conditional',
    [
        Real('penalty', 1e-4, 1e4, log=True),
        Branch('features', {
            'raw': [],
            'reduced': [
                Whole('kept', 1, 40),
                Branch('by', {'pca': [Category('whiten', ('yes', 'no'))], 'random': [Real('density', 0.01, 1, log=True)]}),
            ],
        }),
        Branch('learner', {
            'lasso': [],
            'curved': [
                Real('gamma', 1e-5, 1e1, log=True),
                Branch('kernel', {
                    'rbf': [], 'poly': [Whole('degree', 2, 5), Real('offset', 0, 2)], 'sigmoid': [Real('offset', 0, 2)],
                }),
            ],
        }),
    ],
    into=HELD_OUT,
)  # fmt: skip
def pipeline(params: Params) -> float:
    """Two stages of two levels each; one parameter is shared by two branches of three."""
    penalty = math.log10(params['penalty'])
    if params['features'] == 'raw':
        features = 0.25
    else:
        features = 0.0006 * (params['kept'] - 24) ** 2
        if params['by'] == 'pca':
            features += 0.05 if params['whiten'] == 'no' else 0.0
        else:
            features += 0.08 + 0.1 * math.log10(params['density'] / 0.2) ** 2
    if params['learner'] == 'lasso':
        return features + 0.2 + 0.04 * (penalty + 1) ** 2
    gamma = math.log10(params['gamma']) + 1.5
    curved = 0.05 * (penalty - 1) ** 2 + 0.08 * (gamma + 0.5 * (penalty - 1)) ** 2
    if params['kernel'] == 'rbf':
        return features + curved
    if params['kernel'] == 'poly':
        return features + curved + 0.04 + 0.05 * (params['degree'] - 3) ** 2 + 0.1 * (params['offset'] - 1) ** 2
    return features + curved + 0.15 + 0.1 * (params['offset'] - 0.5) ** 2


@problem('Failing4', 'mixed', [*reals(0, 1, 3), Category('mode', ('safe', 'fast', 'wild'))], into=HELD_OUT)
def failing4(params: Params) -> float:
    """Fails where it is promising: beyond a sphere near the optimum, more often in some modes."""
    x = vector(params, 3)
    room = {'safe': 1.2, 'fast': 0.9, 'wild': 0.5}[params['mode']]
    if x @ x > room:
        return math.nan
    offset = {'safe': 0.3, 'fast': 0.0, 'wild': 0.1}[params['mode']]
    return float(((x - np.array([0.75, 0.3, 0.45])) ** 2).sum() + offset)
