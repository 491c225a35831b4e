"""Event files, read back by TensorBoard itself."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from shadho import Shadho
from shadho.errors import ConfigurationError
from shadho.trackers import TensorBoard


@pytest.fixture(scope='module')
def events():
    """Return a function that reads the events of a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return lambda folder: EventAccumulator(str(folder)).Reload()


def curve(read, tag):
    """Return the values of a curve by their steps."""
    return {event.step: event.value for event in read.Scalars(tag)}


def table_of(read, part):
    """Return what a folder says of the table of hyperparameters."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = read.SummaryMetadata(f'_hparams_/{part}').plugin_data.content
    return getattr(HParamsPluginData.FromString(content), part)


def test_loss_best_loss_and_seconds_are_curves_over_the_finished_trials(search, events):
    trials = list(search(TensorBoard('runs')))
    read = events('runs/tracked')
    done = {step: trial.loss for step, trial in enumerate(trials) if trial.loss is not None}
    assert 0 < len(done) < 20
    assert curve(read, 'loss') == pytest.approx(done)
    best = {step: min(loss for other, loss in done.items() if other <= step) for step in done}
    assert curve(read, 'best_loss') == pytest.approx(best)
    assert curve(read, 'seconds/inline') == pytest.approx({step: trial.seconds for step, trial in enumerate(trials)})


def test_the_best_of_a_search_that_maximises_is_the_highest(search, events):
    trials = [trial for trial in search(TensorBoard('runs'), direction='maximize') if trial.loss is not None]
    assert [*curve(events('runs/tracked'), 'best_loss').values()][-1] == pytest.approx(
        max(trial.loss for trial in trials)
    )


def test_each_trial_is_a_session_with_its_hyperparameters_and_its_loss(search, events):
    for trial in search(TensorBoard('runs')):
        read = events(f'runs/tracked/trial-{trial.id:06d}')
        told = table_of(read, 'session_start_info').hparams
        if 'linear' in trial.params:
            assert {name: value.number_value for name, value in told.items()} == {
                'linear.C': trial.params['linear']['C']
            }
        else:
            layer = trial.params['net']['layers'][-1]
            last = len(trial.params['net']['layers']) - 1
            assert told[f'net.layers[{last}].width'].number_value == layer['width']
            assert told[f'net.layers[{last}].activation'].string_value == layer['activation']
            assert f'net.layers[{last + 1}].width' not in told
        told = [*curve(read, 'loss').values()] if 'loss' in read.Tags()['scalars'] else None
        assert told == (None if trial.loss is None else pytest.approx([trial.loss]))


def reporting(params, trial):
    for step in trial.steps():
        trial.report(loss=params['x'] + 1 / step, note='text')


def test_what_a_trial_has_reported_is_a_curve_over_its_steps(events):
    options = {'max_tasks': 6, 'max_steps': 3, 'seed': 1, 'backend': 'inline', 'storage': None, 'display': False}
    result = Shadho('tracked', reporting, {'x': [1, 2]}, repeats=3, plugins=[TensorBoard('runs')], **options).run()
    for trial in result:
        told = curve(events(f'runs/tracked/trial-{trial.id:06d}'), 'reports/loss')
        assert told == pytest.approx({step: trial.params['x'] + 1 / step for step in (1, 2, 3)})


def test_the_table_has_columns_for_the_hyperparameters_of_all_trees(search, events):
    search(TensorBoard('runs'), max_tasks=1)
    experiment = table_of(events('runs/tracked'), 'experiment')
    layers = {f'net.layers[{i}].{name}' for i in range(3) for name in ('width', 'activation')}
    assert {info.name for info in experiment.hparam_infos} == {'linear.C', 'net.shape', *layers}
    assert {info.name.tag for info in experiment.metric_infos} == {'loss', 'seconds'}


def test_a_search_that_goes_on_goes_on_with_its_curves(search, events):
    search(TensorBoard('runs'), max_tasks=10)
    trials = list(search(TensorBoard('runs'), max_tasks=20))
    assert list(curve(events('runs/tracked'), 'seconds/inline')) == list(range(20))
    best = min(trial.loss for trial in trials if trial.loss is not None)
    assert [*curve(events('runs/tracked'), 'best_loss').values()][-1] == pytest.approx(best)


def test_a_search_begun_anew_has_a_folder_of_its_own(search, tmp_path, events):
    for number in (1, 2, 2):
        search(TensorBoard('runs', hparams=False), storage=tmp_path / f'{number}.db', max_tasks=number * 3)
    assert sorted(path.name for path in (tmp_path / 'runs').iterdir()) == ['tracked', 'tracked-2']
    assert len(curve(events('runs/tracked'), 'seconds/inline')) == 3
    assert len(curve(events('runs/tracked-2'), 'seconds/inline')) == 6


def test_without_the_table_there_are_no_folders_of_trials(search, tmp_path):
    search(TensorBoard(tmp_path / 'runs', hparams=False), max_tasks=3)
    (file,) = (tmp_path / 'runs/tracked').iterdir()
    assert file.name.startswith('events.out.tfevents')


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / 'runs').touch()
    with pytest.raises(ConfigurationError, match='logdir must be a folder'):
        TensorBoard('runs')


def test_a_missing_package_is_named_with_how_to_get_it():
    code = (
        'import sys; sys.modules["tensorboardX"] = sys.modules["mlflow"] = None\n'
        'from shadho.trackers import MLflow, TensorBoard\n'
        'for tracker in (MLflow, TensorBoard):\n'
        '    try: tracker()\n'
        '    except Exception as error: print(error)\n'
    )
    told = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert 'pip install alembic mlflow-skinny sqlalchemy' in told
    assert 'pip install tensorboardX' in told
