"""The contracts of scheduling: a policy places trees on classes, a heuristic scores trees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from shadho.forest import Forest, Tree
from shadho.history import History
from shadho.records import ComputeClass

__all__ = ['Heuristic', 'Policy']


class Policy(ABC):
    """Decides which tree the next trial of a compute class comes from.

    Parameters
    ----------
    forest : Forest
    history : History
        Read only: it grows while the search runs.
    seed : int
        Fixes every random choice.

    Notes
    -----
    While there is one compute class, and a tree that is not excluded, `pick` returns a tree: a
    search whose slots are all idle would never end.
    """

    name: ClassVar[str]

    def __init__(self, forest: Forest, history: History, *, seed: int) -> None:
        self.forest = forest
        self.history = history
        self.seed = seed

    def plan(self, classes: Sequence[ComputeClass], now: float) -> None:
        """Reconsider the placement: classes have come or gone, or a search begins."""

    @abstractmethod
    def pick(self, compute_class: str) -> Tree | None:
        """Return the tree that a free slot of the class should run; None leaves the slot idle."""

    @abstractmethod
    def exclude(self, tree: Tree) -> None:
        """Never pick this tree again: its sampler has nothing left to suggest."""


class Heuristic(ABC):
    """Scores trees; policies combine the scores into priorities."""

    name: ClassVar[str]

    @abstractmethod
    def scores(self, trees: Sequence[Tree], history: History) -> npt.NDArray[np.float64]:
        """Return one score for each tree; higher means sooner."""
