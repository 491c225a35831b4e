"""Bad input to constructors and spaces: refused when the space is written, with the cause and the fix."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from shadho import spaces
from shadho.errors import ShadhoError, SpaceError
from shadho.forest import Forest

x = spaces.uniform(0, 1)
UNIFORM = [spaces.uniform, spaces.ln_uniform, spaces.log2_uniform, spaces.log10_uniform, spaces.loguniform]
NORMAL = [spaces.normal, spaces.ln_normal, spaces.log2_normal, spaces.log10_normal]
INTEGER = [spaces.randint, spaces.ln_randint, spaces.log2_randint, spaces.log10_randint]


def holding_itself() -> dict[str, Any]:
    space: dict[str, Any] = {'x': x}
    space['again'] = space
    return space


def scope_holding_itself() -> spaces.Scope:
    scope = spaces.scope(x=x)
    scope.again = {'inside': scope}
    return scope


@pytest.mark.parametrize('function', [*UNIFORM, *INTEGER])
@pytest.mark.parametrize(('low', 'high'), [(3, 2), (2, 2)])
def test_low_must_be_less_than_high(function: Callable[..., Any], low: int, high: int) -> None:
    with pytest.raises(SpaceError, match=rf'{function.__name__}\({low}.*low must be less than high'):
        function(low, high)


def test_swapped_ends_are_guessed() -> None:
    with pytest.raises(SpaceError, match='swapped'):
        spaces.uniform(2, 1)


@pytest.mark.parametrize('function', [*UNIFORM, *NORMAL])
@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf, 10**400])
def test_arguments_must_be_finite(function: Callable[..., Any], bad: float) -> None:
    for arguments in ((bad, 1), (1, bad)):
        with pytest.raises(SpaceError, match=rf'{function.__name__}\(\): \w+ must be finite'):
            function(*arguments)


@pytest.mark.parametrize('function', [*UNIFORM, *NORMAL])
@pytest.mark.parametrize('bad', ['1', None, True, 1j, [1], np.array([1.0, 2.0])])
def test_arguments_must_be_numbers(function: Callable[..., Any], bad: Any) -> None:
    with pytest.raises(SpaceError, match=rf'{function.__name__}\(\): \w+ must be a number; got'):
        function(bad, 1)


@pytest.mark.parametrize('function', INTEGER)
@pytest.mark.parametrize('bad', [1.0, '1', None, True, math.nan])
def test_arguments_of_integer_ranges_must_be_integers(function: Callable[..., Any], bad: Any) -> None:
    for arguments in ((bad, 5), (1, bad), (1, 5, bad)):
        with pytest.raises(SpaceError, match=rf'{function.__name__}\(\): \w+ must be an integer; got'):
            function(*arguments)


@pytest.mark.parametrize('function', INTEGER)
@pytest.mark.parametrize('step', [0, -1])
def test_a_step_must_be_one_or_more(function: Callable[..., Any], step: int) -> None:
    with pytest.raises(SpaceError, match='step must be 1 or more'):
        function(1, 5, step)


@pytest.mark.parametrize('function', NORMAL)
@pytest.mark.parametrize('sigma', [0, -1])
def test_sigma_must_be_positive(function: Callable[..., Any], sigma: float) -> None:
    with pytest.raises(SpaceError, match=rf'{function.__name__}\(0.*sigma must be greater than 0'):
        function(0, sigma)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: spaces.log10_uniform(1e-5, 1e5), 'arguments of log forms are exponents'),
        (lambda: spaces.log10_uniform(-400, 0), 'arguments of log forms are exponents'),
        (lambda: spaces.ln_normal(0, 200), 'arguments of log forms are exponents'),
        (lambda: spaces.log2_randint(16, 2048), 'arguments are exponents'),
        (lambda: spaces.loguniform(0, 1), 'low must be greater than 0'),
        (lambda: spaces.loguniform(-5, -1), 'for exponents use log10_uniform'),
        (lambda: spaces.uniform(-1.7e308, 1.7e308), 'overflows a float'),
        (lambda: spaces.normal(0, 1e308), 'overflow a float'),
        (lambda: spaces.randint(0, 2**60), 'more than a float can tell apart'),
    ],
)
def test_values_that_no_float_can_hold_are_refused(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        build()


@pytest.mark.parametrize('function', [spaces.choice, spaces.grid, spaces.exhaustive])
@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ([], 'empty list'),
        (np.array([]), 'empty list'),
        (range(0), 'empty list'),
        ('abc', 'a list of values is needed'),
        (5, 'a list of values is needed'),
        (None, 'a list of values is needed'),
        ({'a': 1}, 'a list of values is needed'),
        (spaces.scope(a=1), 'a list of values is needed'),
        ({1, 2}, 'no order'),
        (frozenset('ab'), 'no order'),
        ([{1, 2}, {3}], 'holds a set'),
        ([('a', {1, 2})], 'holds a set'),
        ([x, 1], 'holds a domain'),
        ([[1, x]], 'holds a domain'),
        ([{'a': (x,)}], 'holds a domain'),
        ([spaces.scope(a=x)], 'holds a domain'),
    ],
)
def test_a_choice_needs_a_list_of_plain_values(function: Callable[..., Any], values: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=rf'(?s){function.__name__}\(\): .*{message}'):
        function(values)


@pytest.mark.parametrize(
    'wrong', [spaces.choice, spaces.sequential, spaces.dependent, lambda part: spaces.repeat(1, part)]
)
def test_what_holds_itself_over_and_over_is_refused_without_being_shown_whole(wrong: Callable[[Any], Any]) -> None:
    part: Any = 'a'
    for _ in range(60):
        part = {'a': part, 'b': part}
    with pytest.raises(SpaceError) as refused:
        wrong(part)
    assert len(str(refused.value)) < 2000


def test_an_empty_range_in_a_space_is_called_what_it_is() -> None:
    with pytest.raises(SpaceError, match=r'choice\(\): an empty list leaves nothing to choose from'):
        Forest({'x': range(3, 0)})


def test_a_continuous_domain_has_no_grid() -> None:
    with pytest.raises(SpaceError, match=r'grid\(\): uniform\(0\.0, 1\.0\) has no list of values'):
        spaces.grid(x)


@pytest.mark.parametrize('bad', [scipy.stats.beta, scipy.stats.norm, 5, None])
def test_a_distribution_must_be_frozen(bad: Any) -> None:
    with pytest.raises(SpaceError, match='a frozen scipy.stats distribution is needed'):
        spaces.distribution(bad)


def test_a_distribution_that_is_not_frozen_is_no_part_of_a_space() -> None:
    with pytest.raises(SpaceError, match='a frozen scipy.stats distribution is needed'):
        Forest({'x': scipy.stats.norm})


@pytest.mark.parametrize('frozen', [scipy.stats.norm(0, -1), scipy.stats.norm([0, 1], 1)])
def test_the_parameters_of_a_distribution_must_be_valid_scalars(frozen: Any) -> None:
    with pytest.raises(SpaceError, match='one finite number'):
        spaces.distribution(frozen)


@pytest.mark.parametrize('key', [1, None, (1, 2), 1.5, True, b'a'])
def test_keys_must_be_strings(key: Any) -> None:
    message = 'of a space is not a string. Parameters travel as JSON'
    with pytest.raises(SpaceError, match=message):
        Forest({'a': {key: x}})
    with pytest.raises(SpaceError, match=message):
        spaces.scope(a=x)[key] = x


def test_an_unhashable_key_is_no_key() -> None:
    with pytest.raises(SpaceError, match=r'the key \[1\] \(list\) of a space is not a string'):
        spaces.scope()[[1]] = x  # type: ignore[index]  # the mistake that is meant


@pytest.mark.parametrize('flag', ['exclusive', 'optional'])
@pytest.mark.parametrize('bad', [1, 0, 'yes', None, np.True_, 1.0])
def test_flags_must_be_true_or_false(flag: str, bad: Any) -> None:
    message = rf'{flag}.* must be True or False; got'
    with pytest.raises(SpaceError, match=message):
        Forest({'a': {'x': x, flag: bad}})
    with pytest.raises(SpaceError, match=message):
        spaces.scope(**{flag: bad}, x=x)
    with pytest.raises(SpaceError, match=message):
        setattr(spaces.scope(x=x), flag, bad)


@pytest.mark.parametrize('bad', [1, 'no', None])
def test_the_split_of_a_repeat_must_be_true_or_false(bad: Any) -> None:
    with pytest.raises(SpaceError, match=r'repeat\(\): split must be True or False; got'):
        spaces.repeat(x, 2, split=bad)


@pytest.mark.parametrize('n', [0, -1, 2.0, True, '2', None])
def test_a_repeat_needs_a_length_of_one_or_more(n: Any) -> None:
    with pytest.raises(SpaceError, match=r'repeat\(\): n must be'):
        spaces.repeat(x, n)


@pytest.mark.parametrize('bad', ['ab', 5, None, {'a': x}, spaces.scope(a=x), {1, 2}])
def test_a_sequence_needs_a_list_of_parts(bad: Any) -> None:
    with pytest.raises(SpaceError, match=r'sequential\(\): a list of parts is needed'):
        spaces.sequential(bad)


@pytest.mark.parametrize('space', [{}, (), [], spaces.scope(), {'exclusive': True}, {'a': x, 'b': []}])
def test_an_empty_space_is_refused(space: Any) -> None:
    with pytest.raises(SpaceError, match='empty'):
        Forest(space)


def test_an_empty_exclusive_scope_is_named() -> None:
    with pytest.raises(SpaceError, match=r'the exclusive scope at model\.kernel is empty'):
        Forest({'model': {'kernel': {'exclusive': True}, 'x': x}})


@pytest.mark.parametrize('space', [5, 'x', None, len])
def test_a_constant_is_no_space(space: Any) -> None:
    with pytest.raises(SpaceError, match='a space must be a dict, a tuple, a list or a domain; got'):
        Forest(space)


@pytest.mark.parametrize('value', [{'a', 'b'}, frozenset([1])])
def test_a_set_is_no_part_of_a_space(value: Any) -> None:
    with pytest.raises(SpaceError, match='has no order, so no seed could repeat its draws; use a list'):
        Forest({'x': value})


def test_a_list_of_domains_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(SpaceError, match="use a dict with 'exclusive': True, or a tuple for a sequence"):
        Forest({'x': [spaces.uniform(0, 1), spaces.uniform(2, 3)]})


@pytest.mark.parametrize(
    'use',
    [
        Forest,
        spaces.describe,
        spaces.to_json,
        spaces.fingerprint,
        lambda space: spaces.repeat(space, 2),
        lambda space: spaces.scope(a=space),
    ],
)
def test_a_dict_that_contains_itself_is_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises(SpaceError, match='nested too deeply, or contains itself'):
        use(holding_itself())


@pytest.mark.parametrize('use', [Forest, repr, spaces.describe, spaces.to_json, spaces.fingerprint])
def test_a_scope_that_contains_itself_is_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises(SpaceError, match='nested too deeply, or contains itself'):
        use(scope_holding_itself())


def test_a_list_that_contains_itself_is_refused() -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    with pytest.raises(SpaceError, match='nested too deeply, or contains itself'):
        Forest({'x': endless})


def test_every_refusal_is_a_value_error_of_shadho() -> None:
    with pytest.raises(ShadhoError) as caught:
        spaces.uniform(1, 0)
    assert isinstance(caught.value, ValueError)
