"""Numbers of suggestions: which each tree has had, where a policy may prefer later ones."""

from __future__ import annotations

import bisect

from shadho.records import Trial
from shadho.samplers.base import Offer, Suggestion
from shadho.table import Table

__all__ = ['Numbers']

_NUMBER = 'number'
"""The key of the notes on a trial under which the number of its suggestion is kept, if it is not the least one left."""


_MOST_WAITING = 15
"""Numbers that were passed over, of which any may be begun; others wait for these. So there are always new ones to choose from. Chosen:
of 16 numbers, one is new."""


class Numbers:
    """The numbers of the suggestions that trials were begun with, by tree.

    Parameters
    ----------
    history : Table
        Counts the trials of each tree.

    Attributes
    ----------
    crowded : set of int
        Trees of which more suggestions were passed over than `free` returns again.

    Notes
    -----
    Only numbers that were passed over are kept, so that nothing is where no policy chooses.
    """

    def __init__(self, history: Table) -> None:
        self._history = history
        self.crowded: set[int] = set()
        self._skipped: dict[int, list[int]] = {}

    def first(self, tree: int) -> int:
        """Return the least number that no trial of a tree has had."""
        skipped = self._skipped.get(tree)
        return skipped[0] if skipped else self._history.asked_in(tree)

    def free(self, tree: int, count: int) -> list[int]:
        """Return numbers that no trial of a tree has had: the least that were passed over, and then new ones, so many in all."""
        skipped = self._skipped.get(tree, [])
        following = self._history.asked_in(tree) + len(skipped)
        waiting = skipped[:_MOST_WAITING]
        return [*waiting, *range(following, following + count - len(waiting))]

    def noted(self, offer: Offer, suggestion: Suggestion) -> dict[str, object]:
        """Return the notes on a trial that begins with an offer, as its suggestion has become."""
        is_first = offer.number == self.first(suggestion.tree.index)
        return dict(suggestion.meta) if is_first else {**suggestion.meta, _NUMBER: offer.number}

    def take(self, trial: Trial) -> None:
        """Note the number of a trial that the history has just counted."""
        if not self._skipped and _NUMBER not in trial.meta:
            return
        skipped = self._skipped.setdefault(trial.tree, [])
        following = self._history.asked_in(trial.tree) - 1 + len(skipped)
        number = trial.meta.get(_NUMBER, skipped[0] if skipped else following)
        place = bisect.bisect_left(skipped, number)
        if place < len(skipped) and skipped[place] == number:
            del skipped[place]
        else:
            skipped += range(following, number)
        (self.crowded.add if len(skipped) > _MOST_WAITING else self.crowded.discard)(trial.tree)
