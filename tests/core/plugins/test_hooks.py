"""Every hook is documented, and exercised by a test through a real search."""

import inspect
import re
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from shadho import Shadho, cli, hookimpl, plugins
from shadho.backends import Simulated
from shadho.backends.inline import Inline
from shadho.fidelity.asha import ASHA
from shadho.plugins import hookspecs
from shadho.records import ComputeClass, TrialState
from shadho.result import SearchInfo, SearchResult
from shadho.samplers.random import Random
from shadho.scheduling import Heuristic
from shadho.scheduling.fcfs import FirstComeFirstServed
from shadho.storage.memory import Memory

HOOKS = {name: value for name, value in vars(hookspecs).items() if name.startswith('shadho_')}
PAGE = Path(__file__).parents[3] / 'docs' / 'reference' / 'hooks.md'


def search(*observers, **options):
    own = {'max_tasks': 6, 'seed': 1, 'backend': 'inline', 'storage': None, 'display': False, **options}
    return Shadho('hooks', lambda params: 1 / params['x'], {'x': [0, 1, 2]}, plugins=observers, repeats=4, **own).run()


@pytest.mark.parametrize('hook', HOOKS)
def test_every_hook_is_documented_with_its_exact_signature(hook):
    signature = re.sub(r"'", '', f'{hook}{inspect.signature(HOOKS[hook])}')
    section = PAGE.read_text().split(f'\n### {hook}\n')[1].split('\n### ')[0]
    assert section.startswith(f'\n`{signature}`\n')
    assert '```python' in section
    assert f'def {hook}(' in section


def test_no_hook_is_documented_that_does_not_exist():
    assert sorted(re.findall(r'^### (.*)$', PAGE.read_text(), re.MULTILINE)) == sorted(HOOKS)


@pytest.mark.parametrize('hook', HOOKS)
def test_every_hook_has_a_test(hook):
    assert [name for name in globals() if name.startswith(f'test_{hook}_')]


def test_every_hook_is_of_the_registry():
    assert set(plugins.registry.KINDS.values()) < set(HOOKS)


class Counted:
    """Notes which of its parts were made."""

    made = []

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Counted.made.append(type(self).name)


class MyBackend(Counted, Inline):
    name = 'my-backend'


class MySampler(Random):
    name = 'my-sampler'


class MyPolicy(FirstComeFirstServed):
    name = 'my-policy'


class MyStorage(Counted, Memory):
    name = 'my-storage'


class Dimensions(Heuristic):
    name = 'dimensions'

    def scores(self, trees, history):
        return np.array([float(len(tree)) for tree in trees])


class Started:
    """Keeps what it is told of the search."""

    @hookimpl
    def shadho_search_started(self, search):
        self.info = search


def test_shadho_register_backends_makes_a_backend_known_by_name():
    class Plugin(Started):
        @hookimpl
        def shadho_register_backends(self):
            return [MyBackend]

    plugin = Plugin()
    assert len(search(plugin, backend='my-backend')) == 6
    assert plugin.info.backend == 'my-backend'


def test_shadho_register_samplers_makes_a_method_known_by_name():
    class Plugin(Started):
        @hookimpl
        def shadho_register_samplers(self):
            return [MySampler]

    plugin = Plugin()
    assert len(search(plugin, method='my-sampler')) == 6
    assert plugin.info.method == 'my-sampler'


def test_shadho_register_policies_makes_a_policy_known_by_name():
    class Plugin(Started):
        @hookimpl
        def shadho_register_policies(self):
            return [MyPolicy]

    plugin = Plugin()
    assert len(search(plugin, policy='my-policy')) == 6
    assert plugin.info.policy == 'my-policy'


def test_shadho_register_storages_makes_a_storage_known_by_name():
    class Plugin:
        @hookimpl
        def shadho_register_storages(self):
            return [MyStorage]

    result = search(Plugin(), storage='my-storage')
    assert len(list(result)) == 6
    assert type(result.storage) is MyStorage


def test_shadho_register_heuristics_makes_a_heuristic_known_to_policies():
    class Scored(FirstComeFirstServed):
        name = 'scored'
        seen = []

        def on(self, event, trial):
            heuristic = registry.get('heuristic', 'dimensions')()
            self.seen.append(heuristic.scores([self.forest.tree(0)], self.history).tolist())

    class Plugin:
        @hookimpl
        def shadho_register_heuristics(self):
            return [Dimensions]

    registry = plugins.load().extended(Plugin())
    search(Plugin(), policy=Scored)
    assert Scored.seen[-1] == [1.0]


def test_shadho_register_commands_adds_a_command_that_reads_a_search(tmp_path, monkeypatch):
    class Plugin:
        @hookimpl
        def shadho_register_commands(self, cli):
            @cli.command()
            @click.argument('storage')
            def count(storage):
                from shadho.storage.sqlite import SQLite

                click.echo(sum(1 for _ in SQLite(storage).read()))

    monkeypatch.chdir(tmp_path)
    search(storage='auto')
    group = click.Group(commands=dict(cli.cli.commands))
    plugins.load().extended(Plugin()).notify('shadho_register_commands', cli=group)
    answer = CliRunner().invoke(group, ['count', 'hooks.db'])
    assert (answer.exit_code, answer.output) == (0, '15\n')  # six trials and their results, a run with its classes


def test_shadho_search_started_tells_what_is_searched_and_what_is_recorded(tmp_path):
    for recorded in (0, 6):
        observer = Started()
        search(observer, storage=tmp_path / 'x.db', max_tasks=recorded + 6)
        info = observer.info
        assert type(info) is SearchInfo
        assert (info.exp_key, info.method, info.policy, info.backend) == (
            'hooks',
            'auto (gp and tpe in turn; cmaes where a tree has 300 trials)',
            'market',
            'inline',
        )
        assert (info.seed, info.recorded, info.max_tasks, info.forest.count) == (1, recorded, recorded + 6, 1)
        assert (info.best is None) == (recorded == 0)


def test_shadho_plan_changed_tells_the_classes_before_the_first_trial():
    seen = []

    class Observer:
        @hookimpl
        def shadho_plan_changed(self, classes, placement):
            seen.append((classes, placement))

        @hookimpl
        def shadho_trial_dispatched(self, trial):
            assert [own.name for own in seen[-1][0]] == [trial.compute_class]

    search(Observer())
    assert [plan.name for plan in seen[0][1]] == ['inline']
    assert {tuple(type(own) for own in classes) for classes, _ in seen} == {(ComputeClass,)}


def test_shadho_plan_changed_tells_each_new_placement_before_the_trials_that_follow_it():
    seen = []

    class Observer:
        @hookimpl
        def shadho_plan_changed(self, classes, placement):
            seen.append(placement)

        @hookimpl
        def shadho_trial_dispatched(self, trial):
            (plan,) = seen[-1]
            assert (plan.name, plan.slots, plan.trees) == (trial.compute_class, 1, ((0, 1.0),))

    search(Observer())
    assert 1 <= len(seen) <= 8


def reporting(params, trial):
    for step in trial.steps():
        trial.report(loss=params['x'] + 1 / step)


def test_shadho_register_fidelities_makes_a_fidelity_known_by_its_name():
    class Short(ASHA):
        name = 'short'

    class Plugin:
        @hookimpl
        def shadho_register_fidelities(self):
            return [Short]

    options = {'max_tasks': 6, 'max_steps': 3, 'backend': 'inline', 'storage': None, 'display': False, 'seed': 1}
    result = Shadho(
        'hooks', reporting, {'x': [0, 1, 2]}, repeats=4, fidelity='short', plugins=[Plugin()], **options
    ).run()
    assert {trial.state for trial in result} == {TrialState.DONE, TrialState.PAUSED}


def test_shadho_trial_reported_tells_of_each_report_of_a_running_trial():
    class Observer:
        seen = []

        @hookimpl
        def shadho_trial_reported(self, trial, report):
            assert (trial.id, trial.attempt) == (report.trial, report.attempt)
            self.seen.append((trial.id, report.step, report.results['loss']))

    options = {'max_tasks': 2, 'max_steps': 2, 'backend': 'inline', 'storage': None, 'display': False, 'seed': 1}
    Shadho('hooks', reporting, {'x': [0]}, repeats=2, plugins=[Observer()], **options).run()
    assert Observer.seen == [(0, 1, 1.0), (0, 2, 0.5), (1, 1, 1.0), (1, 2, 0.5)]


def test_shadho_attempt_ended_tells_of_attempts_that_were_lost_moved_and_cut_off():
    class Observer:
        def __init__(self):
            self.seen = []

        @hookimpl
        def shadho_attempt_ended(self, trial, result):
            assert (trial.id, trial.attempt, trial.state) == (result.trial, result.attempt, result.state)
            self.seen.append((str(result.state), result.reason))

    observer = Observer()
    classes = [ComputeClass('fast', 1), ComputeClass('slow', 4)]
    backend = Simulated(classes, lambda params, own: 100.0 if own.name == 'slow' else 5.0, changes=[(20, 'slow', 2)])
    options = {
        'backend': backend,
        'space': {'x': [0, 1, 2]},
        'storage': None,
        'display': False,
        'seed': 1,
        'plugins': [observer],
    }
    Shadho('hooks', lambda params: params['x'], repeats=9, max_tasks=20, max_retries=100, **options).run()
    Shadho('hooks', lambda params: params['x'], repeats=9, timeout=30.0, **options).run()
    assert {('lost', ''), ('cancelled', 'moved'), ('cancelled', 'ended')} <= set(observer.seen)


def test_shadho_plan_changed_needs_to_take_no_placement():
    seen = []

    class Observer:
        @hookimpl
        def shadho_plan_changed(self, classes):
            seen.append(classes[0].name)

    search(Observer(), policy='fcfs')
    assert seen == ['inline']


def test_shadho_plan_changed_is_called_when_workers_come_or_go():
    seen = []

    class Growing(Inline):
        name = 'growing'

        def discover(self):
            return [ComputeClass('growing', 1 + len(seen) % 2)]

    class Observer:
        @hookimpl
        def shadho_plan_changed(self, classes):
            seen.append(classes[0].slots)

    search(Observer(), backend=Growing(), policy='fcfs')
    assert seen[:3] == [1, 2, 1]


def test_shadho_trial_dispatched_sees_each_trial_when_it_is_recorded():
    seen = []
    storage = Memory()

    class Observer:
        @hookimpl
        def shadho_trial_dispatched(self, trial):
            assert trial in [record for _, record in storage.read()]
            seen.append((trial.id, trial.state))

    search(Observer(), storage=storage)
    assert seen == [(number, TrialState.RUNNING) for number in range(6)]


def test_shadho_trial_finished_sees_each_trial_once_whatever_came_of_it():
    seen = []

    class Observer:
        @hookimpl
        def shadho_trial_finished(self, trial):
            seen.append(trial)

    result = search(Observer())
    assert seen == list(result)
    assert {trial.state for trial in seen} == {TrialState.DONE, TrialState.FAILED}


def test_shadho_search_finished_gets_what_run_returns():
    seen = []

    class Observer:
        @hookimpl
        def shadho_search_finished(self, result):
            seen.append(result)

    result = search(Observer())
    assert seen == [result]
    assert type(result) is SearchResult


def test_shadho_search_finished_is_called_also_when_the_search_breaks_down():
    seen = []

    class Breaking(Inline):
        name = 'breaking'

        def poll(self, timeout):
            raise OSError('unplugged')

    class Observer:
        @hookimpl
        def shadho_search_finished(self, result):
            seen.append(result.stopped)

    with pytest.raises(OSError, match='unplugged'):
        search(Observer(), backend=Breaking())
    assert seen == ['error']


def test_shadho_should_stop_ends_the_search_when_any_plugin_says_so():
    class Third:
        @hookimpl
        def shadho_should_stop(self, trial):
            return trial.id == 2

    class Never:
        @hookimpl
        def shadho_should_stop(self, trial):
            return False

    result = search(Never(), Third(), Never())
    assert (len(result), result.stopped) == (3, 'plugin')


class Forgetful:
    """Takes from trials what it does not need."""

    @hookimpl
    def shadho_trial_dispatched(self, trial):
        trial.params.clear()

    @hookimpl
    def shadho_trial_finished(self, trial):
        trial.params.clear()
        trial.results.clear()

    @hookimpl
    def shadho_search_finished(self, result):
        result.best.params.clear()
        for trial in result:
            trial.params.clear()


def test_what_observers_and_callers_do_to_a_trial_changes_it_for_nobody_else():
    result = search(Forgetful(), Forgetful())
    result.best.params.clear()
    next(iter(result)).results.clear()
    assert result.best.params == {'x': 2}
    assert all(trial.params.keys() == {'x'} for trial in result)
    assert all(trial.results.keys() == {'loss'} for trial in result if trial.error is None)
