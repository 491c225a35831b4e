"""Dependent values: what they read, where they look for it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from shadho import spaces
from shadho.errors import SpaceError
from shadho.forest import Forest
from shadho.spaces.structure import as_node

x = spaces.uniform(0, 1)
n = spaces.randint(0, 10)


def decoded(space: Any, *point: float, tree: int = 0) -> Any:
    return Forest(space).tree(tree).decode(point)


def test_a_dependent_computes_its_value_from_a_domain() -> None:
    assert decoded({'n': n, 'half': spaces.dependent(n, callback=lambda n: n // 2)}, 0.7) == {'n': 7, 'half': 3}


def test_without_a_callback_the_value_is_copied() -> None:
    assert decoded({'n': n, 'same': spaces.dependent(n)}, 0.7) == {'n': 7, 'same': 7}
    assert decoded({'n': n, 'x': x, 'both': spaces.dependent((n, x))}, 0.7, 0.5)['both'] == (7, 0.5)


def test_a_dependent_has_no_coordinate() -> None:
    assert len(Forest({'n': n, 'same': spaces.dependent(n)}).tree(0)) == 1


def test_a_dependent_reads_several_domains() -> None:
    space = {'n': n, 'x': x, 'sum': spaces.dependent((n, x), callback=lambda n, x: n + x)}
    assert decoded(space, 0.7, 0.5)['sum'] == 7.5


def test_a_dependent_reads_another_whatever_their_order() -> None:
    double = spaces.dependent(n, callback=lambda n: 2 * n)
    text = spaces.dependent((double, n), callback='{} is twice {}'.format)
    assert decoded({'text': text, 'double': double, 'n': n}, 0.7)['text'] == '14 is twice 7'


@pytest.mark.parametrize(
    ('part', 'value'),
    [
        (spaces.scope(n=n, x=x), {'n': 7, 'x': 0.7}),
        (spaces.sequential([n, x]), (7, 0.7)),
        (spaces.repeat(n, 2, split=False), [7, 7]),
    ],
)
def test_a_dependent_reads_a_whole_part(part: Any, value: Any) -> None:
    params = decoded({'part': part, 'seen': spaces.dependent(part)}, 0.7, 0.7)
    assert params['seen'] == params['part'] == value
    assert params['seen'] is not params['part']


def test_a_dependent_reads_the_active_option_and_length() -> None:
    model = spaces.scope(exclusive=True, a=n, b=spaces.repeat(x, 3))
    size = spaces.dependent(model, callback=lambda model: len(model.get('b', ())))
    assert [tree.decode([0.5] * len(tree))['size'] for tree in Forest({'model': model, 'size': size})] == [0, 1, 2, 3]


def test_a_dependent_reads_the_nearest_enclosing_scope() -> None:
    same = spaces.dependent(n)
    space = {'n': n, 'near': {'n': n, 'deep': {'same': same}}, 'far': {'deep': {'same': same}}}
    params = decoded(space, 0.1, 0.2)
    assert params['near']['deep']['same'] == params['near']['n'] == 2
    assert params['far']['deep']['same'] == params['n'] == 1


def test_a_scope_that_holds_the_domain_itself_goes_before_those_in_it() -> None:
    space = {'inner': {'n': n}, 'n': n, 'same': spaces.dependent(n)}
    assert decoded(space, 0.1, 0.2)['same'] == 2


def test_a_dependent_reads_into_a_scope_beside_it() -> None:
    space = {'model': {'deep': (n, x)}, 'same': spaces.dependent(n)}
    assert decoded(space, 0.7, 0.5)['same'] == 7


def test_each_copy_of_a_repeat_reads_its_own() -> None:
    layer = spaces.scope(kernel=n, inner={'padding': spaces.dependent(n, callback=lambda k: -k)})
    params = decoded(spaces.repeat(spaces.repeat(layer, 2, split=False), 2, split=False), 0.1, 0.2, 0.3, 0.4)
    assert [[(layer['kernel'], layer['inner']['padding']) for layer in row] for row in params] == [
        [(1, -1), (2, -2)],
        [(3, -3), (4, -4)],
    ]


def test_a_copy_of_a_repeat_may_read_what_stands_outside() -> None:
    space = {'n': n, 'layers': spaces.repeat((x, spaces.dependent(n)), 2, split=False)}
    assert decoded(space, 0.7, 0.1, 0.2)['layers'] == [(0.1, 7), (0.2, 7)]


def test_a_repeated_dependent_reads_what_stands_beside_the_repeat() -> None:
    assert decoded({'n': n, 'copies': spaces.repeat(spaces.dependent(n), 3)}, 0.7, tree=2)['copies'] == [7, 7, 7]


def test_a_dependent_is_connected_where_other_parts_are_absent() -> None:
    space = {'o': {'optional': True, 'x': x}, 'n': n, 'same': spaces.dependent(n)}
    assert decoded(space, 0.7, tree=0) == {'n': 7, 'same': 7}
    assert decoded(space, 0.1, 0.7, tree=1) == {'o': {'x': 0.1}, 'n': 7, 'same': 7}


def test_a_dependent_within_an_option_reads_its_option() -> None:
    option = {'n': n, 'same': spaces.dependent(n)}
    space = {'exclusive': True, 'a': option, 'b': {'optional': True, **option}}
    assert decoded(space, 0.7, tree=0) == {'a': {'n': 7, 'same': 7}}
    assert decoded(space, 0.7, tree=2) == {'b': {'n': 7, 'same': 7}}


def test_one_scope_in_two_places_reads_its_own_in_each() -> None:
    layer = spaces.scope(n=n, same=spaces.dependent(n))
    assert decoded({'a': layer, 'b': layer}, 0.1, 0.2) == {'a': {'n': 1, 'same': 1}, 'b': {'n': 2, 'same': 2}}


def test_a_part_of_a_scope_can_be_named_by_attribute() -> None:
    layer = as_node({'n': [1, 2, 3]})
    layer.same = spaces.dependent(layer.n)
    assert decoded(layer, 0.9) == {'n': 3, 'same': 3}


def test_each_callback_runs_once_for_a_setting() -> None:
    calls: list[int] = []

    def note(n: int) -> int:
        calls.append(n)
        return n

    first = spaces.dependent(n, callback=note)
    space = {'n': n, 'first': first, 'a': spaces.dependent((first, first)), 'b': spaces.dependent(first)}
    decoded(space, 0.7)
    assert calls == [7]


def test_a_ladder_of_dependents_takes_no_longer_than_it_is_long() -> None:
    space = spaces.scope(n=n)
    last: Any = n
    for step in range(40):
        last = space[f'step {step}'] = spaces.dependent((last, last), callback=max)
    assert decoded(space, 0.7)['step 39'] == 7


def cycle() -> dict[str, Any]:
    outer = spaces.scope(n=n)
    outer.inner = spaces.scope(sees=spaces.dependent(outer))
    return {'outer': outer}


def mutual() -> dict[str, Any]:
    left, right = spaces.scope(), spaces.scope()
    left.sees, right.sees = spaces.dependent(right), spaces.dependent(left)
    return {'left': left, 'right': right}


@pytest.mark.parametrize(
    ('space', 'message'),
    [
        (cycle(), r'it depends on itself: outer\.inner\.sees -> outer\.inner\.sees'),
        (mutual(), r'it depends on itself: left\.sees -> right\.sees -> left\.sees'),
        ({'d': spaces.dependent(n)}, r'randint\(0, 10\) stands in no scope around it; use the very same object'),
        (
            {'a': {'x': spaces.dependent(spaces.randint(0, 10))}, 'n': n},
            'the dependent value at a.x cannot be computed: .* stands in no scope around it',
        ),
        ({'a': n, 'b': n, 'd': spaces.dependent(n)}, 'stands at a and b; which one is meant'),
        ({'a': {'n': n}, 'b': (n,), 'd': spaces.dependent(n)}, r'stands at a\.n and b\[0\]; which one is meant'),
        (
            {'o': {'optional': True, 'n': n}, 'd': spaces.dependent(n)},
            r'o\.n may be inactive, because o is optional',
        ),
        (
            {'a': {'o': {'optional': True, 'in': {'n': n}}}, 'd': spaces.dependent(n)},
            r'a\.o\.in\.n may be inactive, because a\.o is optional',
        ),
        (
            {'k': {'exclusive': True, 'a': {'n': n}, 'b': {}}, 'd': spaces.dependent(n)},
            r'k\.a\.n may be inactive, because k is exclusive',
        ),
        (
            {'exclusive': True, 'a': n, 'd': spaces.dependent(n)},
            r'a may be inactive, because \(the whole space\) is exclusive',
        ),
        (
            {'r': spaces.repeat({'n': n}, 2), 'd': spaces.dependent(n)},
            r'r\[\*\]\.n is repeated, so which copy is meant',
        ),
        (spaces.dependent(n), 'stands in no scope around it'),
    ],
)
def test_what_cannot_be_computed_is_refused_when_the_space_is_built(space: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Forest(space)


def test_an_optional_scope_is_no_source() -> None:
    option = spaces.scope(optional=True, n=n)
    with pytest.raises(SpaceError, match='o may be inactive, because o is optional'):
        Forest({'o': option, 'd': spaces.dependent(option)})


@pytest.mark.parametrize('bad', [5, 'n', None, [1, 2], {'n': n}])
def test_only_a_part_of_a_space_can_be_depended_on(bad: Any) -> None:
    with pytest.raises(SpaceError, match=r'dependent\(\): .* is no part of a space that can be referred to'):
        spaces.dependent(bad)
    with pytest.raises(SpaceError, match=r'dependent\(\): .* is no part of a space that can be referred to'):
        spaces.dependent((n, bad))


def test_a_dependent_needs_something_to_depend_on() -> None:
    with pytest.raises(SpaceError, match='nothing to depend on'):
        spaces.dependent(())


def test_a_callback_must_be_callable() -> None:
    with pytest.raises(SpaceError, match='callback must be callable; got 5'):
        spaces.dependent(n, callback=5)  # type: ignore[arg-type]  # the mistake that is meant


def test_a_callback_that_raises_is_named_with_its_place_and_what_it_was_given() -> None:
    space = {'r': spaces.repeat({'n': n, 'd': spaces.dependent(n, callback=lambda n: 1 // n)}, 2, split=False)}
    message = r'the callback of the dependent value at r\[1\]\.d raised ZeroDivisionError: .*; it was called with 0$'
    with pytest.raises(SpaceError, match=message) as caught:
        decoded(space, 0.5, 0.0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_error_far_down_is_told_once() -> None:
    first = spaces.dependent(n, callback=lambda n: 1 // n)
    with pytest.raises(SpaceError, match=r'^the callback of the dependent value at first raised'):
        decoded({'second': spaces.dependent(first), 'n': n, 'first': first}, 0.0)
