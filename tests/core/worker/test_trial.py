"""The handle of a trial, beside what stands in for the search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shadho_worker.handle import LAST_STEP, Answer, Tell, TrialHandle


def handle(tell: Tell | None = None, **facts: Any) -> TrialHandle:
    own = {'id': 0, 'attempt': 0, 'seed': 1, 'compute_class': 'all', 'resources': {}, 'step': 0, 'until': None}
    return TrialHandle({**own, 'max_steps': 3, 'folder': None, 'loss_key': 'loss', **facts}, tell)


@pytest.mark.parametrize('leave', ['paused', 'stopped'])
def test_no_answer_undoes_the_last_step(leave: str) -> None:
    def answered_at_once(step: int, results: Mapping[str, Any], waits: bool) -> Answer | None:
        assert not waits
        return {'leave': leave} if step == 3 else None

    trial = handle(answered_at_once, until=3)
    for step in trial.steps():
        trial.report(loss=float(step))
    assert trial.should_stop
    assert not trial.is_paused
    outcome = trial.outcome(None, 'loss')
    assert (outcome['state'], outcome['loss'], outcome['step']) == ('done', 3.0, 3)


def test_without_anybody_to_tell_it_pauses_at_its_step() -> None:
    trial = handle(until=2)
    assert [trial.report(loss=float(step)) for step in trial.steps()] == [True, False]
    outcome = trial.outcome('unused', 'loss')
    assert (outcome['state'], outcome['loss'], outcome['step']) == ('paused', 2.0, 2)


def test_a_step_that_no_storage_can_keep_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    trial = handle(max_steps=None)
    assert trial.report(loss=1.0, step=2**70)
    assert trial.report(loss=2.0, step=LAST_STEP)
    assert capsys.readouterr().err == 'trial 0: the report is dropped: ValueError: there is no step 1.18e+21\n'
    assert trial.outcome(None, 'loss')['step'] == LAST_STEP
