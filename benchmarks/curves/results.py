"""What searches came to: seconds to the target, beside random search and the oracle; and what is kept of peers."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
from contest.results import RESAMPLES, Ratio, mean

from .contenders import BASELINE, CONTENDERS, ORACLE, PEERS
from .problems import PROBLEMS, target
from .runs import Run, limit

Floats = npt.NDArray[np.float64]

KEPT = Path(__file__).parents[1] / 'data' / 'fidelity_peers.jsonl'
"""Rows of peers, after a line that says what they are."""


@attrs.frozen
class Row:
    """What the searches of one contender on one problem came to.

    Attributes
    ----------
    target : float
        The loss that they were to reach; a kept row with another one belongs to another problem.
    seconds : list of float or None
        Simulated seconds of each seed, 0 and on; None for a search that missed the target.
    wall : float
        Mean real seconds of a search.
    versions : str
        Of the libraries that had a part in it.
    """

    contender: str
    problem: str
    slots: int
    target: float
    seconds: list[float | None]
    wall: float
    versions: str = ''

    @property
    def key(self) -> tuple[str, str, int]:
        return self.contender, self.problem, self.slots

    @property
    def times(self) -> Floats:
        """Seconds of each seed; those of searches that missed the target count as the limit."""
        most = limit(self.problem, self.slots)
        return np.array([most if own is None else own for own in self.seconds])

    @property
    def misses(self) -> int:
        return sum(own is None for own in self.seconds)


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """Return rows of all that was run without an error, to six digits."""
    together: dict[tuple[str, str, int], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.task.seed):
        together.setdefault((run.task.contender, run.task.problem, run.task.slots), []).append(run)
    rows = []
    for (contender, problem, slots), own in together.items():
        if not any(run.error for run in own):
            seconds = [float(f'{run.seconds:.6g}') if math.isfinite(run.seconds) else None for run in own]
            wall = float(f'{np.mean([run.wall for run in own]):.3g}')
            rows.append(Row(contender, problem, slots, target(problem), seconds, wall, versions(contender)))
    return rows


def versions(contender: str) -> str:
    """Return the versions of the libraries that a contender needs."""
    names = importlib.metadata.packages_distributions()
    modules = dict.fromkeys(('numpy', *CONTENDERS[contender].requires))
    return ', '.join(f'{names[own][0]} {importlib.metadata.version(names[own][0])}' for own in modules)


def kept_rows() -> list[Row]:
    """Return the rows of peers, but for those of problems that have changed since."""
    if not KEPT.exists():
        return []
    _, *lines = KEPT.read_text(encoding='utf-8').splitlines()
    rows = [Row(**json.loads(line)) for line in lines]
    return [row for row in rows if row.problem in PROBLEMS and math.isclose(row.target, target(row.problem))]


def keep_rows(rows: Iterable[Row]) -> None:
    """Put rows of peers in the place of those that are kept of the same searches and no more seeds."""
    together = {row.key: row for row in kept_rows()}
    for row in rows:
        if row.contender in PEERS and (row.key not in together or len(row.seconds) >= len(together[row.key].seconds)):
            together[row.key] = row
    head = {
        'about': 'simulated seconds of other libraries to a target, by fidelity.py --peers; seeds are 0 and on',
        'python': platform.python_version(),
    }
    ordered = sorted(together.values(), key=lambda row: (PEERS.index(row.contender), -row.slots, row.problem))
    lines = [json.dumps(own) for own in (head, *map(attrs.asdict, ordered))]
    KEPT.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def quotient(above: Row, below: Row) -> Ratio:
    """Return a ratio of mean seconds over the seeds that both have, with a bootstrap over the seeds."""
    count = min(len(above.seconds), len(below.seconds))
    one, two = above.times[:count], below.times[:count]
    # The same resamples for everybody on a problem, and others on each.
    rng = np.random.default_rng(zlib.crc32(f'{above.problem} {above.slots}'.encode()))
    drawn = rng.integers(count, size=(RESAMPLES, count))
    ratios = [one.mean() / two.mean(), *(one[drawn].mean(axis=1) / two[drawn].mean(axis=1))]
    return Ratio(np.log(ratios))


class Results:
    """What all rows together say.

    Parameters
    ----------
    rows : list of `Row`
        Of everybody; later ones take the places of earlier ones.
    problems : sequence of str
        Those that are looked at.
    """

    def __init__(self, rows: Iterable[Row], problems: Sequence[str]) -> None:
        self._rows = {row.key: row for row in rows if row.problem in problems}
        self.problems = [name for name in PROBLEMS if name in problems]
        self.contenders = [name for name in CONTENDERS if any(key[0] == name for key in self._rows)]

    def row(self, contender: str, problem: str, slots: int) -> Row | None:
        return self._rows.get((contender, problem, slots))

    def rows(self, contender: str, slots: int) -> list[Row]:
        """Return the rows of a contender on all problems that it was run on."""
        return [row for name in self.problems if (row := self.row(contender, name, slots))]

    def against(self, contender: str, other: str, problem: str, slots: int) -> Ratio | None:
        """Return how many times sooner than another one a contender reaches the target."""
        own, base = self.row(contender, problem, slots), self.row(other, problem, slots)
        return quotient(base, own) if own and base else None

    def sooner(self, contender: str, problem: str, slots: int) -> Ratio | None:
        """Return how many times sooner than random search a contender reaches the target."""
        return self.against(contender, BASELINE, problem, slots)

    def share(self, contender: str, problem: str, slots: int) -> Ratio | None:
        """Return the seconds of the oracle as a share of a contender's."""
        return self.against(contender, ORACLE, problem, slots)

    def overall(self, contender: str, other: str, slots: int) -> Ratio | None:
        """Return the geometric mean over problems of `against`; None when one is not known."""
        return mean([self.against(contender, other, name, slots) for name in self.problems])
