"""``shadho best`` and ``shadho trials``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from shadho import Shadho, load_result, spaces
from shadho.report.trials import describe_trial


def test_the_best_trial_is_shown_with_its_parameters_and_results(shadho: Any, recorded: Path) -> None:
    best = load_result(recorded).best
    answer = shadho('best', recorded)
    assert answer.exit_code == 0
    first, *rest = answer.output.splitlines()
    assert first.startswith(f'trial {best.id}: loss {best.loss:.6g} (')
    [(kernel, own)] = best.params.items()
    assert f'{kernel}.C' in rest[0]
    assert f'{own["C"]:.6g}' in rest[0]
    assert rest[-2:] == [f'    loss   = {best.loss:.6g}', f'    kernel = {kernel}']


def test_the_best_trial_as_json_says_all_that_is_known(shadho: Any, recorded: Path) -> None:
    best = load_result(recorded).best
    told = json.loads(shadho('best', recorded, '--json').output)
    assert (told['trial'], told['loss'], told['params'], told['tree']) == (best.id, best.loss, best.params, best.tree)
    assert told['results']['kernel'] == told['label']


def test_a_search_without_a_trial_that_is_done_has_no_best_one(shadho: Any, tmp_path: Path) -> None:
    def fails(params: Any) -> float:
        raise ValueError('never')

    path = tmp_path / 'bad.db'
    Shadho('bad', fails, {'x': spaces.uniform(0, 1)}, max_tasks=2, backend='inline', storage=path, display=False).run()
    answer = shadho('best', path)
    assert answer.exit_code == 1
    assert 'no trial of bad is done yet' in answer.output


def numbers(answer: Any) -> list[int]:
    return [own['trial'] for own in json.loads(answer.output)]


def test_trials_are_listed_in_the_order_of_completion(shadho: Any, recorded: Path) -> None:
    assert numbers(shadho('trials', recorded, '--json')) == [trial.id for trial in load_result(recorded)]
    *lines, more = shadho('trials', recorded, '--limit', 7).output.splitlines()  # the last goes to standard error
    assert (len(lines), more) == (1 + 7, '... 33 more; see --limit')


def test_trials_are_chosen_by_state_tree_class_and_loss(shadho: Any, recorded: Path) -> None:
    trials = list(load_result(recorded))
    failed = [trial.id for trial in trials if trial.error is not None]
    poly = [trial.id for trial in trials if 'poly' in trial.params]
    good = [trial.id for trial in trials if trial.loss is not None and trial.loss < 0.5]
    assert failed
    assert good
    assert numbers(shadho('trials', recorded, '--json', '--state', 'failed')) == failed
    assert numbers(shadho('trials', recorded, '--json', '--tree', 'poly')) == poly
    assert numbers(shadho('trials', recorded, '--json', '--better-than', 0.5)) == good
    assert numbers(shadho('trials', recorded, '--json', '--compute-class', 'inline')) == [trial.id for trial in trials]
    assert numbers(shadho('trials', recorded, '--json', '--compute-class', 'none')) == []


def test_trials_are_sorted_by_loss_with_those_that_failed_at_the_end(shadho: Any, recorded: Path) -> None:
    told = json.loads(shadho('trials', recorded, '--json', '--sort', 'loss').output)
    losses = [own['loss'] for own in told]
    done = [loss for loss in losses if loss is not None]
    assert losses == sorted(done) + [None] * (len(losses) - len(done))
    assert numbers(shadho('trials', recorded, '--json', '--sort', 'trial', '--reverse')) == list(range(39, -1, -1))


def test_the_best_come_first_when_the_loss_is_maximised(shadho: Any, tmp_path: Path) -> None:
    path = tmp_path / 'max.db'
    Shadho(
        'max', lambda params: params['x'], {'x': [1, 2, 3]}, method='grid', backend='inline', storage=path, display=False,
        direction='maximize', max_tasks=3, seed=0,
    ).run()  # fmt: skip
    told = json.loads(shadho('trials', path, '--json', '--sort', 'loss', '--better-than', '1').output)
    assert [own['loss'] for own in told] == [3.0, 2.0]


def test_numbers_of_trials_show_them_in_full_with_their_tracebacks(shadho: Any, recorded: Path) -> None:
    failed = next(trial for trial in load_result(recorded) if trial.error is not None)
    answer = shadho('trials', recorded, failed.id, 0)
    assert f'trial {failed.id}: failed' in answer.output
    assert 'in error' in answer.output
    assert 'raise ValueError' in answer.output
    assert '\n\ntrial 0: ' in answer.output


def test_the_recommended_trial_is_shown_where_that_is_wanted(shadho: Any, recorded: Path) -> None:
    told = json.loads(shadho('best', recorded, '--recommended', '--json').output)
    assert told['trial'] == load_result(recorded).recommended.id


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('best', 'none.db'), 'there is no file'),
        (('trials', 'none.db'), 'there is no file'),
        (('export', 'none.db', 'a.csv'), 'there is no file'),
        (('report', ''), "there is no file ''"),
        (('report', '/'), "there is no file '/'"),
        (('report', 'loop.db'), "there is no file 'loop.db'"),
    ],
)
def test_a_missing_file_is_told_of_without_a_traceback(shadho: Any, arguments: tuple[str, ...], message: str) -> None:
    Path('loop.db').unlink(missing_ok=True)
    Path('loop.db').symlink_to('loop.db')
    answer = shadho(*arguments)
    assert answer.exit_code == 1
    assert message in answer.output


def test_a_number_of_no_trial_is_refused(shadho: Any, recorded: Path) -> None:
    answer = shadho('trials', recorded, 400)
    assert answer.exit_code == 1
    assert 'svm has no finished trial 400; it has 40 of them' in answer.output


def test_what_a_trial_printed_is_shown_with_it(recorded: Path) -> None:
    result = load_result(recorded)
    trial = attrs.evolve(result.best, output='epoch 1\nepoch 2\n')
    assert describe_trial(result, trial).endswith('it printed\n    epoch 1\n    epoch 2')


def test_what_could_steer_a_terminal_is_not_printed(shadho: Any, tmp_path: Path) -> None:
    def hostile(params: Any) -> float:
        print('\x1b[2J gone')
        raise ValueError('\x1b]0;title\x07')

    path = tmp_path / 'bad.db'
    Shadho('bad', hostile, {'x': ['\x1b[31m']}, max_tasks=1, backend='inline', storage=path, display=False).run()
    for arguments in (('trials', path), ('trials', path, 0)):
        assert '\x1b' not in shadho(*arguments).output


@pytest.fixture
def accurate(tmp_path: Path) -> Path:
    """The file of a search that maximises an accuracy; its best trial has 0.75."""
    path = tmp_path / 'accurate.db'
    Shadho(
        'accurate', lambda params: {'accuracy': params['x']}, {'x': spaces.grid([0.25, 0.75, 0.5])}, method='grid',
        direction='maximize', loss_key='accuracy', backend='inline', storage=path, display=False,
    ).run()  # fmt: skip
    return path


@pytest.mark.parametrize(
    'command, told',
    [
        (['status'], 'best accuracy 0.75 (trial 1: x=0.75)'),
        (['best'], 'trial 1: accuracy 0.75 ('),
        (['trials'], 'trial  accuracy '),
        (['trials', '2'], 'trial 2: accuracy 0.5 ('),
    ],
)
def test_what_is_optimised_is_called_by_its_key(shadho: Any, accurate: Path, command: list[str], told: str) -> None:
    name, *numbers = command
    output = shadho(name, accurate, *numbers).output
    assert told in output
    assert 'loss' not in output
