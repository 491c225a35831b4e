"""Spaces as text for people, as JSON both ways, and as a fingerprint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from shadho import spaces
from shadho.errors import SpaceError
from shadho.forest import Forest
from shadho.spaces.spec import outline

kernel = spaces.randint(1, 10, step=2)
layer = spaces.scope(kernel=kernel, filters=spaces.log2_randint(4, 10))
layer.size = spaces.dependent((layer.kernel, layer.filters), callback=max)
SPACE = {
    'layers': spaces.repeat(layer, 3),
    'heads': spaces.repeat((spaces.uniform(0, 1), 'fixed'), 2, split=False),
    'svm': {
        'exclusive': True,
        'linear': {'C': spaces.log10_uniform(-3, 3)},
        'rbf': spaces.scope(optional=True, C=spaces.loguniform(0.1, 10), gamma=spaces.ln_normal(0, 1)),
    },
    'grid': spaces.grid([1, 2]),
    'steps': spaces.grid(spaces.randint(0, 3)),
    'many': list(range(100)),
    'a.b c': None,
}


def test_a_description_reads_like_the_space() -> None:
    assert spaces.describe(SPACE) == (
        """{
    'layers': repeat({
        'kernel': randint(1, 10, 2),
        'filters': log2_randint(4, 10),
        'size': dependent(kernel, filters, callback=max),
    }, 3),
    'heads': repeat((
        uniform(0.0, 1.0),
        'fixed',
    ), 2, split=False),
    'svm': {
        'exclusive': True,
        'linear': {
            'C': log10_uniform(-3.0, 3.0),
        },
        'rbf': {
            'optional': True,
            'C': loguniform(0.1, 10.0),
            'gamma': ln_normal(0.0, 1.0),
        },
    },
    'grid': grid([1, 2]),
    'steps': grid(randint(0, 3)),
    'many': choice([0, 1, 2, ... 96 more ..., 99]),
    'a.b c': None,
}"""
    )


@pytest.mark.parametrize(
    ('node', 'text'),
    [
        (spaces.uniform(0, 1), 'uniform(0.0, 1.0)'),
        (spaces.exhaustive([1, 2]), 'exhaustive([1, 2])'),
        (spaces.grid(spaces.choice(['a'])), "grid(choice(['a']))"),
        (spaces.distribution(scipy.stats.beta(2, b=5)), 'distribution(beta(2, b=5))'),
        (spaces.repeat(kernel, 3), 'repeat(randint(1, 10, 2), 3)'),
        (spaces.sequential([1, 'a']), "(\n    1,\n    'a',\n)"),
        (spaces.scope(x=1), "{\n    'x': 1,\n}"),
        (spaces.dependent(kernel), 'dependent(...)'),
        (spaces.dependent(kernel, callback=lambda k: k), 'dependent(..., callback=<lambda>)'),
    ],
)
def test_the_repr_of_every_part_reads_like_its_constructor(node: Any, text: str) -> None:
    assert repr(node) == spaces.describe(node) == text


def test_a_space_comes_back_from_json() -> None:
    text = spaces.to_json(SPACE)
    again = spaces.from_json(text)
    assert spaces.to_json(again) == text
    assert spaces.describe(again) == spaces.describe(SPACE)
    forest, twin = Forest(SPACE), Forest(again)
    assert twin.count == forest.count == 9
    for tree in forest:
        point = [0.4] * len(tree)
        assert twin.tree(tree.index).decode(point) == tree.decode(point)


def test_json_can_be_indented() -> None:
    assert json.loads(spaces.to_json(SPACE, indent=2)) == json.loads(spaces.to_json(SPACE))


@pytest.mark.parametrize(
    'values',
    [
        [1, 2.5, True, None, 'a'],
        [(1, 2), [3, (4,)]],
        [{'a': (1,)}, {1: 2}],
        [float('inf'), 1j, b'ab'],
        ['$repr', '"$repr"', {'$repr': 1}],
    ],
)
def test_plain_values_come_back_from_json_with_their_types(values: list[Any]) -> None:
    again = spaces.from_json(spaces.to_json({'x': values}))
    assert repr(again.x) == repr(spaces.choice(values))


def test_an_array_comes_back_from_json() -> None:
    again = spaces.from_json(spaces.to_json({'x': [np.arange(3, dtype=np.int8)]}))
    value = again.x.decode(0.5)
    assert (value.tolist(), value.dtype) == ([0, 1, 2], np.int8)


def test_a_domain_used_in_two_scopes_is_read_in_each_after_json() -> None:
    space = {
        'one': {'k': kernel, 'p': spaces.dependent(kernel, callback=abs)},
        'two': {'k': kernel, 'p': spaces.dependent(kernel, callback=abs)},
        'three': layer,
        'four': layer,
    }
    params = Forest(spaces.from_json(spaces.to_json(space))).tree(0).decode([0.0, 0.9, 0.0, 0.1, 0.9, 0.1])
    assert params == {
        'one': {'k': 1, 'p': 1},
        'two': {'k': 9, 'p': 9},
        'three': {'kernel': 1, 'filters': 16, 'size': 16},
        'four': {'kernel': 9, 'filters': 16, 'size': 16},
    }


def test_a_dependent_may_come_before_its_source_in_json() -> None:
    space = {'p': spaces.dependent(kernel, callback=abs), 'k': kernel}
    assert Forest(spaces.from_json(spaces.to_json(space))).tree(0).decode([0.5]) == {'p': 5, 'k': 5}


def test_a_dependent_of_a_dependent_comes_back_from_json() -> None:
    first = spaces.dependent(kernel, callback=float)
    space = {'k': kernel, 'first': first, 'second': spaces.dependent((first, kernel), callback=max)}
    again = Forest(spaces.from_json(spaces.to_json(space)))
    assert again.tree(0).decode([0.5]) == {'k': 5, 'first': 5.0, 'second': 5.0}


def local_callback() -> Callable[[int], int]:
    def inner(k: int) -> int:
        return k

    return inner


@pytest.mark.parametrize('callback', [lambda k: k, local_callback()])
def test_a_callback_that_cannot_be_imported_cannot_be_json(callback: Callable[[int], int]) -> None:
    space = {'k': kernel, 'p': spaces.dependent(kernel, callback=callback)}
    with pytest.raises(SpaceError, match='define it with def at the top level of a module'):
        spaces.to_json(space)
    assert len(spaces.fingerprint(space)) == 64


@pytest.mark.parametrize(
    ('part', 'message'),
    [
        (spaces.distribution(scipy.stats.beta(2, 5)), r'distribution\(beta\(2, 5\)\) cannot be written as JSON'),
        ([object()], 'cannot be written as JSON; choose between names instead'),
        (object(), 'cannot be written as JSON; choose between names instead'),
        ([{'a': object()}], 'cannot be written as JSON; choose between names instead'),
    ],
)
def test_objects_cannot_be_json_but_have_a_fingerprint(part: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        spaces.to_json({'x': part})
    assert len(spaces.fingerprint({'x': part})) == 64


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'is not JSON'),
        (5, 'is not JSON'),
        ('5', 'misshapen'),
        ('[]', 'misshapen'),
        ('{}', 'misshapen'),
        ('{"type": "scope"}', 'misshapen'),
        ('{"type": ["scope"]}', 'misshapen'),
        ('{"type": "uniform", "args": [1]}', 'misshapen'),
        ('{"type": "uniform", "args": [1, 0]}', 'low must be less than high'),
        ('{"type": "unifrom", "args": [0, 1]}', "did you mean 'uniform'"),
        ('{"type": "to_json", "args": [0]}', "unknown type 'to_json'"),
        ('{"type": "dependent", "of": [0], "callback": "builtins:max"}', 'refers to part 0'),
        ('{"type": "dependent", "of": [], "callback": "builtins:maximum"}', 'cannot be imported here'),
        ('{"type": "dependent", "of": [], "callback": "no.such.module:f"}', 'cannot be imported here'),
        ('{"type": "repeat", "n": 0, "split": true, "part": {"type": "constant", "value": 1}}', 'n must be 1 or more'),
        ('{"type": "sequential", "parts": [' * 1500 + ']}' * 1500, 'nested too deeply'),
    ],
)
def test_json_that_is_no_space_is_refused(text: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        spaces.from_json(text)


def test_the_fingerprint_is_that_of_the_structure_not_of_the_objects() -> None:
    def build(step: int, callback: Callable[..., Any] = abs, **more: Any) -> str:
        k = spaces.randint(1, 10, step)
        return spaces.fingerprint({'k': k, 'p': spaces.dependent(k, callback=callback), **more})

    assert build(2) == build(2)
    different = [build(2), build(3), build(2, callback=float), build(2, x=1), build(2, x=2), build(2, x=[2])]
    assert len(set(different)) == len(different)


def test_what_a_dependent_reads_belongs_to_the_fingerprint() -> None:
    def build(first: bool) -> str:
        one, two = spaces.uniform(0, 1), spaces.uniform(0, 1)
        return spaces.fingerprint({'one': one, 'two': two, 'p': spaces.dependent(one if first else two)})

    assert build(True) == build(True) != build(False)


def test_the_address_of_an_object_does_not_belong_to_the_fingerprint() -> None:
    assert spaces.fingerprint({'x': [object()]}) == spaces.fingerprint({'x': [object()]})


def test_the_outline_shows_where_two_spaces_differ() -> None:
    one, other = (outline({'x': spaces.uniform(0, high), 'y': 1}).splitlines() for high in (1, 2))
    assert [(a, b) for a, b in zip(one, other) if a != b] == [('    1.0', '    2.0')]


SCRIPT = """
import numpy as np, scipy.stats
from shadho import spaces
class Thing: pass
k = spaces.randint(1, 10, 2)
print(spaces.fingerprint({
    'k': k, 'p': spaces.dependent(k, callback=lambda k: k // 2),
    'things': [Thing(), Thing, len, np.arange(3), {'b': 1, 'a': 2}, (1, 2)],
    'd': spaces.distribution(scipy.stats.beta(2, b=5)),
    'constant': Thing(),
}))
"""


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    prints = {
        subprocess.run(
            [sys.executable, '-c', SCRIPT],
            env={**os.environ, 'PYTHONHASHSEED': seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ('1', '2', '3')
    }
    assert len(prints) == 1
    assert len(prints.pop().strip()) == 64
