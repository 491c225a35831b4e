"""Functions that make the parts of a space."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from shadho.errors import SpaceError, brief
from shadho.spaces.domains import (
    Choice,
    Discrete,
    Distribution,
    Domain,
    IntegerRange,
    LogIntegerRange,
    Normal,
    Uniform,
)
from shadho.spaces.structure import Dependent, Repeat, Scope, Sequence, as_node, check_flags, listed, make_choice

__all__ = [
    'choice',
    'dependent',
    'distribution',
    'exhaustive',
    'grid',
    'ln_normal',
    'ln_randint',
    'ln_uniform',
    'log2_normal',
    'log2_randint',
    'log2_uniform',
    'log10_normal',
    'log10_randint',
    'log10_uniform',
    'loguniform',
    'normal',
    'randint',
    'repeat',
    'scope',
    'sequential',
    'uniform',
]


def uniform(low: float, high: float) -> Uniform:
    """Draw a real number evenly between `low` and `high`."""
    return Uniform('uniform', _real('uniform', 'low', low), _real('uniform', 'high', high))


def ln_uniform(low: float, high: float) -> Uniform:
    """Draw e to the power of a number between the exponents `low` and `high`."""
    return _log_uniform('ln_uniform', math.e, low, high)


def log2_uniform(low: float, high: float) -> Uniform:
    """Draw 2 to the power of a number between the exponents `low` and `high`."""
    return _log_uniform('log2_uniform', 2.0, low, high)


def log10_uniform(low: float, high: float) -> Uniform:
    """Draw 10 to the power of a number between the exponents `low` and `high`.

    Examples
    --------
    >>> log10_uniform(-5, -1).decode(0.5)
    0.001
    """
    return _log_uniform('log10_uniform', 10.0, low, high)


def _log_uniform(name: str, base: float, low: float, high: float) -> Uniform:
    return Uniform(name, _real(name, 'low', low), _real(name, 'high', high), base)


def loguniform(low: float, high: float) -> Uniform:
    """Draw a number between `low` and `high`, in real units, evenly on a logarithmic scale.

    Examples
    --------
    >>> round(loguniform(1e-4, 1e-2).decode(0.5), 6)
    0.001
    """
    low, high = _real('loguniform', 'low', low), _real('loguniform', 'high', high)
    if low <= 0:
        raise SpaceError(
            f'loguniform({low!r}, {high!r}): low must be greater than 0; got {low!r}. Its ends are in real units; '
            'for exponents use log10_uniform'
        )
    if low >= high:
        raise SpaceError(f'loguniform({low!r}, {high!r}): low must be less than high')
    return Uniform('loguniform', math.log(low), math.log(high), math.e, (low, high))


def normal(mu: float, sigma: float) -> Normal:
    """Draw a real number from a normal distribution."""
    return _normal('normal', None, mu, sigma)


def ln_normal(mu: float, sigma: float) -> Normal:
    """Draw e to the power of a normally distributed number."""
    return _normal('ln_normal', math.e, mu, sigma)


def log2_normal(mu: float, sigma: float) -> Normal:
    """Draw 2 to the power of a normally distributed number."""
    return _normal('log2_normal', 2.0, mu, sigma)


def log10_normal(mu: float, sigma: float) -> Normal:
    """Draw 10 to the power of a normally distributed number."""
    return _normal('log10_normal', 10.0, mu, sigma)


def _normal(name: str, base: float | None, mu: float, sigma: float) -> Normal:
    return Normal(name, _real(name, 'mu', mu), _real(name, 'sigma', sigma), base)


def distribution(frozen: Any) -> Distribution:
    """Draw from a frozen distribution of scipy.stats, as in ``distribution(scipy.stats.beta(2, 5))``."""
    return Distribution(frozen)


def randint(low: int, high: int, step: int = 1) -> IntegerRange:
    """Draw an integer from `low` up to, but without, `high`, in steps of `step`."""
    return IntegerRange(_whole('randint', 'low', low), _whole('randint', 'high', high), _whole('randint', 'step', step))


def ln_randint(low: int, high: int, step: int = 1) -> LogIntegerRange:
    """Draw e to the power of an integer exponent in [low, high), rounded to an integer."""
    return _log_randint('ln_randint', math.e, low, high, step)


def log2_randint(low: int, high: int, step: int = 1) -> LogIntegerRange:
    """Draw 2 to the power of an integer exponent in [low, high).

    Examples
    --------
    >>> log2_randint(4, 10).values
    (16, 32, 64, 128, 256, 512)
    """
    return _log_randint('log2_randint', 2.0, low, high, step)


def log10_randint(low: int, high: int, step: int = 1) -> LogIntegerRange:
    """Draw 10 to the power of an integer exponent in [low, high)."""
    return _log_randint('log10_randint', 10.0, low, high, step)


def _log_randint(name: str, base: float, low: int, high: int, step: int) -> LogIntegerRange:
    return LogIntegerRange(name, base, _whole(name, 'low', low), _whole(name, 'high', high), _whole(name, 'step', step))


def choice(values: Iterable[Any]) -> Choice:
    """Draw one of a list of values; numbers in increasing order count as ordered."""
    return make_choice('choice', values)


def grid(values: Iterable[Any] | Discrete) -> Discrete:
    """Visit every value, in every combination with the other grids of the space, once per round.

    Parameters
    ----------
    values : list of values, or a discrete domain such as ``randint(0, 10)``
    """
    return _grid('grid', values)


def exhaustive(values: Iterable[Any] | Discrete) -> Discrete:
    """Visit every value: another name of `grid`."""
    return _grid('exhaustive', values)


def _grid(name: str, values: Any) -> Discrete:
    if isinstance(values, range) and values:
        values = as_node(values)
    if isinstance(values, Discrete):
        domain: Discrete = attrs.evolve(values, grid=True)  # type: ignore[misc]  # its subclasses are attrs classes
        return domain
    if isinstance(values, Domain):
        raise SpaceError(f'{name}(): {values!r} has no list of values; give one, such as numpy.linspace(0, 1, 11)')
    return make_choice(name, values, grid=True)


def dependent(domain: Any, callback: Callable[..., Any] | None = None) -> Dependent:
    """Compute a value from what other parts of the same setting have drawn.

    Parameters
    ----------
    domain : part of the space, or a tuple of parts
        The very object used in the space (a domain, a scope, another dependent). It is read in the
        nearest enclosing scope that holds it: each copy of a repeat reads its own.
    callback : callable, optional
        Takes one value for each part; without it, the value is copied.

    Examples
    --------
    >>> kernel = randint(1, 10, 2)
    >>> layer = scope(kernel=kernel, padding=dependent(kernel, callback=lambda size: size // 2))
    """
    targets = domain if isinstance(domain, tuple) else (domain,)
    for target in targets:
        if not isinstance(target, (Domain, Scope, Repeat, Sequence, Dependent)):
            raise SpaceError(
                f'dependent(): {brief(target)} ({type(target).__name__}) is no part of a space that can be referred to. Name the '
                'domain first, as in kernel = choice([1, 3, 5]), use it in the space, and pass the same object here'
            )
    if not targets:
        raise SpaceError('dependent(): an empty tuple gives nothing to depend on')
    return Dependent(targets, callback)


def scope(exclusive: bool = False, optional: bool = False, **domains: Any) -> Scope:
    """Group parts under names, as a dict does.

    Parameters
    ----------
    exclusive : bool, default False
        Exactly one of the parts is active at a time; each is searched on its own.
    optional : bool, default False
        The whole scope may be absent.
    **domains
        The parts. More can be assigned later: ``layer.padding = ...``.
    """
    _check_flag('scope', 'exclusive', exclusive)
    _check_flag('scope', 'optional', optional)
    check_flags(domains)
    return Scope(domains, exclusive=exclusive, optional=optional)


def repeat(domain: Any, n: int, split: bool = True) -> Repeat:
    """Repeat a part 1 to `n` times, as a list of independent draws.

    Parameters
    ----------
    domain : any part of a space
    n : int
        The greatest length.
    split : bool, default True
        Search each length on its own; with False the length is always `n`.
    """
    length = _whole('repeat', 'n', n)
    if length < 1:
        raise SpaceError(f'repeat(): n must be 1 or more; got {brief(n)}')
    _check_flag('repeat', 'split', split)
    return Repeat(as_node(domain), length, split)


def sequential(domains: Iterable[Any]) -> Sequence:
    """Draw several parts in order, as a tuple."""
    if isinstance(domains, (set, frozenset)):
        raise SpaceError(f'sequential(): a list of parts is needed; got {brief(domains)}')
    return Sequence(tuple(map(as_node, listed('sequential', 'parts', domains))))


DOMAINS = frozenset(
    name
    for name in __all__
    if name.endswith(('uniform', 'normal', 'randint')) or name in ('choice', 'grid', 'exhaustive')
)
"""Names of the constructors whose domains can be written as JSON."""


def _real(function: str, argument: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SpaceError(f'{function}(): {argument} must be a number; got {brief(value)} ({type(value).__name__})')
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpaceError(f'{function}(): {argument} must be finite, as a float; got {brief(value)}')
    return number


def _check_flag(function: str, argument: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise SpaceError(f'{function}(): {argument} must be True or False; got {brief(value)}')


def _whole(function: str, argument: str, value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise SpaceError(
            f'{function}(): {argument} must be an integer; got {brief(value)} ({type(value).__name__})'
        ) from None
