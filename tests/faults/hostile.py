"""Objectives that do what no objective should; beside each, what its trial must say.

It lies beside the script of a driver, so that every backend brings it to the processes of its trials.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

OVER_AND_OVER = 10**9
SLEEP = ['sleep', '31415.9']
"""What children run, who are looked for afterwards."""


class Case(NamedTuple):
    """A hostile objective.

    Attributes
    ----------
    function : callable
    kind : str or None
        Of the error of its trial; None when the trial is done.
    says : str
        A pattern that is found in the message of the error.
    in_process : bool
        Whether a search survives it in its own process too.
    spoils : bool
        Whether objectives that follow in the same process lack something of Python that they may need.
    """

    function: Callable[[], Any]
    kind: str | None
    says: str
    in_process: bool
    spoils: bool = False


CASES: dict[str, Case] = {}


def case(
    kind: str | None, says: str = '', *, in_process: bool = False, spoils: bool = False
) -> Callable[[Callable[[], Any]], Any]:
    """Add a function to the cases, under its name in plain words."""

    def add(function: Callable[[], Any]) -> Callable[[], Any]:
        CASES[function.__name__.replace('_', ' ')] = Case(function, kind, says, in_process, spoils)
        return function

    return add


def objective(params: dict[str, str]) -> Any:
    """Evaluate a case; any other name is of a trial that does no harm, and must come to none."""
    kind = params['kind']
    if kind in CASES:
        return CASES[kind].function()
    sys.stdout.write(f'{kind} in {os.getcwd()}\n')
    return 1.0


# --- ends its process ------------------------------------------------------------------------


@case('crash', 'SIGSEGV')
def reads_nowhere() -> None:
    ctypes.string_at(0)


@case('crash', r'exit status 0; did it call os\._exit\?')
def exits_at_once() -> None:
    os._exit(0)


@case('crash', 'SIGKILL')
def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@case('crash', 'SIGKILL')
def kills_its_group() -> None:
    os.killpg(0, signal.SIGKILL)


@case('crash', 'exit status 0')
def becomes_a_daemon() -> float:
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(OVER_AND_OVER)
    return 1.0


@case('crash', 'SIGSEGV')
def overflows_the_stack() -> Any:
    sys.setrecursionlimit(10**8)
    nested: Any = iter([])
    for _ in range(3 * 10**5):
        nested = filter(None, nested)
    return next(nested)


@case('crash', 'could not go on: did it close files')
def closes_all_files() -> float:
    os.closerange(0, 1024)
    return 1.0


@case('crash', 'could not go on: did it close files')
def closes_the_files_of_others() -> float:
    os.closerange(3, 1024)
    return 1.0


@case('crash', 'exit status 0')
def exits_when_its_loss_is_read() -> Any:
    class Odd:
        def __float__(self) -> float:
            os._exit(0)

    return Odd()


@case('crash', 'exit status 0')
def exits_when_its_results_are_shown() -> Any:
    class Odd:
        def __repr__(self) -> str:
            os._exit(0)

    return {'loss': 1.0, 'odd': Odd()}


@case('crash', 'exit status 0')
def exits_when_its_error_is_shown() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            os._exit(0)

    raise OddError


# --- never ends ------------------------------------------------------------------------------


@case('timeout', 'trial_timeout')
def loops() -> None:
    while True:
        pass


@case('timeout', 'trial_timeout')
def waits_for_itself() -> None:
    first, second = threading.Lock(), threading.Lock()

    def take(own: Any, other: Any) -> None:
        with own:
            barrier.wait()
            other.acquire()

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=take, args=locks) for locks in [(first, second), (second, first)]]
    for thread in threads:
        thread.start()
    threads[0].join()


@case('timeout', 'trial_timeout')
def stops_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@case('timeout', 'trial_timeout')
def ignores_all_signals() -> None:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)


@case('timeout', 'trial_timeout')
def holds_the_interpreter() -> None:
    ctypes.PyDLL(None).sleep(OVER_AND_OVER)


@case('timeout', 'trial_timeout')
def waits_for_its_children() -> None:
    child = os.fork()
    if not child:
        os.execvp(SLEEP[0], SLEEP)
    os.waitpid(child, 0)


# --- leaves children -------------------------------------------------------------------------


def start_children(number: int = 17) -> None:
    """Start children of three kinds, so many of each."""
    for _ in range(number):
        subprocess.Popen(SLEEP)
        subprocess.Popen(SLEEP, start_new_session=True)
    detached = ' '.join(f'(setsid {" ".join(SLEEP)} &);' for _ in range(number))
    subprocess.run(detached, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@case(None)
def leaves_fifty_children() -> float:
    start_children()
    return 1.0


@case('crash', 'SIGABRT')
def leaves_fifty_children_and_dies() -> None:
    start_children()
    os.abort()


@case(None)
def returns_twice() -> float:
    os.fork()
    return 1.0


@case(None)
def leaves_a_twin_that_waits() -> float:
    if not os.fork():
        time.sleep(OVER_AND_OVER)
    return 1.0


@case(None)
def leaves_threads() -> float:
    for daemon in (True, False):
        threading.Thread(target=time.sleep, args=(OVER_AND_OVER,), daemon=daemon).start()
    return 1.0


# --- raises ----------------------------------------------------------------------------------


@case('exception', 'SystemExit: 0', in_process=True)
def asks_to_exit() -> None:
    sys.exit(0)


@case('exception', 'KeyboardInterrupt')
def raises_an_interrupt() -> None:
    raise KeyboardInterrupt


@case('exception', 'GeneratorExit', in_process=True)
def raises_the_end_of_a_generator() -> None:
    raise GeneratorExit


@case('exception', 'OddError: mine', in_process=True)
def raises_what_is_no_exception() -> None:
    class OddError(BaseException):
        pass

    raise OddError('mine')


@case('exception', 'OddError: .*cannot be shown: RuntimeError', in_process=True)
def raises_what_cannot_be_shown() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError('no')

    raise OddError


@case('exception', 'OddError: .*cannot be shown: SystemExit', in_process=True)
def raises_what_raises_more() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise SystemExit('no')

    raise OddError


@case('exception', r'ValueError: \\ud800 or \\udfff', in_process=True)
def raises_surrogates() -> None:
    raise ValueError('\ud800 or \udfff')


@case('exception', 'ValueError: xxx', in_process=True)
def raises_ten_megabytes() -> None:
    raise ValueError('x' * 10_000_000)


@case('exception', 'ValueError: last', in_process=True)
def raises_a_long_chain() -> None:
    error: Exception | None = None
    for _ in range(10_000):
        after = ValueError('before')
        after.__cause__ = error
        error = after
    raise ValueError('last') from error


@case('exception', 'RecursionError', in_process=True)
def recurs() -> Any:
    return recurs()


@case('exception', 'EOFError')
def asks_a_question() -> str:
    return input()


@case('memory', 'MemoryError')
def allocates_too_much() -> Any:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, limits[1]))
    try:
        return bytearray(10 * 2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# --- returns what is no loss -----------------------------------------------------------------

NO_LOSS = 'must return a number'


def no_loss(name: str, make: Callable[[], Any], says: str = NO_LOSS) -> None:
    CASES[name] = Case(make, 'result', says, True)


class NoFloat:
    def __float__(self) -> float:
        raise RuntimeError('no')


def numbers() -> Iterator[float]:
    yield 1.0


no_loss('returns nothing', lambda: None)
no_loss('returns text', lambda: '0.5')
no_loss('returns bytes', lambda: b'0.5')
no_loss('returns a complex number', lambda: 1 + 2j)
no_loss('returns not a number', lambda: float('nan'), 'nan')
no_loss('returns a list', lambda: [1.0])
no_loss('returns a set', lambda: {1.0})
no_loss('returns a generator', numbers)
no_loss('returns an object', object)
no_loss('returns an object that is no float', NoFloat)
no_loss('returns a number beyond all floats', lambda: 10**400)
no_loss('returns a number too long to print', lambda: 10**5000)
no_loss('returns a million keys without a loss', lambda: dict.fromkeys(map(str, range(10**5))), "without 'loss'")


@case('result', NO_LOSS, in_process=True)
def returns_a_complex_number_of_numpy() -> Any:
    import numpy as np

    return np.complex64(1 + 2j)


# --- returns odd results beside its loss -----------------------------------------------------


def odd(name: str, make: Callable[[], Any], kind: str | None = None, says: str = '') -> None:
    CASES[name] = Case(lambda: {'loss': 1.0, 'odd': make()}, kind, says, True)


def deep() -> Any:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return nested


def cyclic() -> Any:
    own: dict[str, Any] = {}
    own['self'] = [own]
    return own


def family() -> Any:
    """Return a tree whose nodes know their parents."""
    root: dict[str, Any] = {'parent': None}
    root['children'] = [{'parent': root, 'children': []} for _ in range(10)]
    return root


def laughs() -> Any:
    """Return what is small in memory and endless on paper."""
    own: list[Any] = ['ha']
    for _ in range(64):
        own = [own, own]
    return own


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError('no')


class ExitingRepr:
    def __repr__(self) -> str:
        raise SystemExit('no')


class NoPickle:
    def __reduce__(self) -> str:
        raise RuntimeError('no')


class Claims(str):
    """Text that remains itself."""

    def __str__(self) -> str:
        return self


class Tensor:
    """A number, as libraries of tensors wrap it."""

    shape = ()
    dtype = 'float32'

    def __float__(self) -> float:
        return 0.5

    def tolist(self) -> float:
        return 0.5


odd('returns fifty megabytes', lambda: 'x' * 50_000_000)
odd('returns lists in lists', deep)
odd('returns itself in itself', cyclic)
odd('returns a family', family)
odd('returns a billion laughs', laughs)
odd('returns sets', lambda: {frozenset({1}), frozenset({2})})
odd('returns bytes beside its loss', lambda: bytes(range(256)))
odd('returns generators', lambda: [numbers(), numbers])
odd('returns surrogates', lambda: {'\ud800': '\udfff', '\\ud800': 1})
odd('returns keys that are not numbers', lambda: {float('nan'): 1, float('inf'): 2})
odd('returns keys that are no texts', lambda: {(1, 2): 1, None: 2, True: 3, b'x': 4, '$tuple': 5, object(): 6})
odd('returns losses that are not numbers', lambda: [float('nan'), float('inf'), -float('inf')])
odd('returns a number with too many digits', lambda: 10**5000)
odd('returns an object without a repr', NoRepr)
odd('returns an object whose repr exits', ExitingRepr)
odd('returns an object that cannot be pickled', NoPickle)
odd('returns text that claims to be something', lambda: Claims('x'))
odd('returns what claims to be a tensor', Tensor)
odd('returns nulls and control characters', lambda: '\0\x1b[2J\x07\r\u202e')


@case(None, in_process=True)
def returns_a_tensor() -> Any:
    return Tensor()


@case(None, in_process=True)
def returns_true() -> bool:
    return True


@case(None, in_process=True)
def returns_infinity() -> float:
    return float('inf')


@case(None, in_process=True)
def returns_arrays() -> Any:
    import numpy as np

    return {'loss': np.array(1.0), 'odd': [np.array([object()]), np.zeros((0, 3)), np.ma.masked, np.datetime64('NaT')]}


# --- changes its process ---------------------------------------------------------------------


@case(None)
def prints_a_hundred_megabytes() -> float:
    for _ in range(100):
        sys.stdout.write('x' * 999_999 + '\n')
    return 1.0


@case(None)
def prints_bytes() -> float:
    os.write(1, bytes(range(256)) * 10)
    return 1.0


@case(None)
def closes_input_and_output() -> float:
    os.closerange(0, 3)
    return 1.0


@case(None)
def puts_files_of_its_own_in_their_place() -> float:
    os.closerange(0, 3)
    for _ in range(3):
        os.open('/', os.O_RDONLY)
    return 1.0


@case(None)
def closes_its_streams() -> float:
    sys.stdin.close()
    sys.stdout.close()
    sys.stderr.close()
    return 1.0


@case(None)
def replaces_its_streams() -> float:
    class Odd:
        def flush(self) -> None:
            raise RuntimeError('no')

    sys.stdout, sys.stderr = Odd(), None  # type: ignore[assignment]
    return 1.0


@case('result', 'sent something unreadable')
def writes_into_every_file() -> float:
    for file in range(3, 64):
        for write in (
            lambda file=file: os.pwrite(file, b'garbage' * 9, 0),
            lambda file=file: os.write(file, b'\ngar\nbage\n['),
        ):
            try:
                write()
            except OSError:
                pass
    return 1.0


@case('result', 'sent something unreadable')
def writes_brackets_into_every_file() -> float:
    for file in range(3, 64):
        try:
            os.write(file, b'[' * 200_000 + b'\n')
        except OSError:
            pass
    return 1.0


@case(None)
def empties_every_file() -> float:
    for file in range(3, 64):
        try:
            os.ftruncate(file, 0)
        except OSError:
            pass
    return 1.0


@case(None)
def goes_into_a_folder_that_it_removes() -> float:
    import tempfile

    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)
    return 1.0


@case(None, spoils=True)
def removes_its_temporary_folder() -> float:
    import shutil
    import tempfile

    shutil.rmtree(tempfile.gettempdir())
    return 1.0


@case(None)
def leaves_temporary_files() -> float:
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp())
    (folder / 'file').write_text('x')
    folder.chmod(0)
    return 1.0


@case(None, spoils=True)
def clears_its_environment() -> float:
    os.environ.clear()
    return 1.0


@case(None)
def sets_an_alarm() -> float:
    signal.alarm(1)
    return 1.0


@case(None, spoils=True)
def replaces_json_and_pickle() -> float:
    import json
    import pickle

    for module in (json, pickle):
        for name in ('dumps', 'loads', 'dump', 'load'):
            setattr(module, name, None)
    return 1.0


@case(None, spoils=True)
def replaces_builtins() -> float:
    import builtins

    for name in ('print', 'open'):
        setattr(builtins, name, None)
    return 1.0


@case(None, spoils=True)
def forgets_all_modules() -> float:
    sys.modules.clear()
    sys.path.clear()
    return 1.0


@case(None)
def raises_at_the_end() -> float:
    import atexit
    import weakref

    class Odd:
        def __del__(self) -> None:
            raise RuntimeError('no')

    def fail() -> None:
        raise RuntimeError('no')

    odd = Odd()
    odd.self = odd  # type: ignore[attr-defined]
    atexit.register(fail)
    weakref.finalize(odd, fail)
    return 1.0
