"""A sandbox whose trials report, and get no answers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shadho.execution.objective import Function
from shadho.execution.sandbox import Ended, Reported, Sandbox, pickle_objective, poll


def _objective(params: Any, trial: Any) -> None:
    import os

    for step in trial.steps():
        trial.report(loss=float(step), pid=os.getpid(), attempt=trial.attempt)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with tempfile.TemporaryFile() as file:
        file.write(pickle_objective(Function(_objective, takes_trial=True)))
        file.flush()
        made = Sandbox(file, tmp_path / 'slot')
        yield made
        made.close()


def run(sandbox: Sandbox, trial: int, attempt: int, step: int, until: int) -> tuple[list[int], dict[str, Any]]:
    """Return the steps that an attempt has reported, and what came of it."""
    own = {'id': trial, 'attempt': attempt, 'seed': 1, 'compute_class': 'all', 'resources': {}, 'step': step}
    sandbox.start(trial, {}, 60.0, {**own, 'until': until, 'max_steps': 4, 'folder': None, 'loss_key': 'loss'})
    reports: list[int] = []
    while True:
        for news in poll([sandbox], None):
            if isinstance(news, Ended):
                return reports, news.outcome
            assert isinstance(news, Reported)
            assert (news.trial, news.attempt, news.results['attempt']) == (trial, attempt, attempt)
            reports.append(news.step)


def test_trials_pause_at_their_steps_and_go_on_in_the_process_of_others(sandbox: Sandbox) -> None:
    attempts = [run(sandbox, *own) for own in [(0, 0, 0, 1), (1, 0, 0, 2), (0, 1, 1, 3), (0, 2, 3, 4), (0, 0, 0, 4)]]
    assert [reports for reports, _ in attempts] == [[1], [1, 2], [2, 3], [4], [1, 2, 3, 4]]
    ends = [(outcome['state'], outcome['step']) for _, outcome in attempts]
    assert ends == [('paused', 1), ('paused', 2), ('paused', 3), ('done', 4), ('done', 4)]
    assert len({outcome['results']['pid'] for _, outcome in attempts}) == 1


def _waits(params: Any) -> None:
    import signal
    import time

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(params).touch()
    time.sleep(1000.0)


@pytest.mark.parametrize('at_once', [False, True])
def test_a_trial_that_is_stopped_has_its_grace_unless_told_otherwise(
    tmp_path: Path, wait_until: Callable[..., None], at_once: bool
) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(pickle_objective(Function(_waits)))
        file.flush()
        sandbox = Sandbox(file, tmp_path / 'slot', grace=1000.0)
        try:
            sandbox.start(0, str(tmp_path / 'begun'))
            wait_until(lambda: poll([sandbox], 0.0) == [] and (tmp_path / 'begun').exists(), 'the begin of the trial')
            sandbox.stop(0, at_once=at_once)
            assert len(sandbox) == (0 if at_once else 1)
        finally:
            sandbox.close()
