"""Searches that learn from earlier ones."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from shadho import Search, Shadho, spaces
from shadho.errors import ConfigurationError, SpaceError, StorageError

UNIT = spaces.uniform(0, 1)
SPACE = {'x': UNIT, 'y': UNIT}


def loss(params: Any) -> float:
    return float((params['x'] - 0.3) ** 2 + (params['y'] - 0.7) ** 2)


def run(key: str = 'warm', space: Any = SPACE, objective: Any = loss, **options: Any) -> Any:
    given = {'max_tasks': 10, 'seed': 1, 'backend': 'inline', 'display': False, **options}
    return Shadho(key, objective, space, **given).run()


def test_a_search_learns_from_an_earlier_one_but_counts_none_of_it() -> None:
    run('earlier', max_tasks=60)
    cold, warm = run('cold'), run('warm', warm_start='earlier.db')
    assert (len(cold), len(warm)) == (10, 10)
    assert warm.best.loss < cold.best.loss
    assert sum(trial.loss for trial in warm) < sum(trial.loss for trial in cold) / 3


def test_a_search_that_is_resumed_has_its_warm_start_again() -> None:
    run('earlier', max_tasks=30)
    whole = run('whole', max_tasks=12, warm_start='earlier.db')
    run('parts', max_tasks=6, warm_start='earlier.db')
    parts = run('parts', max_tasks=12, warm_start='earlier.db')
    assert [trial.params for trial in parts] == [trial.params for trial in whole]


def test_what_lies_in_the_space_is_learned_from_and_the_rest_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    run('earlier', {'x': spaces.uniform(0, 2), 'y': UNIT}, max_tasks=30)
    with caplog.at_level(logging.INFO, logger='shadho'):
        run('warm', warm_start='earlier.db')
    (told,) = [text for text in caplog.messages if 'earlier trials' in text]
    taken = int(told.split()[0])
    assert 0 < taken < 30
    assert told.startswith(f'{taken} of 30 earlier trials')


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (
            {'space': {'z': UNIT}, 'objective': lambda params: params['z']},
            'no trial of .*earlier.db.* can be used: .*z',
        ),
        ({'direction': 'maximize'}, "recorded with direction='maximize', and this search has direction='minimize'"),
    ],
)
def test_a_search_that_cannot_be_learned_from_is_refused(options: Any, reason: str) -> None:
    run('earlier', **options)
    with pytest.raises(StorageError, match=reason):
        run(warm_start='earlier.db')


@pytest.mark.parametrize('warm_start', ['nowhere.db', 3, ['earlier.db']])
def test_what_is_no_file_is_refused(warm_start: Any) -> None:
    with pytest.raises(ConfigurationError, match='warm_start must be the file of an earlier search'):
        run(warm_start=warm_start)


def test_results_that_are_known_are_added_one_by_one() -> None:
    search = Search(SPACE, 'tpe', seed=0)
    for number in range(40):
        params = {'x': number / 40, 'y': (number * 7 % 40) / 40}
        search.add(params, None if number == 5 else loss(params))
    assert (len(search.history), search.best) == (0, None)
    found = [search.ask() for _ in range(5)]
    assert all(trial is not None and loss(trial.params) < 0.1 for trial in found)  # by chance, a third of them


def test_losses_that_are_maximised_are_added_as_they_are() -> None:
    search = Search(SPACE, seed=0, direction='maximize')
    for number in range(40):
        params = {'x': number / 40, 'y': (number * 7 % 40) / 40}
        search.add(params, -loss(params))
    trial = search.ask()
    assert trial is not None
    assert loss(trial.params) < 0.1


@pytest.mark.parametrize(
    ('params', 'known', 'error', 'message'),
    [
        ({'x': 2.0, 'y': 0.5}, 1.0, SpaceError, 'at x'),
        ({'x': 0.5}, 1.0, SpaceError, 'hold nothing at y'),
        ({'x': 0.5, 'y': 0.5}, 'low', ConfigurationError, 'loss must be a number, or None for a failed trial'),
    ],
)
def test_what_cannot_be_added_is_named(params: Any, known: Any, error: type[Exception], message: str) -> None:
    search = Search(SPACE, seed=0)
    with pytest.raises(error, match=message):
        search.add(params, known)
    search.add({'x': 0.5, 'y': 0.5}, math.nan)
