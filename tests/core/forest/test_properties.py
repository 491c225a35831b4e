"""Properties that hold for any space: thousands of generated ones, nested in every way."""

from __future__ import annotations

import copy
import itertools
import json
import math
import random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shadho import spaces
from shadho.errors import SpaceError
from shadho.forest import Forest, Tree
from shadho.spaces.domains import Domain
from shadho.spaces.structure import Repeat, Scope, Sequence

KEYS = ['a', 'b', 'learning rate', 'a.b', 'a[0]', '', 'é', '$tuple', '0']

# The same objects stand in many places of one space, and in many spaces.
DOMAINS: list[Domain] = [
    spaces.uniform(-1000, 2000),
    spaces.uniform(0, 1e-300),
    spaces.log10_uniform(-5, 8),
    spaces.loguniform(1e-4, 1e-2),
    spaces.normal(3, 0.5),
    spaces.ln_normal(0, 2),
    spaces.log2_normal(-3, 1),
    spaces.choice(['rbf', 'poly', 'linear']),
    spaces.choice([None, True, 1.5, 'x', (1, 2), [3]]),
    spaces.choice([0.1, 0.2, 0.7]),
    spaces.choice([7]),
    spaces.randint(-5, 100, 7),
    spaces.randint(0, 2**50),
    spaces.log2_randint(4, 10),
    spaces.ln_randint(0, 20, 3),
    spaces.log10_randint(-3, 3),
    spaces.grid([1, 2, 3]),
    spaces.grid(spaces.randint(0, 4)),
]
CONSTANTS = [None, True, 3, 2.5, 'sgd']

leaves = st.sampled_from([*DOMAINS, *CONSTANTS])
flags = st.sampled_from([(False, False), (False, False), (True, False), (False, True), (True, True)])


@st.composite
def scopes(draw: st.DrawFn, parts: st.SearchStrategy[Any]) -> Scope:
    """A scope, now and then with a value that depends on a domain in it."""
    exclusive, optional = draw(flags)
    scope = spaces.scope(exclusive=exclusive, optional=optional)
    for key, part in draw(st.dictionaries(st.sampled_from(KEYS), parts, min_size=1, max_size=4)).items():
        scope[key] = part
    own = [scope[key] for key in scope if isinstance(scope[key], Domain)]
    readable = [domain for domain in own if own.count(domain) == 1]
    if readable and not exclusive and draw(st.booleans()):
        scope.follows = spaces.dependent(draw(st.sampled_from(readable)), callback=copy.copy)
    return scope


def larger(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Anything that holds parts."""
    return st.one_of(
        scopes(parts),
        st.lists(parts, min_size=1, max_size=3).map(spaces.sequential),
        st.builds(spaces.repeat, parts, st.integers(1, 3), split=st.booleans()),
    )


generated = scopes(st.recursive(leaves, larger, max_leaves=10))
seeds = st.integers(0, 2**32 - 1)

many = settings(max_examples=250)


def some_trees(forest: Forest, rng: random.Random, n: int = 5) -> list[Tree]:
    return [forest.tree(rng.randrange(forest.count)) for _ in range(n)]


def some_point(tree: Tree, rng: random.Random) -> list[float]:
    return [rng.random() for _ in range(len(tree))]


def equal(one: Any, other: Any) -> bool:
    """Equal up to the rounding of floats, and of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)
    return bool(one == other)


def outline(params: Any) -> Any:
    """The shape of parameters, whatever the values: what tells trees apart."""
    if isinstance(params, dict):
        return ('dict', *((key, outline(value)) for key, value in params.items() if key != 'follows'))
    if isinstance(params, (list, tuple)):
        return (type(params).__name__, *map(outline, params))
    return 'nothing' if params is None else 'value'


def listed(part: Any) -> list[Any]:
    """All outlines of a part, listed one by one from the rules; None stands for an absent part."""
    if isinstance(part, Scope):
        keys = [key for key in part if key != 'follows']
        if part.exclusive:
            found = [('dict', (key, inner or 'nothing')) for key in keys for inner in listed(part[key])]
        else:
            found = [
                ('dict', *((key, inner) for key, inner in zip(keys, combination) if inner is not None))
                for combination in itertools.product(*(listed(part[key]) for key in keys))
            ]
        return [None, *found] if part.optional else found
    if isinstance(part, Sequence):
        rows = itertools.product(*(listed(inner) for inner in part.parts))
        return [('tuple', *(inner or 'nothing' for inner in row)) for row in rows]
    if isinstance(part, Repeat):
        lengths = range(1 if part.split else part.length, part.length + 1)
        rows = itertools.chain(*(itertools.product(listed(part.part), repeat=length) for length in lengths))
        return [('list', *(inner or 'nothing' for inner in row)) for row in rows]
    return ['value']


def plain(part: Any) -> Any:
    """The space with outlines that `outline` and `listed` agree on: no value is None, a list or a tuple."""
    if isinstance(part, Scope):
        return spaces.scope(
            exclusive=part.exclusive,
            optional=part.optional,
            **{key: plain(part[key]) for key in part if key != 'follows'},
        )
    if isinstance(part, Sequence):
        return spaces.sequential([plain(inner) for inner in part.parts])
    if isinstance(part, Repeat):
        return spaces.repeat(plain(part.part), part.length, split=part.split)
    return spaces.uniform(0, 1)


@many
@given(space=generated)
def test_a_forest_holds_every_combination_of_the_rules_exactly_once(space: Scope) -> None:
    forest = Forest(plain(space))
    assume(forest.count <= 100)
    expected = {outline or ('dict',) for outline in listed(space)}
    found = [outline(tree.decode([0.5] * len(tree))) for tree in forest]
    assert set(found) == expected
    assert forest.count == len(found) == len(expected)


@many
@given(space=generated, seed=seeds)
def test_parameters_lead_back_to_their_tree_and_point(space: Scope, seed: int) -> None:
    rng = random.Random(seed)
    forest = Forest(space)
    for tree in some_trees(forest, rng):
        params = tree.decode(some_point(tree, rng))
        found, point = forest.encode(params)
        assert (found.index, len(point)) == (tree.index, len(tree))
        assert equal(found.decode(point), params)


@many
@given(space=generated, seed=seeds)
def test_a_tree_refuses_the_parameters_of_another(space: Scope, seed: int) -> None:
    rng = random.Random(seed)
    forest = Forest(space)
    assume(forest.count > 1)
    one, other = (forest.tree(index) for index in rng.sample(range(min(forest.count, 2**60)), 2))
    with pytest.raises(SpaceError, match=f'belong to tree {other.index} of the forest'):
        one.encode(other.decode(some_point(other, rng)))


@many
@given(space=generated, seed=seeds)
def test_one_path_has_one_dimension_in_all_trees(space: Scope, seed: int) -> None:
    forest = Forest(space)
    known: dict[Any, Any] = {}
    for tree in some_trees(forest, random.Random(seed), 10):
        paths = [dimension.path for dimension in tree.dimensions]
        assert len(set(paths)) == len(paths)
        for dimension, leaf in zip(tree.dimensions, tree.leaves):
            assert known.setdefault(dimension.path, (dimension, leaf.domain)) == (dimension, leaf.domain)


@many
@given(space=generated, seed=seeds)
def test_the_value_of_a_coordinate_stands_at_its_path(space: Scope, seed: int) -> None:
    rng = random.Random(seed)
    for tree in some_trees(Forest(space), rng, 2):
        point = some_point(tree, rng)
        params = tree.decode(point)
        for u, leaf in zip(point, tree.leaves):
            value = params
            for key in leaf.path:
                value = value[key]
            assert value == leaf.domain.decode(u)


@many
@given(space=generated, seed=seeds)
def test_a_space_is_the_same_after_a_journey_through_json(space: Scope, seed: int) -> None:
    text = spaces.to_json(space)
    again = spaces.from_json(text)
    assert spaces.to_json(again) == text
    assert spaces.describe(again) == spaces.describe(space)
    assert spaces.fingerprint(again) == spaces.fingerprint(space)
    forest, twin = Forest(space), Forest(again)
    assert twin.count == forest.count
    rng = random.Random(seed)
    for tree in some_trees(forest, rng, 3):
        point = some_point(tree, rng)
        assert repr(twin.tree(tree.index).decode(point)) == repr(tree.decode(point))


@many
@given(space=generated, seed=seeds)
def test_parameters_that_went_through_json_are_found_again(space: Scope, seed: int) -> None:
    rng = random.Random(seed)
    forest = Forest(plain(space))
    for tree in some_trees(forest, rng, 2):
        params = json.loads(json.dumps(tree.decode(some_point(tree, rng))))
        assert forest.encode(params)[0] is tree


@many
@given(space=generated)
def test_each_tree_has_a_label_of_its_own(space: Scope) -> None:
    forest = Forest(space)
    assume(forest.count <= 100)
    assert len({tree.label for tree in forest}) == forest.count
