"""The contract of a fidelity."""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from typing import ClassVar

import attrs

from shadho.ledger import Ledger
from shadho.records import Event, Report, Trial

__all__ = ['MOST_TREES', 'Decision', 'Fidelity', 'FidelityContext']

MOST_TREES = 20
"""Trees up to which trials are compared within their tree. With more, most trees would have too few trials to compare. Chosen."""


class Decision(enum.Enum):
    """How a running trial proceeds after a report; the value is the state in which its attempt ends, if it does."""

    GO_ON = ''
    PAUSE = 'paused'
    """End the attempt; the trial may go on later, in any compute class."""
    STOP = 'stopped'
    """End the trial."""


@attrs.frozen
class FidelityContext:
    """The read-only state that a fidelity decides from.

    Attributes
    ----------
    ledger : Ledger
        The state of every trial. The goal of the search is `ledger.goal`.
    seed : int
        Fixes every random choice.
    max_steps : int or None
        Steps of a trial that runs to its end; None if trials have no steps.
    trees : int
        The number of trees in the forest.
    length : callable
        ``length(tree)`` returns the number of trials that a tree may have at most, by its index; inf without a bound.
    """

    ledger: Ledger
    seed: int = 0
    max_steps: int | None = None
    trees: int = 1
    length: Callable[[int], float] = lambda tree: math.inf


class Fidelity(ABC):
    """Decides how far each trial is run.

    Parameters
    ----------
    context : FidelityContext
    **options
        Options of the fidelity.

    Attributes
    ----------
    name : str
    needs_steps : bool
        Whether it requires `max_steps`.
    context, ledger : FidelityContext, Ledger
    max_steps : int or None

    Notes
    -----
    Only `on` changes the state, which therefore follows from the log. The other methods may be called at any time, any number
    of times.
    """

    name: ClassVar[str]
    needs_steps: ClassVar[bool] = True

    def __init__(self, context: FidelityContext) -> None:
        self.context = context
        self.ledger = context.ledger
        self.max_steps = context.max_steps

    def group(self, trial: Trial) -> int:
        """Return with which trials a trial is compared: those of its tree, or all in a forest of many trees."""
        return trial.tree if self._is_by_tree else 0

    def rivals(self, trial: Trial) -> float:
        """Return the number of trials with which a trial may be compared at most, itself included; inf without a bound."""
        return self.context.length(trial.tree) if self._is_by_tree else math.inf

    @property
    def _is_by_tree(self) -> bool:
        return self.context.trees <= MOST_TREES

    @property
    def rungs(self) -> Sequence[int]:
        """Steps at which the losses of trials are compared, up to `max_steps`; methods learn from these. Empty by default."""
        return ()

    def until(self, trial: Trial | int) -> int | None:
        """Return the step at which a trial is judged next: a running or paused one, or the new trial with this id."""
        return self.max_steps

    @abstractmethod
    def judge(self, trial: Trial, report: Report) -> Decision:
        """Decide on a running trial after its latest report, which `on` has already received."""

    def promotable(self) -> Generator[Trial, None, None]:
        """Yield paused trials that deserve to go on, the best first."""
        yield from ()

    def on(self, event: Event, trial: Trial | None) -> None:
        """Learn from an event, which the ledger has already applied.

        Parameters
        ----------
        event : Event
        trial : Trial or None
            The trial after the event; None for an event of the search.
        """
