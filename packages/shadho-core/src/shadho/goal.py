"""Goal: the objective of a search. Only this module changes the sign of a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from shadho.records import Trial

__all__ = ['Goal']


@attrs.frozen
class Goal:
    """The name and the direction of the loss.

    Attributes
    ----------
    loss_key : str, default 'loss'
        Key of the loss in the dict that an objective returns.
    direction : {'minimize', 'maximize'}, default 'minimize'
    sign : int
        Factor (1 or -1) between a loss and its minimised form.
    """

    loss_key: str = 'loss'
    direction: str = 'minimize'
    sign: int = attrs.field(init=False, repr=False, eq=False)

    @sign.default
    def _sign(self) -> int:
        return -1 if self.direction == 'maximize' else 1

    def minimised(self, loss: float | None) -> float:
        """Return a loss in its minimised form; nan for None, the loss of a failed trial.

        Examples
        --------
        >>> Goal('accuracy', 'maximize').minimised(0.98)
        -0.98
        """
        return math.nan if loss is None else self.sign * loss

    def reported(self, results: Mapping[str, Any]) -> float:
        """Return the loss of a report in its minimised form; nan if it has none.

        Examples
        --------
        >>> Goal().reported({'loss': 0.5, 'accuracy': 0.9})
        0.5
        """
        loss = results.get(self.loss_key)
        is_number = isinstance(loss, (int, float)) and not isinstance(loss, bool)
        return self.minimised(loss if is_number else None)

    def rank(self, trial: Trial) -> tuple[float, float]:
        """Return the key to sort trials by, the best one first: those that were run furthest, then by loss."""
        return -trial.reach, self.minimised(trial.loss)

    def best(self, *losses: float) -> float:
        """Return the best of the given losses.

        Examples
        --------
        >>> Goal('accuracy', 'maximize').best(0.9, 0.98)
        0.98
        """
        return min(losses, key=self.minimised)
