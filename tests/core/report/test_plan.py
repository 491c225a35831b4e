"""What the market would do with a cluster, from a recorded search."""

import json
import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from shadho import ComputeClass, Shadho, spaces
from shadho.backends import Simulated
from shadho.cli import cli
from shadho.errors import ConfigurationError, StorageError
from shadho.forest import Forest
from shadho.records import Trial
from shadho.report.plan import parse_cluster, plan_cluster
from shadho.spaces import spec
from shadho.storage.sqlite import SQLite

SPACE = {'exclusive': True, 'quick': {'x': spaces.uniform(0, 1)}, 'slow': {'x': spaces.uniform(0, 1)}}


def seconds(params, own):
    return (10.0 if 'quick' in params else 40.0) * (4 if own.name == 'old' else 1)


def loss(params):
    return next(iter(params.values()))['x']


@pytest.fixture(scope='module')
def searched(tmp_path_factory):
    """The file of a simulated search in two classes, of which one takes four times as long."""
    path = tmp_path_factory.mktemp('searched') / 'recorded.db'
    cluster = Simulated([ComputeClass('new', 4), ComputeClass('old', 8)], seconds)
    Shadho(
        'recorded', loss, SPACE, 'tpe', timeout=2000, seed=0, backend=cluster, storage=SQLite(path), display=False
    ).run()
    return path


@pytest.fixture
def recorded(searched, tmp_path):
    """Its storage, of which each test has a copy."""
    return SQLite(shutil.copy(searched, tmp_path / 'recorded.db'))


def test_trials_per_hour_follow_from_the_seconds_that_were_recorded(recorded):
    plan = plan_cluster(recorded, parse_cluster('new=10,old=4'))
    assert plan.exp_key == 'recorded'
    assert sorted(plan.trees) == ['quick', 'slow']
    quick, slow = plan.trees.index('quick'), plan.trees.index('slow')
    assert plan.seconds[quick] == pytest.approx([10, 40], rel=0.05)
    assert plan.seconds[slow] == pytest.approx([40, 160], rel=0.05)
    busy = (plan.trials_per_hour * plan.seconds).sum(axis=0) / 3600
    assert busy == pytest.approx([10, 4], rel=1e-6)


def test_prices_say_what_one_more_slot_brings(recorded):
    plan = plan_cluster(recorded, parse_cluster('new=10,old=4'))
    assert plan.bottleneck == 'new'
    assert plan.prices[0] / plan.prices[1] == pytest.approx(4, rel=0.05)
    assert plan.prices @ [10, 4] == pytest.approx(1)
    assert plan.one_more @ [10, 4] == pytest.approx(plan.trials_per_hour.sum(), rel=0.1)


def test_on_a_large_cluster_one_more_slot_still_brings_its_share(recorded):
    plan = plan_cluster(recorded, parse_cluster('new=5000,old=5000'))
    assert plan.one_more @ [5000, 5000] == pytest.approx(plan.trials_per_hour.sum(), rel=0.1)
    assert '+0.0%' not in plan.to_table()


def test_a_class_that_was_never_seen_is_taken_to_be_average_and_said_so(recorded):
    plan = plan_cluster(recorded, parse_cluster('new=1,borrowed=2'))
    assert plan.unseen == ['borrowed']
    quick = plan.seconds[plan.trees.index('quick')]
    assert quick[0] < quick[1] < 40
    assert 'note: no trial ever ran in borrowed' in plan.to_table()
    assert [own['seen'] for own in plan.to_dict()['classes']] == [True, False]


def test_options_are_those_of_the_market(recorded):
    shares = []
    for fairness in (0.0, 1.0):
        plan = plan_cluster(recorded, parse_cluster('new=4'), fairness=fairness, heuristics={})
        counts = plan.trials_per_hour[:, 0]
        shares.append(counts[plan.trees.index('quick')] / counts[plan.trees.index('slow')])
    assert shares == pytest.approx([4, 1], rel=0.15)  # but for the floor


def test_trials_that_run_count_too(recorded):
    with recorded:
        asked = 1 + max(record.id for _, record in recorded.read() if isinstance(record, Trial))
        recorded.append(Trial(asked, 1, (0.5,), {'slow': {'x': 0.5}}, 'new', started=0.0))
    plan = plan_cluster(recorded, parse_cluster('new=1'))
    assert plan.seconds[plan.trees.index('slow'), 0] > 41


def test_a_search_in_which_nothing_is_left_can_be_planned(tmp_path):
    storage = SQLite(tmp_path / 'grid.db')
    grid = {'x': spaces.grid([1, 2, 3])}
    Shadho('grid', lambda params: params['x'], grid, backend='inline', storage=storage, display=False).run()
    plan = plan_cluster(storage, parse_cluster('inline=2'))
    assert plan.trials == 3
    assert plan.trials_per_hour.sum() > 0


def test_a_storage_without_a_search_or_without_a_result_is_refused(tmp_path):
    empty = SQLite(tmp_path / 'empty.db')
    with empty:
        pass
    with pytest.raises(StorageError, match='holds no search'):
        plan_cluster(empty, parse_cluster('a=1'))
    opt = Shadho('none', loss, SPACE, timeout=1e-9, seed=0, backend=Simulated([ComputeClass('a', 1)], seconds),
                 storage=empty, display=False)  # fmt: skip
    opt.run()
    with pytest.raises(StorageError, match='no finished trial yet'):
        plan_cluster(empty, parse_cluster('a=1'))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('16-core=20,8-core=25', {'16-core': 20, '8-core': 25}),
        (' a = 1 , b=2 ', {'a': 1, 'b': 2}),
        ('8-core 64GiB rack=a,b=3,c=4', {'8-core 64GiB rack=a,b': 3, 'c': 4}),
    ],
)
def test_a_cluster_is_described_by_names_and_slots(text, expected):
    assert {own.name: own.slots for own in parse_cluster(text)} == expected


@pytest.mark.parametrize('text', ['', '16-core', '16-core=', '=4', 'a=0', 'a=-1', 'a=1.5', 'a=1,', 'a=' + '9' * 5000])
def test_what_describes_no_cluster_is_refused(text):
    with pytest.raises(ConfigurationError, match='a cluster is described as'):
        parse_cluster(text)


def test_a_class_that_is_named_twice_is_refused():
    with pytest.raises(ConfigurationError, match='names a class twice'):
        parse_cluster('a=1,a=2')


def test_the_command_prints_a_table_or_json(recorded):
    run = CliRunner().invoke(cli, ['plan', str(recorded.path), 'new=10,old=4'])
    assert run.exit_code == 0
    lines = run.output.splitlines()
    assert lines[0].startswith('recorded: forecast from ')
    assert lines[2].split() == ['trials', 'per', 'hour', 'all', 'new', 'old']
    assert lines[-1] == 'bottleneck: new'
    run = CliRunner().invoke(cli, ['plan', str(recorded.path), 'new=10,old=4', '--json', '--fairness', '1'])
    data = json.loads(run.output)
    assert data['bottleneck'] == 'new'
    assert {tree['label'] for tree in data['trees']} == {'quick', 'slow'}
    assert sum(own['trials_per_hour'] for own in data['classes']) == pytest.approx(data['trials_per_hour'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(['nowhere.db', 'a=1'], "there is no file 'nowhere.db'"), (['recorded.db', 'a'], 'a cluster is described as')],
)
def test_the_command_says_what_is_wrong_in_one_line(recorded, monkeypatch, arguments, message):
    monkeypatch.chdir(recorded.path.parent)
    run = CliRunner().invoke(cli, ['plan', *arguments])
    assert run.exit_code == 1
    assert run.output.startswith('Error: ') and message in run.output and len(run.output.splitlines()) == 1


def test_planning_imports_nothing_that_a_file_names():
    data = json.loads(spec.outline({'x': spaces.uniform(0, 1)}))
    data['parts']['y'] = {'type': 'dependent', 'of': [0], 'callback': 'antigravity:fly'}
    data['parts']['x']['id'] = 0
    forest = Forest(spec.from_outline(json.dumps(data)))
    assert forest.count == 1
    assert 'antigravity' not in sys.modules


def test_an_outline_has_the_trees_of_its_space():
    space = {'layers': spaces.repeat({'exclusive': True, 'a': 1, 'b': {'x': spaces.normal(0, 1)}}, 3), 'x': [1, 2]}
    forest, read = Forest(space), Forest(spec.from_outline(spec.outline(space)))
    assert read.count == forest.count
    assert [tree.label for tree in read] == [tree.label for tree in forest]


def test_what_could_steer_a_terminal_is_not_printed(tmp_path):
    storage = SQLite(tmp_path / 'foreign.db')
    Shadho('foreign', loss, SPACE, max_tasks=20, seed=0, backend='inline', storage=storage, display=False).run()
    with storage:
        storage.update(exp_key='\x1b[31mred')
    assert '\x1b' not in plan_cluster(storage, parse_cluster('inline=1')).to_table()


def test_where_a_tree_does_not_fit_there_is_no_rate(tmp_path):
    storage = SQLite(tmp_path / 'memory.db')
    small, large = ComputeClass('small', 4, {'memory': 1000}), ComputeClass('large', 4, {'memory': 9000})
    cluster = Simulated([small, large], seconds, memory=lambda params: 5000 if 'slow' in params else 10)
    Shadho('memory', loss, SPACE, 'tpe', timeout=2000, seed=0, backend=cluster, storage=storage, display=False).run()
    plan = plan_cluster(storage, parse_cluster('small=4,large=4'))
    slow = plan.trees.index('slow')
    assert np.isinf(plan.seconds[slow, 0]) and plan.trials_per_hour[slow, 0] == 0
    assert next(tree for tree in plan.to_dict()['trees'] if tree['label'] == 'slow')['seconds']['small'] is None
