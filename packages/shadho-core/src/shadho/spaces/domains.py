"""Domains: what one hyperparameter may be, as a map from the unit interval to values.

A coordinate ``u`` in [0, 1] is the quantile of the value: drawing ``u`` uniformly draws the value
from the domain's distribution, and samplers never see scales.
"""

from __future__ import annotations

import bisect
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Real
from statistics import NormalDist
from typing import Any, ClassVar, Literal

import attrs

from shadho.errors import SpaceError, brief

__all__ = [
    'Continuous',
    'Discrete',
    'Distribution',
    'Domain',
    'IntegerRange',
    'Kind',
    'LogIntegerRange',
    'Normal',
    'Uniform',
]

Kind = Literal['continuous', 'integer', 'categorical']

GRIDS = ('grid', 'exhaustive')

# Quantiles of unbounded distributions stop here, where their values are still finite
# (eight standard deviations of a normal distribution).
_TAIL = 2.0**-53

# With more values, the middles of their stretches are rounded to those of their neighbours.
_MOST_VALUES = 2**50


class Domain(ABC):
    """One hyperparameter.

    Attributes
    ----------
    kind : {'continuous', 'integer', 'categorical'}
        An 'integer' domain has `size` ordered steps; neighbours in a 'categorical' one mean nothing.
    size : int or None
        Number of values; None when continuous.
    grid : bool
        Whether every combination with the other grid domains is visited, rather than sampled.
    name : str
        The constructor in `shadho.spaces` that makes it.
    args : tuple
        The arguments of that constructor.
    """

    kind: Kind
    size: int | None
    grid: bool
    name: str

    @property
    @abstractmethod
    def args(self) -> tuple[Any, ...]:
        """Arguments of the constructor."""

    @abstractmethod
    def decode(self, u: float) -> Any:
        """Return the value at quantile `u` in [0, 1]."""

    @abstractmethod
    def encode(self, value: Any) -> float:
        """Return a quantile at which `decode` gives `value`; SpaceError when there is none."""

    def __repr__(self) -> str:
        text = f'{self.name}({", ".join(map(self._show, self.args))})'
        return f'grid({text})' if self.grid and self.name not in GRIDS else text

    def _show(self, argument: Any) -> str:
        return repr(argument)


class Continuous(Domain):
    """A domain of real numbers."""

    kind: Kind = 'continuous'
    size: int | None = None
    grid: bool = False

    def encode(self, value: Any) -> float:
        if not isinstance(value, Real):
            raise SpaceError(f'{brief(value)} ({type(value).__name__}) is not a value of {self!r}: a number is needed')
        try:
            number = float(value)
            u: float = self._settle(min(max(self._quantile(number), 0.0), 1.0), number)
            outside = not math.isclose(self.decode(u), number, rel_tol=1e-6, abs_tol=1e-6 * self._scale())
        except (ValueError, OverflowError):  # no logarithm, or no float
            outside = True
        if outside:
            raise SpaceError(f'{value!r} lies outside {self!r}')
        return u

    @abstractmethod
    def _quantile(self, value: float) -> float:
        """The inverse of `decode`, up to rounding."""

    def _scale(self) -> float:
        return float(abs(self.decode(0.75) - self.decode(0.25)))

    def _settle(self, u: float, value: float) -> float:
        """Undo rounding: search the floats next to `u` for one that decodes to `value` exactly."""
        below = above = u
        for _ in range(8):
            if self.decode(below) == value:
                return below
            if self.decode(above) == value:
                return above
            below, above = max(math.nextafter(below, 0.0), 0.0), min(math.nextafter(above, 1.0), 1.0)
        return u


def _clamped(value: float, low: float, high: float) -> float:
    if low <= value <= high:  # nearly always, but for rounding
        return value
    return min(max(value, low), high)


def _power(base: float | None, exponent: float) -> float:
    if base is None:
        return exponent
    return math.exp(exponent) if base == math.e else float(base**exponent)


def _log(base: float | None, value: float) -> float:
    if base is None:
        return value
    logarithm: Callable[[float], float] = {math.e: math.log, 2.0: math.log2, 10.0: math.log10}[base]
    return logarithm(value)


@attrs.frozen(eq=False, repr=False)
class Uniform(Continuous):
    """Uniform between `low` and `high`, or `base` to the power of that.

    Attributes
    ----------
    low, high : float
        The ends; exponents when there is a base.
    base : float or None
    real : tuple of float or None
        The ends in real units, where the user gave these.
    """

    name: str
    low: float
    high: float
    base: float | None = None
    real: tuple[float, float] | None = None

    def __attrs_post_init__(self) -> None:
        if self.low >= self.high:
            raise SpaceError(
                f'{self!r}: low must be less than high; got low={self.low!r}, high={self.high!r}'
                + (
                    ' (were the two swapped?)'
                    if self.low > self.high
                    else ' (for one fixed value, write the value itself)'
                )
            )
        if not math.isfinite(self.high - self.low):
            raise SpaceError(f'{self!r}: high - low overflows a float; use a log form such as log10_uniform')
        _check_exponents(self, self.low, self.high)

    @property
    def args(self) -> tuple[Any, ...]:
        return self.real or (self.low, self.high)

    def decode(self, u: float) -> float:
        value = _clamped(self.low + u * (self.high - self.low), self.low, self.high)
        if self.base is None:
            return value
        value = _power(self.base, value)
        return value if self.real is None else _clamped(value, *self.real)

    def _quantile(self, value: float) -> float:
        return (_log(self.base, value) - self.low) / (self.high - self.low)


@attrs.frozen(eq=False, repr=False)
class Normal(Continuous):
    """Normal with mean `mu` and standard deviation `sigma`, or `base` to the power of that."""

    name: str
    mu: float
    sigma: float
    base: float | None = None
    _unit: ClassVar[NormalDist] = NormalDist()

    def __attrs_post_init__(self) -> None:
        if self.sigma <= 0:
            raise SpaceError(
                f'{self!r}: sigma must be greater than 0; got {self.sigma!r} (for one fixed value, write the value itself)'
            )
        reach = 8.3 * self.sigma
        if not math.isfinite(abs(self.mu) + reach):
            raise SpaceError(f'{self!r}: values overflow a float; make mu or sigma smaller')
        _check_exponents(self, self.mu - reach, self.mu + reach)

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.mu, self.sigma)

    def decode(self, u: float) -> float:
        return _power(self.base, self.mu + self.sigma * self._unit.inv_cdf(min(max(u, _TAIL), 1 - _TAIL)))

    def _quantile(self, value: float) -> float:
        # Unlike NormalDist.cdf, exact in the lower tail too.
        return 0.5 * math.erfc((self.mu - _log(self.base, value)) / (self.sigma * math.sqrt(2.0)))


def _check_exponents(domain: Uniform | Normal, low: float, high: float) -> None:
    """Refuse exponents whose powers no float can hold."""
    if domain.base is None:
        return
    try:
        smallest, largest = _power(domain.base, low), _power(domain.base, high)
    except OverflowError:
        smallest = largest = math.inf
    if not (smallest > 0 and math.isfinite(largest)):
        raise SpaceError(
            f'{domain!r}: its values over- or underflow a float. The arguments of log forms are exponents '
            f'(log10_uniform(-5, -1) draws 1e-5 to 1e-1); for real units use loguniform(low, high)'
        )


@attrs.frozen(eq=False, repr=False)
class Distribution(Continuous):
    """Any frozen scipy.stats distribution; a discrete one is sampled through its quantiles."""

    frozen: Any
    name: str = 'distribution'

    def __attrs_post_init__(self) -> None:
        frozen = self.frozen
        usable = callable(getattr(frozen, 'ppf', None)) and callable(getattr(frozen, 'cdf', None))
        if not usable or hasattr(frozen, 'freeze'):
            raise SpaceError(
                'distribution(): a frozen scipy.stats distribution is needed, such as scipy.stats.beta(2, 5); '
                f'got {brief(frozen)}'
            )
        middle = frozen.ppf(0.5)
        if getattr(middle, 'shape', ()) != () or not math.isfinite(middle):
            raise SpaceError(
                f'distribution(): the median must be one finite number; got {middle!r} '
                '(are the parameters of the distribution valid, and scalars?)'
            )

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.frozen,)

    @property
    def _is_discrete(self) -> bool:
        return hasattr(self.frozen, 'pmf') or hasattr(getattr(self.frozen, 'dist', None), 'pmf')

    def decode(self, u: float) -> Any:
        value = self.frozen.ppf(min(max(u, _TAIL), 1 - _TAIL))
        return int(value) if self._is_discrete else float(value)

    def _quantile(self, value: float) -> float:
        above = float(self.frozen.cdf(value))
        return (float(self.frozen.cdf(value - 1)) + above) / 2 if self._is_discrete else above

    def __repr__(self) -> str:
        frozen = self.frozen
        inner = getattr(frozen, 'dist', None)
        if inner is None:
            return f'distribution({frozen!r})'
        arguments = [repr(value) for value in frozen.args]
        arguments += [f'{key}={value!r}' for key, value in sorted(frozen.kwds.items())]
        return f'distribution({inner.name}({", ".join(arguments)}))'


class Discrete(Domain):
    """A domain of `size` values, each with its own stretch of the unit interval."""

    size: int

    def decode(self, u: float) -> Any:
        return self._value(min(int(u * self.size), self.size - 1))

    def encode(self, value: Any) -> float:
        index = self._index(value)
        if index is None:
            raise SpaceError(f'{brief(value)} is not a value of {self!r}')
        return self.coordinate(index)

    def coordinate(self, index: int) -> float:
        """Return the middle of the stretch that stands for value number `index`."""
        return (index + 0.5) / self.size

    @abstractmethod
    def _value(self, index: int) -> Any: ...

    @abstractmethod
    def _index(self, value: Any) -> int | None: ...


@attrs.frozen(eq=False, repr=False)
class Choice(Discrete):
    """One of a list of values; numbers in increasing order count as ordered."""

    name: str
    values: tuple[Any, ...]
    grid: bool = False
    size: int = attrs.field(init=False)
    kind: Kind = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, 'size', len(self.values))
        object.__setattr__(self, 'kind', 'integer' if _increasing(self.values) else 'categorical')

    @property
    def args(self) -> tuple[Any, ...]:
        return (list(self.values),)

    def _value(self, index: int) -> Any:
        return self.values[index]

    def _index(self, value: Any) -> int | None:
        tests: tuple[Callable[[Any], bool], ...] = (
            lambda own: own is value,
            lambda own: type(own) is type(value) and _same(own, value),
            lambda own: _same(own, value),
        )
        for test in tests:
            for index, own in enumerate(self.values):
                if test(own):
                    return index
        return None

    def _show(self, argument: Any) -> str:
        if self.size <= 12:
            return repr(argument)
        first = ', '.join(map(repr, argument[:3]))
        return f'[{first}, ... {self.size - 4} more ..., {argument[-1]!r}]'


def _increasing(values: Sequence[Any]) -> bool:
    numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    return numbers and len(values) > 1 and all(map(operator.lt, values, values[1:]))


def _same(one: Any, other: Any) -> bool:
    try:
        equal = one == other
        return bool(equal.all() if hasattr(equal, 'all') else equal or (one != one and other != other))
    except Exception:  # arrays of another shape, and whatever else objects do when compared
        return False


@attrs.frozen(eq=False, repr=False)
class IntegerRange(Discrete):
    """Integers from `low` up to, but without, `high`."""

    low: int
    high: int
    step: int = 1
    grid: bool = False
    name: str = 'randint'
    kind: Kind = attrs.field(init=False, default='integer')
    size: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        _check_steps(self)
        object.__setattr__(self, 'size', -((self.low - self.high) // self.step))
        if self.size > _MOST_VALUES:
            raise SpaceError(f'{self!r}: {self.size} values are more than a float can tell apart (2**50)')

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.low, self.high) if self.step == 1 else (self.low, self.high, self.step)

    def _value(self, index: int) -> int:
        return self.low + index * self.step

    def _index(self, value: Any) -> int | None:
        try:
            index, rest = divmod(value - self.low, self.step)
        except TypeError:
            return None
        return int(index) if rest == 0 and 0 <= index < self.size else None


@attrs.frozen(eq=False, repr=False)
class LogIntegerRange(Discrete):
    """`base` to the power of each integer from `low` up to, but without, `high`.

    Values are integers (rounded, for base e) unless an exponent is negative.
    """

    name: str
    base: float
    low: int
    high: int
    step: int = 1
    grid: bool = False
    kind: Kind = attrs.field(init=False, default='integer')
    values: tuple[int | float, ...] = attrs.field(init=False)
    size: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        _check_steps(self)
        limit = 1023 / math.log2(self.base)
        if self.low < -limit or self.high > limit:
            raise SpaceError(f'{self!r}: the arguments are exponents; {self.base:.4g} to that power overflows a float')
        exponents = range(self.low, self.high, self.step)
        if self.low < 0:
            values: list[int | float] = [_power(self.base, exponent) for exponent in exponents]
        elif self.base == math.e:
            values = [round(math.exp(exponent)) for exponent in exponents]
        else:
            values = [int(self.base) ** exponent for exponent in exponents]
        object.__setattr__(self, 'values', tuple(values))
        object.__setattr__(self, 'size', len(values))

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.low, self.high) if self.step == 1 else (self.low, self.high, self.step)

    def _value(self, index: int) -> int | float:
        return self.values[index]

    def _index(self, value: Any) -> int | None:
        try:
            index = bisect.bisect_left(self.values, value)
        except TypeError:
            return None
        return index if index < self.size and self.values[index] == value else None


def _check_steps(domain: IntegerRange | LogIntegerRange) -> None:
    if domain.step < 1:
        raise SpaceError(f'{domain!r}: step must be 1 or more; got {domain.step!r}')
    if domain.low >= domain.high:
        raise SpaceError(
            f'{domain!r}: low must be less than high, which is not among the values; got '
            f'low={domain.low!r}, high={domain.high!r}'
        )
