"""What trials and files bring: it runs nothing, leads nowhere else, and steers no terminal.

Files of archives that no `tar` would make are in tests/workqueue/test_files.py and tests/mpi/test_files.py; pages and
figures are in tests/core/report/test_page.py and tests/browser.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from shadho import Shadho, load_result
from shadho.cli import cli
from shadho.live.lines import PlainDisplay
from shadho.live.terminal import LiveDisplay
from shadho.records import Result
from shadho.report.export import export

# --- forged messages and results -----------------------------------------------------------------

FORGED = r"""
import json, os, pickle, stat, sys
from pathlib import Path
from shadho import Shadho

HERE = Path.cwd()

class Evil:
    def __reduce__(self):
        return os.system, (f'touch {HERE}/ran-in-$PPID',)

ARRAYS = ['{"dtype": "O", "shape": [1], "data": [1]}', '{"dtype": "U900000000", "shape": [1], "data": ["a"]}',
          '{"dtype": "(500000000,)f8", "shape": [1], "data": [1]}', '{"dtype": "f8", "shape": [1e99], "data": []}']
VALUES = [*['{"$array": %s}' % own for own in ARRAYS], '{"$bytes": "no"}', '{"$complex": 1}', '{"$dict": [[[], 1]]}',
          '{"$float": {}}', '[' * 900 + ']' * 900, '1' * 5000, '"\\ud800"']
WHOLE = '{"state": "done", "loss": 1.0, "error": null, "trial": %d, "seconds": 1, "output": "", "results": {"a": %s}}\n'
TEXTS = [pickle.dumps(Evil()), pickle.dumps(Evil(), 0) + b'\n', b'[' * 100_000 + b'\n', b'[1]\n', b'\0\n', b'"\xff"\n']
TEXTS += [(WHOLE % (len(TEXTS) + number, value)).encode() for number, value in enumerate(VALUES)]

def write_everywhere(params):
    "Write into whatever leads out of this process, then return as if nothing had happened."
    import os, stat
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                os.write(number, TEXTS[params['case']])
        except OSError:
            pass
    return {'loss': 2.0, 'evil': Evil()}

COMMAND = "cp text-$(tr -cd 0-9 < hyperparameters.json) result.json"

if __name__ == '__main__':
    search = Shadho('faults', OBJECTIVE, {'case': list(range(len(TEXTS)))}, method='grid', display=False, backend=backend)
    for case, text in enumerate(TEXTS):
        Path(f'text-{case}').write_bytes(text)
        if OBJECTIVE is COMMAND:
            search.add_input_file(f'text-{case}')
    search.run()
"""


def forge(drivers: Any, backend: str, objective: str) -> list[Any]:
    """Run a search whose trials send what no trial should, one text each; return them."""
    launch = drivers.run(backend, FORGED.replace('OBJECTIVE', objective))
    assert launch.status == 0, launch.err
    trials = sorted(load_result('faults.db'), key=lambda trial: trial.params['case'])
    assert [trial.params['case'] for trial in trials] == list(range(len(list(Path().glob('text-*')))))
    for trial in trials[:6]:  # which are no JSON, or no outcome
        assert (trial.state.value, trial.error and trial.error.kind) == ('failed', 'result'), trial
    assert list(Path().glob('ran-in-*')) == []
    print(f'{len(trials)} forged results by {backend}: 0 ran anything, 0 lost')
    return trials


@pytest.mark.parametrize('backend', ['local', 'mpi', 'workqueue'])
def test_what_a_function_writes_into_its_connections_runs_nothing(drivers: Any, backend: str) -> None:
    """There are no connections inline, and none of simulated trials: they are calls in the driver's own process."""
    trials = forge(drivers, backend, 'write_everywhere')
    assert {type(trial.results.get('evil', '')) for trial in trials} == {str}


@pytest.mark.parametrize('backend', ['inline', 'local', 'mpi', 'workqueue'])
def test_what_a_command_leaves_as_its_result_runs_nothing(drivers: Any, backend: str) -> None:
    forge(drivers, backend, 'COMMAND')


# --- output files ----------------------------------------------------------------------------------

TRICKS = r"""
from pathlib import Path
from shadho import Shadho

command = '''
mkdir -p made/inner up; echo kept > made/inner/plain; echo kept > single; ln single made/hard
ln -s ELSEWHERE/secret made/absolute; ln -s ../../../../../../../../../../..ELSEWHERE/secret made/relative
ln -s ELSEWHERE made/folder; ln -s . made/inner/loop; ln -s nowhere made/dangling; mkfifo made/pipe pipe
python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('made/socket')"
ln -s ELSEWHERE/secret stolen; ln -s ELSEWHERE stolen-folder; ln -s ELSEWHERE up/out; ln -s loop loop
touch "made/$(printf 'x%.0s' $(seq 250))" made/Case made/case; chmod 4755 single
echo 1 > result.json
'''
search = Shadho('faults', command.replace('ELSEWHERE', ELSEWHERE), {'x': [1]}, max_tasks=1, backend=backend, display=False)
for name in ('made', 'single', 'stolen', 'stolen-folder', 'pipe', 'up/out/secret', 'loop'):
    search.add_output_file(name)
search.run()
"""


@pytest.mark.parametrize('backend', ['inline', 'local', 'mpi', 'workqueue'])
def test_output_files_lead_nowhere_else(drivers: Any, tmp_path_factory: Any, backend: str) -> None:
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    (elsewhere / 'secret').write_text('secret')
    launch = drivers.run(backend, f'ELSEWHERE = {str(elsewhere)!r}\n{TRICKS}')
    assert launch.status == 0, launch.err
    (trial,) = load_result('faults.db')
    assert trial.error.message.startswith('the command left no stolen')
    found = {path.relative_to('faults-output/0'): path for path in Path('faults-output').glob('0/**/*')}
    names = {'made', 'made/Case', 'made/case', 'made/hard', 'made/inner', 'made/inner/plain', 'single'}
    assert {str(name) for name in found} - {f'made/{"x" * 250}'} == names
    for path in found.values():
        facts = path.lstat()
        assert stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)
        assert stat.S_ISDIR(facts.st_mode) or facts.st_nlink == 1
    assert (found[Path('made/inner/plain')].read_text(), found[Path('made/hard')].read_text()) == ('kept\n', 'kept\n')
    assert [path.name for path in elsewhere.iterdir()] == ['secret']
    assert (elsewhere / 'secret').read_text() == 'secret'


# --- texts -----------------------------------------------------------------------------------------

STEERS = '\x1b]0;owned\x07\x1b[2J\x9b1m\r\u202e=cmd|calc'


def hostile(params: Any) -> Any:
    if params['x'] > 1:
        raise type(STEERS, (Exception,), {})(STEERS)
    return {'loss': float(params['x']), STEERS: STEERS}


def steer(display: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a search all of whose texts would steer a terminal, shown by a display; return its result."""
    of = Result.of
    monkeypatch.setattr(Result, 'of', lambda *values, **more: of(*values, **{**more, 'host': STEERS}))
    space = {'x': [0, 1, 2, 3], STEERS: [STEERS]}
    return Shadho(f'a{STEERS}'.replace('\x07', ''), hostile, space, method='grid', backend='inline', display=False,
                  storage='a.db', plugins=[display]).run()  # fmt: skip


def steers(text: str, *, colours: bool = False) -> list[str]:
    """Return the control characters of a text; with `colours`, not those that a display itself draws by."""
    text = re.sub(r'\x1b\[(\?25[hl]|[0-9;]*[mAK]|2K|1A)', '', text) if colours else text
    return [letter for letter in text if not letter.isprintable() and letter not in ('\n', '\r' if colours else '\n')]


def test_no_text_of_a_trial_steers_the_terminal_of_the_driver(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'shadho')
    result = steer(PlainDisplay(interval=0.0), monkeypatch)
    told = capsys.readouterr()
    assert steers(told.err) == []
    assert 'trial 2 failed' in told.err
    assert steers(result.summary()) == []
    assert '[2J' in result.summary()
    assert steers(caplog.text) == []
    assert 'trial 2 failed' in caplog.text


def test_no_text_of_a_trial_steers_the_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    steer(LiveDisplay(Console(file=drawn, force_terminal=True, width=100, height=40, markup=False)), monkeypatch)
    assert 'trial 2 failed' in drawn.getvalue()
    assert 'owned' in drawn.getvalue()
    assert steers(drawn.getvalue(), colours=True) == []


def test_no_command_that_looks_at_a_file_prints_what_steers_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    steer(PlainDisplay(), monkeypatch)
    commands = ['status a.db', 'best a.db', 'trials a.db', 'trials a.db 0 2', 'plan a.db 16-core=2', 'trials a.db 9',
                'resume a.db']  # fmt: skip
    for command in commands:
        for options in ([], ['--json']):
            answer = CliRunner().invoke(cli, [*command.split(), *options])
            assert steers(answer.output) == [], command
            assert answer.exception is None or isinstance(answer.exception, SystemExit)


def test_no_command_that_looks_at_a_file_imports_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    Path('evil.py').write_text('from pathlib import Path\nPath("imported").touch()\ndef f(x): return x\n')
    monkeypatch.syspath_prepend('.')
    Shadho('a', lambda params: params['x'], {'x': [0, 1, 2]}, method='grid', backend='inline', storage='a.db',
           display=False).run()  # fmt: skip
    storage = load_result('a.db').storage
    with storage:
        known = storage.metadata()
        evil = json.loads(json.dumps(known['space']).replace('choice', 'evil:f')) if 'space' in known else 'evil:f'
        storage.update(space=evil, objective='evil:f', method='evil:f', policy='evil:f', backend='evil:f',
                       command=['evil.py'], folder='.')  # fmt: skip
    for command in ('status', 'best', 'trials', 'plan', 'report', 'export'):
        more = {'plan': ['8-core=2'], 'export': ['a.csv']}.get(command, [])
        answer = CliRunner().invoke(cli, [command, 'a.db', *more])
        assert answer.exit_code == 0, answer.output
    assert not Path('imported').exists()
    assert 'evil' not in sys.modules


def test_texts_of_trials_are_exported_as_they_are_and_a_spreadsheet_must_be_told_that_they_are_texts() -> None:
    """As of pandas, Optuna and MLflow: a CSV file is data for programs, which a changed text would lead astray."""
    space = {'x': ['=cmd|calc', '+1', '-1', '@a', '\tb']}
    result = Shadho('a', lambda params: {'loss': 1.0, 'said': params['x']}, space, method='grid', backend='inline',
                    storage=None, display=False).run()  # fmt: skip
    export(result, 'a.csv')
    with open('a.csv', newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert {row['results.said'] for row in rows} == set(space['x'])
