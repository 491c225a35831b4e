"""Running a command in a folder that is filled already."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import shadho_worker
from shadho_worker.command import parameters_text, run_command


def test_what_the_command_leaves_is_an_outcome_with_its_seconds_and_its_output(tmp_path: Path) -> None:
    outcome = run_command('echo hello; echo 0.5 > result.json', tmp_path)
    assert outcome.pop('seconds') > 0
    assert outcome == {'state': 'done', 'loss': 0.5, 'results': {'loss': 0.5}, 'error': None, 'output': 'hello\n'}


def test_the_loss_is_found_under_its_key_by_the_script_too(tmp_path: Path) -> None:
    outcome = run_command(f'echo "{{\\"mse\\": 1, \\"key\\": \\"${shadho_worker.LOSS_KEY_VARIABLE}\\"}}" > result.json',
                          tmp_path, 'mse')  # fmt: skip
    assert (outcome['loss'], outcome['results']['key']) == (1.0, 'mse')


def test_a_command_that_fails_is_an_outcome_with_the_end_of_its_output(tmp_path: Path) -> None:
    outcome = run_command('echo why >&2; exit 3', tmp_path)
    assert outcome['error'] == {
        'kind': 'exception', 'message': 'the command ended with exit status 3: why', 'traceback': 'why\n',
    }  # fmt: skip
    assert outcome['output'] == 'why\n'


def test_parameters_of_numpy_are_written_as_plain_json() -> None:
    text = parameters_text({'x': np.float64(0.5), 'pair': (1, np.array([2, 3]))})
    assert json.loads(text) == {'x': 0.5, 'pair': [1, [2, 3]]}


def test_parameters_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(TypeError, match='cannot be written as JSON for a command; choose between names'):
        parameters_text({'x': object()})


@pytest.mark.parametrize(('grace', 'saved'), [(60.0, True), (0.0, False)])
def test_a_command_whose_waiting_is_interrupted_gets_its_grace(tmp_path: Path, grace: float, saved: bool) -> None:
    def interrupt() -> None:
        while not (tmp_path / 'started').exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_command("trap 'touch saved; exit' TERM; touch started; while :; do sleep 0.01; done", tmp_path, grace=grace)
    thread.join()
    assert (tmp_path / 'saved').exists() == saved
