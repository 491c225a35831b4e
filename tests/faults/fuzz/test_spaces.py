"""Search spaces of anything: a space that can be drawn from and kept, or an error that says what is wrong with which part."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import scipy.stats
from hypothesis import strategies as st

from shadho import Shadho, spaces
from shadho.errors import ShadhoError
from shadho.forest import Forest
from shadho.spaces.constructors import DOMAINS

CONSTRUCTORS = [getattr(spaces, name) for name in sorted(DOMAINS)]


class Odd:
    """An object of no known kind."""

    def __repr__(self) -> str:
        return 'Odd()'


NUMBERS: list[Any] = [
    0, 1, 2, 5, -1, 2**50, 2**63, 10**400, -(10**400), 0.0, -0.0, 0.5, 1.0, 1e-300, 5e-324, 1e308, -1e308,
    math.nan, math.inf, -math.inf, True, False, Fraction(1, 3), np.float32(0.1), np.int64(7), np.float64('nan'),
    np.array(2.0), 1j,
]  # fmt: skip
OBJECTS: list[Any] = [
    None, '', 'abc', '\ud800', b'bytes', Odd(), Odd, len, lambda: 0, spaces.uniform, spaces.choice, (), [], {}, {1, 2},
    range(3), range(0), range(10, 0, -3), np.array([]), np.array([1.0, math.nan]), np.zeros((2, 2)), np.array(['a', 'b']),
    scipy.stats.beta(2, 5), scipy.stats.norm, scipy.stats.beta(-1, 2), scipy.stats.poisson(3), scipy.stats.cauchy(),
    [1, [2, (3,)]], [math.nan, math.nan], [Odd(), Odd()], ['\ud800', '\\ud800'], itertools,
]  # fmt: skip
KEYS: list[Any] = [
    'a', 'b', '', 'exclusive', 'optional', 'exlusive', '$tuple', '$float', 'a.b', '[0]', '\ud800', '\0', 'é', '_parts',
    '__class__', 'x' * 5000, 1, None, (1, 2), b'a', True,
]  # fmt: skip


@attrs.frozen
class Call:
    """A call of a constructor that is still to be made."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: Mapping[str, Any] = attrs.field(factory=dict)

    def __repr__(self) -> str:
        given = [*map(repr, self.arguments), *(f'{key}={value!r}' for key, value in self.named.items())]
        return f'{self.function.__name__}({", ".join(given)})'


ONCE = [Call(iter, ('ab',)), Call(itertools.count, ())]
"""What can be gone through once, and so must be made anew each time."""

arguments = (
    st.sampled_from(NUMBERS) | st.sampled_from([*OBJECTS, *ONCE]) | st.floats() | st.integers() | st.text(max_size=5)
)


@attrs.frozen
class Grown:
    """A part that grows with every round: around itself, or twice in itself."""

    part: Any
    grow: Callable[[Any], Any]
    rounds: int

    def make(self) -> Any:
        part = made(self.part)
        for _ in range(self.rounds):
            part = self.grow(part)
        return part


def holding_itself(part: Any) -> Any:
    space: dict[str, Any] = {'part': part}
    space['again'] = [space] if part is None else space
    return space


GROWTHS: list[Callable[[Any], Any]] = [
    lambda part: {'a': part, 'b': part},
    lambda part: (part, part),
    lambda part: spaces.scope(a=part, b=part),
    lambda part: spaces.scope(exclusive=True, a=part, b=part),
    lambda part: spaces.repeat(part, 9),
    lambda part: spaces.repeat({'exclusive': True, 'a': part, 'b': 1}, 9),
    lambda part: {'a': part},
    lambda part: [part],
    holding_itself,
]


def made(recipe: Any) -> Any:
    """Build what a recipe describes, from the inside out."""
    if isinstance(recipe, Grown):
        return recipe.make()
    if isinstance(recipe, Call):
        named = {key: made(value) for key, value in recipe.named.items()}
        return recipe.function(*map(made, recipe.arguments), **named)
    if type(recipe) is dict:
        return {key: made(value) for key, value in recipe.items()}
    return type(recipe)(map(made, recipe)) if type(recipe) in (list, tuple) else recipe


def calls(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Structure around parts, or what looks like it."""
    anything = parts | arguments
    lists = st.lists(parts, max_size=3)
    return st.one_of(
        st.dictionaries(st.sampled_from(KEYS), parts, max_size=4),
        lists,
        lists.map(tuple),
        st.builds(Call, st.just(spaces.repeat), st.tuples(parts, st.sampled_from(NUMBERS) | st.integers(1, 4))),
        st.builds(Call, st.just(spaces.sequential), st.tuples(anything)),
        st.builds(
            Call,
            st.just(spaces.scope),
            st.just(()),
            st.dictionaries(st.sampled_from([key for key in KEYS if isinstance(key, str)]), anything, max_size=4),
        ),
        st.builds(
            Call, st.just(spaces.dependent), st.tuples(anything) | st.tuples(anything, st.sampled_from([len, None, 5]))
        ),
        st.builds(Call, st.sampled_from([spaces.choice, spaces.grid]), st.tuples(lists)),
        st.builds(Grown, parts, st.sampled_from(GROWTHS), st.sampled_from([1, 2, 4, 7, 30, 60])),
    )


domains = st.builds(Call, st.sampled_from(CONSTRUCTORS), st.lists(arguments, min_size=1, max_size=3).map(tuple))
good = st.sampled_from(
    [spaces.uniform(0, 1), spaces.choice(['a', 'b']), spaces.log2_randint(1, 4), spaces.normal(0, 1)]
)
anything = st.recursive(domains | good | arguments, calls, max_leaves=8)


def test_a_domain_of_any_arguments_has_its_values_or_says_what_is_wrong(fuzz: Any) -> None:
    def tried(call: Call) -> None:
        try:
            domain = made(call)
        except ShadhoError as error:
            assert call.function.__name__ in str(error)
            return
        except TypeError as error:  # too many arguments, as for any function
            assert 'positional argument' in str(error)
            return
        for u in (0.0, 0.25, 0.5, 1.0):
            value = domain.decode(u)
            assert (
                not isinstance(value, float) or domain.name in ('choice', 'grid', 'exhaustive') or math.isfinite(value)
            )
            assert same(domain.decode(domain.encode(value)), value)

    fuzz(tried, 1500, call=domains)


def test_a_space_of_anything_can_be_searched_or_says_what_is_wrong(fuzz: Any) -> None:
    def tried(recipe: Any) -> None:
        try:
            space = made(recipe)
            forest = Forest(space)
        except ShadhoError as error:
            assert len(str(error)) > 20
            return
        except TypeError as error:  # of Python itself, as when a dict is given twice the same name
            assert 'argument' in str(error)
            return
        for index in {0, forest.count // 2, forest.count - 1}:
            tree = forest.tree(index)
            point = [random.Random(index).random() for _ in tree.leaves]
            try:
                params = tree.decode(point)
            except ShadhoError as error:
                assert 'callback' in str(error)
                continue
            own, again = forest.encode(params)
            assert own.index == index
            assert same(own.decode(again), params)
        spaces.describe(space)

    fuzz(tried, 600, recipe=anything)


def test_a_search_of_anything_runs_and_is_kept_or_says_what_is_wrong(fuzz: Any) -> None:
    def tried(recipe: Any) -> None:
        try:
            opt = Shadho(
                'fuzz',
                lambda params: 0.0,
                made(recipe),
                'random',
                max_tasks=2,
                seed=0,
                backend='inline',
                storage='fuzz.db',
                resume=True,
                display=False,
            )
        except (ShadhoError, TypeError):
            return
        opt._storage.path.unlink(missing_ok=True)
        result = opt.run()
        assert len(result) in (1, 2)
        assert result.best is not None or all(trial.error for trial in result)
        result.summary().encode()
        again = Shadho(
            'fuzz',
            lambda params: 0.0,
            made(recipe),
            'random',
            max_tasks=3,
            seed=0,
            backend='inline',
            storage='fuzz.db',
            display=False,
        ).run()
        assert len(again) in (1, 2, 3)

    fuzz(tried, 150, recipe=anything)


def same(one: Any, other: Any) -> bool:
    """Compare values as a person would: an array by its items, nan with nan."""
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        )
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one is other or np.array_equal(one, other, equal_nan=one.dtype.kind == 'f')
    if isinstance(one, float) and isinstance(other, float) and math.isfinite(one):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-300)
    return one is other or one == other or (one != one and other != other)
