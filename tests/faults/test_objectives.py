"""Hostile objectives: each fails its own trial at most, which says what happened, and the search goes on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from shadho import Trial, load_result

HOSTILE = Path(__file__).with_name('hostile.py')


def _hostile() -> ModuleType:
    spec = spec_from_file_location('hostile', HOSTILE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = _hostile()

SCRIPT = """
import hostile
from shadho import Shadho, spaces

space = {'kind': spaces.grid(NAMES)}
Shadho(
    'faults', hostile.objective, space, 'grid', storage='STORAGE', trial_timeout=TIMEOUT, seed=1, backend=backend, display=False
).run()
"""

KEPT = 25_000
"""Characters of what a trial has printed that are kept at most."""


def search(
    drivers: Any, backend: str, storage: str, cases: Mapping[str, Any], timeout: float | None
) -> dict[str, Trial]:
    """Run a search of these cases, and of as many harmless trials; return its trials by what they did."""
    shutil.copy(HOSTILE, 'hostile.py')
    names = [name for number, case in enumerate(cases) for name in (case, f'harmless {number}')]
    script = SCRIPT.replace('NAMES', repr(names)).replace('STORAGE', storage).replace('TIMEOUT', repr(timeout))
    launch = drivers.run(backend, script, timeout=300.0)
    assert (launch.status, 'Traceback' in launch.err) == (0, False), launch.err
    assert list(launch.folder.iterdir()) == []
    trials = {trial.params['kind']: trial for trial in load_result(storage)}
    assert sorted(trials) == sorted(names)
    return trials


def differences(trials: Mapping[str, Trial], cases: Mapping[str, Any]) -> dict[str, Any]:
    """Return what trials have come to otherwise than they should."""
    return {name: trial.error or trial.state for name, trial in trials.items() if not _is_told(trial, cases.get(name))}


def _is_told(trial: Trial, case: Any) -> bool:
    error = trial.error
    if len(trial.output) > KEPT:
        return False
    if error is None or case is None:
        return error is None and (case is None or case.kind is None) and trial.loss is not None
    is_short = max(len(error.message), len(error.traceback)) < 2 * KEPT
    return error.kind == case.kind and bool(re.search(case.says, error.message)) and is_short


def children() -> list[psutil.Process]:
    """Return what is alive of the children of hostile objectives."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == hostile.SLEEP and Path(process.cwd()) == Path.cwd():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize('backend', ['local', 'mpi', 'workqueue'])
def test_a_search_whose_trials_have_processes_of_their_own_survives_every_objective(
    backend: str, drivers: Any, crew: Any, wait_until: Any
) -> None:
    short = {name: case for name, case in hostile.CASES.items() if case.kind == 'timeout' or case.spoils}
    for storage, cases, timeout in [('short.db', short, 2.0), ('faults.db', hostile.CASES.keys() - short, 60.0)]:
        cases = {name: case for name, case in hostile.CASES.items() if name in cases}
        assert differences(search(drivers, backend, storage, cases, timeout), cases) == {}
    crew.end()
    wait_until(lambda: not children(), 'the end of all children')
    assert [hand.folder for hand in crew.hands if not hand.has_left_nothing] == []
    print(f'{len(hostile.CASES)} hostile objectives with {backend}, each beside a harmless one, 0 lost')


@pytest.mark.parametrize('backend', ['inline', 'simulated'])
def test_a_search_that_evaluates_in_its_own_process_survives_what_is_raised_and_returned(
    backend: str, drivers: Any
) -> None:
    """There is no protection from objectives that end, block or change their process."""
    cases = {name: case for name, case in hostile.CASES.items() if case.in_process}
    trials = search(drivers, backend, 'faults.db', cases, None)
    assert differences(trials, cases) == {}
    print(f'{len(cases)} hostile objectives with {backend}, each beside a harmless one, 0 lost')
