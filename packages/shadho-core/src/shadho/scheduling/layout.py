"""Layout: rows and columns of compute classes and trees in the arrays of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shadho.forest import Tree
from shadho.records import ComputeClass, Trial

__all__ = ['Layout']


class Layout:
    """The rows (compute classes) and columns (trees) that all arrays of a plan share.

    Parameters
    ----------
    classes : sequence of ComputeClass
    trees : sequence of Tree

    Attributes
    ----------
    rows : dict of str to int
        Row of each class, by name.
    columns : dict of int to int
        Column of each tree, by number.
    """

    def __init__(self, classes: Sequence[ComputeClass] = (), trees: Sequence[Tree] = ()) -> None:
        self.classes = list(classes)
        self.trees = list(trees)
        self.rows = {compute_class.name: row for row, compute_class in enumerate(self.classes)}
        self.columns = {tree.index: column for column, tree in enumerate(self.trees)}

    @property
    def shape(self) -> tuple[int, int]:
        """The number of classes and of trees."""
        return len(self.rows), len(self.columns)

    @property
    def slots(self) -> int:
        """The number of slots of all classes."""
        return sum(compute_class.slots for compute_class in self.classes)

    def place(self, trial: Trial) -> tuple[int, int] | None:
        """Return the row and column of a trial; None if the layout lacks its class or its tree."""
        row, column = self.rows.get(trial.compute_class), self.columns.get(trial.tree)
        return None if row is None or column is None else (row, column)

    def is_like(self, other: Layout) -> bool:
        """Whether both hold the same classes and trees, in the same order."""
        return list(self.rows) == list(other.rows) and list(self.columns) == list(other.columns)

    def moved(self, array: Any, earlier: Layout, filled: Any) -> Any:
        """Return `filled`, an array of this layout, updated from one of an `earlier` layout."""
        names = [name for name in self.rows if name in earlier.rows]
        trees = [index for index in self.columns if index in earlier.columns]
        new = np.ix_([self.rows[name] for name in names], [self.columns[index] for index in trees])
        old = np.ix_([earlier.rows[name] for name in names], [earlier.columns[index] for index in trees])
        filled[new] = array[old]
        return filled
