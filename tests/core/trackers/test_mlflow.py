"""Runs in a real SQLite store of MLflow, read back by its client."""

from __future__ import annotations

import logging
import os
import shutil
import warnings

import pytest

from shadho import Shadho, hookimpl, spaces
from shadho.trackers import MLflow

pytestmark = pytest.mark.filterwarnings('ignore')  # of MLflow and what it is made of


@pytest.fixture(scope='module')
def empty_store(tmp_path_factory):
    """Make the tables once, which takes MLflow seconds."""
    os.environ['MLFLOW_DISABLE_TELEMETRY'] = 'true'
    path = tmp_path_factory.mktemp('store') / 'empty.db'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        from mlflow.tracking import MlflowClient

        MlflowClient(f'sqlite:///{path}').search_experiments()
    return path


@pytest.fixture
def uri(empty_store, tmp_path):
    shutil.copy(empty_store, tmp_path / 'mlflow.db')
    return f'sqlite:///{tmp_path / "mlflow.db"}'


@pytest.fixture
def runs(uri):
    """Return a function that reads all runs: the searches', then those of the trials by their numbers."""
    from mlflow.tracking import MlflowClient

    def read(experiment='tracked'):
        client = MlflowClient(uri)
        found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
        trials = [run for run in found if 'mlflow.parentRunId' in run.data.tags]
        searches = [run for run in found if run not in trials]
        return searches, sorted(trials, key=lambda run: int(run.data.tags['shadho.trial']))

    return read


def test_each_trial_is_a_run_below_that_of_the_search(search, uri, runs):
    result = search(MLflow(uri))
    (parent,), children = runs()
    assert parent.info.run_name == 'tracked'
    assert (parent.info.status, parent.data.metrics['trials']) == ('FINISHED', 20)
    assert {run.data.tags['mlflow.parentRunId'] for run in children} == {parent.info.run_id}
    for trial, run in zip(sorted(result, key=lambda trial: trial.id), children):
        tags = run.data.tags
        assert (tags['shadho.trial'], tags['shadho.state']) == (str(trial.id), trial.state.value)
        assert (tags['shadho.tree'], tags['shadho.compute_class']) == (str(trial.tree), 'inline')
        assert tags['shadho.label'] == result.forest.tree(trial.tree).label
        assert run.info.status == ('FINISHED' if trial.state == 'done' else 'FAILED')
        assert ('shadho.error' in tags) == (trial.state == 'failed')
        assert run.data.metrics['seconds'] == pytest.approx(trial.seconds)
        assert run.data.metrics.get('loss') == trial.loss


def test_hyperparameters_are_params_and_other_results_metrics_or_tags(search, uri, runs):
    trials = {str(trial.id): trial for trial in search(MLflow(uri))}
    _, children = runs()
    for run in children:
        trial = trials[run.data.tags['shadho.trial']]
        if 'linear' in trial.params:
            assert run.data.params == {'linear.C': repr(trial.params['linear']['C'])}
            assert (run.data.metrics['accuracy'], run.data.metrics['kept']) == (0.5, 1.0)
            assert run.data.tags['results.note'] == 'first line\nsecond line'
        else:
            layers = trial.params['net']['layers']
            assert len(run.data.params) == 3 * len(layers) + 1
            assert run.data.params['net.layers.0.activation'] == layers[0]['activation']
            assert run.data.params['net.layers.0.half'] == str(layers[0]['half'])


def reporting(params, trial):
    for step in trial.steps():
        trial.report(loss=params['x'] + 1 / step, note='text')


def test_what_a_trial_has_reported_are_metrics_at_their_steps(uri, runs):
    from mlflow.tracking import MlflowClient

    options = {
        'max_tasks': 6,
        'max_steps': 3,
        'fidelity': 'asha',
        'seed': 1,
        'backend': 'inline',
        'storage': None,
        'display': False,
    }
    result = Shadho('tracked', reporting, {'x': [1, 2]}, repeats=3, plugins=[MLflow(uri)], **options).run()
    trials = {str(trial.id): trial for trial in result}
    _, children = runs()
    assert {trial.id for trial in result if trial.is_finished} == {
        int(run.data.tags['shadho.trial']) for run in children
    }
    for run in children:
        told = {metric.step: metric.value for metric in MlflowClient(uri).get_metric_history(run.info.run_id, 'loss')}
        x = trials[run.data.tags['shadho.trial']].params['x']
        assert told == pytest.approx({step: x + 1 / step for step in (1, 2, 3)})


def test_the_best_loss_is_a_curve_of_the_search(search, uri, runs):
    from mlflow.tracking import MlflowClient

    result = search(MLflow(uri))
    (parent,), _ = runs()
    curve = MlflowClient(uri).get_metric_history(parent.info.run_id, 'best_loss')
    losses = [trial.loss for trial in result]
    better = [
        (step, loss) for step, loss in enumerate(losses, 1)
        if loss is not None and loss < min((other for other in losses[: step - 1] if other is not None), default=1e9)
    ]  # fmt: skip
    assert [(metric.step, metric.value) for metric in curve] == better


def test_a_search_that_goes_on_goes_on_with_its_runs(search, uri, runs):
    search(MLflow(uri), max_tasks=8)
    search(MLflow(uri), max_tasks=12)
    (parent,), children = runs()
    assert [run.data.tags['shadho.trial'] for run in children] == [str(number) for number in range(12)]
    assert parent.data.metrics['trials'] == 12


def test_a_search_begun_anew_has_a_run_of_its_own(search, uri, runs, tmp_path):
    for name in ('a.db', 'b.db'):
        search(MLflow(uri), storage=tmp_path / name, max_tasks=3)
    parents, children = runs()
    assert (len(parents), len(children)) == (2, 6)


def test_a_run_that_was_cut_short_is_made_again(search, uri, runs):
    from mlflow.tracking import MlflowClient

    search(MLflow(uri), max_tasks=4)
    _, children = runs()
    MlflowClient(uri).update_run(children[2].info.run_id, status='RUNNING')
    search(MLflow(uri), max_tasks=4)
    _, again = runs()
    assert [run.data.tags['shadho.trial'] for run in again] == ['0', '1', '2', '3']
    assert children[2].info.run_id not in {run.info.run_id for run in again}


def test_values_that_are_too_long_are_cut_and_many_are_sent_in_batches(search, uri, runs):
    name = 'k' * 300
    space = {name: ['v' * 7000], **{f'x{number}': spaces.uniform(0, 1) for number in range(150)}}
    search(
        MLflow(uri, experiment='long'),
        space=space,
        objective=lambda params: {'loss': 1.0, 'text': 't' * 9000},
        max_tasks=1,
    )
    _, (run,) = runs('long')
    assert len(run.data.params) == 151
    assert run.data.params['k' * 250] == 'v' * 6000
    assert run.data.tags['results.text'] == 't' * 5000


def test_what_mlflow_refuses_is_logged_once_and_sent_at_the_end(search, uri, runs, caplog, monkeypatch):
    class Unplugged:
        """MLflow fails from the third trial on, until the search has ended."""

        @hookimpl
        def shadho_trial_finished(self, trial):
            if trial.id == 2:
                tracker._sender.submit(lambda: None).result()
                for call in ('create_run', 'get_run'):
                    monkeypatch.setattr(tracker._client, call, lambda *a, **k: 1 / 0)

        @hookimpl
        def shadho_search_finished(self, result):
            tracker._sender.submit(lambda: None).result()
            monkeypatch.undo()

    tracker = MLflow(uri)
    with caplog.at_level(logging.ERROR, 'shadho.plugins'):
        assert len(search(Unplugged(), tracker, max_tasks=8)) == 8
    assert [text.partition(';')[0] for text in caplog.messages] == ['MLflow does not take trials']
    _, children = runs()
    assert [run.data.tags['shadho.trial'] for run in children] == [str(number) for number in range(8)]


def test_a_trial_that_mlflow_refuses_keeps_no_other_out(search, uri, runs, caplog, monkeypatch):
    class Picky:
        @hookimpl
        def shadho_search_started(self, search):
            fill = tracker._fill
            monkeypatch.setattr(
                tracker, '_fill', lambda run, trial, ended: 1 / (trial.id != 2) and fill(run, trial, ended)
            )

    tracker = MLflow(uri)
    with caplog.at_level(logging.ERROR, 'shadho.plugins'):
        search(Picky(), tracker, max_tasks=5)
    assert [text.partition(';')[0] for text in caplog.messages] == [
        'MLflow does not take trial 2 (ZeroDivisionError: division by zero)'
    ]
    _, children = runs()
    assert [run.data.tags['shadho.trial'] for run in children] == ['0', '1', '3', '4']


def test_names_that_mlflow_would_take_for_one_and_numbers_that_no_metric_holds_are_kept(search, uri, runs):
    space = {'lr/log': [1], 'lr log': [2], 'lr_log': [3], 'x': spaces.uniform(0, 1)}
    results = {'loss': 0.5, 'seconds': 7, 'a/b': 1, 'a_b': 2, 'c/d': 'e', 'c_d': 'f', 'huge': 10**400}
    search(MLflow(uri, experiment='names'), space=space, objective=lambda params: results, max_tasks=1)
    _, (run,) = runs('names')
    assert {name: value for name, value in run.data.params.items() if name != 'x'} == {
        'lr log': '2', 'lr_log': '3', 'lr_log-2': '1',
    }  # fmt: skip
    metrics = {name: value for name, value in run.data.metrics.items() if name != 'seconds'}
    assert metrics == {'loss': 0.5, 'results.seconds': 7, 'a_b': 2, 'a_b-2': 1}
    assert run.data.metrics['seconds'] < 7
    tags = {name: value for name, value in run.data.tags.items() if name.startswith('results.')}
    assert tags == {'results.c_d': 'f', 'results.c_d-2': 'e', 'results.huge': str(10**400)}


def test_the_logging_of_the_user_stays_as_it_is_when_a_store_is_made(search, empty_store, tmp_path):
    root = logging.getLogger()
    before = [*root.handlers], root.level
    assert len(search(MLflow(f'sqlite:///{tmp_path / "new.db"}'), max_tasks=1)) == 1
    assert (root.handlers, root.level) == before
