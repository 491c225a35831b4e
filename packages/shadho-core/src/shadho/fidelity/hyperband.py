"""All brackets of Hyperband, each halved asynchronously.

L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh, A. Talwalkar, *Hyperband: a novel bandit-based approach to hyperparameter
optimization* (2018), algorithm 1.
"""

from __future__ import annotations

import itertools

from shadho.fidelity.asha import ASHA, Bracket

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

    def make_brackets(self) -> list[Bracket]:
        count = len(self.steps)
        shares = [self.eta**left / (left + 1) for left in reversed(range(count))]
        self._bounds = [bound / sum(shares) for bound in itertools.accumulate(shares)]
        return [Bracket(self.steps[first:], self.eta) for first in range(count)]

    def bracket(self, trial: int) -> Bracket:
        place = (trial + 0.5) * _GOLDEN % 1.0
        chosen = next((number for number, bound in enumerate(self._bounds) if place < bound), len(self._bounds) - 1)
        return self.brackets[chosen]
