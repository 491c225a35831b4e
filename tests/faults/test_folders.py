"""Drivers and trials that are killed at any moment while trials pause, go on and lose their folders: no checkpoint is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shadho import Search, spaces
from shadho.records import Attempt, Event, FolderRemoved, Result, RunBegan, Trial, TrialState
from shadho.scheduling import New, Run, Slot
from shadho.storage.jsonl import JSONLines
from shadho.storage.sqlite import SQLite

SPACE = {'x': spaces.uniform(0, 1)}
TRIALS, STEPS = 40, 9

SEARCH = """
import json, os, time
from pathlib import Path
from shadho import Shadho, spaces

HERE = os.getcwd()

def objective(params, trial):
    there = sorted(os.listdir(trial.folder))
    begun = {'trial': trial.id, 'attempt': trial.attempt, 'step': trial.step, 'there': there, 'process': os.getpid()}
    with open(f'{HERE}/begun.txt', 'a') as file:
        file.write(json.dumps(begun) + '\\n')
    done = json.loads((trial.folder / f'{trial.step}.json').read_text()) if trial.step else []
    assert done == list(range(1, trial.step + 1))
    for step in trial.steps():
        time.sleep(PAUSE)
        done.append(step)
        trial.report(loss=params['x'] + 1 / step)
    if trial.is_paused:
        (trial.folder / f'{step}.json').write_text(json.dumps(done).ljust(1000))

Shadho('faults', objective, {'x': spaces.uniform(0, 1)}, 'random', policy='fcfs', seed=SEED, max_tasks=TRIALS, max_steps=STEPS,
       fidelity='asha', storage='faults' + ENDING, folders=BOUND, backend=backend, display=False).run()
"""


class Kept:
    """What must hold of a storage and of the folders beside it, over all the kills; and the next search when one has ended."""

    def __init__(self, recorded: Any, bound: str | None, ending: str) -> None:
        self._recorded, self.bound = recorded, bound
        self.path = Path(f'faults{ending}')
        self.seed = 0
        self.count: Counter[str] = Counter()
        self.begun_again = 0  # trials of this search without their folders
        self._begin()

    def _begin(self) -> None:
        self.seed += 1
        for path in [*Path().glob('faults*'), *Path().glob('begun.txt')]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.records: Sequence[Event] = ()

    def script(self, pause: float) -> str:
        """Return the search as a script, which is to find a `backend`."""
        values = {
            'SEED': self.seed, 'TRIALS': TRIALS, 'STEPS': STEPS, 'ENDING': self.path.suffix, 'BOUND': self.bound, 'PAUSE': pause,
        }  # fmt: skip
        return '\n'.join([*(f'{name} = {value!r}' for name, value in values.items()), SEARCH])

    @property
    def begun(self) -> list[dict[str, Any]]:
        """What the objective has noted at the begin of each attempt."""
        path = Path('begun.txt')
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def flushed(self) -> list[Event]:
        """Return what is durable now."""
        if not self.path.exists():
            return []
        return [event for _, event in (SQLite if self.path.suffix == '.db' else JSONLines)(self.path).read()]

    def check(self, flushed: Sequence[Event]) -> Search:
        """After a kill: the log holds all that was flushed, and its trials all that they need to go on."""
        assert list(flushed[: len(self.records)]) == list(self.records)
        self.records = self._recorded(self.path, flushed).records
        search = new_search(self.seed)
        told: dict[tuple[int, int], tuple[int, bool]] = {}
        bare: set[int] = set()
        for event in self.records:
            if isinstance(event, (Trial, Attempt)):
                self._check_choice(search, event)
            trial = search.apply(event)
            if isinstance(event, (Trial, Attempt)):
                told[trial.id, trial.attempt] = trial.step, isinstance(event, Attempt) and event.trial in bare
            if isinstance(event, Attempt):
                bare.discard(event.trial)
            elif isinstance(event, FolderRemoved):
                bare.add(event.trial)
            elif isinstance(event, Result):
                assert event.error is None or event.error.kind == 'crash', event.error
        for each in self.begun:
            step, is_bare = told[each['trial'], each['attempt']]
            assert each['step'] == step, 'a trial begins elsewhere than the log says'
            assert step == 0 or f'{step}.json' in each['there']
            assert not is_bare or (step == 0 and not each['there']), 'a trial begins again although its folder exists'
        self._check_folders(search)
        self._check_next_choices()
        self.begun_again = sum(is_bare for _, is_bare in told.values())
        return search

    def _check_choice(self, search: Search, event: Trial | Attempt) -> None:
        choice = search.choose(Slot(event.compute_class), event.started or 0.0)
        if isinstance(event, Attempt):
            assert isinstance(choice, Run)
            assert choice.trial.id == event.trial
        else:
            assert isinstance(choice, New)

    def _check_folders(self, search: Search) -> None:
        ledger = search.ledger
        for trial in [*ledger.paused.values(), *ledger.pending.values()]:
            if trial.step and trial.id not in ledger.without_folder:
                saved = Path('faults-folders') / str(trial.id) / f'{trial.step}.json'
                assert json.loads(saved.read_text()) == list(range(1, trial.step + 1)), 'a checkpoint is lost'
        best = search.best
        assert best is None or Path('faults-folders', str(best.id)).is_dir(), 'the folder of the best trial is lost'

    def _check_next_choices(self) -> None:
        searches = [new_search(self.seed) for _ in range(2)]
        choices: list[list[Any]] = []
        for search in searches:
            search.restore(self.records)
            asked = [search.ask() for _ in range(6)]
            choices.append([own and (own.id, own.step, own.attempt, own.until, own.point) for own in asked])
        assert choices[0] == choices[1]

    def say(self, kills: str) -> None:
        count = self.count
        print(
            f'{kills} (folders={self.bound}, {self.path.suffix}): {count["results"]} results in {count["runs"]} runs, '
            f'{count["folders removed"]} folders removed, {count["begun again"]} trials begun again, 0 checkpoints lost'
        )

    def check_end(self) -> None:
        """After the end of a search: its trials are those of one that was never killed, and only folders in need are left."""
        search = self.check(self.flushed())
        ledger = search.ledger
        assert not ledger.pending
        assert ledger.history.asked == TRIALS
        points = {event.id: event.point for event in self.records if isinstance(event, Trial)}
        other = new_search(self.seed, 'full')
        assert points == {trial.id: trial.point for trial in (other.ask() for _ in range(TRIALS)) if trial}
        assert search.best is not None
        needed = (ledger.paused.keys() - ledger.without_folder) | {search.best.id}
        assert {int(path.name) for path in Path('faults-folders').iterdir()} == needed
        self.count['results'] += len(ledger.history) + len(ledger.paused)
        self.count['crashes'] += ledger.history.states[TrialState.FAILED]
        self.count['runs'] += sum(isinstance(event, RunBegan) for event in self.records)
        self.count['folders removed'] += sum(isinstance(event, FolderRemoved) for event in self.records)
        self.count['begun again'] += self.begun_again
        self._begin()


def new_search(seed: int, fidelity: str = 'asha') -> Search:
    return Search(SPACE, 'random', policy='fcfs', seed=seed, max_steps=STEPS, fidelity=fidelity)


@pytest.mark.parametrize(('bound', 'ending'), [('3 kB', '.db'), (None, '.db'), ('3 kB', '.jsonl')])
def test_drivers_and_trials_that_are_killed_lose_no_checkpoint(
    drivers: Any, recorded: Any, rounds: Any, bound: str | None, ending: str
) -> None:
    kept, chance = Kept(recorded, bound, ending), random.Random(f'{bound} {ending}')
    kills = 0
    while kills < rounds(2, 170):
        launch, begun = drivers.start('local', kept.script(0.002)), time.monotonic()
        before = len(kept.begun)
        more, child = before + chance.randrange(1, 40), before + chance.randrange(1, 60)
        while launch.is_running and len(kept.begun) < more:
            time.sleep(0.001)
            assert time.monotonic() - begun < 120, f'no trials came: {launch.out} {launch.err}'
            if len(kept.begun) >= child:
                kill_trial(launch, kept.begun[-1]['process'])
                child += TRIALS
        time.sleep(chance.uniform(0, 0.01))
        flushed = kept.flushed()
        if drivers.kill(launch):
            kills += 1
            kept.check(flushed)
        else:
            assert launch.status == 0, launch.err
            kept.check_end()
    launch = drivers.start('local', kept.script(0.002))
    assert launch.wait(120) == 0, launch.err
    kept.check_end()
    kept.say(f'{kills} kills of drivers and {kept.count["crashes"]} of trials')


def kill_trial(launch: Any, process: int) -> None:
    """Kill a process that runs trials, if it is still there."""
    if process in [own.pid for own in launch.processes()]:
        os.kill(process, signal.SIGKILL)


# --- exact moments -----------------------------------------------------------------------------

PLACES = (
    '/shadho/driver.py',
    '/shadho/ledger.py',
    '/shadho/resume.py',
    '/execution/folders.py',
    '/shutil.py',
    '<string>',
)
"""Files of what writes to the storage and removes folders; the last is the script, with its objective."""


def run_until(script: str, last: int) -> int:
    """Run a search in a fork that is killed at its so-manieth call or return in `PLACES` or the storage; return the exit status."""
    process = os.fork()
    if not process:
        count = 0

        def profile(frame: Any, event: str, argument: Any) -> None:
            nonlocal count
            name = frame.f_code.co_filename
            if name.endswith(PLACES) or '/shadho/storage/' in name:
                count += 1
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.setprofile(profile)
            exec(compile(script, '<string>', 'exec'), {'backend': 'inline'})
            sys.setprofile(None)
            Path('moments.txt').write_text(str(count))
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.parametrize(('bound', 'ending'), [('3 kB', '.db'), (None, '.db'), ('3 kB', '.jsonl')])
def test_a_driver_that_is_killed_at_any_step_loses_no_checkpoint(
    recorded: Any, rounds: Any, bound: str | None, ending: str
) -> None:
    kept, chance = Kept(recorded, bound, ending), random.Random(f'{bound} {ending}')
    assert run_until(kept.script(0), 0) == 0
    kept.check_end()
    count = int(Path('moments.txt').read_text())
    assert count > 5000
    kills = 0
    while kills < rounds(6, 500):
        latest = chance.choice([count // 5, count, 4 * count])  # reading a long log takes many steps, too
        status = run_until(kept.script(0), chance.randrange(1, latest))
        if status == 0:
            kept.check_end()
        else:
            assert status == -signal.SIGKILL
            kills += 1
            kept.check(kept.flushed())
    assert run_until(kept.script(0), 0) == 0
    kept.check_end()
    kept.say(f'{kills} kills between two of {count} steps')
