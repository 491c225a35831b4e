"""The CSV file: read back with the standard library and with pandas."""

from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from shadho import spaces
from shadho.errors import ConfigurationError
from shadho.jsontags import from_json
from shadho.trackers import CSVLogger
from shadho.trackers.csv import FIXED


def rows_of(path):
    with open(path, encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def test_there_is_a_row_for_each_trial_with_what_came_of_it(search):
    result = search(CSVLogger('trials.csv'))
    trials, rows = list(result), rows_of('trials.csv')
    assert {trial.state for trial in trials} == {'done', 'failed'}
    assert [int(row['trial']) for row in rows] == [trial.id for trial in trials]
    for trial, row in zip(trials, rows):
        assert (row['search'], row['seed'], row['state']) == ('tracked', '1', trial.state.value)
        assert row['loss'] == ('' if trial.loss is None else repr(trial.loss))
        assert float(row['finished']) == trial.finished
        assert (row['tree'], row['label']) == (str(trial.tree), result.forest.tree(trial.tree).label)
        assert row['compute_class'] == 'inline'
        assert row['error'] == ('' if trial.error is None else 'ValueError: two layers,')


def test_columns_are_the_fixed_ones_and_all_that_varies_in_any_tree(search):
    search(CSVLogger('trials.csv'), max_tasks=1)
    layers = [f'params.net.layers[{i}].{name}' for i in range(3) for name in ('width', 'activation', 'half')]
    with open('trials.csv', newline='') as file:
        assert next(csv.reader(file)) == [*FIXED, 'params.linear.C', *layers, 'params.net.shape']


def test_values_are_exact_and_those_of_other_trees_are_empty(search):
    trials = list(search(CSVLogger('trials.csv')))
    for trial, row in zip(trials, rows_of('trials.csv')):
        if 'linear' in trial.params:
            assert float(row['params.linear.C']) == trial.params['linear']['C']
            assert row['params.net.layers[0].width'] == row['params.net.shape'] == ''
            continue
        assert row['params.linear.C'] == ''
        assert from_json(row['params.net.shape']) == trial.params['net']['shape']
        for number, layer in enumerate(trial.params['net']['layers']):
            assert {name: row[f'params.net.layers[{number}].{name}'] for name in layer} == {
                name: str(value) for name, value in layer.items()
            }


def test_results_are_a_column_of_json(search):
    trials = list(search(CSVLogger('trials.csv')))
    for trial, row in zip(trials, rows_of('trials.csv')):
        others = {name: value for name, value in (trial.results or {}).items() if name != 'loss'}
        assert (json.loads(row['results']) if row['results'] else {}) == others


def test_pandas_reads_numbers_as_numbers(search):
    result = search(CSVLogger('trials.csv'))
    table = pd.read_csv('trials.csv')
    assert table['loss'].min() == pytest.approx(result.best.loss)
    assert table['params.linear.C'].dtype == float


def test_a_row_is_in_the_file_when_its_trial_is_finished(search):
    seen = []

    def objective(params):
        seen.append(len(rows_of('trials.csv')))
        return 1.0

    search(CSVLogger('trials.csv'), objective=objective, space={'x': spaces.uniform(0, 1)}, max_tasks=4)
    assert seen == [0, 1, 2, 3]


def test_a_search_that_goes_on_goes_on_with_the_file(search):
    search(CSVLogger('trials.csv'), max_tasks=10)
    first = Path('trials.csv').read_text()
    search(CSVLogger('trials.csv'), max_tasks=15)
    assert Path('trials.csv').read_text().startswith(first)
    assert [int(row['trial']) for row in rows_of('trials.csv')] == list(range(15))


def test_a_row_that_was_torn_by_a_kill_is_written_again(search):
    search(CSVLogger('trials.csv'), max_tasks=10)
    whole = Path('trials.csv').read_text()
    Path('trials.csv').write_text(whole[:-20])
    search(CSVLogger('trials.csv'), max_tasks=10)
    assert Path('trials.csv').read_text() == whole


def test_a_search_killed_at_any_time_has_each_trial_once_after_it_went_on(tmp_path):
    with open('driver.py', 'w') as file:
        file.write(
            'import os, sys\nfrom shadho import Shadho, spaces\nfrom shadho.trackers import CSVLogger\n'
            'def objective(params):\n'
            "    with open('count', 'a') as file: file.write('.')\n"
            "    if sys.argv[1:] and os.path.getsize('count') == 7: os._exit(9)\n"
            "    return params['x']\n"
            "Shadho('killed', objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=12, seed=1, backend='inline',\n"
            "       display=False, plugins=[CSVLogger('killed.csv')]).run()\n"
        )
    assert subprocess.run([sys.executable, 'driver.py', 'die']).returncode == 9
    assert len(rows_of('killed.csv')) == 6
    subprocess.run([sys.executable, 'driver.py'], check=True)
    assert sorted(int(row['trial']) for row in rows_of('killed.csv')) == list(range(12))


@pytest.mark.parametrize('other', [{'seed': 2}, {'seed': 1}, {'space': {'x': spaces.uniform(0, 1)}, 'objective': str}])
def test_a_file_of_another_search_is_left_as_it_is(search, tmp_path, caplog, other):
    search(CSVLogger('trials.csv'), max_tasks=3)
    before = Path('trials.csv').read_text()
    with caplog.at_level(logging.ERROR, 'shadho.plugins'):
        assert len(search(CSVLogger('trials.csv'), storage=tmp_path / 'other.db', max_tasks=3, **other)) == 3
    assert Path('trials.csv').read_text() == before
    (record,) = caplog.records
    assert 'holds another search' in str(record.exc_info[1])


def test_folders_above_the_file_are_made(search):
    search(CSVLogger('a/b/trials.csv'), max_tasks=2)
    assert len(rows_of('a/b/trials.csv')) == 2


@pytest.mark.parametrize('path', ['', None, 3, '.'])
def test_what_can_be_no_file_is_refused(path):
    with pytest.raises(ConfigurationError, match='path must be that of a file'):
        CSVLogger(path)
