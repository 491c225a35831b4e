"""Which worker runs which trial, told by the trials themselves: each worker has a temporary folder of its own."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from shadho import SearchResult, Shadho, hookimpl, spaces

X = {'x': spaces.uniform(0, 1)}

STAFF = (
    {'name': 'big', 'cores': 16},
    {'name': 'quad', 'cores': 4, 'features': {'rack': 'east'}},
    {'name': 'dual', 'cores': 2, 'gpus': 'V100'},
    {'name': 'plain', 'cores': 3, 'memory': 2048},
)

MEMBERS = {'large': 'big', 'eastern': 'quad', 'volta': 'dual', '3-core 2GiB': 'plain'}


def declare(opt: Shadho) -> None:
    opt.add_compute_class('large', 'cores', 16)
    opt.add_compute_class('eastern', 'rack', 'east')
    opt.add_compute_class('volta', 'gpu_model', 'V100')


def stay(folder: Path, number: int) -> Any:
    """Return an objective that says where it runs, and lasts until trials have begun in `number` places."""

    def objective(params: Any) -> dict[str, Any]:
        import os
        import re
        import time
        from pathlib import Path

        place = next(part for part in Path(os.environ['TMPDIR']).parts if re.fullmatch(r'\d-\w+', part))
        (folder / f'{place}.here').touch()
        until = time.monotonic() + 20.0
        while len(list(folder.glob('*.here'))) < number and time.monotonic() < until:
            time.sleep(0.01)
        return {'loss': params['x'], 'place': place}

    return objective


def check_places(result: SearchResult) -> None:
    assert {trial.compute_class for trial in result} == set(MEMBERS)
    for trial in result:
        assert trial.host == MEMBERS[trial.compute_class]
        assert trial.results['place'].endswith(f'-{trial.host}')


def test_functions_run_on_the_workers_of_their_class(staffed: Any, tmp_path: Path) -> None:
    opt = Shadho(
        'placement', stay(tmp_path, len(STAFF)), X, backend=staffed(*STAFF), storage=None, seed=0, max_tasks=40,
        display=False, policy='fcfs',
    )  # fmt: skip
    declare(opt)
    result = opt.run()
    assert len(result) == 40
    check_places(result)


def test_commands_run_on_the_workers_of_their_class(staffed: Any, tmp_path: Path) -> None:
    script = tmp_path / 'evaluate.py'
    script.write_text(
        'import os, pathlib, re, time, shadho_worker\n'
        f'folder = pathlib.Path({str(tmp_path)!r})\n'
        'def objective(params):\n'
        '    place = next(part for part in pathlib.Path.cwd().parts if re.fullmatch(r"\\d-\\w+", part))\n'
        '    (folder / f"{place}.here").touch()\n'
        '    until = time.monotonic() + 20.0\n'
        f'    while len(list(folder.glob("*.here"))) < {len(STAFF)} and time.monotonic() < until:\n'
        '        time.sleep(0.01)\n'
        '    return {"loss": params["x"], "place": place}\n'
        'shadho_worker.run(objective)\n'
    )
    opt = Shadho(
        'placement', 'python3 evaluate.py', X, backend=staffed(*STAFF), storage=None, seed=0, max_tasks=20,
        display=False, policy='fcfs',
    )  # fmt: skip
    opt.add_input_file(script)
    declare(opt)
    result = opt.run()
    assert len(result) == 20
    check_places(result)


def test_an_idle_worker_takes_over_a_trial_that_would_go_on_for_long_on_another(staffed: Any) -> None:
    def objective(params: Any) -> dict[str, Any]:
        import os
        import time

        is_slow = any(part.endswith('-slow') for part in os.environ['TMPDIR'].split('/'))
        time.sleep(120.0 if is_slow else 0.02 + 0.2 * params['x'])
        return {'loss': params['x'], 'is_slow': is_slow}

    opt = Shadho(
        'placement', objective, X, 'random', backend=staffed({'name': 'fast', 'cores': 4}, {'name': 'slow', 'cores': 2}),
        storage=None, seed=0, max_tasks=15, display=False,
    )  # fmt: skip
    opt.add_compute_class('fast', 'cores', 4)
    opt.add_compute_class('slow', 'cores', 2)
    result = opt.run()
    assert sorted(trial.id for trial in result) == list(range(15))
    assert {(trial.compute_class, trial.host, trial.results['is_slow']) for trial in result} == {
        ('fast', 'fast', False)
    }
    assert next(own for own in result.classes if own.compute_class.name == 'slow').busy_seconds > 0


def test_no_more_trials_of_a_class_run_at_once_than_it_was_given(staffed: Any, tmp_path: Path) -> None:
    def objective(params: Any) -> float:
        import time
        import uuid

        mine = uuid.uuid4().hex
        (tmp_path / f'{mine}.begun').touch()
        (tmp_path / f'{mine}.running').touch()
        until = time.monotonic() + 20.0
        while len(list(tmp_path.glob('*.begun'))) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        number = len(list(tmp_path.glob('*.running')))
        time.sleep(0.05)
        (tmp_path / f'{mine}.running').unlink()
        return float(number)

    opt = Shadho(
        'placement', objective, X, backend=staffed({'cores': 4}), storage=None, max_tasks=12, resources={'cores': 1},
        display=False,
    )  # fmt: skip
    opt.add_compute_class('few', 'cores', 4, max_tasks=2)
    assert max(trial.loss for trial in opt.run()) == 2.0


def test_a_trial_asks_for_the_cores_of_its_class_unless_resources_say_otherwise(staffed: Any) -> None:
    slots = []
    for resources in (None, {'cores': 2}):
        opt = Shadho(
            'placement', lambda params: 1.0, X, backend=staffed({'cores': 4}), storage=None, max_tasks=2,
            resources=resources, display=False,
        )  # fmt: skip
        opt.add_compute_class('quad', 'cores', 4)
        (use,) = opt.run().classes
        slots.append(use.compute_class.slots)
    assert slots == [1, 2]


def test_a_class_that_nobody_serves_is_warned_about(staffed: Any, caplog: pytest.LogCaptureFixture) -> None:
    opt = Shadho(
        'placement', lambda params: 1.0, X, backend=staffed({'cores': 2}), storage=None, max_tasks=2, display=False
    )
    opt.add_compute_class('volta', 'gpu_model', 'V100')
    with caplog.at_level(logging.WARNING, 'shadho'):
        assert len(opt.run()) == 2
    (message,) = [text for text in caplog.messages if 'volta' in text]
    assert 'no connected worker can serve the compute class' in message
    assert '2-core 1GiB: 2 cores' in message


def test_a_trial_too_big_for_every_worker_is_warned_about(staffed: Any, caplog: pytest.LogCaptureFixture) -> None:
    opt = Shadho(
        'placement', lambda params: 1.0, X, backend=staffed({'cores': 2}), storage=None, timeout=1.5, display=False,
        resources={'cores': 3},
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, 'shadho'):
        assert len(opt.run()) == 0
    assert any('has no slot for a trial that asks for' in text for text in caplog.messages)


class Coming:
    """Has a second worker come after some trials, and the first one go when trials have run on both."""

    def __init__(self, crew: Any) -> None:
        self.crew = crew
        self.plans: list[tuple[float, set[str]]] = []
        self.times: dict[str, float] = {}
        self.hosts: list[str] = []

    def planned(self) -> set[str]:
        return self.plans[-1][1]

    @hookimpl
    def shadho_plan_changed(self, classes: Any, placement: Any) -> None:
        names = {own.name for own in classes}
        if not self.plans or names != self.planned():
            self.plans.append((time.monotonic(), names))

    @hookimpl
    def shadho_trial_finished(self, trial: Any) -> None:
        self.hosts.append(trial.host)
        if len(self.hosts) == 5:
            self.crew.start('-M', 'placement', name='second', cores=2)
        if len(self.crew.hands) == 2 and 'come' not in self.times and 'worker second' in self.crew.hands[1].said:
            self.times['come'] = time.monotonic()
        if 'second' in self.hosts and 'gone' not in self.times:
            self.crew.hands[0].send(signal.SIGTERM)
            self.times['gone'] = time.monotonic()

    @hookimpl
    def shadho_should_stop(self, trial: Any) -> bool:
        return 'gone' in self.times and self.planned() == {'2-core 1GiB'} and trial.host == 'second'

    def delay(self, event: str, classes: set[str]) -> float:
        """Return the seconds from an event to the plan with these classes that follows it."""
        return next(when for when, planned in self.plans if planned == classes) - self.times[event]


def test_workers_that_come_and_go_change_the_classes_at_once(staffed: Any, crew: Any) -> None:
    def objective(params: Any) -> float:
        import time

        time.sleep(0.05)
        return float(params['x'])

    coming = Coming(crew)
    result = Shadho(
        'placement', objective, X, backend=staffed({'name': 'first', 'cores': 1}), storage=None,
        timeout=60, plugins=[coming], display=False,
    ).run()  # fmt: skip
    assert result.stopped == 'plugin'
    assert [planned for _, planned in coming.plans] == [
        {'1-core 1GiB'}, {'1-core 1GiB', '2-core 1GiB'}, {'2-core 1GiB'},
    ]  # fmt: skip
    assert coming.delay('come', {'1-core 1GiB', '2-core 1GiB'}) < 10.0
    assert coming.delay('gone', {'2-core 1GiB'}) < 10.0


def test_workers_of_a_class_that_are_too_small_for_its_trials_get_none(staffed: Any) -> None:
    staff = [{'name': name, 'cores': cores, 'features': {'rack': 'east'}} for name, cores in (('a', 1), ('b', 2))]
    opt = Shadho(
        'placement', lambda params: 1.0, X, backend=staffed(*staff), storage=None, max_tasks=6, resources={'cores': 2},
        display=False,
    )  # fmt: skip
    opt.add_compute_class('eastern', 'rack', 'east')
    result = opt.run()
    assert [(trial.host, trial.compute_class) for trial in result] == [('b', 'eastern')] * 6


def test_workers_with_different_disks_share_a_class(staffed: Any, tmp_path: Path) -> None:
    wait = f'touch {tmp_path}/$SHADHO_TRIAL; until [ $(ls {tmp_path} | wc -l) = 4 ]; do sleep 0.02; done; echo 1 > result.json'
    plain = ['--cores', '2', '--memory', '1000', '--disk']
    opt = Shadho(
        'placement', wait, X, backend=staffed({'plain': [*plain, '4000']}, {'plain': [*plain, '400']}), storage=None, max_tasks=4,
        trial_timeout=60, display=False,
    )  # fmt: skip
    assert [trial.loss for trial in opt.run()] == [1.0] * 4
