"""First suggestions of methods that learn: they fill the cube of a tree evenly, without SciPy."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import qmc

from shadho import Search, spaces
from shadho.forest import Forest
from shadho.samplers.tpe import TPE
from shadho.testing import SamplerRun

DIMENSIONS = 5


def first(count: int, seed: int, dimensions: int = DIMENSIONS) -> np.ndarray:
    forest = Forest({f'x{number}': spaces.uniform(0, 1) for number in range(dimensions)})
    run = SamplerRun(partial(TPE, first=count), forest, seed)
    return np.array([run.ask(forest.tree(0)).point for _ in range(count)])


@pytest.mark.parametrize('count', [1, 2, 4, 8, 16, 32, 64])
def test_each_of_some_points_has_a_stratum_of_its_own_in_every_coordinate(count: int) -> None:
    strata = (first(count, 3) * count).astype(int)
    assert (np.sort(strata, axis=0) == np.arange(count)[:, None]).all()


def test_points_are_farther_from_each_other_than_those_of_a_sobol_sequence() -> None:
    ours = [pdist(first(10, seed)).min() for seed in range(20)]
    theirs = [pdist(qmc.Sobol(DIMENSIONS, rng=seed).random(16)[:10]).min() for seed in range(20)]
    assert np.median(ours) > np.median(theirs)


def test_they_differ_from_tree_to_tree_and_from_seed_to_seed() -> None:
    assert not np.allclose(first(4, 0), first(4, 1))
    search = Search({'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'x': spaces.uniform(0, 1)}}, seed=0)
    points = [tuple(search.ask().point) for _ in range(6)]
    assert len(set(points)) == 6


def test_after_the_last_stratum_it_begins_anew() -> None:
    points = first(80, 0, 2)
    assert len(np.unique(points, axis=0)) == 80


def test_scipy_is_imported_when_a_model_is_made() -> None:
    script = (
        'import sys; from shadho import Search, spaces; search = Search({"x": spaces.uniform(0, 1)}, seed=0); search.ask();'
        'print(sorted(name for name in sys.modules if name in ("scipy", "cmaes", "sklearn", "pandas")))'
    )
    told = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == '[]'
