"""Settings: what the objective receives, and the way back to tree and point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shadho import spaces
from shadho.errors import SpaceError
from shadho.forest import Forest

x = spaces.uniform(0, 1)
n = spaces.randint(0, 10)
option = {'optional': True, 'x': x}


def decoded(space: Any, u: float = 0.5) -> list[Any]:
    """The setting in the middle of each tree."""
    return [tree.decode([u] * len(tree)) for tree in Forest(space)]


@pytest.mark.parametrize(
    ('space', 'settings'),
    [
        (x, [0.5]),
        (n, [5]),
        (['a', 'b', 'c'], ['b']),
        ({'x': x, 'c': 3, 'in': {'n': n}}, [{'x': 0.5, 'c': 3, 'in': {'n': 5}}]),
        ((x, 'c', (n,)), [(0.5, 'c', (5,))]),
        (spaces.sequential([x, n]), [(0.5, 5)]),
        (spaces.sequential(part for part in (x, n)), [(0.5, 5)]),
        (spaces.repeat(n, 3), [[5], [5, 5], [5, 5, 5]]),
        (spaces.repeat(n, 3, split=False), [[5, 5, 5]]),
        (spaces.repeat((n, {'x': x}), 2), [[(5, {'x': 0.5})], [(5, {'x': 0.5}), (5, {'x': 0.5})]]),
        ({'exclusive': True, 'x': x, 'n': n}, [{'x': 0.5}, {'n': 5}]),
        ({'exclusive': True, 'a': {'x': x}, 'b': {}, 'c': 1}, [{'a': {'x': 0.5}}, {'b': {}}, {'c': 1}]),
        ({'n': n, 'o': option}, [{'n': 5}, {'n': 5, 'o': {'x': 0.5}}]),
        (option, [{}, {'x': 0.5}]),
        ({'exclusive': True, **option}, [{}, {'x': 0.5}]),
        ((n, option), [(5, None), (5, {'x': 0.5})]),
        (spaces.repeat(option, 2, split=False), [[a, b] for a in (None, {'x': 0.5}) for b in (None, {'x': 0.5})]),
        ({'exclusive': True, 'a': option, 'n': n}, [{'a': None}, {'a': {'x': 0.5}}, {'n': 5}]),
        ({'optional': True, 'o': option}, [{}, {'o': {'x': 0.5}}]),
        ({'a.b': {'c d': x}, '': n, 'a': 1}, [{'a.b': {'c d': 0.5}, '': 5, 'a': 1}]),
    ],
)
def test_a_setting_has_the_shape_of_the_space_and_only_its_active_parts(space: Any, settings: list[Any]) -> None:
    assert decoded(space) == settings


def test_keys_keep_the_order_of_the_space() -> None:
    assert list(decoded({'b': x, 'a': n, 'c': 1})[0]) == ['b', 'a', 'c']


def test_one_domain_in_many_places_makes_independent_draws() -> None:
    tree = Forest({'a': x, 'b': x, 'c': spaces.repeat(x, 2, split=False), 'd': (x, x)}).tree(0)
    points = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert tree.decode(points) == {'a': 0.1, 'b': 0.2, 'c': [0.3, 0.4], 'd': (0.5, 0.6)}


@pytest.mark.parametrize(
    ('domain', 'kind'),
    [
        (spaces.uniform(np.float64(0), np.float64(1)), float),
        (spaces.log10_uniform(-1, 1), float),
        (spaces.normal(np.float32(0), 1), float),
        (spaces.randint(np.int64(0), np.int64(9)), int),
        (spaces.log2_randint(4, 10), int),
        (spaces.grid(np.arange(4)), int),
        (np.linspace(0, 1, 5), float),
        ([np.float32(1.5)], np.float32),
    ],
)
def test_values_are_of_python_unless_the_list_holds_others(domain: Any, kind: type) -> None:
    tree = Forest({'x': domain, 'copy': spaces.repeat(domain, 1)}).tree(0)
    params = tree.decode(np.array([0.3, 0.7]))
    assert [type(params['x']), type(params['copy'][0])] == [kind, kind]


def test_two_settings_share_no_containers() -> None:
    tree = Forest({'a': {'n': n}, 'r': spaces.repeat(n, 1)}).tree(0)
    first, second = tree.decode([0.5, 0.5]), tree.decode([0.5, 0.5])
    first['a']['n'] = first['r'][0] = 'changed'
    assert second == {'a': {'n': 5}, 'r': [5]}


@pytest.mark.parametrize('point', [[], [0.5], [0.5] * 3, [0.5, 1.1], [-0.1, 0.5], [float('nan'), 0.5]])
def test_a_point_outside_the_cube_is_refused(point: list[float]) -> None:
    with pytest.raises(SpaceError, match=r'a point in <Tree 0: all, 2 dimensions> is made of 2 numbers from 0 to 1'):
        Forest({'x': x, 'n': n}).tree(0).decode(point)


def test_parameters_lead_to_the_tree_and_the_point() -> None:
    forest = Forest({'k': {'exclusive': True, 'a': {'x': x}, 'b': {'x': x, 'n': n}}, 'o': option})
    tree, point = forest.encode({'k': {'b': {'x': 0.25, 'n': 3}}, 'o': {'x': 1.0}})
    assert (tree.index, point) == (3, (0.25, 0.35, 1.0))
    assert tree.encode({'k': {'b': {'x': 0.25, 'n': 3}}, 'o': {'x': 1.0}}) == point


@pytest.mark.parametrize('params', [{'n': 5}, {'n': 5, 'o': None}])
def test_an_absent_part_may_be_left_out_or_none(params: Any) -> None:
    tree, point = Forest({'n': n, 'o': option}).encode(params)
    assert (tree.index, point) == (0, (0.55,))


@pytest.mark.parametrize('params', [{}, None])
def test_an_absent_space_may_be_an_empty_dict_or_none(params: Any) -> None:
    assert Forest(option).encode(params)[0].index == 0


def test_constants_and_computed_values_may_be_left_out() -> None:
    tree, point = Forest({'n': n, 'c': 3, 'd': spaces.dependent(n)}).encode({'n': 5})
    assert tree.decode(point) == {'n': 5, 'c': 3, 'd': 5}


def test_a_sequence_may_come_as_a_list_and_a_repeat_as_a_tuple() -> None:
    forest = Forest({'s': (x, n), 'r': spaces.repeat(n, 3)})
    assert forest.encode({'s': [0.5, 5], 'r': (1, 2)})[0].index == 1


SPACE = {
    'x': x,
    'layers': spaces.repeat({'n': n, 'width': n}, 3),
    'fixed': spaces.repeat(n, 2, split=False),
    'pair': (x, n),
    'kernel': {'exclusive': True, 'rbf': {'x': x}, 'poly': {'n': n}},
}
GOOD = {
    'x': 0.5,
    'layers': [{'n': 1, 'width': 2}, {'n': 3, 'width': 4}],
    'fixed': [1, 2],
    'pair': (0.5, 5),
    'kernel': {'poly': {'n': 5}},
}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'x': 1.5}, r'at x: 1\.5 lies outside uniform\(0\.0, 1\.0\)'),
        ({'x': None}, r'at x: None \(NoneType\) is not a value of uniform'),
        ({'layers': [{'n': 1, 'width': 2}, {'n': 3, 'width': 99}]}, r'at layers\[1\]\.width: 99 is not a value'),
        ({'layers': [{'n': 1}]}, r'the parameters hold nothing at layers\[0\]\.width'),
        ({'layers': [{'n': 1, 'width': 2, 'wdith': 3}]}, "unknown key 'wdith'; did you mean 'width'"),
        ({'layers': []}, r'at layers must be a list of length 1 to 3; got \[\]'),
        ({'layers': 5}, 'at layers must be a list of length 1 to 3; got 5'),
        ({'layers': [5]}, r'at layers\[0\] must be a dict; got 5'),
        ({'fixed': [1]}, r'at fixed must be a list of length 2; got \[1\]'),
        ({'pair': (0.5,)}, r'at pair must be a sequence of 2; got \(0\.5,\)'),
        ({'pair': 'ab'}, "at pair must be a sequence of 2; got 'ab'"),
        ({'kernel': {}}, "at kernel must be a dict with exactly one of the keys 'rbf', 'poly'; got {}"),
        ({'kernel': {'linear': {}}}, 'at kernel must be a dict with exactly one of the keys'),
        ({'kernel': {'rbf': {'x': 0.5}, 'poly': {'n': 5}}}, 'at kernel must be a dict with exactly one of the keys'),
        ({'kernel': 'rbf'}, 'at kernel must be a dict with exactly one of the keys'),
        ({'kernle': 1}, r"at \(the whole space\) have an unknown key 'kernle'; did you mean 'kernel'"),
    ],
)
def test_parameters_of_another_shape_are_refused_with_their_place(change: dict[str, Any], message: str) -> None:
    forest = Forest(SPACE)
    assert forest.encode(GOOD)[0].index == 3
    with pytest.raises(SpaceError, match=message):
        forest.encode({**GOOD, **change})


def test_a_tree_refuses_parameters_of_another_tree() -> None:
    forest = Forest({'exclusive': True, 'a': x, 'b': x})
    with pytest.raises(SpaceError, match='belong to tree 1 of the forest, not to tree 0'):
        forest.tree(0).encode({'b': 0.5})
