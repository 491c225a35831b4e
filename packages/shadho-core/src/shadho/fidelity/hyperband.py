"""All brackets of Hyperband, each halved asynchronously.

L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh, A. Talwalkar, *Hyperband: a novel bandit-based approach to hyperparameter
optimization* (2018), algorithm 1.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from functools import cached_property

from shadho.fidelity.asha import ASHA

__all__ = ['Hyperband']

_GOLDEN = 0.6180339887498949
"""Successive multiples of the golden ratio, modulo 1, fill the unit interval evenly."""


class Hyperband(ASHA):
    """Runs ASHA in several brackets that begin at different steps, for trials that start slowly.

    Parameters
    ----------
    eta : int, default 3
        One in `eta` trials is promoted from each rung, to `eta` times as many steps.
    min_steps : int, default 1
        Lower bound on the steps of the first rung of the first bracket.

    Notes
    -----
    A bracket begins at each rung of ``asha``; in the last one, trials run to their end at once. The brackets' shares of the
    trials are those of the paper, with which all take about the same number of steps.
    """

    name = 'hyperband'

    @property
    def first_rungs(self) -> Sequence[int]:
        return range(len(self.steps))

    @cached_property
    def shares(self) -> Sequence[float]:
        shares = [self.eta**left / (left + 1) for left in reversed(range(len(self.steps)))]
        return [share / sum(shares) for share in shares]

    @cached_property
    def _bounds(self) -> list[float]:
        """Where the share of each bracket ends, between 0 and 1."""
        return list(itertools.accumulate(self.shares))

    def place(self, number: int) -> int:
        return min(bisect.bisect_right(self._bounds, (number + 0.5) * _GOLDEN % 1.0), len(self.steps) - 1)
