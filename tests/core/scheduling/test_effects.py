"""Effects of parameters on seconds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shadho import Trial, spaces
from shadho.forest import Forest
from shadho.scheduling.effects import Effects

FLAT = Forest({'size': spaces.uniform(0, 1), 'kind': ['a', 'b', 'c'], 'rate': spaces.uniform(0, 1)})
CLASSES = ('fast', 'slow')


def log_seconds(size: float, kind: str, own: str) -> float:
    """Return log seconds: large settings are much slower on the slow class."""
    return 2 * size + (0.5 if kind == 'c' else 0) + (2 * size + 0.3 if own == 'slow' else 0)


def told(effects: Effects, forest: Forest, count: int, seed: int = 0, noise: float = 0.05) -> None:
    rng = np.random.default_rng(seed)
    for number in range(count):
        tree = forest.tree(int(rng.integers(forest.count)))
        point = rng.random(len(tree))
        params = tree.decode(point)
        [inner] = params.values() if forest.count > 1 else [params]
        for own in CLASSES:
            seconds = log_seconds(inner['size'], inner['kind'], own) + noise * rng.standard_normal()
            effects.tell(Trial(number, tree.index, tuple(point), {}, own), seconds)


def predicted(effects: Effects, tree: int, points: np.ndarray) -> np.ndarray:
    """Return log seconds beside those of the centre: shape (points, classes)."""
    centre = effects.centre(tree, CLASSES)
    return (effects.features(tree, points) - centre) @ effects.weights(tree, CLASSES)


def test_effects_of_all_classes_and_of_each_are_learned_from_a_few_trials() -> None:
    effects = Effects(FLAT)
    told(effects, FLAT, 20)
    assert effects.are_known
    points = np.random.default_rng(1).random((200, 3))
    params = [FLAT.tree(0).decode(point) for point in points]
    for column, own in enumerate(CLASSES):
        true = np.array([log_seconds(each['size'], each['kind'], own) for each in params])
        errors = predicted(effects, 0, points)[:, column] - (true - true.mean())
        assert 1 - errors.var() / true.var() > 0.9


def test_nothing_is_known_before_the_first_trials() -> None:
    effects = Effects(FLAT)
    assert not effects.are_known
    assert effects.centre(0, CLASSES) is None
    assert effects.weights(0, CLASSES).tolist() == [[0.0, 0.0]] * 7
    told(effects, FLAT, 3)
    assert not effects.are_known


@pytest.mark.parametrize('noise', [0.0, 0.5])
def test_seconds_without_effects_have_none(noise: float) -> None:
    effects, rng = Effects(FLAT), np.random.default_rng(0)
    for number in range(200):
        for factor, own in enumerate(CLASSES):
            effects.tell(Trial(number, 0, tuple(rng.random(3)), {}, own), factor + noise * rng.standard_normal())
    assert not effects.are_known


def test_a_class_that_is_slower_by_a_factor_has_no_effects_of_its_own() -> None:
    effects, rng = Effects(FLAT), np.random.default_rng(0)
    for number in range(60):
        for factor, own in enumerate(CLASSES):
            point = rng.random(3)
            effects.tell(Trial(number, 0, tuple(point), {}, own), factor + 2 * point[0] + 0.05 * rng.standard_normal())
    assert effects.are_known
    fast, slow = effects.weights(0, CLASSES).T
    assert np.abs(fast - slow).max() < 0.05


def test_a_leaf_has_the_same_effects_in_all_trees_with_its_path() -> None:
    size = spaces.uniform(0, 1)
    forest = Forest(
        {
            'size': size,
            'model': {'exclusive': True, **{f'model{number}': {'x': spaces.uniform(0, 1)} for number in range(10)}},
        }
    )
    effects, rng = Effects(forest), np.random.default_rng(0)
    for number in range(60):
        point = rng.random(2)
        place = [dimension.path for dimension in forest.tree(number % 9).dimensions].index(('size',))
        effects.tell(Trial(number, number % 9, tuple(point), {}, 'fast'), 3 * point[place])
    new = forest.tree(9)
    place = [dimension.path for dimension in new.dimensions].index(('size',))
    low, high = np.full(2, 0.5), np.full(2, 0.5)
    low[place], high[place] = 0.0, 1.0
    small, large = effects.features(9, [low, high]) @ effects.weights(9, ['fast'])
    assert large[0] - small[0] == pytest.approx(3.0, rel=0.15)


def test_trials_that_were_chosen_for_a_class_tell_by_how_much_they_were_longer_than_its_mean() -> None:
    effects, rng = Effects(FLAT), np.random.default_rng(0)
    for number in range(200):
        size = rng.random()
        own = 'fast' if size > 0.5 else 'slow'
        effects.tell(Trial(number, 0, (size, 0.5, 0.5), {}, own), 4 * size + 0.1 * rng.standard_normal())
    assert list(effects.shifts(CLASSES)) == []
    effects.selected.add(0)
    shifts = {own: shift for _, own, shift in effects.shifts(CLASSES)}
    assert shifts['fast'] - shifts['slow'] == pytest.approx(2.0, abs=0.3)


def test_a_class_without_trials_has_the_effects_that_the_others_share() -> None:
    effects = Effects(FLAT)
    told(effects, FLAT, 40)
    fast, slow, new = effects.weights(0, [*CLASSES, 'new']).T
    assert ((new > 0) | (np.maximum(fast, slow) < 0.2)).all()
    assert fast[0] < new[0] < slow[0]


def test_spaces_of_any_size_can_be_learned_from() -> None:
    many = Forest({f'x{number}': spaces.uniform(0, 1) for number in range(500)})
    effects, rng = Effects(many), np.random.default_rng(0)
    for number in range(3):
        effects.tell(Trial(number, 0, tuple(rng.random(500)), {}, 'fast'), 1.0)
    assert effects.features(0, rng.random((2, 500))).shape == (2, 200)
    none = Forest({'x': 1})
    effects = Effects(none)
    for number in range(30):
        effects.tell(Trial(number, 0, (), {}, 'fast'), math.log(1 + number % 3))
    assert not effects.are_known
