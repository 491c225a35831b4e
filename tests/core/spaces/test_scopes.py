"""Scopes: parts are read and assigned as items and attributes, flags too."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from shadho import spaces
from shadho.forest import Forest
from shadho.spaces.structure import Constant, Scope, Sequence, as_node

x = spaces.uniform(0, 1)


def test_a_part_is_the_same_as_item_and_as_attribute() -> None:
    scope = spaces.scope(x=x)
    assert scope.x is x
    assert scope['x'] is x


def test_a_part_is_assigned_as_attribute_or_as_item() -> None:
    scope = spaces.scope()
    scope.x = x
    scope['batch norm.eps'] = x
    scope._hidden = x
    assert list(scope) == ['x', 'batch norm.eps', '_hidden']
    assert scope['batch norm.eps'] is scope._hidden is x


def test_plain_values_become_parts_when_assigned() -> None:
    scope = spaces.scope(kinds=['a', 'b'])
    scope.depth = 3
    scope.pair = (x, 1)
    scope.inner = {'x': x}
    assert repr(scope.kinds) == "choice(['a', 'b'])"
    assert isinstance(scope.depth, Constant)
    assert isinstance(scope.pair, Sequence)
    assert scope.inner.x is x


def test_a_part_can_be_replaced_and_removed() -> None:
    scope = spaces.scope(x=x, y=x, z=x)
    scope.x = 5
    del scope.y
    del scope['z']
    assert list(scope) == ['x']
    assert 'y' not in scope
    assert len(scope) == 1


@pytest.mark.parametrize('name', ['kernal', '_kernal'])
def test_a_part_that_is_not_there_is_named_with_the_nearest(name: str) -> None:
    scope = spaces.scope(kernel=x)
    with pytest.raises(AttributeError, match="did you mean 'kernel'"):
        getattr(scope, name)
    with pytest.raises(AttributeError, match="did you mean 'kernel'"):
        delattr(scope, name)
    with pytest.raises(KeyError, match="did you mean 'kernel'"):
        scope[name]
    with pytest.raises(KeyError, match="did you mean 'kernel'"):
        del scope[name]


@pytest.mark.parametrize('flag', ['exclusive', 'optional'])
def test_a_flag_is_given_in_any_of_four_ways(flag: str) -> None:
    assigned, by_item = spaces.scope(x=x), spaces.scope(x=x)
    setattr(assigned, flag, True)
    by_item[flag] = True
    for scope in (spaces.scope(**{flag: True}, x=x), as_node({'x': x, flag: True}), assigned, by_item):
        assert list(scope) == ['x']
        assert getattr(scope, flag) is scope[flag] is True
    setattr(assigned, flag, False)
    assert not getattr(assigned, flag)


@pytest.mark.parametrize('flag', ['exclusive', 'optional'])
def test_a_hyperparameter_may_have_the_name_of_a_flag(flag: str) -> None:
    scope = as_node({flag: ['yes', 'no']})
    assert list(scope) == [flag]
    assert Forest({flag: x}).tree(0).decode([0.5]) == {flag: 0.5}


@pytest.mark.parametrize('kind', [dict, OrderedDict, MappingProxyType])
def test_any_mapping_is_a_scope(kind: Any) -> None:
    scope = as_node(kind({'x': x, 'exclusive': True}))
    assert isinstance(scope, Scope)
    assert (list(scope), scope.exclusive) == (['x'], True)


@pytest.mark.parametrize('value', [None, True, 0, 1.5, 'a', b'a', np.float64(1), np.eye(2), len, object()])
def test_all_else_is_a_constant_that_is_handed_on(value: Any) -> None:
    assert Forest({'x': x, 'constant': value}).tree(0).decode([0.5])['constant'] is value


def test_a_shallow_copy_gets_parts_of_its_own() -> None:
    scope = spaces.scope(exclusive=True, x=x)
    twin = copy.copy(scope)
    twin.y = x
    assert (list(scope), list(twin), twin.exclusive) == (['x'], ['x', 'y'], True)
    assert twin.x is x


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda scope: pickle.loads(pickle.dumps(scope))])
def test_a_deep_copy_keeps_dependents_connected(duplicate: Any) -> None:
    scope = spaces.scope(x=x, optional=True)
    scope.double = spaces.dependent(x, callback=abs)
    twin = duplicate(scope)
    assert twin.x is not x
    assert Forest(twin).tree(1).decode([0.25]) == {'x': 0.25, 'double': 0.25}


def test_a_forest_does_not_change_with_its_space() -> None:
    scope = spaces.scope(x=x)
    forest = Forest(scope)
    scope.y = x
    assert forest.tree(0).decode([0.5]) == {'x': 0.5}
