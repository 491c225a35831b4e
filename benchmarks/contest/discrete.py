"""Problems of few values: choices, small whole numbers, and spaces as those of deep learning have them."""

from __future__ import annotations

import math

import numpy as np

from .problems import Problem, problem
from .spaces import Branch, Category, Params, Real, Space, Whole

DISCRETE: dict[str, Problem] = {}
"""By name, in the order of the tables."""


# --- nothing but few values ---------------------------------------------------------------------------


@problem(
    'Settings192', 'discrete',
    [
        Category('rate', (1e-4, 1e-3, 1e-2, 1e-1)), Category('batch', (16, 32, 64, 128)),
        Category('layers', (1, 2, 3, 4)), Category('activation', ('relu', 'tanh', 'gelu')),
    ],
    best=0.02,
    into=DISCRETE,
)  # fmt: skip
def settings192(params: Params) -> float:
    """192 settings: lists of numbers in order, and words."""
    rate, batch = math.log10(params['rate']) + 2, math.log2(params['batch']) - 6
    activation = {'relu': 0.1, 'tanh': 0.3, 'gelu': 0.02}[params['activation']]
    return abs(rate + 0.25 * batch) + 0.3 * abs(batch) + 0.5 * abs(params['layers'] - 2) + activation


WORDS = ('a', 'b', 'c', 'd', 'e', 'f')


def words(counts: tuple[int, ...]) -> list[Category]:
    """Return choices of so many words each, c0 and on."""
    return [Category(f'c{place}', WORDS[:count]) for place, count in enumerate(counts)]


def indices(params: Params, count: int) -> list[int]:
    """Return the places of the values of `words`."""
    return [WORDS.index(params[f'c{place}']) for place in range(count)]


CHOICES_EACH = np.random.default_rng(55).normal(size=(4, 5))
CHOICES_PAIRS = np.random.default_rng(56).normal(size=(4, 5, 5))


@problem('Choices625', 'discrete', words((5, 5, 5, 5)), best=-6.457014851209864, into=DISCRETE)
def choices625(params: Params) -> float:
    """Four choices of five words without order: what each is worth, and half as much what neighbours are together."""
    own = indices(params, 4)
    each = sum(CHOICES_EACH[place, value] for place, value in enumerate(own))
    pairs = sum(CHOICES_PAIRS[place, own[place - 1], own[place]] for place in range(4))
    return float(each + 0.5 * pairs)


XOR_TABLES = [np.random.default_rng(60 + place).normal(size=shape) for place, shape in enumerate(((3, 4), (5, 6)))]
XOR_TABLES = [table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean() for table in XOR_TABLES]


@problem('Xor360', 'discrete', words((3, 4, 5, 6)), best=-2.730076248952861, into=DISCRETE)
def xor360(params: Params) -> float:
    """Four choices of three to six words, of which none is worth anything alone: two pairs and a parity count."""
    a, b, c, d = indices(params, 4)
    return float(XOR_TABLES[0][a, b] + XOR_TABLES[1][c, d] + 0.5 * ((a + b + c + d) % 2))


@problem('Integers6', 'discrete', [Whole(f'n{place}', 1, 3 + place % 4 * 2) for place in range(6)], into=DISCRETE)
def integers6(params: Params) -> float:
    """Six whole numbers of 3, 5, 7 or 9 values: a bowl, neighbours of which matter together."""
    x = np.array([params[f'n{place}'] for place in range(6)]) - np.array([2, 4, 3, 6, 3, 2])
    x = x / np.array([2, 4, 6, 8, 2, 4])
    return float(x @ x + 2 * ((x[1:] + x[:-1]) ** 2).sum())


INTEGERS_WEIGHTS = np.random.default_rng(70).normal(size=(16, 10))
INTEGERS_PHASES = np.random.default_rng(71).uniform(0, 2 * math.pi, 16)
INTEGERS_OPTIMUM = np.array([1, 0, 2, 4, 1, 0, 2, 1, 3, 4])


@problem('Integers10', 'discrete', [Whole(f'n{place}', 0, 1 + place % 5) for place in range(10)], into=DISCRETE)
def integers10(params: Params) -> float:
    """Ten whole numbers of 2 to 6 values: a bowl, as rough as it is deep near its ground."""
    x = np.array([params[f'n{place}'] for place in range(10)]) - INTEGERS_OPTIMUM
    rough = 1 - np.cos(INTEGERS_WEIGHTS @ x)
    return float(0.1 * x @ x + 0.3 * rough.mean())


# --- as deep learning has them ------------------------------------------------------------------------


def after_training(
    rate: float, batch: float, width: float, depth: float, dropout: float, decay: float, best_rate: float
) -> tuple[float, float]:
    """Return a validation loss, and by how many powers of ten the rate is too large to train at all.

    Losses are those of a fixed number of epochs. The best learning rate grows with the root of the batch
    size and falls with width and depth; large batches and small rates leave too few steps. Larger networks fit
    better until they fit too well, which dropout and weight decay keep in check, and too much of them hinders.
    """
    best_rate *= math.sqrt(batch / 64) * (128 / width) ** 0.7 / math.sqrt(depth)
    off = math.log10(rate / best_rate)
    size = math.log2(depth * width**2 / 2**14)
    under = 0.15 * 2 ** (-0.35 * size) + 0.04 * abs(depth - 4) ** 1.2 / 4
    kept = dropout + 0.25 * (math.log10(decay) + 6) / 4
    over = 0.05 * max(size + 2, 0) * math.exp(-2.5 * kept)
    hindered = 0.6 * max(kept - 0.4, 0) ** 2 + 0.05 * max(math.log10(decay) + 3, 0) ** 2
    steps = 0.02 * math.log2(batch / 16) ** 1.5 / 3
    misfit = 0.14 * off**2 if off < 0 else 0.25 * off**2
    return 0.2 + under + over + hindered + steps + misfit, max(off - 0.9, 0)


@problem(
    'Deep lists', 'deep',
    [
        Category('width', (32, 64, 128, 256, 512)), Category('depth', (1, 2, 3, 4, 6, 8)),
        Category('batch', (16, 32, 64, 128, 256, 512)), Real('rate', 1e-5, 1, log=True),
        Category('dropout', (0.0, 0.1, 0.2, 0.3, 0.5)), Real('decay', 1e-7, 1e-1, log=True),
        Category('optimizer', ('sgd', 'adam', 'adamw')),
    ],
    best=0.346164,
    into=DISCRETE,
)  # fmt: skip
def deep_lists(params: Params) -> float:
    """Lists of numbers in order, as they are written by hand; where training diverges, the loss is that of guessing."""
    optimizer = params['optimizer']
    best_rate = {'sgd': 0.08, 'adam': 0.002, 'adamw': 0.003}[optimizer]
    own = [params[name] for name in ('batch', 'width', 'depth', 'dropout', 'decay')]
    loss, diverged = after_training(params['rate'], *own, best_rate=best_rate)
    return math.log(10) if diverged else loss + {'sgd': 0.03, 'adam': 0.02, 'adamw': 0.0}[optimizer]


@problem(
    'Deep integers', 'deep',
    [
        Whole('width', 4, 9), Whole('depth', 1, 8), Whole('batch', 4, 9), Real('rate', 1e-5, 1, log=True),
        Real('dropout', 0, 0.8), Real('decay', 1e-7, 1e-1, log=True), Category('unit', ('relu', 'gelu', 'tanh')),
    ],
    best=0.33617,
    into=DISCRETE,
)  # fmt: skip
def deep_integers(params: Params) -> float:
    """Width and batch size as powers of two; rough, as weights begin at random, and huge where training diverges."""
    own = 2 ** params['batch'], 2 ** params['width'], params['depth'], params['dropout'], params['decay']
    loss, diverged = after_training(params['rate'], *own, best_rate=0.003)
    loss += {'relu': 0.01, 'gelu': 0.0, 'tanh': 0.04}[params['unit']]
    phases = 40 * math.log(params['rate']), 90 * params['dropout'], 30 * math.log(params['decay'])
    rough = sum(math.sin(phase + params['depth'] * params['width'] + params['batch']) for phase in phases)
    return loss + 0.01 * rough / 3 + (10 ** min(4 * diverged, 6) - 1)


OPTIMIZER: dict[str, Space] = {
    'sgd': [Real('momentum', 0, 1), Category('nesterov', ('yes', 'no'))],
    'adam': [Real('beta', 0.5, 0.999), Real('epsilon', 1e-10, 1e-2, log=True)],
    'none': [],
}


@problem(
    'Deep branches', 'deep',
    [
        Category('width', (64, 128, 256, 512)), Whole('depth', 1, 6), Category('batch', (32, 64, 128, 256)),
        Real('rate', 1e-5, 1, log=True), Real('dropout', 0, 0.8), Real('decay', 1e-7, 1e-1, log=True),
        Branch('optimizer', OPTIMIZER),
    ],
    best=0.35283,
    into=DISCRETE,
)  # fmt: skip
def deep_branches(params: Params) -> float:
    """Optimizers with parameters of their own; a trial whose training diverges has failed."""
    optimizer, momentum = params['optimizer'], params.get('momentum', 0.0)
    best_rate = {'sgd': 0.3 * (1.02 - momentum), 'adam': 0.002, 'none': 0.2}[optimizer]
    own = [params[name] for name in ('batch', 'width', 'depth', 'dropout', 'decay')]
    loss, diverged = after_training(params['rate'], *own, best_rate=best_rate)
    if diverged:
        return math.nan
    if optimizer == 'sgd':
        return loss + 0.15 * (momentum - 0.9) ** 2 + (0.01 if params['nesterov'] == 'no' else 0.0)
    if optimizer == 'adam':
        return loss + 0.02 + 0.2 * (params['beta'] - 0.9) ** 2 + 0.002 * (math.log10(params['epsilon']) + 7) ** 2
    return loss + 0.15
