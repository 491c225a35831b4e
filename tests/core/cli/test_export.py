"""``shadho export``: tables, JSON, and studies that Optuna reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from shadho import Shadho, load_result, spaces
from shadho.report.export import export, to_optuna


def test_a_csv_file_has_a_row_for_each_trial_and_a_column_for_each_parameter(
    shadho: Any, recorded: Path, tmp_path: Path
) -> None:
    answer = shadho('export', recorded, tmp_path / 'a.csv', '--json')
    assert json.loads(answer.output)['trials'] == 40
    with open(tmp_path / 'a.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    trials = list(load_result(recorded))
    assert [int(row['trial']) for row in rows] == [trial.id for trial in trials]
    assert [row['loss'] for row in rows] == ['' if trial.loss is None else str(trial.loss) for trial in trials]
    assert {'params.rbf.C', 'params.linear.scaled', 'params.poly.degree', 'results.kernel', 'error'} <= set(rows[0])


def test_a_json_file_holds_what_json_can(shadho: Any, recorded: Path, tmp_path: Path) -> None:
    assert shadho('export', recorded, tmp_path / 'a.json').exit_code == 0
    told = json.loads((tmp_path / 'a.json').read_text())
    assert [own['params'] for own in told] == json.loads(
        json.dumps([trial.params for trial in load_result(recorded)]).replace('[1, 2]', '{"$tuple": [1, 2]}')
    )


def test_a_parquet_file_is_read_back_by_pandas(shadho: Any, recorded: Path, tmp_path: Path) -> None:
    assert shadho('export', recorded, tmp_path / 'a.parquet').exit_code == 0
    table = pd.read_parquet(tmp_path / 'a.parquet')
    whole = load_result(recorded).to_dataframe()
    assert list(table.columns) == list(whole.columns)
    assert table['loss'].equals(whole['loss'])
    assert table['params.rbf.C'].equals(whole['params.rbf.C'])


@pytest.mark.parametrize('where', ['sqlite:///{}/study.db', '{}/study.log'])
def test_a_study_of_optuna_has_the_same_trials(shadho: Any, recorded: Path, tmp_path: Path, where: str) -> None:
    place = where.format(tmp_path)
    answer = shadho('export', recorded, place)
    assert answer.exit_code == 0, answer.output
    if place.endswith('.log'):
        storage: Any = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(place))
    else:
        storage = place
    study = optuna.load_study(study_name='svm', storage=storage)
    result = load_result(recorded)
    assert len(study.trials) == len(result)
    assert study.best_value == result.best.loss
    for theirs, ours in zip(study.trials, result):
        [(kernel, params)] = ours.params.items()
        assert theirs.state.name == ('FAIL' if ours.loss is None else 'COMPLETE')
        assert theirs.params['tree'] == kernel
        assert theirs.params[f'{kernel}.C'] == pytest.approx(params['C'])
        assert theirs.user_attrs['shadho:compute_class'] == 'inline'
        seconds = (theirs.datetime_complete - theirs.datetime_start).total_seconds()
        assert seconds == pytest.approx(ours.finished - ours.started, abs=1e-5)
    assert optuna.importance.get_param_importances(study)  # so its domains make sense to Optuna


def test_domains_are_those_that_optuna_knows(tmp_path: Path) -> None:
    space = {
        'real': spaces.uniform(-1, 1), 'log': spaces.log10_uniform(-3, 0), 'normal': spaces.normal(0, 1),
        'whole': spaces.randint(1, 9), 'even': [2, 4, 6], 'uneven': [1, 2, 5], 'name': ['a', None, True, (1, 2)],
        'one': [7], 'many': [x / 7 for x in range(500)],
    }  # fmt: skip
    result = Shadho('all', lambda params: params['real'], space, max_tasks=20, seed=0, storage=tmp_path / 'a.db',
                    method='random', backend='inline', display=False).run()  # fmt: skip
    study = to_optuna(result, optuna.storages.InMemoryStorage(), name='other')
    assert study.study_name == 'other'
    distributions = study.trials[0].distributions
    Float, Int, Categorical = (
        getattr(optuna.distributions, name + 'Distribution') for name in ('Float', 'Int', 'Categorical')
    )
    assert distributions['real'] == Float(-1, 1)
    assert distributions['log'] == Float(0.001, 1, log=True)
    assert isinstance(distributions['normal'], Float)
    assert distributions['whole'] == Int(1, 8)
    assert distributions['even'] == Int(2, 6, step=2)
    assert distributions['uneven'] == Categorical([1, 2, 5])
    assert distributions['name'] == Categorical(['a', None, True, '(1, 2)'])
    assert distributions['one'] == Categorical([7])
    assert distributions['many'] == Float(0, 499 / 7)
    assert [trial.params['whole'] for trial in study.trials] == [trial.params['whole'] for trial in result]
    assert [trial.params['many'] for trial in study.trials] == [trial.params['many'] for trial in result]


@pytest.mark.parametrize(
    ('destination', 'message'),
    [
        ('a.txt', 'give a file that ends in .csv, .json, .parquet, or the storage of an Optuna study'),
        ('nowhere/a.csv', 'cannot be written: No such file'),
        ('sqlite:////nowhere/a.db', 'the study cannot be written'),
    ],
)
def test_a_destination_that_cannot_be_is_told_of(
    shadho: Any, recorded: Path, tmp_path: Path, monkeypatch: Any, destination: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = shadho('export', recorded, destination)
    assert answer.exit_code == 1
    assert message in answer.output


def test_a_study_is_never_added_to(shadho: Any, recorded: Path, tmp_path: Path) -> None:
    place = f'{tmp_path}/study.log'
    assert shadho('export', recorded, place).exit_code == 0
    answer = shadho('export', recorded, place)
    assert answer.exit_code == 1
    assert "holds a study 'svm' already" in answer.output
    assert shadho('export', recorded, place, '--name', 'again').exit_code == 0


def test_a_file_is_replaced_only_when_the_new_one_is_whole(
    shadho: Any, recorded: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / 'a.csv').write_text('earlier')

    def broken(*_: Any) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(csv.DictWriter, 'writerows', broken)
    answer = shadho('export', recorded, tmp_path / 'a.csv')
    assert answer.exit_code == 1
    assert 'No space left' in answer.output
    assert (tmp_path / 'a.csv').read_text() == 'earlier'
    assert [path.name for path in tmp_path.iterdir()] == ['a.csv']


def test_values_and_names_of_every_kind_are_in_every_file(shadho: Any, tmp_path: Path) -> None:
    space = {
        'exclusive': True,
        'tree': spaces.uniform(0, 1),
        'other': {
            'tree': [0, 1, 1.5, 3], 'a.b': [1], 'a': {'b': [2]}, 'huge': [10**400, 10**401], 'complex': [1j], 'flag': [True, False],
            'text': ['\udc80'], 'numpy': [np.float32(0.5), np.float32(2)], 'wide': spaces.log10_randint(0, 300), 'odd': [0, 2, 3, 6],
        },
    }  # fmt: skip
    result = Shadho('kinds', lambda params: {'loss': 0.5, 'f1.macro': 1, 'f1': {'macro': 2}}, space, max_tasks=12, seed=0,
                    method='random', policy='fcfs', backend='inline', storage=tmp_path / 'kinds.db', display=False).run()  # fmt: skip
    for own in (result, load_result(tmp_path / 'kinds.db')):
        for name in ('kinds.csv', 'kinds.json', 'kinds.parquet'):
            export(own, tmp_path / name)
    json.loads((tmp_path / 'kinds.json').read_text(), parse_constant=pytest.fail)
    tables = [result.to_dataframe(), pd.read_csv(tmp_path / 'kinds.csv'), pd.read_parquet(tmp_path / 'kinds.parquet')]
    for table in tables:
        assert {"params.other['a.b']", 'params.other.a.b', "results['f1.macro']", 'results.f1.macro'} <= set(
            table.columns
        )
        assert len(table) == 12
    study = to_optuna(result, optuna.storages.InMemoryStorage())
    assert {'(the whole space)', 'tree', 'other.tree', "other['a.b']", 'other.a.b'} <= {
        name for trial in study.trials for name in trial.params
    }
