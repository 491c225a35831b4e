"""All brackets of Hyperband, each halved asynchronously.

L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh, A. Talwalkar, *Hyperband: a novel bandit-based approach to hyperparameter
optimization* (2018), algorithm 1.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

from shadho.fidelity.asha import ASHA

__all__ = ['Hyperband']

_GOLDEN = 0.6180339887498949
"""Successive multiples of the golden ratio, modulo 1, fill the unit interval evenly."""


class Hyperband(ASHA):
    """Halves trials asynchronously in several brackets, which begin at different steps, so that slow starters have a chance.

    Parameters
    ----------
    eta : int, default 3
        One in so many trials goes on from each rung, to so many times as many steps.
    min_steps : int, default 1
        The least steps of the first rung of the first bracket.

    Notes
    -----
    The brackets begin at each rung of ``asha``; in the last one, trials run to their end at once. Each gets as many of the
    trials as there, so that all need about the same steps.
    """

    name = 'hyperband'

    @property
    def first_rungs(self) -> Sequence[int]:
        return range(len(self.steps))

    def place(self, number: int) -> int:
        count = len(self.steps)
        shares = [self.eta**left / (left + 1) for left in reversed(range(count))]
        bounds = [bound / sum(shares) for bound in itertools.accumulate(shares)]
        return min(bisect.bisect_right(bounds, (number + 0.5) * _GOLDEN % 1.0), count - 1)
