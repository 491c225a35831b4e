"""Finished measurements as growing arrays: one table, which scheduling and samplers read."""

from __future__ import annotations

import itertools
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.forest import Dimension, Forest, Path
from shadho.records import DEFAULT_CLASS, PARTIAL, Trial, TrialState

__all__ = ['LeafColumns', 'Table']

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]


class Table:
    """Finished trials as columns, and counts of all that was asked.

    Attributes
    ----------
    asked : int
        Trials ever suggested, also those still running.
    running : dict of int to Trial
        Trials that were suggested and have not finished, by number.
    states : Counter of TrialState
        Finished trials by state.
    trees : list of int
        Numbers of the trees that have rows, in the order of their first ones.
    classes : list of str
        Names of the compute classes that have rows.
    succeeded : int
        Rows with a finite loss.

    Notes
    -----
    Appending costs the same whatever has been recorded; a row takes 48 bytes and 8 for each coordinate. Losses are in the
    direction that is minimised; those of failed trials are nan. See `LeafColumns` for the points of all trees together.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.running: dict[int, Trial] = {}
        self.states: Counter[TrialState] = Counter()
        self.trees: list[int] = []
        self.classes: list[str] = []
        self.succeeded = 0
        self._class_numbers: dict[str, int] = {}
        self._asked_in: dict[int, int] = {}
        self._rows: dict[int, array[int]] = {}
        self._tree_numbers: dict[int, int] = {}
        self._trees = array('i')
        self._losses = array('d')
        self._seconds = array('d')
        self._budgets = array('d')
        self._classes = array('i')
        self._points = array('d')
        self._offsets = array('q', [0])

    def __len__(self) -> int:
        """Return the number of finished trials."""
        return len(self._losses)

    @property
    def last_loss(self) -> float:
        """The loss of the last row."""
        return self._losses[-1]

    def ask(self, tree: int) -> None:
        """Note that a trial was suggested in a tree."""
        self.asked += 1
        self._asked_in[tree] = self._asked_in.get(tree, 0) + 1

    def asked_in(self, tree: int) -> int:
        """Return the number of trials ever suggested in a tree."""
        return self._asked_in.get(tree, 0)

    def count(self, tree: int) -> int:
        """Return the number of finished trials of a tree."""
        return len(self._rows.get(tree, ()))

    def append(self, trial: Trial, loss: float) -> None:
        """Note a finished trial; `loss` is in the direction that is minimised, nan when it failed."""
        self.states[trial.state] += 1
        budget = trial.step if trial.state in PARTIAL else math.nan
        self.add(trial.tree, trial.point, loss, trial.compute_class, trial.seconds or 0.0, budget)

    def add(
        self, tree: int, point: Iterable[float], loss: float, compute_class: str = DEFAULT_CLASS, seconds: float = 0.0,
        budget: float = math.nan,
    ) -> None:  # fmt: skip
        """Add a row; a `budget` of nan means that the trial ran to its end."""
        number = self._class_numbers.get(compute_class)
        if number is None:
            number = self._class_numbers[compute_class] = len(self.classes)
            self.classes.append(compute_class)
        place = self._tree_numbers.get(tree)
        if place is None:
            place = self._add_tree(tree)
        self._rows[tree].append(len(self._losses))
        self._trees.append(place)
        self._losses.append(loss)
        self._seconds.append(seconds)
        self._budgets.append(budget)
        self._classes.append(number)
        self._points.extend(point)
        self._offsets.append(len(self._points))
        self.succeeded += math.isfinite(loss)

    def _add_tree(self, tree: int) -> int:
        self._rows[tree] = array('q')
        self.trees.append(tree)
        return self._tree_numbers.setdefault(tree, len(self._tree_numbers))

    def extend(
        self, trees: Sequence[int], losses: array[float], seconds: array[float], classes: Sequence[str],
        points: array[float], lengths: Iterable[int], states: Mapping[TrialState, int], budgets: array[float],
    ) -> None:  # fmt: skip
        """Note many trials that were asked and finished, as `append` notes each; `points` stand one behind the other."""
        for row, tree in enumerate(trees, len(self)):
            if tree not in self._rows:
                self._add_tree(tree)
            self._rows[tree].append(row)
        for tree, count in Counter(trees).items():
            self._asked_in[tree] = self.asked_in(tree) + count
        for name in dict.fromkeys(classes):
            if name not in self._class_numbers:
                self._class_numbers[name] = len(self.classes)
                self.classes.append(name)
        self.asked += len(trees)
        self.succeeded += int(np.isfinite(losses).sum())
        self.states.update(states)
        self._trees.extend(map(self._tree_numbers.__getitem__, trees))
        self._losses.extend(losses)
        self._seconds.extend(seconds)
        self._budgets.extend(budgets)
        self._classes.extend(map(self._class_numbers.__getitem__, classes))
        self._points.extend(points)
        self._offsets.extend(itertools.islice(itertools.accumulate(lengths, initial=self._offsets[-1]), 1, None))

    def since(self, row: int) -> tuple[list[int], Floats]:
        """Return trees and losses of the trials that finished from number `row` on."""
        return [self.trees[place] for place in self._trees[row:]], np.array(self._losses[row:])

    def trial(self, row: int) -> tuple[int, Floats, float]:
        """Return tree, point and loss of the trial that finished as number `row`."""
        point = self._points[self._offsets[row] : self._offsets[row + 1]]
        return self.trees[self._trees[row]], np.array(point), self._losses[row]

    def losses(self, tree: int | None = None, last: int | None = None) -> Floats:
        """Return losses in order of completion, of one tree or of all; only the `last` so many, if given."""
        return self._column(self._losses, tree, last)

    def seconds(self, tree: int | None = None, last: int | None = None) -> Floats:
        """Return the seconds each trial took, of one tree or of all."""
        return self._column(self._seconds, tree, last)

    def budgets(self, tree: int | None = None, last: int | None = None) -> Floats:
        """Return the budget that each loss was measured at; nan where the trial ran to its end."""
        return self._column(self._budgets, tree, last)

    def rows(self, tree: int) -> npt.NDArray[np.int64]:
        """Return which trials are of a tree, as numbers in the order of completion."""
        return np.array(self._rows.get(tree, ()), dtype=np.int64)

    def points(self, tree: int, last: int | None = None) -> Floats:
        """Return the points of a tree's finished trials: shape (trials, dimensions)."""
        rows = _latest(self._rows.get(tree, ()), last)
        if not rows:
            return np.empty((0, 0))
        starts = np.frombuffer(self._offsets, dtype='q')[rows]
        length = self._offsets[rows[0] + 1] - self._offsets[rows[0]]
        if not length:
            return np.empty((len(rows), 0))
        # A view must not outlive this call: an array that is looked at cannot grow.
        points: Floats = np.frombuffer(self._points)[starts[:, None] + np.arange(length)]
        return points

    def tree_numbers(self) -> npt.NDArray[np.int32]:
        """Return indices into `trees`: shape (trials,)."""
        return self._column(self._trees, None, None)

    def compute_classes(self, tree: int | None = None, last: int | None = None) -> npt.NDArray[np.int32]:
        """Return indices into `classes`, of one tree's trials or of all."""
        return self._column(self._classes, tree, last)

    def _column(self, column: array[float] | array[int], tree: int | None, last: int | None) -> npt.NDArray[Any]:
        if tree is None:
            return np.array(_latest(column, last), dtype=column.typecode)
        rows = _latest(self._rows.get(tree, ()), last)
        if not rows:
            return np.array([], dtype=column.typecode)
        # A view must not outlive this call: an array that is looked at cannot grow.
        chosen: npt.NDArray[Any] = np.frombuffer(column, dtype=column.typecode)[rows]
        return chosen


def _latest(items: Any, last: int | None) -> Any:
    return items if last is None else items[max(0, len(items) - last) :]


class LeafColumns:
    """The points of tables with a column for each leaf: the same path is the same leaf in every tree.

    Nothing is copied until it is asked for. Rows are those of the tables, one table after the other.

    Parameters
    ----------
    forest : Forest
    tables : Table

    Attributes
    ----------
    columns : dict of path to int
        The column of each leaf that has been seen.
    dimensions : list of Dimension
        What is known of each column.

    Examples
    --------
    >>> from shadho import spaces
    >>> x = spaces.uniform(0, 1)
    >>> forest, table = Forest({'x': x, 'model': {'exclusive': True, 'a': {'y': x}, 'b': {'z': x}}}), Table()
    >>> table.add(0, [0.25, 0.5], loss=1.0)
    >>> table.add(1, [0.75, 0.5], loss=2.0)
    >>> leaves = LeafColumns(forest, table)
    >>> leaves.leaf(('x',))
    (array([0, 1]), array([0.25, 0.75]))
    >>> leaves.leaf(('model', 'b', 'z'))
    (array([1]), array([0.5]))
    """

    def __init__(self, forest: Forest, *tables: Table) -> None:
        self.forest = forest
        self.tables = tables
        self.columns: dict[Path, int] = {}
        self.dimensions: list[Dimension] = []
        self._of_tree: dict[int, Integers] = {}
        # By table: the columns of all its trees, one tree behind the other, and where each begins and ends.
        self._numbers = [array('q') for _ in tables]
        self._starts = [array('q', [0]) for _ in tables]

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(map(len, self.tables))

    @property
    def succeeded(self) -> int:
        """Rows with a finite loss."""
        return sum(table.succeeded for table in self.tables)

    def losses(self) -> Floats:
        """Return losses that are minimised: shape (rows,); infinite for failed trials, which are the worst."""
        losses = np.concatenate([table.losses() for table in self.tables])
        losses[np.isnan(losses)] = np.inf
        return losses

    def trees(self) -> npt.NDArray[Any]:
        """Return the numbers of the rows' trees: shape (rows,)."""
        every = [tree for table in self.tables for tree in table.trees]
        kind: type = np.int64 if max(every, default=0) < 2**63 else object
        return np.concatenate([np.array(table.trees, dtype=kind)[table.tree_numbers()] for table in self.tables])

    def count(self, tree: int) -> int:
        """Return the number of rows of a tree."""
        return sum(table.count(tree) for table in self.tables)

    def points_in(self, tree: int) -> Floats:
        """Return the points of a tree: shape (rows of the tree, dimensions)."""
        known = [table.points(tree) for table in self.tables if table.count(tree)]
        return np.concatenate(known) if known else np.empty((0, len(self.columns_of(tree))))

    def columns_of(self, tree: int) -> Integers:
        """Return the columns of a tree's coordinates, in their order."""
        known = self._of_tree.get(tree)
        if known is None:
            self._keep_up()
            known = self._number(tree)
        return known

    def points(self, rows: Integers | None = None, columns: Integers | None = None) -> Floats:
        """Return coordinates, nan where the tree of a row lacks the leaf: shape (rows, columns), all unless given."""
        self._keep_up()
        rows = np.arange(len(self)) if rows is None else rows
        columns = np.arange(len(self.columns)) if columns is None else columns
        filled = [part for part in zip(self.tables, self._numbers, self._starts) if len(part[0])]
        if len(filled) == 1:
            return _gather(filled[0], rows, columns)
        points = np.empty((len(rows), len(columns)))
        end = 0
        for part in filled:
            begin, end = end, end + len(part[0])
            inside = (rows >= begin) & (rows < end)
            points[inside] = _gather(part, rows[inside] - begin, columns)
        return points

    def place(self, trees: Sequence[int], points: Sequence[Sequence[float] | Floats]) -> Floats:
        """Return points of some trees in these columns: shape (points, columns)."""
        self._keep_up()
        columns = [self.columns_of(tree) for tree in trees]
        placed = np.full((len(points), len(self.columns)), np.nan)
        for row, point in enumerate(points):
            placed[row, columns[row]] = point
        return placed

    def leaf(self, path: Path) -> tuple[Integers, Floats]:
        """Return the rows that have a leaf, and its coordinates there: two arrays of shape (rows with the leaf,)."""
        self._keep_up()
        column = self.columns.get(path)
        points = self.points(columns=np.array([] if column is None else [column], dtype=np.intp))
        rows = np.flatnonzero(~np.isnan(points).all(axis=1))
        return rows, points[rows].ravel()

    def _keep_up(self) -> None:
        for table, numbers, starts in zip(self.tables, self._numbers, self._starts):
            for tree in table.trees[len(starts) - 1 :]:
                numbers.extend(self._number(tree).tolist())
                starts.append(len(numbers))

    def _number(self, tree: int) -> Integers:
        known = self._of_tree.get(tree)
        if known is None:
            dimensions = self.forest.tree(tree).dimensions
            for dimension in dimensions:
                if dimension.path not in self.columns:
                    self.columns[dimension.path] = len(self.dimensions)
                    self.dimensions.append(dimension)
            known = np.array([self.columns[dimension.path] for dimension in dimensions], dtype=np.intp)
            self._of_tree[tree] = known
        return known


def _gather(part: tuple[Table, array[int], array[int]], rows: Integers, columns: Integers) -> Floats:
    """Return coordinates of a table's rows: shape (rows, columns).

    Parameters
    ----------
    part : tuple of (Table, array of int, array of int)
        A table, the columns of all its trees, one tree behind the other, and where each begins and ends.
    rows, columns : array of int
    """
    table, numbers, starts = part[0], np.array(part[1]), np.array(part[2])
    if not len(table._points):
        return np.full((len(rows), len(columns)), np.nan)
    # Views must not outlive this call: arrays that are looked at cannot grow.
    trees = np.frombuffer(table._trees, dtype='i')[rows]
    begin = np.frombuffer(table._offsets, dtype='q')[rows]
    needed = np.flatnonzero(np.bincount(trees, minlength=len(starts) - 1))
    lengths = starts[needed + 1] - starts[needed]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rank = np.full(int(max(columns.max(initial=-1), numbers.max(initial=-1))) + 1, -1)
    rank[columns] = np.arange(len(columns))
    wanted = rank[numbers[np.repeat(starts[needed], lengths) + within]]
    is_wanted = wanted >= 0
    # By tree: the place of each column among the tree's coordinates, -1 where it has none.
    places = np.full((len(starts) - 1, len(columns)), -1)
    places[np.repeat(needed, lengths)[is_wanted], wanted[is_wanted]] = within[is_wanted]
    places = places[trees] if len(places) > 1 else places
    points: Floats = np.where(places < 0, np.nan, np.frombuffer(table._points)[begin[:, None] + places])
    return points
