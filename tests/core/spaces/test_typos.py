"""Slips of the pen in a search space: an error that says what was meant."""

from __future__ import annotations

from typing import Any

import pytest

from shadho import spaces
from shadho.errors import SpaceError
from shadho.forest import Forest

x = spaces.uniform(0, 1)


@pytest.mark.parametrize(
    ('key', 'flag'),
    [('exclusve', 'exclusive'), ('Exclusive', 'exclusive'), ('optionl', 'optional'), ('optonal', 'optional')],
)
@pytest.mark.parametrize('value', [True, False])
def test_a_misspelt_flag_is_recognised(key: str, flag: str, value: bool) -> None:
    message = rf"the scope has no flag '{key}'; did you mean '{flag}'\?.* write '{key}': \[{value}\]"
    with pytest.raises(SpaceError, match=message):
        Forest({key: value, 'a': x})
    with pytest.raises(SpaceError, match=message):
        Forest({'model': {key: value, 'a': x}})
    with pytest.raises(SpaceError, match=message):
        spaces.scope(**{key: value}, a=x)


def test_the_constant_that_the_message_offers_is_one() -> None:
    assert Forest({'exclusve': [True], 'a': x}).tree(0).decode([0.5, 0.5])['exclusve'] is True


@pytest.mark.parametrize('part', [{'shuffle': True}, {'optimal': False}, {'exclusivity': 1}, {'optionl': x}])
def test_other_parts_are_no_misspelt_flags(part: dict[str, Any]) -> None:
    assert list(spaces.scope(**part)) == list(part)


@pytest.mark.parametrize(
    ('constructor', 'call'),
    [
        (spaces.uniform, 'spaces.uniform(low, high)'),
        (spaces.randint, 'spaces.randint(low, high, step)'),
        (spaces.choice, 'spaces.choice(values)'),
        (spaces.repeat, 'spaces.repeat(domain, n, split)'),
    ],
)
def test_a_constructor_that_is_not_called_is_recognised(constructor: Any, call: str) -> None:
    for build in (
        lambda: Forest({'lr': constructor}),
        lambda: Forest({'a': (x, constructor)}),
        lambda: spaces.choice([constructor]),
        lambda: spaces.scope(lr=constructor),
        lambda: spaces.repeat(constructor, 2),
    ):
        with pytest.raises(SpaceError) as caught:
            build()
        assert str(caught.value).endswith(f'is a function that makes a part of a space; call it, as in {call}')


@pytest.mark.parametrize('function', [len, abs, lambda value: value])
def test_other_functions_are_constants(function: Any) -> None:
    assert Forest({'f': function, 'x': x}).tree(0).decode([0.5])['f'] is function


@pytest.mark.parametrize(
    ('name', 'meant'), [('choise', 'choice'), ('unifrom', 'uniform'), ('log10_unifrom', 'log10_uniform')]
)
def test_an_unknown_name_of_the_module_gives_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=rf"'shadho.spaces' has no attribute '{name}'; did you mean '{meant}'\?"):
        getattr(spaces, name)
