"""What is kept of random search and of other libraries, so that it need not be run again with ours; and what there is to be."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from .contenders import BASELINE, CONTENDERS, OURS
from .results import ALL, MODES, NAMED, ROWS, Mode, Row

PEERS = tuple(name for name in CONTENDERS if name not in OURS and name != BASELINE)

BARRED = ('optuna-tpe', 'optuna-cma')
"""Those that ours are to be as good as on every problem, and that are run on all of them."""

KEPT = Path(__file__).parents[1] / 'data' / 'quality_peers.jsonl'
"""Rows of random search and of peers, after a line that says what is missing."""

SEEDS, FEW_SEEDS = 20, 5


def kept_rows() -> list[Row]:
    """Return the rows of random search and of peers."""
    if not KEPT.exists():
        sys.exit(f'{KEPT} is not there: run quality.py --peers')
    _, *lines = KEPT.read_text(encoding='utf-8').splitlines()
    return [Row(**{**own, 'mode': Mode(**own['mode'])}) for own in map(json.loads, lines)]


def keep_rows(rows: Sequence[Row]) -> None:
    """Put rows in the place of those that are kept of the same searches and no more seeds, and say what is missing."""
    together = {row.key: row for row in kept_rows()} if KEPT.exists() else {}
    together |= {
        row.key: row for row in rows if row.key not in together or len(row.final) >= len(together[row.key].final)
    }
    lacking = []
    for name in (BASELINE, *PEERS):
        for mode in planned_modes(name):
            wanted = planned_problems(name, mode)
            had = {own: row for own in wanted if (row := together.get((name, own, MODES[mode])))}
            lacks = len(wanted) - len(had)
            few = sum(len(row.final) < planned_seeds(name, own) for own, row in had.items())
            if lacks or few:
                lacking.append(f'{name}, {MODES[mode]}, of {len(wanted)} problems: {lacks}, and some seeds of {few}')
    head = {
        'about': 'best losses of random search and of other libraries, by quality.py --peers; seeds are 0 and on',
        'python': platform.python_version(),
        'missing': lacking,
    }
    places = {name: place for place, name in enumerate([*CONTENDERS, *ALL])}
    ordered = sorted(
        together.values(), key=lambda row: (places[row.contender], attrs.astuple(row.mode), places[row.problem])
    )
    lines = [json.dumps(own) for own in (head, *map(attrs.asdict, ordered))]
    KEPT.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def planned_modes(contender: str) -> list[str]:
    """Return the modes in which one that is not ours is run: pending trials do not matter to random search."""
    if contender == BASELINE:
        return ['1', 'many']
    return list(MODES) if contender in BARRED else ['1']


def planned_problems(contender: str, mode: str) -> Sequence[str]:
    """Return the problems on which one that is not ours is run."""
    return ROWS[mode] if contender in (BASELINE, *BARRED) else NAMED


def planned_seeds(contender: str, problem: str, most: int = SEEDS) -> int:
    """Return how many seeds: five times as many of random search, as everything is divided by it, but fewer of models."""
    if contender == BASELINE:
        return min(40 if ALL[problem].kind == 'models' else 5 * SEEDS, 5 * most)
    return min(SEEDS if contender in BARRED else FEW_SEEDS, most)
