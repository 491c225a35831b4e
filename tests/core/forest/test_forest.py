"""Forests: how many trees a space has, what each is, and that none is ever listed."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest

from shadho import spaces
from shadho.forest import Dimension, Forest

x = spaces.uniform(0, 1)
letters = ['a', 'b', 'c', 'd']


def slide_7() -> dict[str, Any]:
    return {
        'A': {'optional': True, 'a': x, 'b': letters},
        'B': {'exclusive': True, 'c': x, 'd': letters},
    }


def support_vector_machine() -> dict[str, Any]:
    C = spaces.uniform(-1000, 2000)
    gamma = spaces.log10_uniform(-5, 8)
    coef0 = spaces.uniform(-1000, 2000)
    degree = [2, 3, 4, 5, 6, 7]
    return {
        'linear': {'C': C},
        'rbf': {'C': C, 'gamma': gamma},
        'sigmoid': {'C': C, 'gamma': gamma, 'coef0': coef0},
        'poly': {'C': C, 'gamma': gamma, 'coef0': coef0, 'degree': degree},
        'exclusive': True,
    }


def convolutional_network() -> dict[str, Any]:
    activations = ['glu', 'leaky_relu', 'prelu', 'relu', 'selu', 'sigmoid', 'tanh']
    batch_norm = spaces.log10_uniform(-4, 4)
    conv_layer = spaces.scope(
        out_filters=spaces.log2_randint(4, 10),
        kernel_shape=spaces.randint(1, 10, step=2),
        activation=activations,
        batch_norm=batch_norm,
    )
    conv_layer.padding = spaces.dependent(conv_layer.kernel_shape, callback=lambda x: int(x // 2))
    dense_layer = spaces.scope(
        out_features=spaces.log2_randint(7, 13),
        activation=activations,
        batch_norm=batch_norm,
    )
    return {'conv_layers': spaces.repeat(conv_layer, 6), 'dense_layers': spaces.repeat(dense_layer, 3)}


def trillion() -> dict[str, Any]:
    return {f's{i}': spaces.scope(exclusive=True, **{f'o{j}': x for j in range(10)}) for i in range(12)}


@pytest.mark.parametrize(
    ('space', 'count'),
    [
        (x, 1),
        (letters, 1),
        ((x, x), 1),
        ({'x': x}, 1),
        ({'x': x, 'optional': True}, 2),
        ({'x': x, 'y': x, 'exclusive': True}, 2),
        ({'x': x, 'y': x, 'exclusive': True, 'optional': True}, 3),
        (slide_7(), 4),
        (support_vector_machine(), 4),
        (convolutional_network(), 18),
        (spaces.repeat(x, 5), 5),
        (spaces.repeat(x, 5, split=False), 1),
        (spaces.repeat(support_vector_machine(), 3), 4 + 4**2 + 4**3),
        (spaces.repeat(support_vector_machine(), 3, split=False), 4**3),
        (spaces.repeat(spaces.repeat(x, 2), 3), 2 + 2**2 + 2**3),
        (spaces.sequential([slide_7(), support_vector_machine(), x]), 16),
        ({'a': {'optional': True, 'b': {'optional': True, 'c': {'optional': True}}}}, 4),
        (trillion(), 10**12),
        (spaces.repeat(support_vector_machine(), 200), (4**201 - 4) // 3),
    ],
)
def test_trees_are_counted_exactly(space: Any, count: int) -> None:
    forest = Forest(space)
    assert forest.count == count
    assert type(forest.count) is int


def test_the_trees_of_slide_7_are_each_other_s_complements() -> None:
    assert [tree.decode([0.5] * len(tree)) for tree in Forest(slide_7())] == [
        {'B': {'c': 0.5}},
        {'B': {'d': 'c'}},
        {'A': {'a': 0.5, 'b': 'c'}, 'B': {'c': 0.5}},
        {'A': {'a': 0.5, 'b': 'c'}, 'B': {'d': 'c'}},
    ]


def test_the_support_vector_machine_has_one_tree_for_each_kernel() -> None:
    forest = Forest(support_vector_machine())
    assert [tree.label for tree in forest] == ['linear', 'rbf', 'sigmoid', 'poly']
    assert [len(tree) for tree in forest] == [1, 2, 3, 4]
    assert list(forest.tree(1).decode([0.5, 0.5])) == ['rbf']
    assert list(forest.tree(3).decode([0.5] * 4)['poly']) == ['C', 'gamma', 'coef0', 'degree']


def test_the_network_has_every_pair_of_depths() -> None:
    depths = []
    for tree in Forest(convolutional_network()):
        params = tree.decode([0.7] * len(tree))
        assert all(layer['padding'] == layer['kernel_shape'] // 2 for layer in params['conv_layers'])
        depths.append((len(params['conv_layers']), len(params['dense_layers'])))
    assert depths == [(conv, dense) for conv in range(1, 7) for dense in range(1, 4)]


@pytest.mark.parametrize(
    ('space', 'labels'),
    [
        ({'x': x}, ['all']),
        (spaces.repeat(x, 2, split=False), ['all']),
        ({'a': {'x': x, 'optional': True}}, ['a=absent', 'a=present']),
        ({'x': x, 'optional': True}, ['absent', 'present']),
        ({'layers': spaces.repeat(x, 2)}, ['layers=1', 'layers=2']),
        ({'a b': {'exclusive': True, 'x': x, 'y.z': {}}}, ["['a b']=x", "['a b']=y.z"]),
        ((x, {'exclusive': True, 'x': x, 'y': 1}), ['[1]=x', '[1]=y']),
    ],
)
def test_a_label_says_what_was_decided(space: Any, labels: list[str]) -> None:
    assert [tree.label for tree in Forest(space)] == labels


def test_dimensions_tell_samplers_kind_size_and_path() -> None:
    space = {'x': x, 'layers': spaces.repeat({'n': spaces.randint(0, 5)}, 2), 'a.b': (letters, spaces.grid([1, 2]))}
    assert Forest(space).tree(1).dimensions == (
        Dimension('continuous', None, ('x',)),
        Dimension('integer', 5, ('layers', 0, 'n')),
        Dimension('integer', 5, ('layers', 1, 'n')),
        Dimension('categorical', 4, ('a.b', 0)),
        Dimension('integer', 2, ('a.b', 1), grid=True),
    )


def test_the_path_of_a_domain_that_is_the_whole_space_is_empty() -> None:
    (dimension,) = Forest(x).tree(0).dimensions
    assert dimension.path == ()


def test_grid_leaves_are_those_that_are_visited() -> None:
    steps = spaces.grid(spaces.randint(0, 3))
    tree = Forest({'x': x, 'steps': steps, 'kind': letters}).tree(0)
    assert tree.grid_leaves == ((1, steps),)


def test_a_tree_is_built_once_while_it_is_in_use() -> None:
    forest = Forest(trillion())
    tree = forest.tree(5)
    for index in range(10_000):
        forest.tree(index)
        assert forest.tree(5) is tree
    assert forest.tree(6).index == 6


@pytest.mark.parametrize('index', [-1, 4, 10**30])
def test_a_tree_that_is_not_there_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match=f'tree {index} of a forest of 4'):
        Forest(slide_7()).tree(index)


def test_a_forest_is_a_collection_of_its_trees() -> None:
    forest = Forest(slide_7())
    assert len(forest) == 4
    assert [tree.index for tree in forest] == [0, 1, 2, 3]
    assert repr(forest) == '<Forest of 4 trees>'
    assert repr(forest.tree(2)) == '<Tree 2: A=present, B=c, 3 dimensions>'


def test_every_tree_of_a_huge_forest_is_found_again_by_its_parameters() -> None:
    forest = Forest(spaces.repeat(support_vector_machine(), 200))
    rng = random.Random(0)
    for index in [0, forest.count - 1, *(rng.randrange(forest.count) for _ in range(10))]:
        tree = forest.tree(index)
        params = tree.decode([0.5] * len(tree))
        found, _ = forest.encode(params)
        assert found.index == index


def test_a_forest_of_a_trillion_trees_takes_a_few_megabytes() -> None:
    rng = random.Random(0)
    tracemalloc.start()
    try:
        forest = Forest(trillion())
        for _ in range(1000):
            tree = forest.tree(rng.randrange(forest.count))
            assert len(tree.decode([rng.random() for _ in range(12)])) == 12
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3e6


def test_two_forests_of_one_space_number_their_trees_alike() -> None:
    one, other = Forest(convolutional_network()), Forest(convolutional_network())
    for tree in one:
        assert other.tree(tree.index).dimensions == tree.dimensions
