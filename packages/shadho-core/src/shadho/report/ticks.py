"""Ticks at round numbers, for axes that are drawn by hand."""

from __future__ import annotations

import math

__all__ = ['round_ticks']


def round_ticks(
    low: float, high: float, log: bool = False, most: int = 6, unit: float = 1.0
) -> list[tuple[float, str]]:
    """Return places from `low` to `high`, and what to write there: multiples of 1, 2 or 5 times a power of ten.

    Parameters
    ----------
    low, high : float
        Ends of the axis; exponents of ten where `log` is set, of which whole ones are taken if there are two.
    log : bool
        Whether to write the power of ten of each place.
    most : int, default 6
        Ticks at most.
    unit : float, default 1.0
        By which to multiply what is written.

    Examples
    --------
    >>> round_ticks(1, 39)
    [(10.0, '10'), (20.0, '20'), (30.0, '30')]
    >>> round_ticks(-3.2, 0.1, log=True)
    [(-3.0, '0.001'), (-2.0, '0.01'), (-1.0, '0.1'), (0.0, '1')]
    """
    if not high > low or not math.isfinite(high - low):
        return [(low, _show(low, log, unit))]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10, 20) if (high - low) / (step * factor) <= most)
    if log and math.floor(high) > math.ceil(low):
        step = max(1.0, math.ceil(step))
    places = [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(place, _show(place, log, unit)) for place in places]


def _show(place: float, log: bool, unit: float) -> str:
    return f'{(10**place if log else place) * unit:.3g}'
