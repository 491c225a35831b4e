"""The live panel and the plain lines: what they say, and that they leave a terminal as it was."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import attrs
import nbformat
import pytest
from nbclient import NotebookClient
from rich.console import Console

from shadho import ComputeClass, Forest, Hardware, Shadho, Trial, TrialState, hookimpl, plugins, spaces
from shadho.live import make_display
from shadho.live.lines import PlainDisplay
from shadho.live.terminal import LiveDisplay, _make_live
from shadho.records import TrialError
from shadho.result import ClassUse, SearchInfo
from shadho.scheduling import ClassPlan

BOX = ComputeClass('box', slots=2, hardware=Hardware(cores=2, memory=4096))
CONTROL = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')


class Search:
    """A search that a test plays to a display, with a clock of its own."""

    def __init__(self, display: PlainDisplay, **values: object) -> None:
        self.display = display
        self.time = 0.0
        self.count = 0
        known = {
            'exp_key': 'svm', 'backend': 'local', 'method': 'random', 'policy': 'fcfs', 'storage': 'svm.db',
            'direction': 'minimize', 'seed': 0, 'classes': (BOX,), 'max_tasks': None, 'timeout': None, 'recorded': 0, 'failed': 0,
            'best': None, 'forest': Forest({'x': spaces.uniform(0, 1)}), 'now': lambda: self.time,
        }  # fmt: skip
        display.shadho_search_started(search=SearchInfo(**{**known, **values}))

    def dispatch(self, params: object = None) -> Trial:
        trial = Trial(self.count, 0, (0.5,), params or {'x': 0.5}, 'box')
        self.count += 1
        self.display.shadho_trial_dispatched(trial=trial)
        return trial

    def finish(self, loss: float, params: object = None) -> None:
        done = attrs.evolve(self.dispatch(params), state=TrialState.DONE, loss=loss)
        self.display.shadho_trial_finished(trial=done)

    def fail(self, message: str = 'ValueError: no luck') -> None:
        error = TrialError('exception', message)
        self.display.shadho_trial_finished(trial=attrs.evolve(self.dispatch(), state=TrialState.FAILED, error=error))


def screen(width: int = 80, height: int = 40) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, markup=False, highlight=False, legacy_windows=False)


def drawn(display: LiveDisplay) -> list[str]:
    """Return the lines of the panel as it is now."""
    display.console.file = io.StringIO()
    display.console.print(display.panel())
    return display.console.file.getvalue().splitlines()


def content(display: LiveDisplay) -> list[str]:
    """Return what stands between the panel's borders."""
    return [line.strip('│ ') for line in drawn(display)[1:-1]]


@pytest.fixture
def live() -> Iterator[Callable[..., tuple[LiveDisplay, Search]]]:
    """Begin searches with a live panel, which ends with the test."""
    begun = []

    def begin(width: int = 80, height: int = 40, **values: object) -> tuple[LiveDisplay, Search]:
        display = LiveDisplay(screen(width, height))
        begun.append(display)
        return display, Search(display, **values)

    yield begin
    for display in begun:
        display.end()


# --- the panel ---------------------------------------------------------------------------------------


def test_the_panel_shows_counts_times_classes_and_the_best_trial(live):
    display, search = live(timeout=60.0)
    search.time = 10.0
    for loss in (0.5, 0.25, 0.75):
        search.finish(loss)
    search.fail('ValueError: no luck\nwith a second line')
    search.dispatch()
    search.time = 20.0
    assert content(display) == [
        '4 trials, 1 failed, 1 running, 12 trials/min',
        '20.0 s elapsed, 40.0 s left',
        '━' * 24,
        'compute class  running  finished  busy  hardware',
        'box                1/2         4     -  2 cores, 4 GiB',
        'best loss 0.25 (trial 1: x=0.5)',
        'trial 3 failed (exception: ValueError: no luck)',
    ]


def test_on_eighty_columns_every_title_and_number_is_whole_and_on_more_there_are_rates(live):
    for width, more in [(80, []), (100, ['rate'])]:
        display, _ = live(width=width)
        (titles,) = (line for line in content(display) if line.startswith('compute class'))
        assert titles.split()[2:] == ['running', 'finished', 'busy', *more, 'hardware']


def test_the_panel_has_one_line_for_counts_and_times_where_there_is_room(live):
    display, _ = live(width=100, max_tasks=1000)
    assert content(display)[0].startswith('0/1,000 trials, 0 failed, 0 running, 0 trials/s    ')
    assert content(display)[0].endswith('    0.0 s elapsed')


def test_the_panel_counts_what_earlier_runs_finished_and_keeps_their_best_trial(live):
    best = Trial(7, 0, (0.5,), {'x': 0.5}, state=TrialState.DONE, loss=0.125)
    display, search = live(recorded=18, best=best)
    search.finish(0.5)
    assert content(display)[0].startswith('19 trials')
    assert 'best loss 0.125 (trial 7: x=0.5)' in content(display)


def test_the_best_trial_is_the_greatest_loss_when_maximising(live):
    display, search = live(direction='maximize', loss_key='accuracy')
    for loss in (0.5, 0.75, 0.25):
        search.finish(loss)
    assert 'best accuracy 0.75 (trial 1: x=0.5)' in content(display)


@pytest.mark.parametrize('width', [20, 36, 60, 80, 100, 200])
def test_the_panel_leaves_room_for_an_echoed_ctrl_c_and_is_never_wider_than_a_hundred_columns(live, width):
    display, search = live(width=width, timeout=60.0)
    search.finish(0.25, {f'parameter {i}': i / 7 for i in range(40)})
    search.fail('ValueError: ' + 'long ' * 100)
    assert {len(line) for line in drawn(display)} == {min(width - 4, 100)}


def test_many_parameters_take_a_few_lines_of_the_panel_only(live):
    display, search = live()
    before = len(drawn(display))
    search.finish(0.25, {f'parameter {i}': i / 7 for i in range(400)})
    assert len(drawn(display)) <= before + 3
    assert any(line.endswith('…)') for line in content(display))


def test_a_narrow_panel_leaves_the_hardware_out_and_keeps_the_counts_of_each_class(live):
    display, search = live(width=50)
    search.finish(0.25)
    assert content(display)[-3:-1] == ['compute class  running  finished', 'box                0/2         1']


def test_the_panel_shows_how_busy_classes_are_by_the_seconds_of_their_trials(live):
    use = ClassUse(BOX, slot_seconds=100.0, busy_seconds=2.0, assigned_seconds=99.0)
    display, _ = live(width=104, uses=lambda: [use])
    display.shadho_plan_changed(classes=[BOX], placement=[ClassPlan('box', 2, 0.5, ((0, 1.0),))])
    assert content(display)[-2].split()[:6] == ['box', '0/2', '0', '2%', '0/s', 'driver-bound']


def test_a_low_terminal_gets_a_brief_panel(live):
    display, search = live(height=12)
    search.finish(0.25)
    search.fail()
    counts, _, best = content(display)
    assert counts.startswith('2 trials, 1 failed')
    assert best == 'best loss 0.25 (trial 0: x=0.5)'


def test_more_compute_classes_than_fit_are_counted(live):
    display, _ = live(classes=tuple(ComputeClass(f'class {i}') for i in range(11)))
    assert 'class 7' in content(display)[-3]
    assert content(display)[-2] == 'and 3 more'


def test_the_panel_follows_a_change_of_the_compute_classes(live):
    display, _ = live(width=104, classes=())
    display.shadho_plan_changed(classes=[BOX], placement=())
    assert 'box                0/2         0     -   0/s  2 cores, 4 GiB' in content(display)


def test_the_panel_shows_what_a_slot_of_each_class_is_worth_and_its_trees(live):
    space = {'exclusive': True, 'rbf': {'x': spaces.uniform(0, 1)}, 'linear': {'x': spaces.uniform(0, 1)}}
    display, search = live(width=104, forest=Forest(space))
    large = ComputeClass('large', slots=20, hardware=Hardware(cores=16))
    plans = (ClassPlan('large', 20, 0.0371, ((0, 0.9), (1, 0.1))), ClassPlan('box', 2, 0.0, ((1, 1.0),)))
    display.shadho_plan_changed(classes=[large, BOX], placement=plans)
    search.time = 2.0
    search.finish(0.25)
    assert content(display)[-4:-1] == [
        'compute class  running  finished  busy    rate  +1 slot  trees by their time',
        'large             0/20         0     -     0/s    +3.7%  rbf 90%, linear 10%',
        'box                0/2         1     -  30/min        -  linear 100%',
    ]


def test_the_panel_follows_a_change_of_the_placement(live):
    display, _ = live(width=104)
    for share in (0.5, 0.75):
        display.shadho_plan_changed(classes=[BOX], placement=[ClassPlan('box', 2, 0.5, ((0, share),))])
        assert content(display)[-2] == f'box                0/2         0     -   0/s   +50.0%  all {share:.0%}'
    display.shadho_plan_changed(classes=[BOX], placement=())
    assert content(display)[-2] == 'box                0/2         0     -   0/s  2 cores, 4 GiB'


def test_a_search_tells_the_display_what_it_plans(live):
    display, _ = live()
    plans = (ClassPlan('box', 2, 0.5, ((0, 1.0),)),)
    plugins.load().extended(display).notify('shadho_plan_changed', classes=(BOX,), placement=plans)
    assert display.plans == {'box': plans[0]}


def test_a_class_that_is_not_planned_yet_shows_its_hardware_beside_those_that_are(live):
    display, _ = live(width=104)
    new = ComputeClass('new', slots=3, hardware=Hardware(cores=8))
    display.shadho_plan_changed(classes=[BOX, new], placement=[ClassPlan('box', 2, 0.5, ((0, 1.0),))])
    header, box, other = content(display)[-4:-1]
    assert box == 'box                0/2         0     -   0/s   +50.0%  all 100%'
    assert other.endswith('8 cores')
    assert other.index('8 cores') == header.index('trees by')


def test_a_narrow_panel_leaves_the_placement_out(live):
    display, _ = live(width=50)
    display.shadho_plan_changed(classes=[BOX], placement=[ClassPlan('box', 2, 0.5, ((0, 1.0),))])
    assert content(display)[-3:-1] == ['compute class  running  finished', 'box                0/2         0']


def test_the_latest_three_failures_are_shown_word_for_word(live):
    display, search = live()
    for place in range(5):
        search.fail(f'ValueError: [red]{place}[/red] :smile:')
    assert content(display)[-3:] == [
        f'trial {place} failed (exception: ValueError: [red]{place}[/red] :smile:)' for place in (2, 3, 4)
    ]


def test_a_failure_without_a_message_is_shown(live):
    display, search = live()
    search.fail('')
    assert content(display)[-1] == 'trial 0 failed (exception: no message)'


def test_the_time_left_is_that_of_the_nearer_limit(live):
    display, search = live(width=100, timeout=60.0, max_tasks=4)
    search.time = 10.0
    search.finish(0.5)
    assert content(display)[0].endswith('10.0 s elapsed, 30.0 s left')


def test_the_panel_says_above_itself_what_is_searched_and_that_it_goes_on(live):
    display, _ = live(width=200, recorded=1)
    assert display.console.file.getvalue().splitlines() == [
        'svm: 1 tree, method random, policy fcfs, local backend (box x 2, 1 core each), going on after 1 trial'
    ]


def test_a_panel_whose_lines_a_narrower_terminal_has_wrapped_is_erased_whole():
    display = LiveDisplay(screen(width=104))
    Search(display)
    rows = len(drawn(display))
    display.end()
    display.console = Console(file=io.StringIO(), width=104, height=40, force_terminal=True, legacy_windows=False)
    live = _make_live(display.console, display.panel)
    live.auto_refresh = False
    with live:
        live.refresh()
        display.console.file = terminal = io.StringIO()
        display.console.width = 50  # the terminal makes two rows of each line of the panel
        live.refresh()
    erased = terminal.getvalue().partition('╭')[0]
    assert erased.count('\x1b[2K') == 2 * rows


# --- what else is written ----------------------------------------------------------------------------


def test_log_handlers_write_above_the_panel_while_it_is_shown(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', terminal)
    console = Console(file=terminal, width=80, force_terminal=True, legacy_windows=False)
    handler = logging.StreamHandler()
    log = logging.getLogger('shadho')
    log.addHandler(handler)
    display = LiveDisplay(console)
    try:
        Search(display)
        display.live.refresh()
        log.warning('a word')
        display.end()
    finally:
        log.removeHandler(handler)
    assert handler.stream is terminal
    lines = CONTROL.sub('', terminal.getvalue()).splitlines()
    assert lines[lines.index('a word') + 1].startswith('╭─ svm')


SCRIPT = """
import sys
from shadho import Shadho, spaces

def objective(params):
    finished.append(params)
    print('objective says [red]', end='' if len(finished) == 4 else '\\n')
    return params['x']

finished = []

opt = Shadho('terminal', objective, {'x': spaces.grid([0, 1, 2, 3])}, backend='inline', storage=None)
print('the end:', opt.run())
"""


def in_terminal(script: str, **environment: str) -> str:
    """Run a script whose output is a terminal; return all that it wrote."""
    inner, outer = pty.openpty()
    command = [sys.executable, '-c', script]
    process = subprocess.Popen(
        command, stdin=outer, stdout=outer, stderr=outer, env={**os.environ, 'TERM': 'xterm', **environment}
    )
    os.close(outer)
    written = b''
    with closing(open(inner, 'rb', buffering=0)) as file:
        try:
            while piece := file.read(4096):
                written += piece
        except OSError:  # how Linux says that the other end is closed
            pass
    assert process.wait() == 0
    return written.decode()


def test_prints_of_objectives_stay_above_the_panel_and_the_terminal_is_left_as_it_was():
    written = in_terminal(SCRIPT)
    lines = CONTROL.sub('', written).splitlines()
    assert [line for line in lines if line.startswith('objective')] == ['objective says [red]'] * 4
    assert written.count('\x1b[?25l') == written.count('\x1b[?25h') == 1
    after = written[written.index('\x1b[?25h') :]
    assert '╭' not in after
    assert 'terminal: 4 trials' in after
    assert 'the end:' in after


def test_a_terminal_without_control_codes_gets_plain_lines():
    assert '\x1b' not in in_terminal(SCRIPT, TERM='dumb')


# --- plain lines -------------------------------------------------------------------------------------


def test_standard_error_that_is_no_terminal_gets_plain_lines(capsys):
    assert type(make_display()) is PlainDisplay


def test_plain_lines_tell_how_the_search_goes(capsys):
    search = Search(PlainDisplay(interval=0.0), max_tasks=2000, recorded=1000)
    search.time = 10.0
    search.finish(0.5)
    assert capsys.readouterr().err.splitlines() == [
        'svm: 1 tree, method random, policy fcfs, local backend (box x 2, 1 core each),',
        '    going on after 1,000 trials',
        '1,001/2,000 trials, 0 failed, 0 running, 6 trials/min, 2 h 46 min left',
        '    best loss 0.5 (trial 0: x=0.5)',
    ]


def test_a_plain_line_holds_the_best_trial_too_where_there_is_room(capsys):
    search = Search(PlainDisplay(interval=0.0))
    search.time = 10.0
    search.finish(0.5)
    *_, line = capsys.readouterr().err.splitlines()
    assert line == '1 trial, 0 failed, 0 running, 6 trials/min; best loss 0.5 (trial 0: x=0.5)'


def test_no_plain_line_is_wider_than_a_terminal_as_it_opens(capsys):
    counts = {2**power: 10**6 for power in range(20)}
    classes = [ComputeClass(f'class {number}', 100, resources={'gpus': 2}) for number in range(9)]
    search = Search(
        PlainDisplay(interval=0.0), max_tasks=10**7, recorded=10**6, failed=10**5, timeout=1e6, paused=tuple(range(10**5)),
        rungs=lambda: counts, classes=classes,
    )  # fmt: skip
    search.time = 1000.0
    search.finish(0.5, {f'parameter_{number}': number for number in range(40)})
    search.fail('ValueError: ' + 'no luck ' * 100)
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith('    best loss 0.5 (trial 0: ') for line in lines)
    assert any(line.startswith('    rungs  1: 1,000,000 · 2: 1,000,000 · ') for line in lines)


def test_plain_lines_and_the_panel_tell_how_many_trials_have_reached_each_rung(capsys, live):
    counts = {1: 81, 3: 27, 9: 0}
    search = Search(PlainDisplay(interval=0.0), rungs=lambda: counts)
    search.finish(0.5)
    assert capsys.readouterr().err.splitlines()[-1] == '    rungs  1: 81 · 3: 27 · 9: 0'
    for height in (20, 40):
        display, search = live(rungs=lambda: counts, height=height)
        assert 'rungs  1: 81 · 3: 27 · 9: 0' in content(display)


def test_a_search_counts_the_trials_at_its_rungs():
    seen = []

    class Watches:
        @hookimpl
        def shadho_search_started(self, search):
            self.search = search

        @hookimpl
        def shadho_search_finished(self, result):
            seen.append(dict(self.search.rungs()))

    def objective(params, trial):
        for step in trial.steps():
            trial.report(loss=params['x'] + 1 / step)

    options = {
        'backend': 'inline',
        'storage': None,
        'display': False,
        'plugins': [Watches()],
        'max_tasks': 9,
        'seed': 0,
    }
    result = Shadho('rungs', objective, {'x': spaces.uniform(0, 1)}, fidelity='asha', max_steps=9, **options).run()
    assert seen == [{step: sum(trial.step >= step for trial in result) for step in (1, 3, 9)}]
    Shadho('none', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, **options).run()
    assert seen[1] == {}


def test_plain_lines_come_no_more_often_than_the_interval(capsys):
    search = Search(PlainDisplay(interval=1000.0))
    for _ in range(10):
        search.finish(0.5)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_plain_lines_tell_of_the_first_three_failures_at_once(capsys):
    search = Search(PlainDisplay(interval=1000.0))
    for _ in range(5):
        search.fail()
    assert capsys.readouterr().err.splitlines()[1:] == [
        'trial 0 failed (exception: ValueError: no luck)',
        'trial 1 failed (exception: ValueError: no luck)',
        'trial 2 failed (exception: ValueError: no luck); the summary counts any others',
    ]


def test_the_rate_is_that_of_the_latest_trials(capsys):
    display = PlainDisplay()
    search = Search(display)
    for _ in range(300):
        search.time += 10.0
        search.finish(0.5)
    for _ in range(300):
        search.time += 0.5
        search.finish(0.5)
    assert display.rate() == 2.0


def test_a_search_ends_with_its_summary_on_standard_error(capsys):
    result = Shadho(
        'plain', lambda params: params['x'], {'x': spaces.grid([3, 4])}, backend='inline', storage=None,
        display=False, plugins=[PlainDisplay()],
    ).run()  # fmt: skip
    assert capsys.readouterr().err.endswith(result.summary() + '\n')


def test_a_search_that_is_kept_in_a_file_ends_with_its_place_and_what_to_type_next(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, told in (('kept', 'saved in kept.db; look: shadho report kept.db\n'), ('my own', "report 'my own.db'\n")):
        result = Shadho(
            'kept', lambda params: params['x'], {'x': spaces.grid([3, 4])}, backend='inline', storage=f'{name}.db',
            display=False, plugins=[PlainDisplay()],
        ).run()  # fmt: skip
        everything = capsys.readouterr().err
        assert everything.endswith(told)
        assert everything.count(result.summary()) == everything.count('saved in') == 1


# --- a notebook --------------------------------------------------------------------------------------

CELL = """
import time
from shadho import Shadho, spaces

def objective(params):
    time.sleep(0.2)
    return params['x']

Shadho('cell', objective, {'x': spaces.uniform(0, 1)}, max_tasks=8, seed=0, storage=None, backend='inline').run()
"""


def test_where_the_modules_of_notebooks_are_merely_loaded_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    import ipykernel
    import IPython

    assert {IPython.__name__, ipykernel.__name__} <= set(sys.modules)
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    assert type(make_display()) is PlainDisplay


def test_a_cell_of_a_notebook_shows_the_panel_and_the_summary_in_its_place():
    cell = nbformat.v4.new_code_cell(CELL)
    shown = []

    class Client(NotebookClient):
        def process_message(self, message, *rest):
            if message['msg_type'] in ('display_data', 'update_display_data'):
                shown.append(message['content']['data']['text/html'])
            return super().process_message(message, *rest)

    Client(nbformat.v4.new_notebook(cells=[cell]), timeout=300).execute()
    panel, summary = shown[0], shown[-1]
    assert len(shown) > 2
    assert 'compute class  running  finished' in panel
    assert 'cell: 8 trials in' in summary
    assert [output.output_type for output in cell.outputs] == ['display_data', 'execute_result']
    assert cell.outputs[0].data['text/html'] == summary
