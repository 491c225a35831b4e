"""Where losses are noisy, the trial of the least expected loss is recommended beside the luckiest one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shadho import Search, Shadho, load_result, spaces
from shadho.recommend import MOST_LEADERS

SPACE = {'x': spaces.uniform(0, 1), 'y': spaces.uniform(0, 1)}


def bowl(params: Mapping[str, Any]) -> float:
    return float((params['x'] - 0.3) ** 2 + (params['y'] - 0.6) ** 2)


def searched(
    method: str, noise: float, seed: int, trials: int = 60, loss: Callable[[Any], float] = bowl, **options: Any
) -> Search:
    search, rng = Search(SPACE, method, seed=seed, **options), np.random.default_rng(seed)
    for _ in range(trials):
        trial = search.ask()
        search.tell(trial, loss(trial.params) + noise * rng.standard_normal())
    return search


def test_what_is_recommended_is_better_than_what_was_lucky() -> None:
    searches = [searched('random', 0.1, seed, 150) for seed in range(5)]
    recommended, lucky = (
        np.mean([bowl(trial.params) for trial in trials])
        for trials in ([own.recommended for own in searches], [own.best for own in searches])
    )
    assert recommended < 0.5 * lucky


def test_losses_that_are_maximised_are_expected_to_be_large() -> None:
    searches = [
        searched('random', 0.1, seed, 150, loss=lambda params: -bowl(params), direction='maximize') for seed in range(5)
    ]
    assert np.mean([bowl(own.recommended.params) for own in searches]) < 0.02
    assert all(own.leaders[0].loss == own.best.loss == max(trial.loss for trial in own.leaders) for own in searches)


def test_without_noise_the_best_trial_is_recommended() -> None:
    search = searched('auto', 0.0, 0)
    assert search.recommended.id == search.best.id


def test_leaders_are_the_best_trials_the_earliest_of_equals_first() -> None:
    search, losses = Search(SPACE, 'random', seed=0), [trial % 7 for trial in range(100)]
    for loss in losses:
        search.tell(search.ask(), loss)
    expected = sorted(range(100), key=lambda trial: losses[trial])[:MOST_LEADERS]
    assert [trial.id for trial in search.leaders] == expected


def test_leaders_are_copies() -> None:
    search = searched('random', 0.0, 0, 3)
    search.leaders[0].params.clear()
    assert search.best.params


@pytest.mark.parametrize(
    'losses', [[], [None], [1.0], [1.0] * 20, [None] * 20, [float('inf')] * 20, [None, 2.0, 1e300] * 6]
)
def test_without_a_model_it_is_the_best_one(losses: list[Any]) -> None:
    search = Search(SPACE, 'random', seed=0)
    for loss in losses:
        search.tell(search.ask(), loss)
    assert search.recommended == search.best


def test_many_trials_and_failed_ones_are_no_hindrance() -> None:
    search, rng = Search(SPACE, 'random', seed=1), np.random.default_rng(1)
    for number in range(2000):
        trial = search.ask()
        search.tell(trial, None if number % 3 == 0 else bowl(trial.params) + 0.1 * rng.standard_normal())
    assert bowl(search.recommended.params) < 0.3 * bowl(search.best.params)


def test_trials_of_all_trees_are_compared() -> None:
    space = {'exclusive': True, 'one': SPACE, 'other': SPACE, 'none': 3, 'few': {'a': spaces.choice(['u', 'v'])}}
    search, rng = Search(space, 'random', seed=0), np.random.default_rng(0)
    while (trial := search.ask()) is not None and len(search.history) < 120:
        [(part, own)] = trial.params.items()
        loss = bowl(own) + (part == 'other') if part in ('one', 'other') else 2.0
        search.tell(trial, loss + 0.1 * rng.standard_normal())
    assert list(search.recommended.params) == ['one']


def test_a_recorded_search_recommends_the_same() -> None:
    rng = np.random.default_rng(0)

    def noisy(params: Mapping[str, Any]) -> float:
        return bowl(params) + 0.3 * float(rng.standard_normal())

    options = {'method': 'random', 'backend': 'inline', 'display': False}
    result = Shadho('noisy', noisy, SPACE, max_tasks=60, seed=0, **options).run()
    again = load_result(Path('noisy.db'))
    assert again.recommended.id == result.recommended.id != result.best.id
    (line,) = (line for line in again.summary().splitlines() if line.startswith('recommended'))
    assert f'trial {result.recommended.id} ' in line
